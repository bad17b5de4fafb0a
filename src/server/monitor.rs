//! Monitors a live server: its conditions, how long they have lasted, and past incidents.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::model::server::{
    ImpossibleShare, MeasuredValue, ServerSignal, SignalAspect, SignalCondition, SignalStatus,
};
use crate::server::condition_timer::{ConditionTimer, SampleInterval};
use crate::server::health::SnapshotPair;
use crate::server::signals::{EngineFamily, MetricsSnapshot};

/// The window of rates and latencies. A longer window keeps one preemption from looking like many per second.
const RATE_WINDOW: Duration = Duration::from_secs(30);

/// Samples that are kept.
const HISTORY_LEN: usize = 120;

/// A server that does not answer for this long is down. The dashboard's Prometheus rules use the same time.
const DOWN_AFTER: Duration = Duration::from_secs(60);

/// The state of a monitored server.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServerMonitor {
    /// Snapshots of the last [`RATE_WINDOW`] since the server's start, the oldest first.
    snapshots: VecDeque<(Duration, MetricsSnapshot)>,
    tracks: BTreeMap<ServerSignal, SignalTrack>,
    condition_timers: BTreeMap<ServerSignal, ConditionTimer<Duration>>,
    sample_interval: SampleInterval<Duration>,
    silence_timer: ConditionTimer<Duration>,
    /// How long the server has not answered, if it does not answer.
    unreachable_for: Option<Duration>,
    engine: Option<EngineFamily>,
    last: Option<Duration>,
    incidents: BTreeMap<ServerSignal, Incident>,
    alerted: bool,
    /// The shares that the latest snapshots make larger than 1.
    impossible: Vec<ImpossibleShare>,
}

/// A monitored signal.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SignalTrack {
    /// The signal's current condition; `None` if the server does not report it, or counted nothing recently.
    pub condition: Option<SignalCondition>,
    /// The aspect of the signal that is monitored.
    pub aspect: SignalAspect,
    /// The signal's values, the latest last; `None` for a sample without a value.
    pub history: VecDeque<Option<f64>>,
}

/// All incidents of a signal: the times at which it violated its limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Incident {
    /// The number of incidents.
    pub times: u32,
    /// The total duration of the incidents. Each lasts until the sample that shows its end.
    pub time: Duration,
    /// The total duration of the incidents before the latest.
    over: Duration,
    /// The worst condition: the worst status, and within it the value farthest beyond the limit.
    pub worst: SignalCondition,
}

/// A change between two samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum StatusChange {
    /// The server does not answer.
    Unreachable,
    /// The server answers again, after this time without an answer.
    Reachable(Duration),
    /// The server restarted, or lost its counters.
    Restarted,
    /// A signal's status changed, and the old or the new one is a warning or an alert.
    SignalChanged {
        /// The signal.
        signal: ServerSignal,
        /// The aspect of the signal.
        aspect: SignalAspect,
        /// The new condition; `None` if the server no longer reports the signal.
        now: Option<SignalCondition>,
        /// The status before the change.
        before: SignalStatus,
        /// How long the signal violated its limit.
        lasted: Duration,
    },
}

impl ServerMonitor {
    /// The shares that the server's latest counts make larger than 1.
    pub(crate) fn impossible_shares(&self) -> &[ImpossibleShare] {
        &self.impossible
    }

    /// Adds a sample, taken `at` after the first one: the server's snapshot, or `None` if it did not answer. Returns
    /// the changes.
    pub(crate) fn observe(&mut self, at: Duration, reading: Option<MetricsSnapshot>) -> Vec<StatusChange> {
        let apart = self.last.replace(at).map_or(Duration::ZERO, |last| at.saturating_sub(last));
        let mut changes = Vec::new();
        let was_silent = self.unreachable_for.take();
        self.unreachable_for = self.silence_timer.observe(reading.is_none(), at);
        match (was_silent, self.unreachable_for) {
            (None, Some(_)) => changes.push(StatusChange::Unreachable),
            (Some(silent), None) => changes.push(StatusChange::Reachable(silent + apart)),
            _ => {}
        }
        self.alerted |= self.unreachable_for.is_some_and(|silent| silent >= DOWN_AFTER);
        match reading {
            Some(reading) => self.add_snapshot(at, reading, apart, &mut changes),
            // The next answer shows whether the conditions still hold, if it comes soon.
            None => {
                for row in self.tracks.values_mut() {
                    row.push_condition(None);
                }
            }
        }
        changes
    }

