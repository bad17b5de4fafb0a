//! Calibration: from results of a client to a model of the server behind them, with its errors.
//!
//! ```text
//! result files ─▶ measured ─▶ fit ⇄ replay (the run itself, simulated) ─▶ ensemble ─▶ server_model
//!                               └ step_terms, nnls, overhead                └ figures: errors, hold-out
//! ```

mod doubts;
pub(crate) mod ensemble;
pub(crate) mod figures;
pub(crate) mod fit;
mod fit_block;
pub(crate) mod load_point;
pub(crate) mod measured;
mod nnls;
pub(crate) mod overhead;
pub(crate) mod replay;
pub(crate) mod reported;
mod step_terms;
mod term_choice;

use figures::{RunFigures, measured_times, replayed_times};
use fit::{Fit, FitError, FitInput, FittedCosts};
use load_point::LoadPoint;
use measured::MeasuredRun;
use replay::{CalibrationFleet, replay};

use super::noise::{IntakeDelay, StepNoise};
use super::replica::ServerConfig;
use super::seen_steps::SeenSteps;
use super::server_model::{
    CoefficientEstimate, EngineFacts, FORMAT, PointCheck, RunCheck, ServerCosts, ServerModel, StepResiduals,
};
use super::ticks::Ticks;
use crate::sim::scheduler::SchedulerLimits;

/// What a calibration uses.
#[derive(Clone, Debug)]
pub(crate) struct CalibrationInput {
    pub runs: Vec<MeasuredRun>,
    /// Load points without single requests.
    pub points: Vec<LoadPoint>,
    /// Runs that the model is only checked on.
    pub holdout: Vec<MeasuredRun>,
    pub facts: EngineFacts,
    pub fleet: CalibrationFleet,
    /// The number of requests at the start of each run whose times are used; `None` for all.
    pub fit_first: Option<usize>,
    /// The seed of the bootstrap.
    pub seed: u64,
    pub served_model: Option<String>,
}

/// Calibrates a model of the server behind the runs.
///
/// # Errors
///
/// The runs have too few answers, or cannot be simulated with these facts.
pub(crate) fn calibrate(input: &CalibrationInput) -> Result<ServerModel, FitError> {
    let limits = input.facts.limits();
    let fit_input = FitInput {
        runs: &input.runs,
        points: &input.points,
        limits,
        fleet: input.fleet,
        fit_first: input.fit_first,
    };
    let fit = fit::fit(&fit_input)?;
    let spread = ensemble::error_spread(&fit);
    let members = ensemble::members(&fit, spread, input.seed);
    let server = checked_server(&fit, limits)?;
    let check = |run: &MeasuredRun, from: usize, to: usize| check_run(&server, input, run, from..to);
    let used = |run: &MeasuredRun| run.requests.len().min(input.fit_first.unwrap_or(usize::MAX));
    let mut hull = SeenSteps::default();
    let mut runs = Vec::new();
    let mut holdout = Vec::new();
    let mut doubts = Vec::new();
    for run in &input.runs {
        let (in_sample, seen, doubted) = check(run, 0, used(run))?;
        runs.extend(in_sample);
        hull.merge(&seen);
        doubts.extend(doubted);
        holdout.extend(check(run, used(run), run.requests.len())?.0);
    }
    for run in &input.holdout {
        holdout.extend(check(run, 0, run.requests.len())?.0);
    }
    input.points.iter().for_each(|point| hull.merge(&point.hull()));
    let points = input.points.iter().map(|point| PointCheck {
        name: point.name.clone(),
        concurrency: point.concurrency,
        measured_tpot: point.tpot,
        fitted_tpot: point.fitted_tpot(&fit.costs.coefficients),
    });
    let all_requests = || input.runs.iter().flat_map(|run| &run.requests);
    let of_points =
        || input.points.iter().map(|point| (point.prompt as u32, (point.prompt + point.output) as u32));
    let of_requests =
        || all_requests().map(|request| (request.prompt, request.prompt.saturating_add(request.output)));
    let prompts = || of_requests().chain(of_points()).map(|(prompt, _)| prompt);
    let lengths = of_requests().chain(of_points()).map(|(_, length)| length);
    Ok(ServerModel {
        servegauge_model: FORMAT,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        served_model: input.served_model.clone(),
        facts: input.facts.clone(),
        fleet: input.fleet,
        costs: server_costs(&fit.costs),
        coefficients: coefficients(&fit, &members),
        members: members
            .iter()
            .enumerate()
            .map(|(member, costs)| member_costs(costs, &hull, member))
            .collect(),
        residuals: StepResiduals::default(),
        intake: fit.intake(),
        hull,
        prompt_tokens: [prompts().min().unwrap_or_default(), prompts().max().unwrap_or_default()],
        longest_sequence: lengths.max().unwrap_or_default(),
        points: points.collect(),
        runs,
        holdout,
        not_identified: not_identified(&fit, &members),
        doubts,
    })
}

