//! Converts the flags of a rate that changes.

use std::time::Duration;

use super::trace;
use crate::cli::args::{PaceArgs, RampByName, RampStrategyName, RunArgs};
use crate::model::run_spec::{Ramp, RampBy, RampStrategy, RateSchedule};

/// Builds the rate schedule.
pub(super) fn pace(args: &RunArgs) -> Result<RateSchedule, String> {
    if trace::is_timed(args)? {
        return Ok(RateSchedule::Trace);
    }
    let Some(flag) = args.pace.flag() else { return Ok(RateSchedule::Steady) };
    if args.load.first_rate().is_some_and(|rate| rate.is_finite()) {
        return Err(format!("{flag} sets the rate: omit --request-rate"));
    }
    match args.pace.ramp_up_strategy {
        Some(_) if !args.pace.stages.is_empty() => {
            Err("--stages and --ramp-up-strategy both set the rate: omit one".into())
        }
        Some(strategy) => ramp(strategy, &args.pace).map(RateSchedule::Ramp),
        None => stages(args),
    }
}

fn ramp(strategy: RampStrategyName, args: &PaceArgs) -> Result<Ramp, String> {
    let strategy = match strategy {
        RampStrategyName::Linear => RampStrategy::Linear,
        RampStrategyName::Exponential => RampStrategy::Exponential,
    };
    let by = match args.ramp_up_by {
        RampByName::Time => RampBy::Time,
        RampByName::Index => RampBy::Index,
    };
    let (start, end) = (args.ramp_up_start_rps.unwrap_or_default(), args.ramp_up_end_rps.unwrap_or_default());
    if end == 0.0 {
        return Err("--ramp-up-end-rps must be above 0".into());
    }
    if start == 0.0 && (strategy, by) != (RampStrategy::Linear, RampBy::Time) {
        return Err(
            "--ramp-up-start-rps 0 needs --ramp-up-strategy linear and --ramp-up-by time; otherwise the first \
                    gap would be infinite"
                .into(),
        );
    }
    Ok(Ramp { strategy, by, start, end })
}

fn stages(args: &RunArgs) -> Result<RateSchedule, String> {
    let stages = args.pace.stages.clone();
    if args.load.duration.is_some() {
        return Err("--stages sets the duration of the run: omit --duration".into());
    }
    if stages.iter().all(|stage| stage.rate == 0.0) {
        return Err("--stages sends nothing; give at least one stage a rate above 0".into());
    }
    Ok(RateSchedule::Stages { stages })
}

/// Returns the run's duration if the schedule determines it.
pub(super) fn length(pace: &RateSchedule) -> Option<Duration> {
    match pace {
        RateSchedule::Stages { stages } => {
            Some(stages.iter().fold(Duration::ZERO, |sum, stage| sum.saturating_add(stage.length)))
        }
        _ => None,
    }
}
