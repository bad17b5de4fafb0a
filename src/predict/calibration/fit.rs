//! The fit through the schedule: simulate the calibration runs, regress what requests waited for on the work of their
//! steps, and repeat with the new coefficients, since they change the schedule.

use super::figures::{mean, quantile_distance};
use super::fit_block::{FitBlock, solve};
use super::load_point::{self, LoadPoint};
use super::measured::{MeasuredRequest, MeasuredRun};
use super::nnls::LeastSquares;
use super::overhead::{self, OverheadSeconds, UnexplainedTtft};
use super::replay::{CalibrationFleet, Replay, ReplayedRequest, replay};
use super::step_terms::{self, CONCAVE_TERMS, FIRST_TERMS, TERMS, TermSet};
use super::term_choice::{FOLDS, choose_terms};
use crate::predict::fleet::SimulationError;
use crate::predict::replica::ServerConfig;
use crate::predict::step_time::{InvalidCoefficients, StepTimeModel};
use crate::sim::scheduler::SchedulerLimits;

/// The server and the runs of a calibration.
#[derive(Clone, Debug)]
pub(crate) struct FitInput<'a> {
    pub runs: &'a [MeasuredRun],
    /// Load points without single requests.
    pub points: &'a [LoadPoint],
    pub limits: SchedulerLimits,
    pub fleet: CalibrationFleet,
    /// The number of requests at the start of each run whose times are used; `None` for all. The others still load the
    /// simulated server.
    pub fit_first: Option<usize>,
}

/// The fitted costs of a server, in seconds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FittedCosts {
    /// A coefficient for each term of a step.
    pub coefficients: Vec<f64>,
    pub overhead: OverheadSeconds,
}