fn server_costs(costs: &FittedCosts) -> ServerCosts {
    ServerCosts { step_time: step_terms::step_time(&costs.coefficients), overhead: costs.overhead }
}

/// The costs of a member of the ensemble, with its own growth beyond what was seen.
fn member_costs(costs: &FittedCosts, seen: &SeenSteps, member: usize) -> ServerCosts {
    let growth = ensemble::growth_beyond(member);
    let step_time = step_terms::step_time_beyond(&costs.coefficients, seen, growth);
    ServerCosts { step_time, overhead: costs.overhead }
}

/// The fitted server with the measured delays before its queue.
fn checked_server(fit: &Fit, limits: SchedulerLimits) -> Result<ServerConfig, FitError> {
    let server = fit.costs.server(limits)?;
    let delay =
        |(in_flight, seconds): (u32, f64)| IntakeDelay { in_flight, delay: Ticks::from_seconds(seconds) };
    let noise = StepNoise::default().with_intake(fit.intake().into_iter().map(delay).collect());
    Ok(ServerConfig { noise, ..server })
}

/// Simulates a run and compares the requests `part` with what was measured; `None` without requests.
fn check_run(
    server: &ServerConfig,
    input: &CalibrationInput,
    run: &MeasuredRun,
    part: std::ops::Range<usize>,
) -> Result<(Option<RunCheck>, SeenSteps, Vec<String>), FitError> {
    let mut hull = SeenSteps::default();
    let mut simulated = Vec::new();
    let mut doubts = Vec::new();
    for seed in 0..fit::DRAWS {
        // Seeds other than those of the fit: the assignment that fits best is not the true one.
        let replayed = replay(run, server, input.fleet, fit::DRAWS + seed)?;
        hull.merge(&replayed.hull);
        if seed == 0 {
            doubts = doubts::doubts(run, &replayed);
        }
        simulated.extend(RunFigures::new(&replayed_times(run, &replayed)[part.clone()]));
    }
    let measured = RunFigures::new(&measured_times(run)[part.clone()]);
    let check = measured.zip(RunFigures::mean_of(&simulated)).map(|(measured, simulated)| RunCheck {
        name: run.name.clone(),
        sha256: run.sha256.clone(),
        requests: part.len() as u64,
        left_out: run.left_out,
        measured,
        simulated,
    });
    Ok((check, hull, doubts))
}

/// The coefficients that the fit uses, and the times outside the engine.
fn coefficients(fit: &Fit, members: &[FittedCosts]) -> Vec<CoefficientEstimate> {
    let estimate = |name: String, value: &dyn Fn(&FittedCosts) -> f64| {
        let (low, high) = ensemble::interval(members, value);
        CoefficientEstimate { name, value: value(&fit.costs), interval: [low, high] }
    };
    let terms = (0..step_terms::TERMS).filter(|term| fit.terms[*term]);
    let mut estimates: Vec<CoefficientEstimate> =
        terms.map(|term| estimate(step_terms::name(term), &|costs| costs.coefficients[term])).collect();
    if fit.has_overhead {
        estimates.push(estimate("each request outside the engine".to_owned(), &|costs| costs.overhead.base));
        estimates.push(estimate("each prompt token outside the engine".to_owned(), &|costs| {
            costs.overhead.per_prompt_token
        }));
        estimates.push(estimate("each token of a step on its way to the client".to_owned(), &|costs| {
            costs.overhead.per_delivered_token
        }));
    }
    estimates
}

/// What the runs do not tell, in sentences.
fn not_identified(fit: &Fit, members: &[FittedCosts]) -> Vec<String> {
    let (mut zero, mut vague) = (Vec::new(), Vec::new());
    for CoefficientEstimate { name, value, interval: [low, high] } in coefficients(fit, members) {
        if value <= 0.0 && high <= 0.0 {
            zero.push(name);
        } else if high > 3.0 * low {
            vague.push(name);
        }
    }
    let mut sentences = Vec::new();
    if !zero.is_empty() {
        sentences.push(format!(
            "0 in the fit, because these runs do not tell it from others: {}",
            zero.join("; ")
        ));
    }
    if !vague.is_empty() {
        sentences.push(format!(
            "known to a factor of three at best, because these runs vary it too little, or always together with another: {}",
            vague.join("; ")
        ));
    }
    if !fit.has_overhead {
        sentences.push(
            "almost every request waited in the queue, so that the time outside the engine is not known; it is taken as 0"
                .to_owned(),
        );
    }
    sentences
}

#[cfg(test)]
mod tests;
