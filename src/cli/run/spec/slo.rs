//! The flags of the SLO.

use crate::cli::run::args::{GoodputFrom, RunArgs};
use crate::core::metrics::Latency;
use crate::core::spec::{Slo, SloFrom, Task};

/// What the flags ask for.
pub fn slo(args: &RunArgs) -> Result<Slo, String> {
    let from = match args.measure.goodput_from {
        GoodputFrom::Due => SloFrom::Due,
        GoodputFrom::Sent => SloFrom::Sent,
    };
    let mut slo = Slo { from, ..Slo::default() };
    let streams = args.target.backend.task() == Task::Generation && !args.sampling.no_stream;
    for objective in &args.measure.goodput {
        if objective.latency.needs_stream() && !streams {
            let key = objective.latency.key();
            return Err(format!(
                "--goodput {key}: answers come in one piece, so it has nothing to limit; e2el has"
            ));
        }
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
