//! The flags of `servegauge search`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, ValueEnum};

use crate::analysis::search::evidence::Criterion;
use crate::analysis::search::{LoadAxis, SearchConfig};
use crate::cli::args::{JsonArgs, values};
use crate::cli::exit::CliError;
use crate::cli::{config, defaults, flag_spelling};
use crate::model::metric_id::MetricId;
use crate::model::rule::{BoundSide, MetricRule, RuleBound, RuleLimit};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum OverName {
    /// Requests per second
    Rate,
    /// Requests in flight
    Concurrency,
}

/// Search for the highest load that meets the service levels.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Exit codes: 0 success, 1 the server answered no request, 2 usage or I/O error, 3 a trial is INVALID, 130 interrupted."
)]
pub(crate) struct SearchArgs {
    /// Service levels, which must all be met: ttft.p95<500ms, failure_rate<1%
    ///
    /// Another example: tpot.mean<30ms. If no level limits failures, a load fails when more than --max-failure-rate
    /// of its requests fail.
    #[arg(long, value_name = "RULE", num_args = 1..)]
    slo: Vec<MetricRule>,
    /// Share of requests that must meet every limit of --goodput
    #[arg(long, value_name = "SHARE", value_parser = values::share)]
    slo_fraction: Option<f64>,
    /// Kind of load to search over
    #[arg(long, value_enum, value_name = "WHAT", default_value = "rate")]
    over: OverName,
    /// First load, doubled until a load fails
    #[arg(long, value_name = "LOAD", default_value = "1", value_parser = values::above_zero)]
    start: f64,
    /// Model of the server, whose predicted boundary is tried first
    ///
    /// `servegauge calibrate` writes it. It only saves trials: every verdict comes from measurements, and a search
    /// whose model is wrong ends with the same answer, later. --start is then only the load from which the lowest is
    /// derived.
    #[arg(long, value_name = "MODEL")]
    pub model: Option<PathBuf>,
    /// Highest load to try
    #[arg(long, value_name = "LOAD", default_value = "200", value_parser = values::above_zero)]
    max: f64,
    /// Time limit of all trials (a bare number is seconds)
    #[arg(long, value_name = "TIME", default_value = "20m", value_parser = values::seconds)]
    pub time: Duration,
    /// Duration of each trial, after its warm-up
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = values::seconds)]
    trial: Duration,
    /// End early once the boundary's 95 % interval is within ± this share
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = values::share)]
    precision: f64,
    /// Share of the boundary that the suggestion leaves free
    #[arg(long, value_name = "SHARE", default_value = defaults::HEADROOM, value_parser = values::share)]
    headroom: f64,
    /// Seed of the trials; each has a different one, so that none finds cached prompts
    #[arg(long, default_value_t = 0, value_parser = values::number::<u64>)]
    pub seed: u64,
    #[command(flatten)]
    pub json: JsonArgs,
    /// Save the answer, the trials and the curve as JSON in this file
    #[arg(long = "out", aliases = ["output", "result-filename"], value_name = "FILE")]
    pub result_filename: Option<PathBuf>,
    /// Write the answer and the trials, with charts, as one HTML file
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Folder for every trial's Run, with every request
    #[arg(long, value_name = "DIR")]
    pub save_trials: Option<PathBuf>,
    /// After `--`: `run` with its flags for target and workload
    ///
    /// For example `-- run --base-url URL --dataset-path FILE`.
    #[arg(last = true, value_name = "run RUN'S FLAGS")]
    pub run: Vec<String>,
}

/// The flags of `search` without the program around them.
#[derive(Debug, Parser)]
#[command(name = "servegauge search", no_binary_name = true)]
struct SearchParser {
    #[command(flatten)]
    args: SearchArgs,
}

impl SearchArgs {
    /// Parses the words after `search`; also returns the seed if one is given. The error is a clause that fits into
    /// another sentence.
    pub(crate) fn parse(words: &[String]) -> Result<(Self, Option<u64>), String> {
        let words = flag_spelling::normalize_flags(words.iter().map(OsString::from));
        let matches = SearchParser::command().try_get_matches_from(words).map_err(config::first_line)?;
        let SearchParser { args } = SearchParser::from_arg_matches(&matches).map_err(config::first_line)?;
        let is_given = matches.value_source("seed") == Some(ValueSource::CommandLine);
        let seed = is_given.then_some(args.seed);
        Ok((args, seed))
    }

    /// Returns the search's configuration. The allowed share of failures comes from the flags of `run`.
    pub(crate) fn question(&self) -> Result<SearchConfig, CliError> {
        let over = match self.over {
            OverName::Rate => LoadAxis::Rate,
            OverName::Concurrency => LoadAxis::Concurrency,
        };
        let (start, max) = match over {
            LoadAxis::Rate => (self.start, self.max),
            LoadAxis::Concurrency => (self.start.round().max(1.0), self.max.floor()),
        };
        if start > max {
            return Err(CliError::usage(format!("--start {start} is above --max {max}")));
        }
        if self.trial.is_zero() {
            return Err(CliError::usage("--trial must be greater than 0"));
        }
        let criteria = Criterion::from_rules(self.levels()?, over)
            .map_err(|error| CliError::usage(format!("--slo {error}")))?;
        if !criteria.iter().any(|criterion| matches!(criterion, Criterion::Rule(_))) {
            return Err(CliError::usage(
                "no service level is given: use --slo, such as --slo 'ttft.p95<500ms' --slo 'tpot.p95<30ms'",
            ));
        }
        let Self { time, trial, precision, headroom, seed, .. } = *self;
        Ok(SearchConfig { criteria, over, start, max, time, trial, precision, headroom, seed })
    }

    /// The service levels, with that of a share of good requests.
    pub(super) fn levels(&self) -> Result<Vec<MetricRule>, CliError> {
        let fraction = self.slo_fraction.map(good_share).transpose()?;
        Ok(self.slo.iter().cloned().chain(fraction).collect())
    }

    /// Whether the search requires a share of good requests.
    pub(crate) fn asks_for_good(&self) -> bool {
        self.slo_fraction.is_some()
            || self.slo.iter().any(|rule| MetricId::scalar("goodput_ratio") == Some(rule.figure))
    }

    /// Returns the file of the JSON.
    pub(crate) fn result_file(&self) -> Option<&Path> {
        self.result_filename.as_deref().and_then(as_file)
    }
}

/// `goodput_ratio >= share`.
fn good_share(share: f64) -> Result<MetricRule, CliError> {
    let figure =
        MetricId::scalar("goodput_ratio").ok_or_else(|| CliError::failed("there is no goodput_ratio"))?;
    Ok(MetricRule {
        figure,
        bounds: vec![RuleBound { side: BoundSide::Above, inclusive: true, limit: RuleLimit::Fixed(share) }],
    })
}

/// Returns the path of the JSON unless it is stdout.
fn as_file(path: &Path) -> Option<&Path> {
    (path.as_os_str() != "-").then_some(path)
}
