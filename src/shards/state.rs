//! What the first client knows of the others.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::messages::{
    Beat, Clocks, Join, NextRun, Order, PROTOCOL, RunIdentity, RunOrder, WorkloadOffer, WorkloadQuery,
};
use super::received_log::ReceivedLog;
use super::{LOST_AFTER, START_DELAY};
use crate::loadgen::LoadEnd;
use crate::model::record::Record;
use crate::model::run_spec::Spec;
use crate::model::shard::Shard;
use crate::model::wall_time::WallTime;
use crate::runner::{Exchange, LoadProgress, ReceivedLogs, SharedWorkload};

/// The clients of the runs, by the index of their shards. The first client is one of them.
#[derive(Debug)]
pub(super) struct ClientTable {
    count: usize,
    version: String,
    epoch: Instant,
    clients: BTreeMap<usize, Client>,
    round: Option<Round>,
    /// The requests that the other clients reported as ended and that the first has not taken yet.
    ended: Vec<Record>,
    /// Whether the user asked for the end of everything.
    is_interrupted: bool,
    /// Whether there is no further run.
    is_over: bool,
}

/// The run that the clients prepare or send.
#[derive(Debug)]
struct Round {
    order: RunOrder,
    /// The record log of the first client. Those of the others are written beside it.
    log: PathBuf,
    /// How the processes of this host get the requests.
    workload: WorkloadOffer,
    /// The common start, or why there is none. Set once.
    start: Option<Result<u64, String>>,
    end: LoadEnd,
}

/// One client.
#[derive(Debug)]
struct Client {
    host: String,
    process: Uuid,
    last_message: Instant,
    part: RunPart,
    /// Whether it knows that there is no further run.
    has_left: bool,
}

/// What one client does in the round.
#[derive(Debug, Default)]
struct RunPart {
    ready: Option<RunIdentity>,
    log: Option<ReceivedLog>,
    /// Why the log will not arrive whole.
    failure: Option<String>,
}

