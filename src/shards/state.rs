//! What the first client knows of the others.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::messages::{Clocks, Join, Joined, PROTOCOL, RunIdentity};
use super::{LOST_AFTER, START_DELAY};
use crate::model::shard::Shard;
use crate::model::wall_time::WallTime;

/// The clients of a run, by the index of their shards. The first client is one of them.
#[derive(Debug)]
pub(super) struct ClientTable {
    run: Uuid,
    count: usize,
    version: String,
    epoch: Instant,
    clients: BTreeMap<usize, Client>,
    /// The common start, or why there is none. Set once.
    start: Option<Result<u64, String>>,
    /// Whether the clients are to stop sending.
    pub stop: bool,
}

/// One client of the run.
#[derive(Debug)]
struct Client {
    host: String,
    last_message: Instant,
    ready: Option<RunIdentity>,
    log: Option<PathBuf>,
    /// Why the log did not arrive whole.
    failure: Option<String>,
}

impl ClientTable {
    /// The clients of a new run, none of them joined yet.
    pub(super) fn new(run: Uuid, count: usize, version: &str) -> Self {
        Self {
            run,
            count,
            version: version.to_owned(),
            epoch: Instant::now(),
            clients: BTreeMap::new(),
            start: None,
            stop: false,
        }
    }

    /// The first client's clocks now.
    pub(super) fn clocks(&self, wall: WallTime) -> Clocks {
        Clocks { monotonic_ns: nanoseconds(self.epoch.elapsed()), wall_ns: wall.unix_ns }
    }

    /// The instant of a time of the first client's monotonic clock.
    pub(super) fn instant(&self, monotonic_ns: u64) -> Instant {
        self.epoch + Duration::from_nanos(monotonic_ns)
    }

    /// Adds a client, or says why it cannot join.
    pub(super) fn join(&mut self, join: &Join) -> Result<Joined, String> {
        let Join { protocol, shard, version, host } = join;
        if *protocol != PROTOCOL || *version != self.version {
            return Err(format!("shard 0 is version {}, shard {shard} is version {version}", self.version));
        }
        if shard.count() != self.count {
            return Err(format!("shard 0 is 0/{}, so there is no shard {shard}", self.count));
        }
        let index = shard.index();
        if index == 0 && !self.clients.is_empty() {
            return Err("there is a shard 0 already".to_owned());
        }
        if self.start.is_some() {
            return Err(format!("the run has begun without shard {index}"));
        }
        let known = self.clients.get(&index).filter(|known| !known.is_lost());
        if let Some(known) = known {
            return Err(format!("there is a shard {index} already, on {}", known.host));
        }
        let client = Client {
            host: host.clone(),
            last_message: Instant::now(),
            ready: None,
            log: None,
            failure: None,
        };
        self.clients.insert(index, client);
        Ok(Joined { run: self.run })
    }

    /// The host of each client that joined, by the index of its shard.
    pub(super) fn hosts(&self) -> impl Iterator<Item = (usize, &str)> {
        self.clients.iter().map(|(index, client)| (*index, client.host.as_str()))
    }

    /// Notes a message of a client. A client that is not known is refused.
    pub(super) fn note(&mut self, shard: Shard) -> Result<(), String> {
        let client = self.clients.get_mut(&shard.index()).filter(|_| shard.count() == self.count);
        let client = client.ok_or_else(|| format!("shard {shard} has not joined"))?;
        client.last_message = Instant::now();
        Ok(())
    }

