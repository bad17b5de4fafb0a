//! The flags of `servebench gate`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::cli::plan::share;
use crate::cli::run::values;
use crate::core::rule::Rule;
use crate::judge::gate::{self, OnUnsettled};

/// Hold a candidate against a baseline or fixed limits.
#[derive(Debug, Args)]
pub struct GateArgs {
    /// The baseline: a saved run or a folder of repeats; several are repeats too. Whether intervals are true to the requests
    /// depends on its having been saved with --save-detailed
    #[arg(long, value_name = "PATH", num_args = 1.., help_heading = "Who")]
    pub baseline: Vec<PathBuf>,
    /// The candidate: a saved run or a folder of repeats; several are repeats too
    #[arg(long, value_name = "PATH", num_args = 1.., required_unless_present = "run", conflicts_with = "run", help_heading = "Who")]
    pub candidate: Vec<PathBuf>,
    /// After `--`: measure the candidate now, with these flags of `run`; the baseline's are checked against them first
    #[arg(last = true, value_name = "run RUN'S FLAGS", help_heading = "Who")]
    pub run: Vec<String>,
    /// Both sides are from one start of the server, which was not restarted between them: judge that start only. Without this,
    /// rules against the baseline need three starts of a side, or two of each
    #[arg(long, requires = "baseline", help_heading = "Who")]
    pub same_start: bool,
    /// Hold it against a baseline that asked for something else
    #[arg(long, help_heading = "Who")]
    pub anyway: bool,
    /// Judge INVALID runs too; without this, an INVALID candidate never passes (exit code 3)
    #[arg(long, help_heading = "Who")]
    pub allow_invalid: bool,
    #[command(flatten)]
    pub strictness: StrictnessArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// What is asked, and how strictly.
#[derive(Debug, Args)]
#[command(next_help_heading = "Rules")]
pub struct StrictnessArgs {
    /// A rule that fails the gate when it is broken: 'ttft.p95 < 500ms', 'tpot.mean <= baseline * 1.05 or <= baseline + 0.5ms',
    /// 'output_throughput >= baseline * 0.97 or >= 2800', 'failure_rate < 1%'; may be repeated [default: worse than the
    /// baseline by more than 5 % and 5 ms (TTFT), 0.5 ms (TPOT), 50 ms (E2E), by more than one percentage point of failures]
    #[arg(long, value_name = "RULE")]
    pub rule: Vec<Rule>,
    /// The same, but a broken one only warns
    #[arg(long, value_name = "RULE")]
    pub warn_rule: Vec<Rule>,
    /// Rules from a TOML file: [[rule]], rule = "ttft.p95 < 500ms", severity = "warn"
    #[arg(long, value_name = "FILE")]
    pub rules: Option<PathBuf>,
    /// The chance that a candidate that keeps all rules is failed, over all rules and looks
    #[arg(long, value_name = "SHARE", default_value_t = gate::ALPHA, value_parser = level)]
    pub alpha: f64,
    /// What becomes of the gate when a rule has no answer
    #[arg(long, value_enum, value_name = "WHAT", default_value = "warn")]
    pub on_unsettled: Unsettled,
    /// Measure again and again, for at most this long more, until every rule has an answer or one that fails is broken
    /// (a bare number is seconds)
    #[arg(long, value_name = "TIME", value_parser = values::seconds)]
    pub extend: Option<Duration>,
}

/// Where the outcome goes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Write JUnit's XML
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Write the outcome as JSON, `-` for stdout (the table then goes to stderr)
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// In a GitHub workflow, annotate it and write the job's summary
    #[arg(long)]
    pub github: bool,
    /// Save every run that is measured into this folder, with its requests
    #[arg(long, value_name = "DIR")]
    pub save: Option<PathBuf>,
    /// If the gate passes, make the candidate the baseline; it says whom it replaced, when, and what came of the rules
    #[arg(long, requires = "baseline")]
    pub update_baseline: bool,
    /// Make it the baseline also if a rule is broken
    #[arg(long, requires = "update_baseline")]
    pub force: bool,
}

/// What becomes of a gate with rules that have no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Unsettled {
    Pass,
    Warn,
    Fail,
}

impl From<Unsettled> for OnUnsettled {
    fn from(unsettled: Unsettled) -> Self {
        match unsettled {
            Unsettled::Pass => Self::Pass,
            Unsettled::Warn => Self::Warn,
            Unsettled::Fail => Self::Fail,
        }
    }
}

fn level(text: &str) -> Result<f64, String> {
    match share::below_one(text)? {
        level if level > 0.0 => Ok(level),
        _ => Err("a gate that never errs never fails: write it as 5% or 0.05".into()),
    }
}