/// Why runs cannot be fitted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FitError {
    #[error(
        "{requests} answered requests with several output tokens are too few to fit a model on; at least {needed} are needed"
    )]
    TooFew { requests: usize, needed: usize },
    #[error("the runs cannot be simulated with these engine facts: {0}")]
    Simulation(#[from] SimulationError),
    #[error("the fit has no solution: {0}")]
    Coefficients(#[from] InvalidCoefficients),
}

/// The fewest answers with at least two tokens.
const MIN_ANSWERS: usize = 10;

/// The fewest load points without single requests.
const MIN_POINTS: usize = 4;

/// The fewest output tokens of a request whose decode time is used: the times of few steps are all rounding.
const MIN_OUTPUT: u32 = 5;

/// Rounds of simulating and regressing. The steps from one round to the next are below 1 % after about eight.
const ROUNDS: usize = 20;

/// The number of rounds at the end from which the best result is taken: they oscillate around the solution instead of
/// reaching it, because the schedule changes in jumps.
const LAST_ROUNDS: usize = 8;

/// The round after which the terms are chosen: the schedule is then close.
const CHOICE: usize = 4;

/// The share of the way to the solution that a round takes; with the whole way the rounds oscillate.
const DAMPING: f64 = 0.5;

/// The blocks of time that a run is divided into, for cross-validation and the bootstrap.
pub(super) const BLOCKS: usize = 20;

/// The simulations of a run whose assignment to replicas is random.
pub(super) const DRAWS: u64 = 4;

/// A long wait for the first token counts like a decode time, a short one less: it has other causes too.
const LONG_TTFT: f64 = 0.5;

/// The weight of a wait for the first token.
const TTFT_WEIGHT: f64 = 0.5;

/// The number of requests whose loads are taken as similar.
const SIMILAR_LOADS: usize = 60;

/// The result of a fit.
#[derive(Clone, Debug)]
pub(crate) struct Fit {
    pub costs: FittedCosts,
    pub(super) terms: TermSet,
    /// Sets of terms that are about as good in cross-validation.
    pub(super) alternatives: Vec<TermSet>,
    /// The blocks of all runs, as simulated with these costs.
    pub(super) blocks: Vec<FitBlock>,
    /// Whether the time outside the engine was fitted: enough requests did not wait.
    pub has_overhead: bool,
}

impl Fit {
    /// The time of each request before its queue, with the number of requests in flight at its server.
    ///
    /// Among requests with a similar load, the sorted measured times are compared with the sorted simulated ones: a
    /// request's own phase against the steps is in both, and would count twice in the difference of the two.
    pub(super) fn intake(&self) -> Vec<(u32, f64)> {
        if !self.has_overhead {
            return Vec::new();
        }
        let mut requests: Vec<&UnexplainedTtft> =
            self.blocks.iter().flat_map(|block| &block.unexplained).collect();
        requests.sort_by_key(|request| request.in_flight);
        requests.chunks(SIMILAR_LOADS).flat_map(|similar| self.intake_of(similar)).collect()
    }

    fn intake_of(&self, similar: &[&UnexplainedTtft]) -> Vec<(u32, f64)> {
        let outside = OverheadSeconds { base: 0.0, ..self.costs.overhead };
        let sorted = |time: &dyn Fn(&UnexplainedTtft) -> f64| {
            let mut times: Vec<f64> = similar.iter().map(|request| time(request)).collect();
            times.sort_by(f64::total_cmp);
            times
        };
        let measured =
            sorted(&|request| request.ttft - outside.of_first_token(request.prompt, request.batch));
        let simulated = sorted(&|request| request.ttft - request.seconds);
        let delays =
            measured.iter().zip(simulated).map(|(measured, simulated)| (measured - simulated).max(0.0));
        similar.iter().map(|request| request.in_flight).zip(delays).collect()
    }
}

impl FittedCosts {
    /// The server with these costs.
    ///
    /// # Errors
    ///
    /// A coefficient is out of range.
    pub(crate) fn server(&self, limits: SchedulerLimits) -> Result<ServerConfig, InvalidCoefficients> {
        let step_time = StepTimeModel::new(&step_terms::step_time(&self.coefficients))?;
        let overhead = self.overhead.to_ticks();
        Ok(ServerConfig { overhead, leaps: false, ..ServerConfig::new(limits, step_time) })
    }
}

/// Fits the costs of a server.
///
/// # Errors
///
/// The runs have too few answers, or the server cannot run them.
pub(crate) fn fit(input: &FitInput<'_>) -> Result<Fit, FitError> {
    let mut costs = start(input)?;
    let mut terms = FIRST_TERMS;
    let mut alternatives = vec![terms];
    let mut best: Option<(f64, Fit)> = None;
    for round in 0..ROUNDS {
        let replays = replay_all(input, &costs)?;
        let (blocks, distance) = compare(input, &costs, &replays);
        if round == CHOICE {
            (terms, alternatives) = terms_of(input, &replays, &blocks);
        }
        let unexplained: Vec<UnexplainedTtft> =
            blocks.iter().flat_map(|block| block.unexplained.iter().copied()).collect();
        // Before the terms are known, what they leave unexplained is not the overhead.
        let overhead = overhead::fit(&unexplained).filter(|_| round > CHOICE);
        let next = FittedCosts {
            coefficients: solve(&blocks, &terms),
            overhead: overhead.unwrap_or(costs.overhead),
        };
        if round + LAST_ROUNDS >= ROUNDS && best.as_ref().is_none_or(|(least, _)| distance < *least) {
            let has_overhead = overhead.is_some();
            let alternatives = alternatives.clone();
            best = Some((distance, Fit { costs: costs.clone(), terms, alternatives, blocks, has_overhead }));
        }
        costs = if round == 0 || round == CHOICE { next } else { costs.towards(&next) };
    }
    best.map(|(_, fit)| fit).ok_or(FitError::TooFew { requests: 0, needed: MIN_ANSWERS })
}

impl FittedCosts {
    fn towards(&self, other: &Self) -> Self {
        let pairs = self.coefficients.iter().zip(&other.coefficients);
        Self {
            coefficients: pairs.map(|(from, to)| from + DAMPING * (to - from)).collect(),
            overhead: self.overhead.towards(&other.overhead, DAMPING),
        }
    }
}

/// Whether the times of a request are used.
fn is_used(input: &FitInput<'_>, at: usize) -> bool {
    input.fit_first.is_none_or(|first| at < first)
}

/// Costs to begin with: seven tenths of the mean TPOT for a step, the rest for the sequences in it.
fn start(input: &FitInput<'_>) -> Result<FittedCosts, FitError> {
    let used = |run: &MeasuredRun| -> Vec<MeasuredRequest> {
        let used = run.requests.iter().enumerate().filter(|(at, _)| is_used(input, *at));
        used.map(|(_, request)| *request).collect()
    };
    let requests: Vec<MeasuredRequest> = input.runs.iter().flat_map(used).collect();
    let mut tpots: Vec<f64> = requests.iter().filter_map(MeasuredRequest::tpot).collect();
    if tpots.is_empty() && input.points.len() >= MIN_POINTS {
        tpots.extend(input.points.iter().map(|point| point.tpot));
    } else if tpots.len() < MIN_ANSWERS {
        return Err(FitError::TooFew { requests: tpots.len(), needed: MIN_ANSWERS });
    }
    let in_flight = |run: &MeasuredRun| {
        let busy: f64 = run.requests.iter().map(MeasuredRequest::e2e).sum();
        busy / run.makespan().max(f64::MIN_POSITIVE) / input.fleet.replicas as f64
    };
    let concurrency = input.points.iter().map(|point| point.concurrency);
    let in_flight = mean(&input.runs.iter().map(in_flight).chain(concurrency).collect::<Vec<_>>()).max(1.0);
    let mut coefficients = vec![0.0; TERMS];
    let tpot = mean(&tpots);
    for (term, value) in [0.7 * tpot, 0.3 * tpot / in_flight].into_iter().enumerate() {
        coefficients[term] = value;
    }
    Ok(FittedCosts { coefficients, overhead: OverheadSeconds::default() })
}

/// The replays of each run: several where the assignment to replicas is random.
pub(super) fn replay_all(input: &FitInput<'_>, costs: &FittedCosts) -> Result<Vec<Vec<Replay>>, FitError> {
    let server = costs.server(input.limits)?;
    let draws = if input.fleet.is_random() { DRAWS } else { 1 };
    let draw = |run: &MeasuredRun| -> Result<Vec<Replay>, FitError> {
        (0..draws).map(|seed| Ok(replay(run, &server, input.fleet, seed)?)).collect()
    };
    input.runs.iter().map(draw).collect()
}

/// The rows of all runs, and the distance between measured and simulated percentiles of TTFT and TPOT.
fn compare(input: &FitInput<'_>, costs: &FittedCosts, replays: &[Vec<Replay>]) -> (Vec<FitBlock>, f64) {
    let mut blocks = Vec::new();
    let mut distances = Vec::new();
    let longest_queue = 2.0 * step_terms::duration(&mean_step(replays), &costs.coefficients);
    for (run, draws) in input.runs.iter().enumerate().zip(replays) {
        let of_run = run_blocks(input, costs, run, draws, longest_queue);
        let columns = |pairs: Vec<(f64, f64)>| -> (Vec<f64>, Vec<f64>) { pairs.into_iter().unzip() };
        let (ttft, replayed_ttft) = columns(of_run.iter().flat_map(|block| block.ttft.clone()).collect());
        let (tpot, replayed_tpot) = columns(of_run.iter().flat_map(|block| block.tpot.clone()).collect());
        distances.push(quantile_distance(&ttft, &replayed_ttft) + quantile_distance(&tpot, &replayed_tpot));
        blocks.extend(of_run);
    }
    let (points, distance) = load_point::blocks(input.points, input.runs.len(), &costs.coefficients);
    distances.extend(distance);
    blocks.extend(points);
    (blocks, mean(&distances))
}

/// The mean work of a step.
fn mean_step(replays: &[Vec<Replay>]) -> step_terms::TermSums {
    let mut sums = [0.0; TERMS];
    for request in replays.iter().flatten().flat_map(|replay| &replay.requests) {
        sums.iter_mut().zip(&request.until_last).for_each(|(sum, amount)| *sum += amount);
    }
    let steps = sums[0].max(1.0);
    sums.map(|sum| sum / steps)
}

fn run_blocks(
    input: &FitInput<'_>,
    costs: &FittedCosts,
    (number, run): (usize, &MeasuredRun),
    draws: &[Replay],
    longest_queue: f64,
) -> Vec<FitBlock> {
    let used = run.requests.len().min(input.fit_first.unwrap_or(usize::MAX));
    let empty = FitBlock {
        run: number,
        fold: 0,
        problem: LeastSquares::new(TERMS),
        work: [0.0; TERMS],
        unexplained: Vec::new(),
        tpot: Vec::new(),
        ttft: Vec::new(),
    };
    let mut blocks = vec![empty; BLOCKS.min(used.max(1))];
    let count = blocks.len();
    blocks.iter_mut().enumerate().for_each(|(at, block)| block.fold = at * FOLDS / count);
    let in_flight = run.in_flight();
    for (at, request) in run.requests.iter().enumerate().take(used) {
        let replayed = mean_request(draws, at);
        let in_flight = (in_flight[at] / input.fleet.replicas) as u32;
        let block = &mut blocks[at * count / used];
        block.add(request, &replayed, costs);
        // One of the draws: their mean has less variation than any run.
        let drawn = &draws[at % draws.len()].requests[at];
        if drawn.queued <= longest_queue {
            block.unexplained.push(unexplained(request, drawn, costs, in_flight));
        }
    }
    blocks
}

/// The mean of a request over the draws: given the measurement, any of them may have been its assignment.
fn mean_request(draws: &[Replay], at: usize) -> ReplayedRequest {
    let requests: Vec<&ReplayedRequest> = draws.iter().map(|draw| &draw.requests[at]).collect();
    let mean = |value: fn(&ReplayedRequest) -> f64| {
        requests.iter().map(|request| value(request)).sum::<f64>() / requests.len() as f64
    };
    let mean_sums = |sums: fn(&ReplayedRequest) -> &step_terms::TermSums| -> step_terms::TermSums {
        std::array::from_fn(|term| {
            requests.iter().map(|request| sums(request)[term]).sum::<f64>() / requests.len() as f64
        })
    };
    ReplayedRequest {
        ttft: mean(|request| request.ttft),
        decode: mean(|request| request.decode),
        queued: mean(|request| request.queued),
        prompt: requests[0].prompt,
        first_batch: mean(|request| request.first_batch),
        last_batch: mean(|request| request.last_batch),
        until_first: mean_sums(|request| &request.until_first),
        until_last: mean_sums(|request| &request.until_last),
    }
}

impl FitBlock {
    fn add(&mut self, measured: &MeasuredRequest, replayed: &ReplayedRequest, costs: &FittedCosts) {
        if measured.output >= MIN_OUTPUT {
            let delivery = costs.overhead.per_delivered_token * (replayed.last_batch - replayed.first_batch);
            self.problem.add(&replayed.until_last, measured.decode - delivery, measured.decode.recip());
            self.work = std::array::from_fn(|term| self.work[term] + replayed.until_last[term]);
            let tokens = f64::from(measured.output - 1);
            self.tpot.push((measured.decode / tokens, replayed.decode / tokens));
        }
        let outside = costs.overhead.of_first_token(replayed.prompt, replayed.first_batch);
        let weight = TTFT_WEIGHT / measured.ttft.max(LONG_TTFT);
        self.problem.add(&replayed.until_first, measured.ttft - outside, weight);
        self.ttft.push((measured.ttft, replayed.ttft));
    }
}

/// What the simulated engine leaves unexplained of a request's TTFT.
fn unexplained(
    measured: &MeasuredRequest,
    replayed: &ReplayedRequest,
    costs: &FittedCosts,
    in_flight: u32,
) -> UnexplainedTtft {
    let (prompt, batch) = (replayed.prompt, replayed.first_batch);
    let engine = replayed.ttft - costs.overhead.of_first_token(prompt, batch);
    UnexplainedTtft { seconds: measured.ttft - engine, ttft: measured.ttft, prompt, batch, in_flight }
}

/// Chooses the terms that the runs and load points tell apart.
fn terms_of(input: &FitInput<'_>, replays: &[Vec<Replay>], blocks: &[FitBlock]) -> (TermSet, Vec<TermSet>) {
    let replayed = replays.iter().flatten().map(|replay| replay.hull.decode_seqs);
    let points = input.points.iter().map(|point| point.decode_seqs() as u64);
    let most_seqs = replayed.chain(points).max().unwrap_or_default();
    let prompts = || {
        let of_runs = input.runs.iter().flat_map(|run| run.requests.iter().map(|request| request.prompt));
        of_runs.chain(input.points.iter().map(|point| point.prompt as u32))
    };
    let (shortest, longest) = (prompts().min().unwrap_or(1), prompts().max().unwrap_or(1));
    let candidates = step_terms::candidates(most_seqs, longest >= shortest.saturating_mul(4));
    let beginnings: &[TermSet] =
        if input.runs.is_empty() { &[FIRST_TERMS, CONCAVE_TERMS] } else { &[FIRST_TERMS] };
    choose_terms(beginnings, &candidates, blocks)
}
