//! The flags of the SLO.

use crate::cli::run::args::{GoodputFrom, RunArgs};
use crate::core::metrics::Latency;
use crate::core::spec::{Slo, SloFrom};

/// What the flags ask for.
pub fn slo(args: &RunArgs) -> Result<Slo, String> {
    let from = match args.measure.goodput_from {
        GoodputFrom::Due => SloFrom::Due,
        GoodputFrom::Sent => SloFrom::Sent,
    };
    let mut slo = Slo { from, ..Slo::default() };
    for objective in &args.measure.goodput {
        let limit = match objective.latency {
            Latency::Ttft => &mut slo.ttft,
            Latency::Tpot => &mut slo.tpot,
            _ => &mut slo.e2e,
        };
        if limit.replace(objective.limit).is_some() {
            return Err(format!("--goodput gives {} twice", objective.latency.key()));
        }
    }
    Ok(slo)
}
