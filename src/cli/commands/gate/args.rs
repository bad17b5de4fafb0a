//! The flags of `servegauge gate`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::analysis::gate::OnUndecided;
use crate::cli::args::{FormatArgs, values};
use crate::cli::defaults;
use crate::model::rule::MetricRule;

/// Compare a candidate with a baseline or limits; pass or fail.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct GateArgs {
    #[command(subcommand)]
    pub command: Option<GateCommand>,
    /// Baseline: saved runs or folders of repeats
    ///
    /// Several paths are repeats too. Intervals that account for individual requests need --save-detailed.
    #[arg(long, value_name = "PATH", num_args = 1.., help_heading = "Baseline and candidate")]
    pub baseline: Vec<PathBuf>,
    /// Candidate: saved runs or folders of repeats; several are repeats too
    #[arg(long, value_name = "PATH", num_args = 1.., required_unless_present = "run", conflicts_with = "run", help_heading = "Baseline and candidate")]
    pub candidate: Vec<PathBuf>,
    /// After `--`: measure the candidate now with these flags of `run`
    ///
    /// The flags are first checked against the baseline's.
    #[arg(last = true, value_name = "run RUN'S FLAGS", help_heading = "Baseline and candidate")]
    pub run: Vec<String>,
    /// Both sides share one server start; the verdict applies to that start only
    ///
    /// Without it, rules against the baseline need three server starts of one side, or two of each.
    #[arg(long, requires = "baseline", help_heading = "Baseline and candidate")]
    pub same_start: bool,
    /// Compare even if the settings of baseline and candidate differ
    #[arg(long, help_heading = "Baseline and candidate")]
    pub anyway: bool,
    /// Judge INVALID runs too; without it, an INVALID candidate exits with code 3
    #[arg(long, help_heading = "Baseline and candidate")]
    pub allow_invalid: bool,
    #[command(flatten)]
    pub strictness: StrictnessArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// What a gate does besides judging.
#[derive(Debug, Subcommand)]
pub(crate) enum GateCommand {
    /// Measure a baseline, and write the rules that it can decide
    Init(InitArgs),
}

/// Measure a baseline, and write the rules that it can decide
///
/// The runs have different seeds. Their differences decide the margins of the rules. After a restart of the server, the
/// same command adds runs to the folder and writes the rules again: a gate wants the runs of three server starts.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 success, 1 the server answered no request, 2 usage or I/O error, 3 a run is INVALID, 130 interrupted."
)]
pub(crate) struct InitArgs {
    /// Folder of the baseline's runs, with every request
    #[arg(long = "out", aliases = ["output", "baseline"], value_name = "DIR", default_value = "baseline")]
    pub out: PathBuf,
    /// TOML file for the rules
    #[arg(long, value_name = "FILE", default_value = "gate.toml")]
    pub rules: PathBuf,
    /// Number of runs to measure now
    #[arg(long, value_name = "N", default_value = "5", value_parser = values::count)]
    pub repeats: NonZeroUsize,
    /// Replace the file of rules if it exists
    #[arg(long)]
    pub force: bool,
    /// After `--`: `run` with its flags for target and workload
    #[arg(last = true, required = true, value_name = "run RUN'S FLAGS")]
    pub run: Vec<String>,
}

/// The rules, and how strictly they are tested.
#[derive(Debug, Args)]
#[command(next_help_heading = "Rules")]
pub(crate) struct StrictnessArgs {
    /// Rule that fails the gate if violated; repeatable
    ///
    /// Examples: 'ttft.p95 < 500ms', 'tpot.mean <= baseline * 1.05 or <= baseline + 0.5ms', 'output_throughput >=
    /// baseline * 0.97 or >= 2800', 'failure_rate < 1%'. By default the candidate must not be worse than the baseline
    /// by more than 5 % and 5 ms (TTFT), 0.5 ms (TPOT), 50 ms (E2E), nor by more than one percentage point of
    /// failures.
    #[arg(long, value_name = "RULE")]
    pub rule: Vec<MetricRule>,
    /// Rule that only warns if violated; repeatable
    #[arg(long, value_name = "RULE")]
    pub warn_rule: Vec<MetricRule>,
    /// TOML file of rules: [[rule]], rule = "ttft.p95 < 500ms", severity = "warn"
    #[arg(long, value_name = "FILE")]
    pub rules: Option<PathBuf>,
    /// False-alarm probability over all rules and interim analyses
    #[arg(long, value_name = "SHARE", default_value = defaults::ALPHA, value_parser = defaults::alpha)]
    pub alpha: f64,
    /// Outcome if a rule is undecided
    #[arg(long, visible_alias = "on-undecided", value_enum, value_name = "WHAT", default_value = "warn")]
    pub on_unsettled: Unsettled,
    /// Time for more blocks, until every rule is decided (a bare number is seconds)
    ///
    /// Measuring also ends when a --rule fails.
    #[arg(long, value_name = "TIME", value_parser = values::seconds)]
    pub extend: Option<Duration>,
}

/// Where the outcome goes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Write a JUnit XML report
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Write the rules as one HTML file, which needs no network
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Print JSON, and the table on stderr; with FILE, write the JSON there
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    json: Option<PathBuf>,
    #[command(flatten)]
    format: FormatArgs,
    /// In a GitHub workflow, write annotations and the job's summary
    #[arg(long)]
    pub github: bool,
    /// Save every measured run into this folder, with its requests
    #[arg(long = "out", aliases = ["output", "save"], value_name = "DIR")]
    pub save: Option<PathBuf>,
    /// Replace the baseline by the candidate if the gate passes
    ///
    /// The new baseline records which one it replaced, when, and the outcome of the rules.
    #[arg(long, requires = "baseline")]
    pub update_baseline: bool,
    /// Replace the baseline even if a rule failed
    #[arg(long, requires = "update_baseline")]
    pub force: bool,
}

/// The outcome of a gate with an undecided rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Unsettled {
    Pass,
    Warn,
    Fail,
}

impl From<Unsettled> for OnUndecided {
    fn from(unsettled: Unsettled) -> Self {
        match unsettled {
            Unsettled::Pass => Self::Pass,
            Unsettled::Warn => Self::Warn,
            Unsettled::Fail => Self::Fail,
        }
    }
}

impl OutputArgs {
    /// Returns the place of the JSON, `-` for stdout.
    pub(crate) fn json(&self) -> Option<PathBuf> {
        let printed = self.format.is_json().then(|| PathBuf::from("-"));
        self.json.clone().or(printed)
    }
}
