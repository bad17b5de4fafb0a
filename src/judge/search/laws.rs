//! Servers that never were, for studies of whole searches: arrivals and services in virtual time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng};
use rand_distr::{Distribution as _, Exp};

use crate::core::record::{Failure, FailureClass, Record};
use crate::core::simulated::record;

/// What a request asks of a server, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Job {
    /// From leaving the queue to the first token.
    pub prefill: f64,
    /// From the first token to the last.
    pub decode: f64,
}

/// What a law may depend on when a request arrives.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// Requests per second.
    pub rate: f64,
    /// Whether no slot is free.
    pub is_full: bool,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy)]
pub enum Fate {
    /// It waits for a slot and is answered.
    Served(Job),
    /// It takes no slot and fails after so many seconds.
    Fails(f64),
}

/// A server, first come, first served.
#[derive(Clone, Copy)]
pub struct Law {
    /// Requests at once.
    pub slots: usize,
    /// Of each request.
    pub fate: fn(Arrival, &mut StdRng) -> Fate,
}

/// A first token after about 50 ms and a last one after half a second on average (as [`Queue`](crate::core::simulated::Queue)).
fn ordinary(rng: &mut StdRng) -> Job {
    let decode = Exp::new(1.0 / 0.45).unwrap().sample(rng);
    Job { prefill: rng.random_range(0.025..0.075), decode }
}

fn takes(seconds: f64) -> Job {
    Job { prefill: 0.05, decode: seconds - 0.05 }
}

/// Ten slots, an ordinary queue.
pub const QUEUE: Law = Law { slots: 10, fate: |_, rng| Fate::Served(ordinary(rng)) };

/// One answer in ten takes 15 s at any load, the others one.
pub const BIMODAL: Law =
    Law { slots: 100_000, fate: |_, rng| Fate::Served(takes(if rng.random_bool(0.1) { 15.0 } else { 1.0 })) };

/// An ordinary queue with 16 slots, in which one request in 50 takes its slot for 8 s.
pub const ONE_IN_50: Law = Law {
    slots: 16,
    fate: |_, rng| Fate::Served(if rng.random_bool(0.02) { takes(8.0) } else { ordinary(rng) }),
};

/// Up to 10 req/s all answers are quick; of each further request per second 3 % more take 12 s.
pub const SLOW_ABOVE: Law = Law {
    slots: 100_000,
    fate: |Arrival { rate, .. }, rng| {
        let slow = (0.03 * (rate - 10.0)).clamp(0.0, 0.6);
        Fate::Served(if rng.random_bool(slow) { takes(12.0) } else { ordinary(rng) })
    },
};

/// A queue with 12 slots. Of the requests that find all of them taken one in four fails after 25 s, of all one in 300.
pub const LATE_FAILURES: Law = Law {
    slots: 12,
    fate: |Arrival { is_full, .. }, rng| match rng.random_bool(if is_full { 0.25 } else { 1.0 / 300.0 }) {
        true => Fate::Fails(25.0),
        false => Fate::Served(ordinary(rng)),
    },
};

impl Law {
    /// Poisson arrivals for a time; the server starts empty.
    pub fn serve(&self, rate: f64, time: Duration, seed: u64) -> Vec<Record> {
        self.times(rate, seed)
            .take_while(|served| served.due < time.as_secs_f64())
            .enumerate()
            .map(to_record)
            .collect()
    }

    /// When requests are due and answered, without end.
    pub fn times(&self, rate: f64, seed: u64) -> impl Iterator<Item = Served> {
        let [mut gaps, mut fates] = [0, 1].map(|stream| StdRng::seed_from_u64(seed ^ (stream << 32)));
        let gap = Exp::new(rate).unwrap();
        let (mut due, mut busy, Self { slots, fate }) = (0.0, BinaryHeap::<Reverse<u64>>::new(), *self);
        let nanos = |seconds: f64| (seconds * 1e9) as u64;
        std::iter::repeat_with(move || {
            due += gap.sample(&mut gaps);
            while busy.peek().is_some_and(|Reverse(end)| *end <= nanos(due)) {
                busy.pop();
            }
            let is_full = busy.len() == slots;
            match fate(Arrival { rate, is_full }, &mut fates) {
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

/// When a request was due, got its first token, and ended, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Served {
    pub due: f64,
    /// `None` for one that fails.
    pub first: Option<f64>,
    pub done: f64,
}

fn to_record((ordinal, served): (usize, Served)) -> Record {
    let at = Duration::from_secs_f64;
    let due = at(served.due);
    let first = served.first.map_or(due, at);
    let mut record = record(ordinal, due, first, first);
    let done = Some(at(served.done));
    (record.times.last_token, record.times.done) = (done, done);
    if served.first.is_none() {
        (record.times.first_token, record.times.last_token) = (None, None);
        record.outcome = Err(Failure::new(FailureClass::Status(504), ""));
    }
    record
}
