//! The send lag includes the client's own delay, whatever the client waited for.

use std::thread;

use super::*;
use crate::client::Client;
use crate::loadgen::shared::WorkerShared;
use crate::loadgen::worker;
use crate::loadgen::worker_loop::{WorkerLoop, WorkerReport};
use crate::model::record::Timestamps;
use crate::model::request::Request;
use crate::model::units::Rate;
use crate::testing::scripted_server::{Script, serve};

/// How long the worker's thread is blocked, again and again.
const HELD: Duration = Duration::from_millis(20);

/// The times of requests from a worker whose thread is blocked for [`HELD`] between any two polls of its sockets.
fn held(schedule: Schedule, cap: Option<usize>) -> Vec<Timestamps> {
    const REQUESTS: usize = 12;
    let stage = serve(vec![Script::Answers(vec![stream(&[TOKEN, DONE]); REQUESTS])]);
    let target = stage.target();
    let requests = vec![Request::text("Hi", 1, 1); REQUESTS];
    let plan = LoadPlan {
        target: &target,
        sampling: &Sampling::default(),
        warmup: None,
        measured: LoadPhase { requests: (&requests).into(), schedule, cycle: false, duration: None },
        cap,
        max_active: None,
        history: HistoryMode::Real,
        capture: Capture { text: CaptureText::Never, gaps: CaptureGaps::Never },
        most_records: None,
        preconnect: 0,
        workers: NonZeroUsize::MIN,
        keep_going: true,
        salter: None,
        share: LoadShare::default(),
    };
    let stop = StopHandle::default();
    let shared = WorkerShared::new(&plan, &stop);
    let (reports, landed) = mpsc::channel();
    let runtime = worker::runtime().unwrap();
    runtime.block_on(async {
        let client = Client::new(&target, plan.sampling, 1).unwrap();
        let traffic = WorkerLoop::new(0, &plan, &shared, client, reports);
        let hold = async {
            loop {
                thread::sleep(HELD);
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            _ = traffic.run(&plan, &shared, RunClock::start()) => {}
            () = hold => {}
        }
    });
    let landed = landed.try_iter().filter_map(|report| match report {
        WorkerReport::Completed(landed) => Some(landed),
        _ => None,
    });
    let times: Vec<_> = landed.flatten().map(|landed| landed.summary.times).collect();
    assert_eq!(times.len(), REQUESTS);
    times
}

/// The largest value of sent − max(due, released).
fn worst_lag(times: &[Timestamps]) -> Duration {
    let lags = times.iter().map(|times| {
        let due = times.due().max(times.released().unwrap_or_default());
        times.sent().unwrap().saturating_sub(due)
    });
    lags.max().unwrap()
}

#[test]
fn a_slow_client_shows_in_the_lag_of_a_closed_loop() {
    let lag = worst_lag(&held(Schedule::Closed, Some(1)));
    assert!(lag >= HELD, "{lag:?}");
}

#[test]
fn a_slow_client_shows_in_the_lag_behind_a_cap() {
    let lag = worst_lag(&held(Schedule::Every(Rate::per_second(1000.0).unwrap()), Some(1)));
    assert!(lag >= HELD, "{lag:?}");
}

#[test]
fn a_request_is_due_when_the_answer_before_it_was_there() {
    let mut times = held(Schedule::Closed, Some(1));
    times.sort_by_key(|times| times.due());
    for pair in times.windows(2) {
        assert_eq!(Some(pair[1].due()), pair[0].done(), "of one slot");
        assert_eq!(pair[1].released(), Some(pair[1].due()));
    }
}
