//! A trial as a command line of `run`: what the user gave, and the load, the time and the seed behind it.

use super::SearchArgs;
use crate::cli::exit::Halt;
use crate::cli::run::{Line, RunArgs, values};
use crate::cli::run_line;
use crate::core::figure::{Figure, Statistic};
use crate::core::spec::Pace;
use crate::judge::search::evidence::Criterion;
use crate::judge::search::trial::{Next, Trial};
use crate::judge::search::{Over, Question};

/// Prompts for each slot of a closed loop whose speed is not known yet.
const PROMPTS_A_SLOT: f64 = 100.0;

/// More prompts than a closed loop is expected to take, by this factor.
const SPARE: f64 = 2.0;

/// `run`'s flags.
pub struct Flags<'a> {
    words: &'a [String],
    args: Box<RunArgs>,
    /// `--metric-percentiles`, those of the service levels among them.
    percentiles: String,
}

impl<'a> Flags<'a> {
    /// Of a search.
    ///
    /// # Errors
    /// When they are wrong, or decide what the search is to find out.
    pub fn of(search: &'a SearchArgs, question: &Question) -> Result<Self, Halt> {
        let line = line(&search.run)?;
        let spec = line.spec().map_err(Halt::usage)?;
        refuse(&line.args, question.over)?;
        if spec.load.pace == Pace::Trace {
            return Err(Halt::usage(
                "a trace brings its own load: give --request-rate's part to the search, and --no-self-timed to run",
            ));
        }
        if search.asks_for_good() && !spec.slo.is_set() {
            return Err(Halt::usage(
                "a share of good requests needs their limits: after `--`, --goodput ttft:500 tpot:50",
            ));
        }
        let percentiles = percentiles(&line.args, question)?;
        Ok(Self { words: &search.run, args: line.args, percentiles })
    }

    /// With flags behind them, which win.
    pub fn line(&self, more: &[String]) -> Result<Line, Halt> {
        line(&[self.words, more].concat())
    }

    /// The failures that are let pass where no level says: an answer that fails is fast, so without this guard a server that refuses
    /// everything is the best.
    pub fn few_failures(&self, question: &Question) -> Option<Criterion> {
        let failures = Figure::scalar("failure_rate");
        let said = question.criteria.iter().any(|criterion| criterion.figure() == failures);
        (!said).then_some(Criterion::FewFailures(self.args.measure.max_failure_rate))
    }

    /// Whether trials that are not to be believed are let pass.
    pub fn allow_invalid(&self) -> bool {
        self.args.measure.allow_invalid
    }

    /// Of a trial, given the one before it.
    pub fn trial(&self, question: &Question, next: Next, last: Option<&Trial>) -> Result<Line, Halt> {
        let seconds = |time: std::time::Duration| time.as_secs_f64().to_string();
        let mut words =
            vec!["--duration".to_owned(), seconds(next.length), "--seed".to_owned(), next.seed.to_string()];
        words.extend(["--metric-percentiles".to_owned(), self.percentiles.clone()]);
        if !next.warmup.is_zero() {
            words.extend(["--warmup".to_owned(), seconds(next.warmup)]);
        }
        match question.over {
            Over::Rate => words.extend(["--request-rate".to_owned(), next.load.to_string()]),
            Over::Concurrency => {
                let prompts = prompts(next, last).to_string();
                words.extend([
                    "--max-concurrency".to_owned(),
                    next.load.to_string(),
                    "--num-prompts".to_owned(),
                    prompts,
                ]);
            }
        }
        self.line(&words)
    }

    /// The command line that a trial's Run is stored with.
    pub fn command(&self, line: &Line) -> Vec<String> {
        let of_trial = |(flag, value): (&String, &serde_json::Value)| match value {
            serde_json::Value::Bool(true) => vec![format!("--{flag}")],
            serde_json::Value::Array(values) => {
                let texts = values
                    .iter()
                    .map(|value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned));
                std::iter::once(format!("--{flag}")).chain(texts).collect()
            }
            serde_json::Value::String(text) => vec![format!("--{flag}"), text.clone()],
            other => vec![format!("--{flag}"), other.to_string()],
        };
        let program = ["servebench", "run"].map(ToOwned::to_owned);
        program.into_iter().chain(line.settings.iter().flat_map(of_trial)).collect()
    }
}

fn line(words: &[String]) -> Result<Line, Halt> {
    run_line(words).map_err(|why| Halt::usage(format!("after `--`: {why}; see `servebench run --help`")))
}

/// Enough for the time, so that none comes twice.
fn prompts(next: Next, last: Option<&Trial>) -> usize {
    let slots = next.load;
    let known =
        last.and_then(|trial| Some(trial.service.request_throughput? * (slots / trial.load).max(1.0)));
    let by_speed = known.map_or(0.0, |rate| SPARE * rate * next.length.as_secs_f64());
    by_speed.max(PROMPTS_A_SLOT * slots).ceil() as usize
}

fn refuse(args: &RunArgs, over: Over) -> Result<(), Halt> {
    let load = &args.load;
    let given = [
        (load.request_rate.is_some(), "--request-rate"),
        (load.duration.is_some(), "--duration"),
        (load.warmup.is_some() || load.num_warmups > 0, "--warmup and --num-warmups"),
        (args.workload.num_prompts.is_some(), "--num-prompts"),
        (over == Over::Concurrency && load.max_concurrency.is_some(), "--max-concurrency"),
        (args.workload.dry_run, "--dry-run"),
    ];
    let flag = given.into_iter().find_map(|(given, flag)| given.then_some(flag)).or(args.pace.flag());
    match flag {
        None => Ok(()),
        Some(flag) => {
            Err(Halt::usage(format!("after `--`: {flag} is for the search to decide; leave it out")))
        }
    }
}

/// Those of the flags, of the curve and of the levels.
fn percentiles(args: &RunArgs, question: &Question) -> Result<String, Halt> {
    let asked = values::percents(&args.measure.metric_percentiles);
    let mut percents = asked.map_err(|error| Halt::usage(format!("--metric-percentiles: {error}")))?;
    let levels = question.criteria.iter().filter_map(|criterion| match criterion.figure() {
        Some(Figure::Latency(_, Statistic::Percentile(p))) => Some(p),
        _ => None,
    });
    percents.extend([50.0, 95.0].into_iter().chain(levels));
    percents.sort_by(f64::total_cmp);
    percents.dedup();
    Ok(percents.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
}
