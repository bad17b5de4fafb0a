//! Whether a trial under way has said enough.
//!
//! It is looked at about ten times, so chance gets ten chances: what ends a trial as over must be beyond its limit by twice
//! the errors that a finished trial needs, and what ends it as under must keep to half of its limits. Only trials that
//! bracket the boundary end as under: near the boundary every second tells.

use std::time::Duration;

use super::Over;
use super::evidence::{Criterion, Outcome};
use super::trial::{Ending, Next};
use crate::core::record::Record;
use crate::core::spec::Slo;
use crate::core::stats::Trend;

/// Standard errors beyond which a level is plainly missed, or a trend is plainly there.
const PLAIN: f64 = 4.0;

/// Fewer requests settle nothing.
const FEWEST: usize = 20;

/// Looks at the whole trial.
const LOOKS: u32 = 10;

/// The least time between two looks: a second of arrivals.
const SECOND: Duration = Duration::from_secs(1);

/// How much of the limits a trial that is plainly under uses at most.
const EASE: f64 = 0.5;

/// The share of the arrivals that piles up in a server that is plainly over.
const PILED_UP: f64 = 0.2;

/// The queue of a server just at its capacity wanders by about √(2n) over n arrivals; this many times that is no wandering.
const WANDERING: f64 = 1.5;

/// The state of a trial at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pulse {
    /// Since the first request was due.
    pub elapsed: Duration,
    /// Requests sent so far.
    pub sent: usize,
    /// Requests sent and not ended.
    pub in_flight: usize,
}

/// Watches one trial.
pub struct Watch<'a> {
    criteria: &'a [Criterion],
    slo: &'a Slo,
    over: Over,
    next: Next,
    records: Vec<Record>,
    /// In flight, at each pulse.
    levels: Vec<f64>,
    looked: Duration,
}

impl<'a> Watch<'a> {
    /// Of this trial.
    pub fn new(criteria: &'a [Criterion], slo: &'a Slo, over: Over, next: Next) -> Self {
        Self { criteria, slo, over, next, records: Vec::new(), levels: Vec::new(), looked: Duration::ZERO }
    }

    /// A request ended.
    pub fn ended(&mut self, record: &Record) {
        self.records.push(record.clone());
    }

    /// Time has passed. Says how the trial has ended, if it need not go on.
    pub fn pulse(&mut self, pulse: Pulse) -> Option<Ending> {
        let Pulse { elapsed, in_flight, .. } = pulse;
        if elapsed <= self.next.length {
            self.levels.push(in_flight as f64);
        } else if elapsed > self.next.length * 3 / 2 + SECOND {
            return Some(Ending::CutShort);
        }
        if elapsed < self.looked + SECOND.max(self.next.length / LOOKS) {
            return None;
        }
        self.looked = elapsed;
        self.records.sort_by_key(|record| record.times.sent);
        if self.is_plainly_over() {
            Some(Ending::PlainlyOver)
        } else if self.has_piled_up(pulse) {
            Some(Ending::PiledUp)
        } else if self.is_plainly_under(pulse) {
            Some(Ending::PlainlyUnder)
        } else {
            None
        }
    }

    fn is_plainly_over(&self) -> bool {
        let evidence = self
            .criteria
            .iter()
            .filter_map(|criterion| criterion.evidence(&self.records, self.slo, None, 1.0));
        evidence.filter(|found| found.n >= FEWEST).any(|found| found.slack > PLAIN * found.error)
    }

    /// A server that fills also has ever more requests in flight; TTFT grows only where they wait (the over-saturation test:
    /// both must rise, and by as much as a backlog would).
    fn has_piled_up(&self, pulse: Pulse) -> bool {
        if self.over != Over::Rate || self.records.len() < FEWEST {
            return false;
        }
        let arrivals = pulse.sent.max(1) as f64;
        let rises = |trend: Trend, least: f64| trend.score > PLAIN && trend.rise > least.max(trend.start);
        let backlog = (PILED_UP * arrivals).max(WANDERING * (2.0 * arrivals).sqrt());
        let waits = |record: &Record| record.ttft().or(record.e2e()).map(|wait| wait.as_secs_f64());
        let waits: Vec<f64> = self.records.iter().filter_map(waits).collect();
        let longer = PILED_UP / 2.0 * pulse.elapsed.as_secs_f64();
        Trend::of(&self.levels).is_some_and(|trend| rises(trend, backlog))
            && Trend::of(&waits).is_some_and(|trend| rises(trend, longer))
    }

    /// Those that are done so far are the fast ones, so few may be missing.
    fn is_plainly_under(&self, pulse: Pulse) -> bool {
        let settled = self.next.bracketing
            && pulse.elapsed >= self.next.length / 3
            && self.records.len() >= FEWEST.max(4 * pulse.in_flight);
        settled
            && self.criteria.iter().filter(|criterion| **criterion != Criterion::KeepsUp).all(|criterion| {
                let found = criterion.evidence(&self.records, self.slo, None, EASE);
                // Not one beyond half of the limit is as few as can be.
                found.is_some_and(|found| found.outcome() == Outcome::Met || found.beyond == Some(0))
            })
    }
}
