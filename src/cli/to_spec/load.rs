//! Converts the load flags.

use std::num::NonZeroUsize;

use super::{pace, positive, sessions, workload};
use crate::cli::args::{LoadArgs, RunArgs};
use crate::model::run_spec::{Load, RateSchedule};
use crate::model::units::Rate;

/// The rate with `--sim` alone: the thousand bundled requests then take about a minute.
const SIM_RATE: f64 = 20.0;

/// The number of connections that `--preconnect` opens if no flag says how many are needed.
const PRECONNECT: usize = 64;

/// Builds the load.
pub(super) fn load(args: &RunArgs) -> Result<Load, String> {
    let LoadArgs { burstiness, duration, num_warmups, .. } = args.load;
    let (request_rate, max_concurrency) = (args.load.first_rate(), args.load.first_cap());
    let pace = pace::pace(args)?;
    let capped = max_concurrency.is_some() || args.sessions.max_active_sessions.is_some();
    let paced_by_sim = pace == RateSchedule::Steady && args.target.sim && !capped;
    let default = match (paced_by_sim, Rate::per_second(SIM_RATE)) {
        (true, Some(rate)) => rate,
        _ => Rate::INFINITE,
    };
    let mut load = Load {
        request_rate: request_rate.unwrap_or(default),
        pace,
        burstiness,
        normalize_arrivals: !args.load.no_normalize_arrivals,
        max_concurrency,
        max_active_sessions: max_active_sessions(args),
        duration: duration.map(|duration| positive(duration, "--duration")).transpose()?,
        cycle: false,
        probes: args.pace.probes(),
        num_warmups: num_warmups.unwrap_or_default(),
        warmup: args.load.warmup,
        preconnect: preconnect(args),
        workers: args.load.workers,
    };
    load.duration = load.duration.or_else(|| pace::length(&load.pace));
    if load.warmup.is_some() && load.pace == RateSchedule::Trace {
        return Err(
            "--warmup cannot be used with a trace, which has no rate before it starts; use --num-warmups"
                .into(),
        );
    }
    if load.warmup.is_some() && !load.is_paced() && load.closed_loop_size().is_none() {
        return Err("--warmup needs --request-rate or --max-concurrency; otherwise use --num-warmups".into());
    }
    load.cycle = load.is_closed_loop() && load.duration.is_some() && !workload::is_counted(args);
    Ok(load)
}

/// Returns the given limit. In a closed loop of sessions, the default is the limit of requests in flight: otherwise
/// every session's first turn would come before any second turn.
fn max_active_sessions(args: &RunArgs) -> Option<NonZeroUsize> {
    let sessions = sessions::are_wanted(args);
    let rate = args.load.first_rate().unwrap_or(Rate::INFINITE);
    let default = args.load.first_cap().filter(|_| sessions && !rate.is_finite());
    args.sessions.max_active_sessions.or(default)
}

/// Returns the number of connections to open before the run: 0 without `--preconnect`, N with `--preconnect N`. With a
/// bare `--preconnect` it is the cap on requests in flight, else that on active sessions, else [`PRECONNECT`].
fn preconnect(args: &RunArgs) -> usize {
    match args.load.preconnect {
        None => 0,
        Some(0) => {
            args.load.first_cap().or(args.sessions.max_active_sessions).map_or(PRECONNECT, usize::from)
        }
        Some(asked) => asked,
    }
}