impl ClientTable {
    /// The clients of new runs, none of them joined yet.
    pub(super) fn new(count: usize, version: &str) -> Self {
        Self {
            count,
            version: version.to_owned(),
            epoch: Instant::now(),
            clients: BTreeMap::new(),
            round: None,
            ended: Vec::new(),
            is_interrupted: false,
            is_over: false,
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
    pub(super) fn join(&mut self, join: &Join) -> Result<(), String> {
        let Join { protocol, shard, version, host, process } = join;
        if *protocol != PROTOCOL || *version != self.version {
            return Err(format!("shard 0 is version {}, shard {shard} is version {version}", self.version));
        }
        if shard.count() != self.count {
            return Err(format!("shard 0 is 0/{}, so there is no shard {shard}", self.count));
        }
        let index = shard.index();
        if self.clients.get(&index).is_some_and(|known| known.process == *process) {
            return self.note(*shard).map(drop);
        }
        if index == 0 && !self.clients.is_empty() {
            return Err("there is a shard 0 already".to_owned());
        }
        if self.round.as_ref().is_some_and(|round| round.order.number > 1 || round.start.is_some()) {
            return Err(format!("the run has begun without shard {index}"));
        }
        let known = self.clients.get(&index).filter(|known| !known.is_lost());
        if let Some(known) = known {
            return Err(format!("there is a shard {index} already, on {}", known.host));
        }
        let client = Client {
            host: host.clone(),
            process: *process,
            last_message: Instant::now(),
            part: RunPart::default(),
            has_left: false,
        };
        self.clients.insert(index, client);
        Ok(())
    }

    /// The host of each client that joined, by the index of its shard.
    pub(super) fn hosts(&self) -> impl Iterator<Item = (usize, &str)> {
        self.clients.iter().map(|(index, client)| (*index, client.host.as_str()))
    }

    /// Begins the next run, on the server with this index.
    pub(super) fn begin_run(&mut self, run: Uuid, spec: Spec, server: usize) {
        let number = self.number() + 1;
        self.remove_logs();
        self.ended.clear();
        self.clients.values_mut().for_each(|client| client.part = RunPart::default());
        let order = RunOrder { number, run, spec, server };
        self.round = Some(Round {
            order,
            log: PathBuf::new(),
            workload: WorkloadOffer::Wait,
            start: None,
            end: LoadEnd::Planned,
        });
    }

    /// The number of the run; 0 before the first.
    pub(super) fn number(&self) -> u64 {
        self.round.as_ref().map_or(0, |round| round.order.number)
    }

    /// Offers the requests of the run to the other processes of this host, or tells them to prepare them.
    pub(super) fn offer_workload(&mut self, workload: Option<SharedWorkload>) {
        let offer = workload.map_or(WorkloadOffer::Prepare, |workload| WorkloadOffer::Take(workload.into()));
        self.round.iter_mut().for_each(|round| round.workload = offer.clone());
    }

    /// How a client gets the requests of the run.
    pub(super) fn workload(&mut self, query: WorkloadQuery) -> Result<WorkloadOffer, String> {
        self.note_in_run(query.shard, query.number)?;
        if let Some(Err(why)) = self.start() {
            return Err(why);
        }
        Ok(self.round.as_ref().map_or(WorkloadOffer::Wait, |round| round.workload.clone()))
    }

    /// Sets the first client's record log of the run.
    pub(super) fn set_log(&mut self, log: &Path) {
        self.round.iter_mut().for_each(|round| log.clone_into(&mut round.log));
    }

    /// The run after the one with this number.
    pub(super) fn next_run(&mut self, shard: Shard, after: u64) -> Result<NextRun, String> {
        let is_over = self.is_over;
        self.note(shard)?.has_left = is_over;
        Ok(match &self.round {
            _ if is_over => NextRun::Over,
            Some(round) if round.order.number > after => NextRun::Begin(Box::new(round.order.clone())),
            _ => NextRun::Wait,
        })
    }

    /// Notes a message of a client. A client that is not known is refused.
    fn note(&mut self, shard: Shard) -> Result<&mut Client, String> {
        let client = self.clients.get_mut(&shard.index()).filter(|_| shard.count() == self.count);
        let client = client.ok_or_else(|| format!("shard {shard} has not joined"))?;
        client.last_message = Instant::now();
        Ok(client)
    }

    /// Notes a message of a client that is of the current run.
    fn note_in_run(&mut self, shard: Shard, number: u64) -> Result<&mut Client, String> {
        let is_current = self.number() == number && !self.is_over;
        let client = self.note(shard)?;
        is_current.then_some(client).ok_or_else(|| "shard 0 has ended the run".to_owned())
    }

    /// Notes that a client is ready. The last one sets the start. A client that prepared something else ends the run.
    pub(super) fn note_ready(
        &mut self,
        shard: Shard,
        number: u64,
        identity: RunIdentity,
    ) -> Result<(), String> {
        self.note_in_run(shard, number)?.part.ready = Some(identity);
        let ready: Vec<_> = self
            .clients
            .iter()
            .filter_map(|(index, client)| Some((*index, client.part.ready.as_ref()?)))
            .collect();
        let Some(&(0, first)) = ready.first() else { return Ok(()) };
        let difference = ready.iter().find_map(|(index, own)| Some((index, first.difference(own)?)));
        let start = match difference {
            Some((index, (name, ours, theirs))) => {
                Err(format!("shard {index} has another {name} than shard 0: {theirs}, not {ours}"))
            }
            None if ready.len() == self.count => Ok(nanoseconds(self.epoch.elapsed() + START_DELAY)),
            None => return Ok(()),
        };
        self.set_start(start);
        Ok(())
    }

    /// The common start on the first client's monotonic clock, or why there is none; `None` until it is known.
    pub(super) fn start(&self) -> Option<Result<u64, String>> {
        self.round.as_ref()?.start.clone()
    }

    fn set_start(&mut self, start: Result<u64, String>) {
        self.round.iter_mut().for_each(|round| _ = round.start.get_or_insert(start.clone()));
    }

    /// Ends a run whose clients are not all ready, with the names of those that are missing.
    pub(super) fn give_up(&mut self, waited: Duration) {
        let absent = list((0..self.count).filter(|index| !self.clients.contains_key(index)));
        let late = self.clients.iter().filter(|(_, client)| client.part.ready.is_none());
        let late = list(late.map(|(index, _)| *index));
        let reasons = [(absent, "did not join"), (late, "did not prepare the requests")];
        let reasons: Vec<_> =
            reasons.into_iter().filter_map(|(who, what)| Some(format!("{} {what}", who?))).collect();
        let waited = humantime::format_duration(waited);
        self.set_start(Err(format!("after {waited}, {}", reasons.join(", and "))));
    }

    /// Ends a run after the first one if a client is lost before it: no other can take its place.
    pub(super) fn require_all(&mut self) {
        let mut others = self.clients.iter().filter(|(index, _)| **index > 0);
        let lost = others.find_map(|(index, client)| client.part.failure.clone().or(client.silence(*index)));
        if let (Some(lost), 2..) = (lost, self.number()) {
            self.set_start(Err(lost));
        }
    }

    /// Notes that a client cannot take part in the run. Before the start, this ends the run.
    pub(super) fn note_failed(&mut self, shard: Shard, number: u64, error: &str) -> Result<(), String> {
        let client = self.note_in_run(shard, number)?;
        let why = format!("shard {} on {}: {error}", shard.index(), client.host);
        client.part.failure.get_or_insert(why.clone());
        self.set_start(Err(why));
        Ok(())
    }

    /// Notes that the process of a shard has ended. Before the start, this ends the run.
    pub(super) fn note_gone(&mut self, index: usize, how: &str) {
        let why = format!("the process of shard {index} ended with {how}");
        if let Some(client) = self.clients.get_mut(&index) {
            client.has_left = true;
            if !client.part.has_whole_log() {
                client.part.failure.get_or_insert(why.clone());
            }
        }
        self.set_start(Err(why));
    }

    /// Takes a beat of a client with bytes of its log, and returns the answer.
    pub(super) fn take_beat(&mut self, beat: &Beat, bytes: &[u8]) -> Result<Order, String> {
        let is_interrupted = self.is_interrupted;
        let (Some(round), 1..) = (&self.round, beat.number) else {
            self.note(beat.shard)?;
            return Ok(Order { end: LoadEnd::Planned, is_interrupted, received: 0 });
        };
        let (end, path) = (round.end, log_path(&round.log, beat.shard.index()));
        let has_begun = matches!(round.start, Some(Ok(_)));
        let client = self.note_in_run(beat.shard, beat.number)?;
        if !has_begun || beat.shard.index() == 0 {
            return Ok(Order { end, is_interrupted, received: 0 });
        }
        let in_file = |error: std::io::Error| format!("cannot write {}: {error}", path.display());
        let log = match &mut client.part.log {
            Some(log) => log,
            empty => empty.insert(ReceivedLog::create(path.clone()).map_err(in_file)?),
        };
        let records = log.take(beat, bytes).map_err(in_file)?;
        let received = log.len();
        self.ended.extend(records);
        Ok(Order { end, is_interrupted, received })
    }

    /// Tells the clients how the load is to end, and takes what they reported.
    pub(super) fn exchange(&mut self, end: LoadEnd) -> Exchange {
        self.round.iter_mut().for_each(|round| round.end = round.end.max(end));
        let logs = self.clients.values().filter_map(|client| client.part.log.as_ref());
        let others = logs.map(ReceivedLog::progress).fold(LoadProgress::default(), |mut sum, progress| {
            sum.sent += progress.sent;
            sum.in_flight += progress.in_flight;
            sum.gaps += progress.gaps;
            sum
        });
        Exchange { ended: std::mem::take(&mut self.ended), others, end: LoadEnd::Planned }
    }

    /// Tells the clients to stop everything.
    pub(super) fn interrupt(&mut self) {
        self.is_interrupted = true;
    }

    /// The other clients whose log may still arrive.
    pub(super) fn awaited(&self) -> usize {
        let others = self.clients.iter().filter(|(index, _)| **index > 0);
        let is_open = |client: &Client| {
            !client.part.has_whole_log() && client.part.failure.is_none() && !client.is_lost()
        };
        others.filter(|(_, client)| is_open(client)).count()
    }

    /// Returns the logs as far as they arrived, and a sentence for each client whose log did not arrive whole.
    pub(super) fn take_logs(&mut self) -> ReceivedLogs {
        let (mut files, mut lost) = (Vec::new(), Vec::new());
        for (index, client) in self.clients.iter_mut().filter(|(index, _)| **index > 0) {
            if !client.part.has_whole_log() {
                let failure = client.part.failure.clone().or_else(|| client.silence(*index));
                lost.push(failure.unwrap_or_else(|| format!("the record log of shard {index} is not whole")));
            }
            let log = client.part.log.take();
            files.extend(log.filter(|log| log.len() > 0).map(|log| log.path().to_owned()));
        }
        ReceivedLogs { files, lost }
    }

    /// Ends all runs. Returns the number of clients that do not know it yet.
    pub(super) fn end(&mut self) -> usize {
        self.is_over = true;
        self.set_start(Err("shard 0 has ended the run".to_owned()));
        let others = self.clients.iter().filter(|(index, _)| **index > 0);
        others.filter(|(_, client)| !client.has_left && !client.is_lost()).count()
    }

    /// Removes the logs that nobody took: those of a run without a result.
    pub(super) fn remove_logs(&mut self) {
        self.clients.values_mut().filter_map(|client| client.part.log.take()).for_each(ReceivedLog::remove);
    }
}

/// Where the log of a shard is written: beside that of shard 0.
fn log_path(first: &Path, index: usize) -> PathBuf {
    first.with_extension(format!("shard{index}.reclog"))
}

impl RunPart {
    fn has_whole_log(&self) -> bool {
        self.log.as_ref().is_some_and(ReceivedLog::is_whole)
    }
}

impl Client {
    fn is_lost(&self) -> bool {
        self.last_message.elapsed() > LOST_AFTER
    }

    /// A sentence if the client is lost.
    fn silence(&self, index: usize) -> Option<String> {
        let silent = self.last_message.elapsed().as_secs();
        self.is_lost().then(|| format!("shard {index} on {} is lost: silent for {silent} s", self.host))
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
mod tests;
