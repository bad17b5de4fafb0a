use std::num::NonZeroUsize;
use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::core::arrival::Schedule;
use crate::drive::client::stage::{Stage, always, stream};
use crate::drive::client::stopwatch::{KeepGaps, KeepText};

mod lag;

const TOKEN: &str = "data: {\"choices\":[{\"index\":0,\"text\":\"a\"}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";

/// Ends only a broken test: no run here takes a second on a quiet machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn server() -> Stage {
    always(stream(&[TOKEN, TOKEN, DONE]))
}

/// Two workers, two requests in flight, a warm-up of this many at once.
fn run(server: &Stage, fault: &str, warmup: usize, requests: usize) -> Result<Outcome, DriveError> {
    let target = Target { request_id_prefix: Some(format!("{fault}/")), ..server.target() };
    let (done, ended) = mpsc::channel();
    // A thread that nobody waits for: a run that hangs fails the test and does not hang it.
    std::thread::spawn(move || {
        let [first, measured] = [warmup, requests].map(|count| vec![Request::text("Hi", 1, 2); count]);
        let phase = |requests, schedule| Phase { requests, schedule, cycle: false, duration: None };
        let plan = Plan {
            target: &target,
            sampling: &Sampling::default(),
            warmup: (warmup > 0).then(|| phase(&first, Schedule::Open(vec![Duration::ZERO; warmup]))),
            measured: phase(&measured, Schedule::Closed),
            cap: Some(2),
            max_active: None,
            history: History::None,
            keep: Keep { text: KeepText::Never, gaps: KeepGaps::Never },
            preconnect: 0,
            workers: NonZeroUsize::new(2).unwrap(),
            keep_going: false,
            salter: None,
        };
        let _ = done.send(drive(&plan, &Tokenizer::Estimate, &Stop::default(), &mut |_| {}));
    });
    ended.recv_timeout(PATIENCE).expect("the run ends")
}

fn ordinals(outcome: &Outcome) -> Vec<usize> {
    outcome.records.iter().map(|record| record.ordinal).collect()
}

#[test]
fn a_worker_that_fails_ends_the_run_and_loses_no_record() {
    let outcome = run(&server(), "error:10", 0, 100_000).unwrap();
    assert_eq!(outcome.client_errors, ["no timer left"]);
    assert!((5..100_000).contains(&outcome.records.len()), "{} records", outcome.records.len());
    assert!(outcome.records.iter().all(Record::succeeded), "what was in flight could finish");
    let mut even = ordinals(&outcome);
    even.retain(|ordinal| ordinal % 2 == 0);
    assert_eq!(even, [0, 2, 4, 6, 8], "the worker that failed before request 10 keeps what it had");
    assert!(!outcome.interrupted && outcome.efforts.len() == 2);
    assert_eq!(outcome.meters.itl.len(), outcome.records.len() as u64, "nor any gap");
}

#[test]
fn a_request_that_panics_ends_the_run_and_loses_no_other() {
    let outcome = run(&server(), "panic:10", 0, 100_000).unwrap();
    assert_eq!(outcome.client_errors, ["a request panicked: a bug in one request"]);
    let ordinals = ordinals(&outcome);
    assert!((5..100_000).contains(&ordinals.len()), "{} records", ordinals.len());
    assert!([0, 2, 4, 6, 8].iter().all(|ordinal| ordinals.contains(ordinal)) && !ordinals.contains(&10));
    assert!(outcome.records.iter().all(Record::succeeded));
}

#[test]
fn a_worker_that_fails_in_the_warm_up_leaves_no_other_waiting() {
    for fault in ["error:warmup-2", "panic:warmup-2"] {
        let error = run(&server(), fault, 8, 100).err().expect("nothing was measured");
        assert!(matches!(error, DriveError::Nothing(_)), "{error}");
    }
}
