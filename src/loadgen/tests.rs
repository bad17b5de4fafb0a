use std::num::NonZeroUsize;
use std::sync::{LazyLock, mpsc};
use std::time::Duration;

use super::*;
use crate::client::request_timer::{CaptureGaps, CaptureText};
use crate::dataset::requests::RequestSink;
use crate::model::arrival::Schedule;
use crate::model::record::{RequestLabels, TokenCount};
use crate::model::request::{Request, Turn};
use crate::testing::scripted_server::{ScriptedServer, always, stream};

mod cpu;
mod lag;
mod shards;

const TOKEN: &str = "data: {\"choices\":[{\"index\":0,\"text\":\"a\"}]}\n\n";
const DONE: &str =
    "data: {\"choices\":[{\"index\":0,\"text\":\"\",\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

static SAMPLING: LazyLock<Sampling> = LazyLock::new(Sampling::default);

/// Expires only in a broken test: no run here takes a second on a quiet machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn server() -> ScriptedServer {
    always(stream(&[TOKEN, TOKEN, DONE]))
}

/// Runs a load on two workers with two requests in flight and a burst of warm-up requests.
fn run(
    server: &ScriptedServer,
    fault: &str,
    warmup: usize,
    requests: usize,
) -> Result<LoadResult, LoadError> {
    let target = Target { request_id_prefix: Some(format!("{fault}/")), ..server.target() };
    let (done, ended) = mpsc::channel();
    // The test does not join this thread: a run that hangs then fails the test instead of blocking it.
    std::thread::spawn(move || {
        let [first, measured] = [warmup, requests].map(|count| vec![Request::text("Hi", 1, 2); count]);
        let phase = |requests, schedule| LoadPhase { requests, schedule, cycle: false, duration: None };
        let warmup = (warmup > 0)
            .then(|| phase(RequestRange::from(&first), Schedule::Open(vec![Duration::ZERO; warmup].into())));
        let plan = plan(&target, warmup, phase(RequestRange::from(&measured), Schedule::Closed));
        let _ = done.send(run_load(&plan, &Tokenizer::Estimate, &StopHandle::default(), &mut |_| {}));
    });
    ended.recv_timeout(PATIENCE).expect("the run ends")
}

fn plan<'a>(target: &'a Target, warmup: Option<LoadPhase<'a>>, measured: LoadPhase<'a>) -> LoadPlan<'a> {
    LoadPlan {
        target,
        sampling: &SAMPLING,
        warmup,
        measured,
        cap: Some(2),
        max_active: None,
        history: HistoryMode::None,
        capture: Capture { text: CaptureText::Never, gaps: CaptureGaps::Never },
        most_records: None,
        preconnect: 0,
        workers: NonZeroUsize::new(2).unwrap(),
        keep_going: false,
        salter: None,
        share: LoadShare::default(),
    }
}

fn ordinals(outcome: &LoadResult) -> Vec<usize> {
    outcome.records.iter().map(|record| record.ordinal).collect()
}

#[test]
fn a_worker_that_fails_ends_the_run_and_loses_no_record() {
    let outcome = run(&server(), "error:10", 0, 100_000).unwrap();
    assert_eq!(outcome.observed.client_errors, ["no timer left"]);
    assert!((5..100_000).contains(&outcome.records.len()), "{} records", outcome.records.len());
    assert!(outcome.records.iter().all(Record::is_success), "what was in flight could finish");
    let mut even = ordinals(&outcome);
    even.retain(|ordinal| ordinal % 2 == 0);
    assert_eq!(even, [0, 2, 4, 6, 8], "the worker that failed before request 10 keeps what it had");
    assert!(!outcome.observed.interrupted && outcome.observed.worker_cpu.len() == 2);
    assert_eq!(outcome.observed.stream_stats.itl.len(), outcome.records.len() as u64, "nor any gap");
}

