//! Decides whether a running trial has enough evidence to end.
//!
//! A trial has about ten checks, so chance gets ten opportunities. To end as too high, a trial must therefore exceed
//! its limit by twice the errors that a finished trial needs. To end as good, it must stay within half of its limits.
//! Only trials that bracket the boundary end early. Near the boundary every second of data counts, and bad trials that
//! end early would weigh less than good ones, so that the boundary would be too high.
//!
//! The requests in flight are the slow ones, and a verdict without them flatters the server. A trial that looks good
//! stops sending early, but it ends only when every level is met with all requests in flight counted as violations. A
//! trial that looks bad ends when a level is violated with all of them counted as met. In between, the trial waits for
//! the answers, for as long as its patience allows ([`TrialPlan::patience`]).

use std::time::Duration;

use super::LoadAxis;
use super::evidence::{Criterion, CriterionEvidence, CriterionOutcome, TrialSample};
use super::trial::{TrialEnd, TrialPlan};
use crate::model::record::Record;
use crate::model::run_spec::Slo;
use crate::stats::LinearTrend;

/// The number of standard errors at which a violation or a trend is clear.
const CLEAR_ERRORS: f64 = 4.0;

/// The smallest number of requests that decides anything.
const MIN_REQUESTS: usize = 20;

/// The number of checks in a full trial.
const CHECKS_PER_TRIAL: u32 = 10;

/// The shortest time between two checks: one second of arrivals.
const MIN_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The largest share of its limits that a clearly good trial uses.
const CLEARLY_MET_SHARE: f64 = 0.5;

/// The share of the arrivals that piles up in a clearly overloaded server.
const MAX_PILE_UP_SHARE: f64 = 0.2;

/// The queue of a server just at its capacity varies by about √(2n) over n arrivals; growth beyond this multiple is not
/// chance.
const QUEUE_WANDER: f64 = 1.5;

/// The state of a trial at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TrialProgress {
    /// The time since the first request was due.
    pub elapsed: Duration,
    /// The number of requests sent so far.
    pub sent: usize,
    /// The number of requests sent and not ended.
    pub in_flight: usize,
}

/// The action that a running trial should take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TrialCommand {
    /// Send no more requests, and wait for the answers.
    SendNoMore,
    /// End now: requests in flight are cut off.
    End,
}

/// Monitors one trial.
pub(crate) struct EarlyStop<'a> {
    criteria: &'a [Criterion],
    slo: &'a Slo,
    over: LoadAxis,
    next: TrialPlan,
    records: Vec<Record>,
    /// The number of requests in flight at each update.
    levels: Vec<f64>,
    last_check: Duration,
    /// When the last request was due, if that is before the planned end of the trial.
    sent_until: Option<Duration>,
    ending: TrialEnd,
}

impl<'a> EarlyStop<'a> {
    /// Starts to monitor this trial.
    pub(crate) fn new(criteria: &'a [Criterion], slo: &'a Slo, over: LoadAxis, next: TrialPlan) -> Self {
        Self {
            criteria,
            slo,
            over,
            next,
            records: Vec::new(),
            levels: Vec::new(),
            last_check: Duration::ZERO,
            sent_until: None,
            ending: TrialEnd::Whole,
        }
    }

    /// Adds a request that ended.
    pub(crate) fn add_record(&mut self, record: &Record) {
        self.records.push(record.clone());
    }

    /// How the trial ended, or would end now.
    pub(crate) fn ending(&self) -> TrialEnd {
        self.ending
    }

    /// Updates the state. Returns the action that the trial should take, or `None` to continue as it is.
    pub(crate) fn update(&mut self, pulse: TrialProgress) -> Option<TrialCommand> {
        let is_sending = self.sent_until.is_none() && pulse.elapsed <= self.next.length;
        if is_sending {
            self.levels.push(pulse.in_flight as f64);
        }
        if pulse.elapsed < self.last_check + MIN_CHECK_INTERVAL.max(self.next.length / CHECKS_PER_TRIAL) {
            return None;
        }
        self.last_check = pulse.elapsed;
        self.records.sort_by_key(|record| record.times.sent());
        if self.next.bracketing && self.is_clearly_missed(pulse) {
            self.end(TrialEnd::PlainlyOver)
        } else if is_sending && self.is_piling_up(pulse) {
            self.end(TrialEnd::PiledUp)
        } else if is_sending {
            self.is_clearly_met(pulse).then(|| self.send_no_more(pulse))
        } else {
            self.stop_waiting(pulse)
        }
    }

