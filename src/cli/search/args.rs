//! The flags of a search.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::cli::exit::Halt;
use crate::cli::run::values;
use crate::core::figure::Figure;
use crate::core::rule::{Bound, Limit, Rule, Side};
use crate::judge::plan::HEADROOM;
use crate::judge::search::evidence::Criterion;
use crate::judge::search::{Over, Question};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OverName {
    /// Requests per second
    Rate,
    /// Requests in flight
    Concurrency,
}

/// Search for the highest load at which service levels hold.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 answered, 1 nothing was answered by the server, 2 usage, 3 a trial is INVALID, 130 interrupted."
)]
pub struct SearchArgs {
    /// What must hold: ttft.p95<500ms, tpot.mean<30ms, failure_rate<1%; several must all hold. Unless one limits failures, a load at
    /// which more than --max-failure-rate of the requests fail is too much
    #[arg(long, value_name = "RULE", num_args = 1..)]
    slo: Vec<Rule>,
    /// The share of the requests that must meet every limit of run's --goodput
    #[arg(long, value_name = "SHARE", value_parser = values::share)]
    slo_fraction: Option<f64>,
    /// The load that is searched for
    #[arg(long, value_enum, value_name = "WHAT", default_value = "rate")]
    over: OverName,
    /// The first load, doubled until it is too much
    #[arg(long, value_name = "LOAD", default_value = "1", value_parser = values::above_zero)]
    start: f64,
    /// The highest load to try
    #[arg(long, value_name = "LOAD", default_value = "200", value_parser = values::above_zero)]
    max: f64,
    /// Time for all trials (a bare number is seconds)
    #[arg(long, value_name = "TIME", default_value = "20m", value_parser = values::seconds)]
    pub time: Duration,
    /// Time for each trial, after its warm-up
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = values::seconds)]
    trial: Duration,
    /// Half the width of the boundary's interval, as a share of the boundary, at which to end before the time
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = values::share)]
    precision: f64,
    /// The share of the boundary that the suggestion leaves free
    #[arg(long, value_name = "SHARE", default_value_t = HEADROOM, value_parser = values::share)]
    headroom: f64,
    /// Seeds the trials: each has another, so that none finds another's prompts cached
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Print the answer, the trials and the curve as JSON
    #[arg(long)]
    pub json: bool,
    /// Save the same JSON
    #[arg(long, value_name = "FILE")]
    pub result_filename: Option<PathBuf>,
    /// Save every trial's Run, with every request
    #[arg(long, value_name = "DIR")]
    pub save_trials: Option<PathBuf>,
    /// After `--`: `run`'s flags of target and workload, such as `-- --base-url URL --dataset-path FILE`
    #[arg(last = true, value_name = "RUN'S FLAGS")]
    pub run: Vec<String>,
}

impl SearchArgs {
    /// What is searched for. The share of failures comes with run's flags.
    pub fn question(&self) -> Result<Question, Halt> {
        let over = match self.over {
            OverName::Rate => Over::Rate,
            OverName::Concurrency => Over::Concurrency,
        };
        let (start, max) = match over {
            Over::Rate => (self.start, self.max),
            Over::Concurrency => (self.start.round().max(1.0), self.max.floor()),
        };
        if start > max {
            return Err(Halt::usage(format!("--start {start} is above --max {max}")));
        }
        if self.trial.is_zero() {
            return Err(Halt::usage("--trial must be longer than nothing"));
        }
        let fraction = self.slo_fraction.map(good_share).transpose()?;
        let rules = self.slo.iter().cloned().chain(fraction);
        let mut criteria = rules
            .map(Criterion::of)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| Halt::usage(format!("--slo {error}")))?;
        if criteria.is_empty() {
            return Err(Halt::usage(
                "what must hold? Give --slo, such as --slo 'ttft.p95<500ms' --slo 'tpot.p95<30ms'",
            ));
        }
        if over == Over::Rate {
            criteria.push(Criterion::KeepsUp);
        }
        let Self { time, trial, precision, headroom, seed, .. } = *self;
        Ok(Question { criteria, over, start, max, time, trial, precision, headroom, seed })
    }

    /// Whether it asks for a share of good requests.
    pub fn asks_for_good(&self) -> bool {
        self.slo_fraction.is_some()
            || self.slo.iter().any(|rule| Figure::scalar("goodput_ratio") == Some(rule.figure))
    }

    /// The JSON's file.
    pub fn result_file(&self) -> Option<&Path> {
        self.result_filename.as_deref().and_then(super::as_file)
    }
}

/// `goodput_ratio >= share`.
fn good_share(share: f64) -> Result<Rule, Halt> {
    let figure = Figure::scalar("goodput_ratio").ok_or_else(|| Halt::failed("there is no goodput_ratio"))?;
    Ok(Rule {
        figure,
        bounds: vec![Bound { side: Side::Above, inclusive: true, limit: Limit::Fixed(share) }],
    })
}
