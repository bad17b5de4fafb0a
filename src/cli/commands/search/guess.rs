//! The first guess of a search: the boundary that a calibrated model predicts for its requests.

use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use super::SearchArgs;
use super::trial_spec::TrialSpecs;
use crate::analysis::search::LoadAxis;
use crate::analysis::search::load_guess::LoadGuess;
use crate::cli::commands::predict::{EngineArgs, LoadedModel, prepared_shapes};
use crate::cli::commands::run::RunSession;
use crate::cli::exit::{CliError, print_stderr};
use crate::model::prediction::PredictedKnee;
use crate::model::rule::MetricRule;
use crate::model::run_spec::Load;
use crate::predict::load_draw::LoadDraw;
use crate::predict::offered_load::{OfferedLoad, Pace};
use crate::predict::prediction::predict_knee;
use crate::predict::ticks::Ticks;
use crate::predict::what_if::{FleetSetup, WhatIf};

/// The simulations behind the interval of a guess: fewer than a prediction's, because trials follow.
const MEMBERS: NonZeroUsize = NonZeroUsize::new(12).unwrap();

/// The requests of each simulation.
const REQUESTS: usize = 1000;

/// The age of the loads that a router reads, as `predict` has it by default.
const SIGNAL_DELAY: Duration = Duration::from_millis(50);

/// Predicts the boundary of a search; `None`, with a note, if the model predicts none.
pub(super) fn predict_boundary(
    path: &Path,
    args: &SearchArgs,
    specs: &TrialSpecs,
    session: &RunSession,
) -> Result<Option<LoadGuess>, CliError> {
    let model = LoadedModel::load(path, &EngineArgs::default())?;
    let mut spec = specs.of_requests(REQUESTS);
    spec.target = session.session.target().clone();
    let (workload, _) = prepared_shapes(session, &mut spec, model.block_tokens)?;
    let levels = args.levels()?;
    let over = args.question()?.over;
    let pace = match over {
        LoadAxis::Rate => Pace::Open(Vec::new()),
        LoadAxis::Concurrency => Pace::Closed(NonZeroUsize::MIN),
    };
    let load = OfferedLoad { requests: workload.requests, pace };
    let signal_delay = Ticks::from_seconds(SIGNAL_DELAY.as_secs_f64());
    let (replicas, router) = model.fleet;
    let knee = |drawn: Option<Load>, levels: &[MetricRule]| -> Result<Option<PredictedKnee>, CliError> {
        let question = WhatIf {
            servers: &model.servers,
            fleet: FleetSetup { replicas, split: None, router, signal_delay, autoscale: None },
            load: LoadDraw { recorded: load.clone(), drawn, factor: 1.0 },
            slo: &spec.slo,
            levels,
            percents: specs.percents(),
            members: MEMBERS,
            seed: args.seed,
        };
        predict_knee(&question).map_err(|why| CliError::usage(format!("--model {}: {why}", path.display())))
    };
    let found = match over {
        LoadAxis::Concurrency => knee(None, &levels)?,
        // The servers' capacity first: around it, the arrivals of the simulations are neither many nor few.
        LoadAxis::Rate => match knee(Some(specs.arrivals(1.0)), &[])?.filter(is_usable) {
            Some(capacity) => knee(Some(specs.arrivals(capacity.load.point)), &levels)?,
            None => None,
        },
    };
    let guess = found.filter(is_usable).map(|knee| load_guess(path, knee));
    match &guess {
        Some(guess) => print_stderr(format_args!(
            "guess of {}: {:.3} [{:.3}, {:.3}] {}; limit: {}",
            path.display(),
            guess.load,
            guess.low,
            guess.high,
            over.unit(),
            guess.limit
        )),
        None => print_stderr(format_args!(
            "note: {} predicts no load that is the highest to meet the levels; the search begins at --start",
            path.display()
        )),
    }
    Ok(guess)
}

fn is_usable(knee: &PredictedKnee) -> bool {
    knee.load.point.is_finite() && knee.load.point > 0.0
}

fn load_guess(path: &Path, knee: PredictedKnee) -> LoadGuess {
    LoadGuess {
        model: path.display().to_string(),
        limit: knee.limit,
        low: knee.load.low,
        load: knee.load.point,
        high: knee.load.high,
        extrapolations: knee.extrapolations.iter().map(ToString::to_string).collect(),
    }
}
