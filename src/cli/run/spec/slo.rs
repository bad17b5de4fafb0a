//! The flags of the SLO.

use crate::cli::run::args::{GoodputFrom, RunArgs};
use crate::cli::run::values::Objective;
use crate::core::metrics::Latency;
use crate::core::spec::{Dataset, Slo, SloFrom, Task};

/// What the flags ask for, and the classes of a mix.
pub fn slo(args: &RunArgs, dataset: &Dataset) -> Result<Slo, String> {
    let from = match args.measure.goodput_from {
        GoodputFrom::Due => SloFrom::Due,
        GoodputFrom::Sent => SloFrom::Sent,
    };
    let mut slo = Slo { from, ..limits(&args.measure.goodput, streams(args))? };
    if let Dataset::Mix { classes, .. } = dataset {
        let own = classes.iter().filter_map(|class| {
            let limits = class.slo.clone()?;
            Some((class.name.clone(), Slo { from, ..limits }))
        });
        slo.classes = own.collect();
    }
    Ok(slo)
}

/// Whether answers come as streams, so that there are first tokens and others.
pub fn streams(args: &RunArgs) -> bool {
    args.target.backend.task() == Task::Generation && !args.sampling.no_stream
}

/// The limits of `--goodput`.
pub fn limits(objectives: &[Objective], streams: bool) -> Result<Slo, String> {
    let mut slo = Slo::default();
    for objective in objectives {
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
