use super::*;
use crate::testing::queue;

fn join(shard: &str) -> Join {
    let shard = shard.parse().unwrap();
    Join {
        protocol: PROTOCOL,
        shard,
        version: "1".into(),
        host: format!("node{shard}"),
        process: Uuid::new_v4(),
    }
}

/// A table in whose first run shard 0 takes part.
fn table(count: usize) -> ClientTable {
    let mut table = ClientTable::new(count, "1");
    table.join(&join(&format!("0/{count}"))).unwrap();
    table.begin_run(Uuid::from_u128(7), queue::spec(queue::open_load(18.0)), 0);
    table
}

fn ready(table: &mut ClientTable, shard: &str, dataset: &str) -> Result<(), String> {
    let identity = RunIdentity::of(&[("dataset", dataset), ("seed", "0")]);
    table.note_ready(shard.parse().unwrap(), table.number(), identity)
}

fn beat(shard: &str, number: u64, is_end: bool) -> Beat {
    Beat { shard: shard.parse().unwrap(), number, sent: 5, gaps: 50, offset: 0, is_end }
}

/// A table of `count` clients whose run has begun, with its logs in a folder.
fn begun(count: usize) -> (ClientTable, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut table = table(count);
    table.set_log(&folder.path().join("first.reclog"));
    for index in 0..count {
        let shard = format!("{index}/{count}");
        if index > 0 {
            table.join(&join(&shard)).unwrap();
        }
        ready(&mut table, &shard, "a").unwrap();
    }
    assert!(table.start().unwrap().is_ok());
    (table, folder)
}

#[test]
fn a_process_of_this_host_waits_for_the_requests_and_learns_why_there_are_none() {
    let mut table = table(2);
    table.join(&join("1/2")).unwrap();
    let ask = |table: &mut ClientTable, number| {
        table.workload(WorkloadQuery { shard: "1/2".parse().unwrap(), number })
    };
    assert!(matches!(ask(&mut table, 1), Ok(WorkloadOffer::Wait)));
    table.offer_workload(None);
    assert!(matches!(ask(&mut table, 1), Ok(WorkloadOffer::Prepare)));
    table.begin_run(Uuid::from_u128(8), queue::spec(queue::open_load(18.0)), 0);
    assert!(matches!(ask(&mut table, 2), Ok(WorkloadOffer::Wait)), "the next run has other requests");
    assert!(ask(&mut table, 1).is_err());
    table.note_gone(0, "exit status 1");
    assert!(ask(&mut table, 2).unwrap_err().contains("exit status 1"));
}

#[test]
fn a_client_of_another_version_or_number_is_refused_by_name() {
    let mut table = table(2);
    let other = Join { version: "2".into(), ..join("1/2") };
    assert_eq!(table.join(&other).unwrap_err(), "shard 0 is version 1, shard 1/2 is version 2");
    assert!(table.join(&join("1/3")).unwrap_err().contains("no shard 1/3"));
    assert!(table.join(&join("0/2")).unwrap_err().contains("shard 0 already"));
    let asks = join("1/2");
    table.join(&asks).unwrap();
    table.join(&asks).expect("the same process asks again");
    assert!(table.join(&join("1/2")).unwrap_err().contains("already, on node1/2"));
    assert!(table.note("1/3".parse().unwrap()).is_err());
}

#[test]
fn the_load_begins_when_all_have_prepared_the_same() {
    let mut table = table(2);
    ready(&mut table, "0/2", "sharegpt").unwrap();
    assert!(ready(&mut table, "1/2", "sharegpt").is_err(), "it has not joined");
    table.join(&join("1/2")).unwrap();
    assert_eq!(table.start(), None);
    ready(&mut table, "1/2", "sharegpt").unwrap();
    let start = table.instant(table.start().unwrap().unwrap());
    assert!(start > Instant::now());
    assert!(table.join(&join("1/2")).is_err(), "the run has begun");
}

#[test]
fn a_client_with_another_dataset_ends_the_run_by_name() {
    let mut table = table(2);
    table.join(&join("1/2")).unwrap();
    ready(&mut table, "1/2", "sonnet").unwrap();
    ready(&mut table, "0/2", "sharegpt").unwrap();
    let why = table.start().unwrap().unwrap_err();
    assert_eq!(why, "shard 1 has another dataset than shard 0: sonnet, not sharegpt");
}

#[test]
fn who_is_missing_is_named() {
    let mut table = table(4);
    table.join(&join("1/4")).unwrap();
    ready(&mut table, "0/4", "a").unwrap();
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
    assert_eq!(table.take_logs().lost, [why]);
}

#[test]
fn a_client_that_fails_before_the_start_ends_the_run_with_its_reason() {
    let mut table = table(2);
    table.join(&join("1/2")).unwrap();
    table.note_failed("1/2".parse().unwrap(), 1, "cannot read a.json").unwrap();
    assert_eq!(table.start().unwrap().unwrap_err(), "shard 1 on node1/2: cannot read a.json");
}

#[test]
fn a_log_that_does_not_arrive_whole_is_reported_and_what_arrived_is_kept() {
    let (mut table, _folder) = begun(3);
    assert_eq!(table.awaited(), 2);
    table.take_beat(&beat("1/3", 1, true), b"abc").unwrap();
    let order = table.take_beat(&beat("2/3", 1, false), b"ab").unwrap();
    assert_eq!(order.received, 2);
    table.note_gone(2, "signal: 9");
    assert_eq!(table.awaited(), 0);
    let ReceivedLogs { files, lost } = table.take_logs();
    assert_eq!(files.len(), 2);
    assert_eq!(lost, ["the process of shard 2 ended with signal: 9"]);
}

#[test]
fn a_client_learns_how_the_load_ends_and_what_it_reported_is_summed() {
    let (mut table, _folder) = begun(3);
    for shard in ["1/3", "2/3", "1/3"] {
        table.take_beat(&beat(shard, 1, false), b"").unwrap();
    }
    let sums = table.exchange(LoadEnd::SendNoMore).others;
    assert_eq!((sums.sent, sums.in_flight, sums.gaps), (10, 10, 100));
    table.exchange(LoadEnd::Planned);
    assert_eq!(table.take_beat(&beat("1/3", 1, false), b"").unwrap().end, LoadEnd::SendNoMore);
}

#[test]
fn the_next_run_begins_anew_and_messages_of_the_last_are_refused() {
    let (mut table, folder) = begun(2);
    table.take_beat(&beat("1/2", 1, true), b"abc").unwrap();
    let next = |table: &mut ClientTable, after| table.next_run("1/2".parse().unwrap(), after).unwrap();
    assert!(matches!(next(&mut table, 1), NextRun::Wait));
    table.begin_run(Uuid::from_u128(8), queue::spec(queue::open_load(20.0)), 1);
    assert!(matches!(next(&mut table, 1), NextRun::Begin(order) if (order.number, order.server) == (2, 1)));
    assert_eq!(table.start(), None);
    assert!(table.take_beat(&beat("1/2", 1, false), b"d").is_err());
    assert_eq!(folder.path().read_dir().unwrap().count(), 0, "a log that nobody took is removed");
    assert_eq!(table.end(), 1);
    assert!(matches!(next(&mut table, 2), NextRun::Over));
    assert_eq!(table.end(), 0, "it knows");
}