    fn end(&mut self, ending: TrialEnd) -> Option<TrialCommand> {
        self.ending = ending;
        Some(TrialCommand::End)
    }

    /// Stops sending. The requests still in flight are the slow ones, so the trial waits for them unless all levels are
    /// met whatever their outcome.
    fn send_no_more(&mut self, pulse: TrialProgress) -> TrialCommand {
        self.ending = TrialEnd::PlainlyUnder;
        self.sent_until = Some(pulse.elapsed);
        if self.is_met_at_worst(pulse) { TrialCommand::End } else { TrialCommand::SendNoMore }
    }

    /// Whether to end a trial that sends no more requests: it waits for the last answers while the outcome depends on
    /// them, up to its patience.
    fn stop_waiting(&mut self, pulse: TrialProgress) -> Option<TrialCommand> {
        let waited = pulse.elapsed.saturating_sub(self.sent_until.unwrap_or(self.next.length));
        if self.ending == TrialEnd::PlainlyUnder && self.is_met_at_worst(pulse) {
            return Some(TrialCommand::End);
        }
        let usual = self.next.length / 2 + MIN_CHECK_INTERVAL;
        let is_enough =
            waited > usual.max(self.next.patience) || waited > usual && !self.depends_on_in_flight(pulse);
        if is_enough { self.end(TrialEnd::CutShort) } else { None }
    }

    /// Evaluates the criteria with the outcome of the requests in flight unknown.
    fn evidence(&self, in_flight: usize, ease: f64) -> impl Iterator<Item = Option<CriterionEvidence>> {
        let sample = TrialSample { records: &self.records, slo: self.slo, in_flight };
        let judged = self.criteria.iter().filter(|criterion| **criterion != Criterion::KeepsUp);
        judged.map(move |criterion| criterion.evidence(sample, None, ease))
    }

    fn is_met_at_worst(&self, pulse: TrialProgress) -> bool {
        self.evidence(pulse.in_flight, 1.0).all(|found| found.is_some_and(|found| found.worst_slack <= 0.0))
    }

    /// Whether the outcome depends on the requests in flight. Only the whole run reports gaps, so the gaps of its last
    /// answers matter.
    fn depends_on_in_flight(&self, pulse: TrialProgress) -> bool {
        self.evidence(pulse.in_flight, 1.0).any(|found| found.is_none_or(|found| found.depends_on_censored()))
    }

    fn is_clearly_missed(&self, pulse: TrialProgress) -> bool {
        let known = self
            .evidence(pulse.in_flight, 1.0)
            .flatten()
            .filter(|found| found.n - found.censored >= MIN_REQUESTS);
        known.into_iter().any(|found| found.slack > CLEAR_ERRORS * found.error)
    }

    /// Whether requests pile up. A server whose batch fills also has more and more requests in flight, but TTFT grows
    /// only where requests wait. The test for over-saturation therefore requires both to rise, and by as much as a
    /// backlog would cause.
    fn is_piling_up(&self, pulse: TrialProgress) -> bool {
        if self.over != LoadAxis::Rate || self.records.len() < MIN_REQUESTS {
            return false;
        }
        let arrivals = pulse.sent.max(1) as f64;
        let rises = |trend: LinearTrend, least: f64| {
            trend.score > CLEAR_ERRORS && trend.rise > least.max(trend.start)
        };
        let backlog = (MAX_PILE_UP_SHARE * arrivals).max(QUEUE_WANDER * (2.0 * arrivals).sqrt());
        let waits = |record: &Record| record.ttft().or(record.e2e()).map(|wait| wait.as_secs_f64());
        let waits: Vec<f64> = self.records.iter().filter_map(waits).collect();
        let longer = MAX_PILE_UP_SHARE / 2.0 * pulse.elapsed.as_secs_f64();
        LinearTrend::fit(&self.levels).is_some_and(|trend| rises(trend, backlog))
            && LinearTrend::fit(&waits).is_some_and(|trend| rises(trend, longer))
    }

    /// Whether the trial can stop sending: all requests that ended stay within half of the limits.
    fn is_clearly_met(&self, pulse: TrialProgress) -> bool {
        let settled = self.next.bracketing
            && pulse.elapsed >= self.next.length / 3
            && self.records.len() >= MIN_REQUESTS.max(pulse.in_flight);
        settled
            && self.evidence(0, CLEARLY_MET_SHARE).all(|found| {
                // The strictest possible result is that no request is beyond half of the limit.
                found.is_some_and(|found| found.outcome() == CriterionOutcome::Met || found.beyond == Some(0))
            })
    }
}