    fn add_snapshot(
        &mut self,
        at: Duration,
        reading: MetricsSnapshot,
        apart: Duration,
        changes: &mut Vec<StatusChange>,
    ) {
        let anew = self.snapshots.back().is_some_and(|(_, last)| reading.has_restarted_since(last));
        if anew {
            changes.push(StatusChange::Restarted);
        }
        if self.sample_interval.has_hole(at) || anew {
            self.snapshots.clear();
            self.condition_timers.clear();
        }
        self.engine = reading.engine.or(self.engine);
        while self.snapshots.get(1).is_some_and(|(then, _)| at.saturating_sub(*then) >= RATE_WINDOW) {
            self.snapshots.pop_front();
        }
        let before = self.snapshots.front().map(|(then, reading)| (reading, at.saturating_sub(*then)));
        let before = before.filter(|(_, apart)| !apart.is_zero());
        let span = SnapshotPair { now: &reading, before };
        self.impossible = span.impossible_shares();
        let figures: BTreeMap<ServerSignal, (SignalAspect, MeasuredValue)> =
            span.values().map(|(signal, aspect, figure)| (signal, (aspect, figure))).collect();
        for (signal, (aspect, _)) in &figures {
            self.tracks.entry(*signal).or_insert_with(|| SignalTrack::new(*aspect));
        }
        for (signal, row) in &mut self.tracks {
            let lasting = self.condition_timers.entry(*signal).or_default();
            let condition = figures.get(signal).map(|&(aspect, figure)| {
                let lasted = lasting.observe(SignalCondition::exceeds_limit(*signal, aspect, figure), at);
                SignalCondition::new(*signal, aspect, figure, lasted.unwrap_or_default())
            });
            if condition.is_none() {
                lasting.reset();
            }
            let was_bad = row.condition.is_some_and(|before| before.state >= SignalStatus::Warn);
            changes.extend(row.update(*signal, condition, apart));
            self.alerted |= condition.is_some_and(|now| now.state == SignalStatus::Alert);
            match condition.filter(|now| now.state >= SignalStatus::Warn) {
                Some(now) => record_incident(&mut self.incidents, now),
                None => {
                    let spell = self.incidents.get_mut(signal).filter(|_| was_bad);
                    spell.into_iter().for_each(|spell| spell.time += apart);
                }
            }
        }
        self.snapshots.push_back((at, reading));
    }

    /// Returns all signals that the server has ever reported.
    pub(crate) fn tracks(&self) -> impl Iterator<Item = (ServerSignal, &SignalTrack)> {
        self.tracks.iter().map(|(signal, row)| (*signal, row))
    }

    /// Returns the conditions of all signals that the server reports.
    pub(crate) fn conditions(&self) -> impl Iterator<Item = &SignalCondition> {
        self.tracks.values().filter_map(|row| row.condition.as_ref())
    }

    /// Returns the worst status. A server that does not answer is a warning, and after a minute an alert.
    pub(crate) fn status(&self) -> SignalStatus {
        match self.unreachable_for {
            Some(silent) if silent >= DOWN_AFTER => SignalStatus::Alert,
            Some(_) => SignalStatus::Warn,
            None => self.conditions().map(|condition| condition.state).max().unwrap_or(SignalStatus::Ok),
        }
    }

    /// Returns how long the server has not answered, or `None` if it answers.
    pub(crate) fn unreachable_for(&self) -> Option<Duration> {
        self.unreachable_for
    }

    /// Returns the name of the engine that the page belongs to.
    pub(crate) fn engine(&self) -> Option<&'static str> {
        self.engine.map(EngineFamily::label)
    }

    /// Returns the incidents of each signal that were a warning or an alert.
    pub(crate) fn incidents(&self) -> impl Iterator<Item = (ServerSignal, &Incident)> {
        self.incidents.iter().map(|(signal, spell)| (*signal, spell))
    }

    /// Whether there was an alert.
    pub(crate) fn has_alerted(&self) -> bool {
        self.alerted
    }

    /// Whether the server has ever answered.
    pub(crate) fn has_answered(&self) -> bool {
        self.engine.is_some()
    }
}

impl SignalTrack {
    fn new(aspect: SignalAspect) -> Self {
        Self { condition: None, aspect, history: VecDeque::new() }
    }

    /// Sets the next condition, `apart` after the last one, and returns the change if it is worth reporting.
    fn update(
        &mut self,
        signal: ServerSignal,
        now: Option<SignalCondition>,
        apart: Duration,
    ) -> Option<StatusChange> {
        let before = self.push_condition(now);
        let (state, lasted) =
            before.map_or((SignalStatus::Ok, Duration::ZERO), |it| (it.state, it.lasted + apart));
        let next = now.map_or(SignalStatus::Ok, |now| now.state);
        let matters = next != state && next.max(state) >= SignalStatus::Warn;
        matters.then_some(StatusChange::SignalChanged {
            signal,
            aspect: self.aspect,
            now,
            before: state,
            lasted,
        })
    }

    /// Sets the next condition, and returns the previous one.
    fn push_condition(&mut self, condition: Option<SignalCondition>) -> Option<SignalCondition> {
        if self.history.len() == HISTORY_LEN {
            self.history.pop_front();
        }
        self.history.push_back(condition.map(|condition| condition.figure));
        std::mem::replace(&mut self.condition, condition)
    }
}

fn record_incident(spells: &mut BTreeMap<ServerSignal, Incident>, now: SignalCondition) {
    let (time, over) = (Duration::ZERO, Duration::ZERO);
    let spell = spells.entry(now.signal).or_insert(Incident { times: 0, time, over, worst: now });
    if now.lasted.is_zero() {
        spell.times += 1;
        spell.over = spell.time;
    }
    spell.time = spell.over + now.lasted;
    let farther = (now.figure > spell.worst.figure) != (now.aspect == SignalAspect::Shortfall);
    if (now.state, farther) > (spell.worst.state, false) {
        spell.worst = now;
    }
}

#[cfg(test)]
mod tests;
