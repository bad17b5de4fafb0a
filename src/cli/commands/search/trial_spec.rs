//! Builds the Spec of a trial: the user's flags with the load, duration and seed that the search chooses.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::SearchArgs;
use crate::analysis::search::evidence::Criterion;
use crate::analysis::search::trial::{Trial, TrialPlan};
use crate::analysis::search::{LoadAxis, SearchConfig};
use crate::cli::args::values::Amount;
use crate::cli::config;
use crate::cli::exit::CliError;
use crate::cli::to_spec;
use crate::cli::{args::values, commands::run::RunCommandLine};
use crate::model::metric_id::{MetricId, Statistic};
use crate::model::run_spec::{Load, RateSchedule, Spec};
use crate::model::units::Rate;
use crate::runner::Invocation;

/// The number of prompts per slot of a closed loop whose speed is not known yet.
const PROMPTS_A_SLOT: f64 = 100.0;

/// The factor by which the number of prompts exceeds what a closed loop is expected to consume.
const SPARE: f64 = 2.0;

/// Flags of `run` that the search sets, and one that sends nothing.
const DECIDED: [&str; 8] = [
    "request-rate",
    "duration",
    "warmup",
    "num-warmups",
    "num-prompts",
    "ramp-up-strategy",
    "stages",
    "dry-run",
];

/// Builds the Specs of a search's trials.
pub(super) struct TrialSpecs {
    /// The user's flags of `run`.
    pub line: RunCommandLine,
    /// The Spec of the first trial, without its seed.
    base: Spec,
    over: LoadAxis,
    percents: Vec<f64>,
}

impl TrialSpecs {
    /// Creates the builder for a search with these flags of `run`.
    ///
    /// # Errors
    /// The flags are wrong, or set what the search is to find out.
    pub(super) fn new(
        args: &SearchArgs,
        line: RunCommandLine,
        question: &SearchConfig,
    ) -> Result<Self, CliError> {
        let spec = line.spec().map_err(CliError::usage)?;
        refuse(&line, question.over)?;
        if spec.load.pace == RateSchedule::Trace {
            return Err(CliError::usage(
                "a trace sets its own arrival times, but the search sets the rate: add --no-self-timed after `--` to use only the \
                 lengths of the trace",
            ));
        }
        if args.asks_for_good() && !spec.slo.is_set() {
            return Err(CliError::usage(
                "a share of good requests needs their limits: after `--`, --goodput ttft:500 tpot:50",
            ));
        }
        let percents = percents(&line, question)?;
        let base = base(&line, question).map_err(CliError::usage)?;
        Ok(Self { line, base, over: question.over, percents })
    }

    /// Returns the Spec that the session connects with.
    pub(super) fn base(&self) -> Spec {
        self.base.clone()
    }

    /// Returns the Spec of this number of requests like those of the trials.
    pub(super) fn of_requests(&self, count: usize) -> Spec {
        let mut spec = self.base.clone();
        (spec.load.duration, spec.load.warmup) = (None, None);
        spec.workload.num_prompts = spec.workload.dataset.requests_for(count);
        spec
    }

    /// Returns the arrivals of a trial at this rate, without an end.
    pub(super) fn arrivals(&self, requests_per_second: f64) -> Load {
        Load {
            request_rate: rate(requests_per_second),
            duration: None,
            warmup: None,
            ..self.base.load.clone()
        }
    }

    /// Returns the percentiles of a trial's Run: those of the flags, of the curve and of the levels.
    pub(super) fn percents(&self) -> &[f64] {
        &self.percents
    }

    /// Returns the criterion for failures if no level limits them. A failed response is fast, so without this guard a
    /// server that rejects everything would win.
    pub(super) fn few_failures(&self, question: &SearchConfig) -> Option<Criterion> {
        question.failure_guard(self.base.max_failure_rate)
    }

    /// Whether INVALID trials are accepted.
    pub(super) fn allow_invalid(&self) -> bool {
        self.line.args.measure.allow_invalid
    }

