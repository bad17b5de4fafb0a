//! Service laws for studies of whole searches: arrivals and service times in virtual time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng};
use rand_distr::{Distribution as _, Exp};

use crate::model::record::{Failure, FailureClass, Milestone, Record};
use crate::testing::queue::record;

/// The work that a request needs from a server, in seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Job {
    /// The time from leaving the queue to the first token.
    pub prefill: f64,
    /// The time from the first token to the last.
    pub decode: f64,
}

/// The state that a law may depend on when a request arrives.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    /// The arrival rate, in requests per second.
    pub rate: f64,
    /// Whether no slot is free.
    pub is_full: bool,
}

/// The outcome of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fate {
    /// The request waits for a slot and is answered.
    Served(Job),
    /// The request takes no slot and fails after this number of seconds.
    Fails(f64),
}

/// A server that serves requests in the order of arrival.
#[derive(Clone, Copy)]
pub(crate) struct Law {
    /// The number of requests that are served at once.
    pub slots: usize,
    /// Draws the outcome of each request.
    pub fate: fn(Arrival, &mut StdRng) -> Fate,
}

/// Draws a first token after about 50 ms and a last one after half a second on average (as in
/// [`Queue`](crate::testing::queue::Queue)).
fn ordinary(rng: &mut StdRng) -> Job {
    let decode = Exp::new(1.0 / 0.45).unwrap().sample(rng);
    Job { prefill: rng.random_range(0.025..0.075), decode }
}

fn takes(seconds: f64) -> Job {
    Job { prefill: 0.05, decode: seconds - 0.05 }
}

/// An ordinary queue with ten slots.
pub(crate) const QUEUE: Law = Law { slots: 10, fate: |_, rng| Fate::Served(ordinary(rng)) };

/// One answer in ten takes 15 s at any load, and the others take 1 s.
pub(crate) const BIMODAL: Law =
    Law { slots: 100_000, fate: |_, rng| Fate::Served(takes(if rng.random_bool(0.1) { 15.0 } else { 1.0 })) };

/// An ordinary queue with 16 slots, in which one request in 50 takes its slot for 8 s.
pub(crate) const ONE_IN_50: Law = Law {
    slots: 16,
    fate: |_, rng| Fate::Served(if rng.random_bool(0.02) { takes(8.0) } else { ordinary(rng) }),
};

/// Up to 10 req/s all answers are quick. For each additional request per second, a further 3 % of the answers take 12
/// s.
pub(crate) const SLOW_ABOVE: Law = Law {
    slots: 100_000,
    fate: |Arrival { rate, .. }, rng| {
        let slow = (0.03 * (rate - 10.0)).clamp(0.0, 0.6);
        Fate::Served(if rng.random_bool(slow) { takes(12.0) } else { ordinary(rng) })
    },
};

/// A queue with 12 slots. One request in four fails after 25 s if all slots are taken on arrival, else one in 300.
pub(crate) const LATE_FAILURES: Law = Law {
    slots: 12,
    fate: |Arrival { is_full, .. }, rng| match rng.random_bool(if is_full { 0.25 } else { 1.0 / 300.0 }) {
        true => Fate::Fails(25.0),
        false => Fate::Served(ordinary(rng)),
    },
};

impl Law {
    /// Simulates Poisson arrivals for a duration. The server starts empty.
    pub(crate) fn serve(&self, rate: f64, time: Duration, seed: u64) -> Vec<Record> {
        self.times(rate, seed)
            .take_while(|served| served.due < time.as_secs_f64())
            .enumerate()
            .map(to_record)
            .collect()
    }

    /// When requests are due and answered, as an endless iterator.
    pub(crate) fn times(&self, rate: f64, seed: u64) -> impl Iterator<Item = Served> {
        let [mut gaps, mut ends] = [0, 1].map(|stream| StdRng::seed_from_u64(seed ^ (stream << 32)));
        let gap = Exp::new(rate).unwrap();
        let (mut due, mut busy, Self { slots, fate }) = (0.0, BinaryHeap::<Reverse<u64>>::new(), *self);
        let nanos = |seconds: f64| (seconds * 1e9) as u64;
        std::iter::repeat_with(move || {
            due += gap.sample(&mut gaps);
            while busy.peek().is_some_and(|Reverse(end)| *end <= nanos(due)) {
                busy.pop();
            }
            let is_full = busy.len() == slots;
            match fate(Arrival { rate, is_full }, &mut ends) {
                Fate::Fails(after) => Served { due, first: None, done: due + after },
                Fate::Served(Job { prefill, decode }) => {
                    let free = if is_full { busy.pop() } else { None };
                    let start = free.map_or(due, |Reverse(end)| end as f64 / 1e9);
                    let first = start + prefill;
                    busy.push(Reverse(nanos(first + decode)));
                    Served { due, first: Some(first), done: first + decode }
                }
            }
        })
    }
}

/// When a request was due, received its first token, and ended, in seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Served {
    pub due: f64,
    /// `None` for a request that fails.
    pub first: Option<f64>,
    pub done: f64,
}

fn to_record((ordinal, served): (usize, Served)) -> Record {
    let at = Duration::from_secs_f64;
    let due = at(served.due);
    let first = served.first.map_or(due, at);
    let mut record = record(ordinal, due, first, first);
    let done = Some(at(served.done));
    record.times.set(Milestone::LastToken, done);
    record.times.set(Milestone::Done, done);
    if served.first.is_none() {
        record.times.set(Milestone::FirstToken, None);
        record.times.set(Milestone::LastToken, None);
        record.outcome = Err(Failure::new(FailureClass::Status(504), "").into());
    }
    record
}