    /// Notes that a client is ready. The last one sets the start. A client that prepared something else ends the run.
    pub(super) fn note_ready(&mut self, shard: Shard, identity: RunIdentity) -> Result<(), String> {
        self.note(shard)?;
        if let Some(client) = self.clients.get_mut(&shard.index()) {
            client.ready = Some(identity);
        }
        let ready: Vec<_> = self
            .clients
            .iter()
            .filter_map(|(index, client)| Some((*index, client.ready.as_ref()?)))
            .collect();
        let (Some((0, first)), None) = (ready.first(), &self.start) else { return Ok(()) };
        let difference = ready.iter().find_map(|(index, own)| Some((index, first.difference(own)?)));
        if let Some((index, (name, ours, theirs))) = difference {
            let why = format!("shard {index} has another {name} than shard 0: {theirs}, not {ours}");
            self.start = Some(Err(why));
        } else if ready.len() == self.count {
            self.start = Some(Ok(nanoseconds(self.epoch.elapsed() + START_DELAY)));
        }
        Ok(())
    }

    /// The common start on the first client's monotonic clock, or why there is none; `None` until it is known.
    pub(super) fn start(&self) -> Option<Result<u64, String>> {
        self.start.clone()
    }

    /// Ends a run whose clients are not all ready, with the names of those that are missing.
    pub(super) fn give_up(&mut self, waited: Duration) {
        let absent = list((0..self.count).filter(|index| !self.clients.contains_key(index)));
        let late = self.clients.iter().filter(|(_, client)| client.ready.is_none());
        let late = list(late.map(|(index, _)| *index));
        let reasons = [(absent, "did not join"), (late, "did not prepare the requests")];
        let reasons: Vec<_> =
            reasons.into_iter().filter_map(|(who, what)| Some(format!("{} {what}", who?))).collect();
        let waited = humantime::format_duration(waited);
        self.start.get_or_insert(Err(format!("after {waited}, {}", reasons.join(", and "))));
    }

    /// Notes that the log of a client arrived, or why it did not.
    pub(super) fn note_log(&mut self, shard: Shard, log: Result<PathBuf, String>) {
        if let Some(client) = self.clients.get_mut(&shard.index()) {
            match log {
                Ok(path) => client.log = Some(path),
                Err(why) => client.failure = Some(why),
            }
        }
    }

    /// Notes that the process of a shard has ended. Before the start, this ends the run.
    pub(super) fn note_gone(&mut self, index: usize, how: &str) {
        let why = format!("the process of shard {index} ended with {how}");
        self.start.get_or_insert_with(|| Err(why.clone()));
        if let Some(client) = self.clients.get_mut(&index).filter(|client| client.log.is_none()) {
            client.failure.get_or_insert(why);
        }
    }

    /// The other clients whose log may still arrive.
    pub(super) fn awaited(&self) -> usize {
        let others = self.clients.iter().filter(|(index, _)| **index > 0);
        others
            .filter(|(_, client)| client.log.is_none() && client.failure.is_none() && !client.is_lost())
            .count()
    }

    /// The logs that arrived, and a sentence for each client whose log did not.
    pub(super) fn logs(&self) -> (Vec<PathBuf>, Vec<String>) {
        let others = self.clients.iter().filter(|(index, _)| **index > 0);
        let (mut logs, mut lost) = (Vec::new(), Vec::new());
        for (index, client) in others {
            match (&client.log, &client.failure) {
                (Some(log), _) => logs.push(log.clone()),
                (None, Some(why)) => lost.push(format!("shard {index} on {}: {why}", client.host)),
                (None, None) => {
                    let silent = client.last_message.elapsed().as_secs();
                    lost.push(format!("shard {index} on {} is lost: silent for {silent} s", client.host));
                }
            }
        }
        (logs, lost)
    }
}

impl Client {
    fn is_lost(&self) -> bool {
        self.last_message.elapsed() > LOST_AFTER
    }
}