    /// Returns the Spec of a trial, given the trial before it.
    pub(super) fn spec(&self, next: TrialPlan, last: Option<&Trial>) -> Spec {
        let Spec { load, mut workload, .. } = self.base.clone();
        let mut load = Load {
            duration: Some(next.length),
            warmup: Some(next.warmup).filter(|time| !time.is_zero()),
            ..load
        };
        let prompts = match self.over {
            LoadAxis::Rate => {
                load.request_rate = rate(next.load);
                load.requests_within(next.length).unwrap_or(workload.num_prompts)
            }
            LoadAxis::Concurrency => {
                load = load.with_cap(slots(next.load), to_spec::cap_followers(&self.line.args));
                prompts(next, last)
            }
        };
        workload.num_prompts = workload.dataset.requests_for(prompts);
        Spec { load, workload, seed: next.seed, ..self.base.clone() }
    }

    /// Returns the invocation that a trial's Run stores: the flags of `run` that would measure it alone.
    pub(super) fn invocation(&self, next: TrialPlan, spec: &Spec) -> Invocation {
        let mut line = self.line.clone();
        let seconds = |time: Duration| time.as_secs_f64().to_string();
        line.record("duration", seconds(next.length));
        let texts: Vec<String> = self.percents.iter().map(ToString::to_string).collect();
        line.record("metric-percentiles", texts.join(","));
        if !next.warmup.is_zero() {
            line.record("warmup", seconds(next.warmup));
        }
        match self.over {
            LoadAxis::Rate => line.record("request-rate", next.load),
            LoadAxis::Concurrency => {
                line.record("max-concurrency", next.load);
                line.record("num-prompts", spec.workload.num_prompts);
            }
        }
        let Invocation { settings, .. } = line.invocation(Vec::new(), next.seed);
        let program = ["servegauge", "run"].map(ToOwned::to_owned);
        let command = program.into_iter().chain(config::as_words(&settings)).collect();
        Invocation { command, settings, record_log: None }
    }
}

/// Builds the Spec of the user's flags with the first load, so that everything that depends on the kind of load is
/// set.
fn base(line: &RunCommandLine, question: &SearchConfig) -> Result<Spec, String> {
    let mut line = line.clone();
    line.args.load.duration = Some(question.trial);
    match question.over {
        LoadAxis::Rate => line.args.load.request_rate = Some(rate(question.start).into()),
        LoadAxis::Concurrency => {
            line.args.load.max_concurrency = Some(slots(question.start).into());
            line.args.workload.num_prompts = Some(Amount::Exactly(slots(PROMPTS_A_SLOT * question.start)));
        }
    }
    line.spec()
}

fn rate(load: f64) -> Rate {
    Rate::per_second(load).unwrap_or(Rate::INFINITE)
}

fn slots(load: f64) -> NonZeroUsize {
    NonZeroUsize::new(load as usize).unwrap_or(NonZeroUsize::MIN)
}

/// Returns enough prompts for the trial's duration, so that none is sent twice.
fn prompts(next: TrialPlan, last: Option<&Trial>) -> usize {
    let slots = next.load;
    let known =
        last.and_then(|trial| Some(trial.service.request_throughput? * (slots / trial.load).max(1.0)));
    let by_speed = known.map_or(0.0, |rate| SPARE * rate * next.length.as_secs_f64());
    by_speed.max(PROMPTS_A_SLOT * slots).ceil() as usize
}

fn refuse(line: &RunCommandLine, over: LoadAxis) -> Result<(), CliError> {
    line.refuse_records_file().map_err(|why| CliError::usage(format!("after `--`: {why}")))?;
    let cap = (over == LoadAxis::Concurrency).then_some("max-concurrency");
    match DECIDED.into_iter().chain(cap).find(|flag| line.gives(flag)) {
        None => Ok(()),
        Some(flag) => {
            Err(CliError::usage(format!("after `--`: --{flag} is set by the search; leave it out")))
        }
    }
}

fn percents(line: &RunCommandLine, question: &SearchConfig) -> Result<Vec<f64>, CliError> {
    let asked = values::percents(&line.args.measure.metric_percentiles);
    let mut percents = asked.map_err(|error| CliError::usage(format!("--metric-percentiles: {error}")))?;
    let levels = question.criteria.iter().filter_map(|criterion| match criterion.figure() {
        Some(MetricId::Latency(_, Statistic::Percentile(p))) => Some(p),
        _ => None,
    });
    percents.extend([50.0, 95.0].into_iter().chain(levels));
    percents.sort_by(f64::total_cmp);
    percents.dedup();
    Ok(percents)
}