#[test]
fn a_request_that_panics_ends_the_run_and_loses_no_other() {
    let outcome = run(&server(), "panic:10", 0, 100_000).unwrap();
    assert_eq!(outcome.observed.client_errors, ["a request panicked: a bug in one request"]);
    let ordinals = ordinals(&outcome);
    assert!((5..100_000).contains(&ordinals.len()), "{} records", ordinals.len());
    assert!([0, 2, 4, 6, 8].iter().all(|ordinal| ordinals.contains(ordinal)) && !ordinals.contains(&10));
    assert!(outcome.records.iter().all(Record::is_success));
}

/// Two session slots. The warm-up has two sessions: one of two turns, and one of 200 turns that would continue for ten
/// seconds.
#[test]
fn warm_up_sessions_give_their_seats_to_measured_ones_at_t0() {
    let server = server();
    let session = |turns: u32| {
        (0..turns).map(move |index| {
            let think = Duration::from_millis(50);
            let turn = Turn { index, of: turns, think, ..Turn::default() };
            Request::text("Hi", 1, 2).with(|own| own.turn = Some(turn))
        })
    };
    let warmup: Vec<Request> = session(2).chain(session(200)).collect();
    let measured: Vec<Request> = (0..20).flat_map(|_| session(2)).collect();
    let phase = |requests| LoadPhase { requests, schedule: Schedule::Closed, cycle: false, duration: None };
    let target = server.target();
    let plan = plan(&target, Some(phase(RequestRange::from(&warmup))), phase(RequestRange::from(&measured)));
    let plan = LoadPlan { cap: None, max_active: Some(2), workers: NonZeroUsize::MIN, ..plan };
    let outcome = run_load(&plan, &Tokenizer::Estimate, &StopHandle::default(), &mut |_| {}).unwrap();
    assert_eq!(outcome.records.len(), 40);
    assert!((3..100).contains(&outcome.observed.warmup.sent), "{:?}", outcome.observed.warmup);
    // Ordinals 0 and 1 are the first session. If a warm-up session kept the other slot, no other session would run
    // beside it.
    let sent = |ordinal: usize| outcome.records[ordinal].times.sent().unwrap();
    assert!(sent(2) < sent(1), "the second session begins at {:?}, while the first thinks", sent(2));
}

#[test]
fn a_worker_that_fails_in_the_warm_up_leaves_no_other_waiting() {
    for fault in ["error:warmup-2", "panic:warmup-2"] {
        let error = run(&server(), fault, 8, 100).err().expect("nothing was measured");
        assert!(matches!(error, LoadError::Nothing(_)), "{error}");
    }
}

/// The prompt length and the labels of each Record, in the order of the schedule.
fn recorded(requests: RequestRange<'_>) -> Vec<(TokenCount, Option<Box<RequestLabels>>)> {
    let server = server();
    let target = server.target();
    let phase = LoadPhase { requests, schedule: Schedule::Closed, cycle: false, duration: None };
    let plan = plan(&target, None, phase);
    let outcome = run_load(&plan, &Tokenizer::Estimate, &StopHandle::default(), &mut |_| {}).unwrap();
    outcome.records.into_iter().map(|record| (record.prompt_tokens, record.facets)).collect()
}

#[test]
fn requests_in_a_file_are_recorded_as_those_in_memory() {
    let turn = |index| Turn { index, of: 3, ..Turn::default() };
    let plain: Vec<Request> = (1..200).map(|at| Request::text(format!("Hi {at}"), at, 2)).collect();
    let sessions =
        (0..60).map(|at| Request::text(format!("Ho {at}"), at, 2).with(|own| own.turn = Some(turn(at % 3))));
    for requests in [plain, sessions.collect()] {
        let mut sink = RequestSink::new(0);
        sink.extend(requests.iter().cloned()).unwrap();
        let spooled = sink.finish().unwrap();
        let expected = recorded((&requests).into());
        assert_eq!(expected.len(), requests.len());
        assert_eq!(recorded(spooled.all()), expected);
    }
}
