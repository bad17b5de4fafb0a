//! Whether a trial under way has said enough.
//!
//! It is looked at about ten times, so chance gets ten chances: what ends a trial as over must be beyond its limit by twice
//! the errors that a finished trial needs, and what ends it as under must keep to half of its limits. Only trials that
//! bracket the boundary end early as either: near the boundary every second tells, and bad trials that end early would weigh less than
//! good ones, so that the boundary would come out too high.
//!
//! The requests in flight are the slow ones, and a verdict without them flatters the server. A trial that looks good stops sending
//! early, but it ends only when every level holds with all that are still in flight counted as missed; a trial that looks bad
//! ends when a level is missed with all of them counted as met. Between the two the answers are waited for, for as long as the
//! search has patience ([`Next::patience`]).

use std::time::Duration;

use super::Over;
use super::evidence::{Criterion, Evidence, Outcome, Sample};
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

/// What a trial under way should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Send nothing more, and wait for the answers.
    SendNoMore,
    /// End now: what is in flight is cut off.
    End,
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
    /// When the last request was due, unless that is the trial's length.
    sent_until: Option<Duration>,
    ending: Ending,
}

impl<'a> Watch<'a> {
    /// Of this trial.
    pub fn new(criteria: &'a [Criterion], slo: &'a Slo, over: Over, next: Next) -> Self {
        Self {
            criteria,
            slo,
            over,
            next,
            records: Vec::new(),
            levels: Vec::new(),
            looked: Duration::ZERO,
            sent_until: None,
            ending: Ending::Whole,
        }
    }

    /// A request ended.
    pub fn ended(&mut self, record: &Record) {
        self.records.push(record.clone());
    }

    /// How the trial ended, or would end now.
    pub fn ending(&self) -> Ending {
        self.ending
    }

    /// Time has passed. Says what the trial should do, if it should not go on as it is.
    pub fn pulse(&mut self, pulse: Pulse) -> Option<Order> {
        let is_sending = self.sent_until.is_none() && pulse.elapsed <= self.next.length;
        if is_sending {
            self.levels.push(pulse.in_flight as f64);
        }
        if pulse.elapsed < self.looked + SECOND.max(self.next.length / LOOKS) {
            return None;
        }
        self.looked = pulse.elapsed;
        self.records.sort_by_key(|record| record.times.sent);
        if self.next.bracketing && self.is_plainly_over(pulse) {
            self.end(Ending::PlainlyOver)
        } else if is_sending && self.has_piled_up(pulse) {
            self.end(Ending::PiledUp)
        } else if is_sending {
            self.is_plainly_under(pulse).then(|| self.send_no_more(pulse))
        } else {
            self.need_not_wait(pulse)
        }
    }

    fn end(&mut self, ending: Ending) -> Option<Order> {
        self.ending = ending;
        Some(Order::End)
    }

    /// Those in flight are the slow ones: unless the levels hold whatever becomes of them, they are waited for.
    fn send_no_more(&mut self, pulse: Pulse) -> Order {
        self.ending = Ending::PlainlyUnder;
        self.sent_until = Some(pulse.elapsed);
        if self.holds_at_worst(pulse) { Order::End } else { Order::SendNoMore }
    }

    /// Nothing more is sent. The last answers are waited for as long as much hangs on them, within the trial's patience.
    fn need_not_wait(&mut self, pulse: Pulse) -> Option<Order> {
        let waited = pulse.elapsed.saturating_sub(self.sent_until.unwrap_or(self.next.length));
        if self.ending == Ending::PlainlyUnder && self.holds_at_worst(pulse) {
            return Some(Order::End);
        }
        let usual = self.next.length / 2 + SECOND;
        let is_enough = waited > usual.max(self.next.patience) || waited > usual && !self.hangs_on(pulse);
        if is_enough { self.end(Ending::CutShort) } else { None }
    }

    /// What the criteria say, with nothing known of those in flight.
    fn evidence(&self, in_flight: usize, ease: f64) -> impl Iterator<Item = Option<Evidence>> {
        let sample = Sample { records: &self.records, slo: self.slo, in_flight };
        let judged = self.criteria.iter().filter(|criterion| **criterion != Criterion::KeepsUp);
        judged.map(move |criterion| criterion.evidence(sample, None, ease))
    }

    fn holds_at_worst(&self, pulse: Pulse) -> bool {
        self.evidence(pulse.in_flight, 1.0).all(|found| found.is_some_and(|found| found.worst_slack <= 0.0))
    }

    /// Whether the outcome depends on those in flight. Gaps are stated by the whole run only, so those of its last answers matter.
    fn hangs_on(&self, pulse: Pulse) -> bool {
        self.evidence(pulse.in_flight, 1.0).any(|found| found.is_none_or(|found| found.hangs_on_censored()))
    }

    fn is_plainly_over(&self, pulse: Pulse) -> bool {
        let known =
            self.evidence(pulse.in_flight, 1.0).flatten().filter(|found| found.n - found.censored >= FEWEST);
        known.into_iter().any(|found| found.slack > PLAIN * found.error)
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

    /// Whether the trial can stop sending: of those that ended, all keep to half of the limits.
    fn is_plainly_under(&self, pulse: Pulse) -> bool {
        let settled = self.next.bracketing
            && pulse.elapsed >= self.next.length / 3
            && self.records.len() >= FEWEST.max(pulse.in_flight);
        settled
            && self.evidence(0, EASE).all(|found| {
                // Not one beyond half of the limit is as few as can be.
                found.is_some_and(|found| found.outcome() == Outcome::Met || found.beyond == Some(0))
            })
    }
}