/// `shard 1`, or `shards 1, 2`; `None` for no shard.
fn list(indexes: impl Iterator<Item = usize>) -> Option<String> {
    let indexes: Vec<String> = indexes.map(|index| index.to_string()).collect();
    let shards = if indexes.len() == 1 { "shard" } else { "shards" };
    (!indexes.is_empty()).then(|| format!("{shards} {}", indexes.join(", ")))
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(shard: &str) -> Join {
        let shard = shard.parse().unwrap();
        Join { protocol: PROTOCOL, shard, version: "1".into(), host: format!("node{shard}") }
    }

    fn table(count: usize) -> ClientTable {
        let mut table = ClientTable::new(Uuid::from_u128(7), count, "1");
        table.join(&join(&format!("0/{count}"))).unwrap();
        table
    }

    fn identity(dataset: &str) -> RunIdentity {
        RunIdentity::of(&[("dataset", dataset), ("seed", "0")])
    }

    #[test]
    fn a_client_of_another_version_or_number_is_refused_by_name() {
        let mut table = table(2);
        let other = Join { version: "2".into(), ..join("1/2") };
        assert_eq!(table.join(&other).unwrap_err(), "shard 0 is version 1, shard 1/2 is version 2");
        assert!(table.join(&join("1/3")).unwrap_err().contains("no shard 1/3"));
        assert!(table.join(&join("0/2")).unwrap_err().contains("shard 0 already"));
        assert_eq!(table.join(&join("1/2")).unwrap().run, Uuid::from_u128(7));
        assert!(table.join(&join("1/2")).unwrap_err().contains("already, on node1/2"));
        assert!(table.note("1/3".parse().unwrap()).is_err());
    }

    #[test]
    fn the_load_begins_when_all_have_prepared_the_same() {
        let mut table = table(2);
        let [first, second] = ["0/2", "1/2"].map(|shard| shard.parse().unwrap());
        table.note_ready(first, identity("sharegpt")).unwrap();
        assert!(table.note_ready(second, identity("sharegpt")).is_err(), "it has not joined");
        table.join(&join("1/2")).unwrap();
        assert_eq!(table.start(), None);
        table.note_ready(second, identity("sharegpt")).unwrap();
        let start = table.instant(table.start().unwrap().unwrap());
        assert!(start > Instant::now());
        assert!(table.join(&join("1/2")).is_err(), "the run has begun");
    }

    #[test]
    fn a_client_with_another_dataset_ends_the_run_by_name() {
        let mut table = table(2);
        table.join(&join("1/2")).unwrap();
        table.note_ready("1/2".parse().unwrap(), identity("sonnet")).unwrap();
        table.note_ready("0/2".parse().unwrap(), identity("sharegpt")).unwrap();
        let why = table.start().unwrap().unwrap_err();
        assert_eq!(why, "shard 1 has another dataset than shard 0: sonnet, not sharegpt");
    }

    #[test]
    fn who_is_missing_is_named() {
        let mut table = table(4);
        table.join(&join("1/4")).unwrap();
        table.note_ready("0/4".parse().unwrap(), identity("a")).unwrap();
        table.give_up(Duration::from_secs(5));
        let why = table.start().unwrap().unwrap_err();
        assert_eq!(why, "after 5s, shards 2, 3 did not join, and shard 1 did not prepare the requests");
    }

    #[test]
    fn a_process_that_ends_is_not_waited_for() {
        let mut table = table(2);
        table.join(&join("1/2")).unwrap();
        table.note_gone(1, "exit status: 101");
        let why = "the process of shard 1 ended with exit status: 101";
        assert_eq!(table.start().unwrap().unwrap_err(), why);
        assert_eq!(table.awaited(), 0);
        assert_eq!(table.logs().1, [format!("shard 1 on node1/2: {why}")]);
    }

    #[test]
    fn a_log_that_does_not_arrive_is_reported() {
        let mut table = table(3);
        table.join(&join("1/3")).unwrap();
        table.join(&join("2/3")).unwrap();
        assert_eq!(table.awaited(), 2);
        table.note_log("1/3".parse().unwrap(), Ok("one".into()));
        table.note_log("2/3".parse().unwrap(), Err("the connection broke".into()));
        assert_eq!(table.awaited(), 0);
        let (logs, lost) = table.logs();
        assert_eq!(logs, [PathBuf::from("one")]);
        assert_eq!(lost, ["shard 2 on node2/3: the connection broke"]);
    }
}
