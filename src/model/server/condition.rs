//! The comparison of a signal to its limit.

use std::time::Duration;

use serde::Serialize;

use super::{ServerSignal, Severity, SignalAspect, SignalLimit};

/// A measured value, or a lower bound of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeasuredValue {
    /// The value.
    pub value: f64,
    /// Whether the true value is only known to lie above this one, as for a quantile above the last finite bound of a
    /// histogram.
    pub is_lower_bound: bool,
}

impl From<f64> for MeasuredValue {
    fn from(value: f64) -> Self {
        Self { value, is_lower_bound: false }
    }
}

/// The condition of a server by one signal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SignalCondition {
    /// The signal.
    pub signal: ServerSignal,
    /// The aspect of the signal that is compared: its limit's aspect, else the value itself, or the mean of times.
    pub aspect: SignalAspect,
    /// The value of the aspect, in the signal's unit; for growth, per second.
    pub figure: f64,
    /// Whether the true value is only known to lie above the measured one.
    pub is_lower_bound: bool,
    /// The status of the signal; `Ok` for a value that does not describe the present.
    pub state: SignalStatus,
    /// How long the value has exceeded its limit, as far as it was observed; zero within the limit.
    pub lasted: Duration,
    /// The period that the value covers.
    pub period: MeasurementPeriod,
}

/// The period that a value covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MeasurementPeriod {
    /// The present: this moment, or the time between two samples.
    Now,
    /// The whole time since the server's start: nothing was counted between two samples.
    SinceStart,
}

/// The status of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SignalStatus {
    /// The value is within its limit, or has none.
    Ok,
    /// The value exceeds a limit that depends on the server's purpose.
    Hint,
    /// The value exceeds a limit that users notice, or one that must be exceeded for longer than was observed.
    Warn,
    /// The value exceeds a limit for the required time.
    Alert,
}

impl SignalCondition {
    /// The condition of a value that has exceeded its limit, if it does, for this duration.
    pub(crate) fn new(
        signal: ServerSignal,
        aspect: SignalAspect,
        figure: impl Into<MeasuredValue>,
        lasted: Duration,
    ) -> Self {
        let figure = figure.into();
        let limit = exceeded_limit(signal, aspect, figure);
        let state = limit.map_or(SignalStatus::Ok, |limit| match limit.level {
            Severity::Alert if lasted >= limit.lasting => SignalStatus::Alert,
            // The value is off the scale of the server's own histogram.
            Severity::Warn if figure.is_lower_bound => SignalStatus::Alert,
            Severity::Alert | Severity::Warn => SignalStatus::Warn,
            Severity::Hint => SignalStatus::Hint,
        });
        let lasted = if limit.is_some() { lasted } else { Duration::ZERO };
        let MeasuredValue { value: figure, is_lower_bound } = figure;
        Self { signal, aspect, figure, is_lower_bound, state, lasted, period: MeasurementPeriod::Now }
    }

    /// The condition of a value over the whole time since the server's start, which does not describe the present.
    pub(crate) fn since_start(signal: ServerSignal, aspect: SignalAspect, figure: MeasuredValue) -> Self {
        let (state, lasted) = (SignalStatus::Ok, Duration::ZERO);
        let MeasuredValue { value: figure, is_lower_bound } = figure;
        Self { signal, aspect, figure, is_lower_bound, state, lasted, period: MeasurementPeriod::SinceStart }
    }

    /// Returns whether a value exceeds the signal's limit, if it has one.
    pub(crate) fn exceeds_limit(signal: ServerSignal, aspect: SignalAspect, figure: MeasuredValue) -> bool {
        exceeded_limit(signal, aspect, figure).is_some()
    }
}

fn exceeded_limit(signal: ServerSignal, aspect: SignalAspect, figure: MeasuredValue) -> Option<SignalLimit> {
    signal.info().limit.filter(|limit| limit.of == aspect && limit.is_exceeded_by(figure))
}

impl SignalLimit {
    /// Returns whether a value is on the bad side of the limit. A value above every finite bound of the server's
    /// histogram is, except for a shortfall.
    pub fn is_exceeded_by(&self, figure: MeasuredValue) -> bool {
        match self.of {
            SignalAspect::Shortfall => figure.value < self.bound && !figure.is_lower_bound,
            SignalAspect::Value | SignalAspect::Growth | SignalAspect::Mean | SignalAspect::P95 => {
                figure.value > self.bound || figure.is_lower_bound
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(signal: ServerSignal, aspect: SignalAspect, figure: f64, seconds: u64) -> SignalStatus {
        SignalCondition::new(signal, aspect, figure, Duration::from_secs(seconds)).state
    }

    #[test]
    fn a_limit_is_crossed_and_not_touched() {
        assert_eq!(state(ServerSignal::Waiting, SignalAspect::Value, 10.0, 0), SignalStatus::Ok);
        assert_eq!(state(ServerSignal::Waiting, SignalAspect::Value, 11.0, 0), SignalStatus::Alert);
        assert_eq!(state(ServerSignal::PrefixHitRate, SignalAspect::Shortfall, 0.39, 0), SignalStatus::Hint);
        assert_eq!(state(ServerSignal::Ttft, SignalAspect::P95, 0.6, 0), SignalStatus::Warn);
        assert_eq!(state(ServerSignal::Running, SignalAspect::Value, 1e9, 0), SignalStatus::Ok);
    }

    #[test]
    fn what_lies_above_all_bounds_is_beyond_every_limit() {
        for (aspect, signal, expected) in [
            (SignalAspect::P95, ServerSignal::Ttft, SignalStatus::Alert),
            (SignalAspect::Mean, ServerSignal::Itl, SignalStatus::Alert),
            (SignalAspect::Mean, ServerSignal::E2e, SignalStatus::Ok),
        ] {
            let beyond = MeasuredValue { value: 0.025, is_lower_bound: true };
            let condition = SignalCondition::new(signal, aspect, beyond, Duration::ZERO);
            assert_eq!((condition.state, condition.is_lower_bound), (expected, true), "{signal:?}");
        }
    }

    #[test]
    fn what_must_last_is_a_warning_until_it_has() {
        assert_eq!(state(ServerSignal::Swapped, SignalAspect::Value, 1.0, 299), SignalStatus::Warn);
        assert_eq!(state(ServerSignal::Swapped, SignalAspect::Value, 1.0, 300), SignalStatus::Alert);
        let lasted = |figure| {
            SignalCondition::new(ServerSignal::Swapped, SignalAspect::Value, figure, Duration::from_secs(9))
                .lasted
        };
        assert_eq!((lasted(1.0).as_secs(), lasted(0.0).as_secs()), (9, 0));
    }
}
