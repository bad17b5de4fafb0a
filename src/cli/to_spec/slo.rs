//! Converts the SLO flags.

use crate::cli::args::values::Objective;
use crate::cli::args::{GoodputFrom, RunArgs};
use crate::model::metrics::Latency;
use crate::model::run_spec::{BackendTask, Dataset, Slo, SloFrom};

/// Builds the SLO from the flags and from the classes of a mix.
pub(super) fn slo(args: &RunArgs, dataset: &Dataset) -> Result<Slo, String> {
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

/// Whether responses are streams, which show when the first token and each later one arrived.
pub(super) fn streams(args: &RunArgs) -> bool {
    args.target.backend.task() == BackendTask::Generation && !args.sampling.no_stream
}

/// Builds the limits of `--goodput`.
pub(super) fn limits(objectives: &[Objective], streams: bool) -> Result<Slo, String> {
    let mut slo = Slo::default();
    for objective in objectives {
        if objective.latency.is_stream_only() && !streams {
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
