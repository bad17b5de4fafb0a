//! The client's own delay is in the lag, whatever it waited for.

use std::thread;

use super::*;
use crate::core::record::Times;
use crate::core::units::Rate;
use crate::drive::client::Client;
use crate::drive::client::stage::{Scene, play};
use crate::drive::engine::shared::Shared;
use crate::drive::engine::traffic::{Report, Traffic};
use crate::drive::engine::worker;

/// How long the worker's thread does something else, again and again.
const HELD: Duration = Duration::from_millis(20);

/// The times of requests that are sent by a worker whose thread is [`HELD`] between any two looks at its sockets.
fn held(schedule: Schedule, cap: Option<usize>) -> Vec<Times> {
    const REQUESTS: usize = 12;
    let stage = play(vec![Scene::Answers(vec![stream(&[TOKEN, DONE]); REQUESTS])]);
    let target = stage.target();
    let requests = vec![Request::text("Hi", 1, 1); REQUESTS];
    let plan = Plan {
        target: &target,
        sampling: &Sampling::default(),
        warmup: None,
        measured: Phase { requests: &requests, schedule, cycle: false, duration: None },
        cap,
        max_active: None,
        history: History::Real,
        keep: Keep { text: KeepText::Never, gaps: KeepGaps::Never },
        preconnect: 0,
        workers: NonZeroUsize::MIN,
        keep_going: true,
        salter: None,
    };
    let stop = Stop::default();
    let shared = Shared::new(&plan, &stop);
    let (reports, landed) = mpsc::channel();
    let runtime = worker::runtime().unwrap();
    runtime.block_on(async {
        let client = Client::new(&target, plan.sampling, 1).unwrap();
        let traffic = Traffic::new(0, &plan, &shared, client, reports);
        let hold = async {
            loop {
                thread::sleep(HELD);
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            _ = traffic.run(&plan, &shared, Clock::start()) => {}
            () = hold => {}
        }
    });
    let landed = landed.try_iter().filter_map(|report| match report {
        Report::Landed(landed) => Some(landed),
        _ => None,
    });
    let times: Vec<_> = landed.flatten().map(|landed| landed.story.times).collect();
    assert_eq!(times.len(), REQUESTS);
    times
}

/// The largest sent − max(due, released).
fn worst_lag(times: &[Times]) -> Duration {
    let lags = times.iter().map(|times| {
        let due = times.due.max(times.released.unwrap_or_default());
        times.sent.unwrap().saturating_sub(due)
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
    times.sort_by_key(|times| times.due);
    for pair in times.windows(2) {
        assert_eq!(Some(pair[1].due), pair[0].done, "of one slot");
        assert_eq!(pair[1].released, Some(pair[1].due));
    }
}
