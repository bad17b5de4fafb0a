//! `servebench plan`: how many requests fit, what that serves, and how many servers a load needs.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args};
use serde::Serialize;

use super::exit::{Exit, Halt};
use super::run::values;
use super::{sides, stdout};
use crate::core::run::Run;
use crate::core::units::Rate;
use crate::judge::plan::check::{self, Check};
use crate::judge::plan::demand::Pace;
use crate::judge::plan::mix::{Mix, Shape};
use crate::judge::plan::speed::{Measured, Speed};
use crate::judge::plan::{self, Plan, Question};
use crate::report;

mod pool;
pub mod share;

/// Plan capacity.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("kv_pool").required(true).args(["kv_tokens", "base_url", "log", "model_config"])))]
#[command(group(ArgGroup::new("mix").required(true).args(["prompt_tokens", "result", "dataset"])))]
pub struct PlanArgs {
    #[command(flatten)]
    pool: pool::PoolArgs,
    /// Tokens of a prompt
    #[arg(long, value_name = "TOKENS", requires = "output_tokens", help_heading = "Requests (one of these)", value_parser = values::tokens)]
    prompt_tokens: Option<u32>,
    /// Tokens of an answer
    #[arg(long, value_name = "TOKENS", requires = "prompt_tokens", help_heading = "Requests (one of these)", value_parser = values::tokens)]
    output_tokens: Option<u32>,
    /// The requests of a saved run, and its TTFT and TPOT; with --save-detailed each, else their means. Several results, or a
    /// folder of them, at several concurrencies tell how TPOT grows with it
    #[arg(long, value_name = "PATH", num_args = 1.., help_heading = "Requests (one of these)")]
    result: Vec<PathBuf>,
    /// After `--`: `run`'s flags of a dataset, such as `-- --dataset-name azure --dataset-path FILE`
    #[arg(last = true, value_name = "RUN'S FLAGS", help_heading = "Requests (one of these)")]
    dataset: Vec<String>,
    /// Time from one output token to the next: gives rates
    #[arg(long, value_name = "TIME", value_parser = values::seconds, help_heading = "Plan")]
    tpot: Option<Duration>,
    /// Time from the start of a prompt's computation to the first token [default: 0, or the run's of --result]
    #[arg(long, value_name = "TIME", value_parser = values::seconds, help_heading = "Plan")]
    ttft: Option<Duration>,
    /// Requests per second to serve: gives the number of replicas
    #[arg(long, value_name = "RATE", value_parser = wanted, help_heading = "Plan")]
    wanted_rate: Option<Rate>,
    /// The share of the limit to leave free
    #[arg(long, value_name = "SHARE", default_value = "30%", value_parser = share::below_one, help_heading = "Plan")]
    headroom: f64,
    /// In what percentage of the time the demand is to fit
    #[arg(long, value_name = "PERCENT", default_value = "99", value_parser = share::percent, help_heading = "Plan")]
    percentile: f64,
    /// Seeds the draws, and the dataset unless its own flags do
    #[arg(long, default_value_t = 0, help_heading = "Plan")]
    seed: u64,
    /// Hold the plan against what this saved run showed
    #[arg(long, value_name = "FILE", help_heading = "Plan")]
    check: Option<PathBuf>,
    /// Print the plan as JSON
    #[arg(long, help_heading = "Plan")]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    plan: Plan,
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<Check>,
}

/// Runs the command.
pub fn execute(args: &PlanArgs) -> Result<Exit, Halt> {
    let checked = args.check.as_deref().map(Run::load).transpose().map_err(Halt::usage)?;
    let (mix, measured) = mix(args)?;
    let speed = speed(args, measured)?;
    let question = Question {
        pool: pool::pool(&args.pool)?,
        mix,
        headroom: args.headroom,
        speed,
        wanted: args.wanted_rate,
        percent: args.percentile,
        seed: args.seed,
    };
    let plan = plan::plan(&question).map_err(Halt::usage)?;
    let check = checked.map(|run| check::check(&plan, &run));
    print(&Answer { plan, check }, args.json)?;
    Ok(Exit::Fine)
}

fn print(answer: &Answer, json: bool) -> Result<(), Halt> {
    stdout::print(|out| {
        if json {
            let text = serde_json::to_string_pretty(answer).expect("a plan has only string keys");
            return writeln!(out, "{text}");
        }
        report::plan::render(&answer.plan, out)?;
        match &answer.check {
            Some(check) => report::plan::render_check(check, out),
            None => Ok(()),
        }
    })
}

/// The requests, and how fast they were answered if they were.
fn mix(args: &PlanArgs) -> Result<(Mix, Option<Speed>), Halt> {
    if let Some((prompt, output)) = args.prompt_tokens.zip(args.output_tokens) {
        let mix = Mix::of([Shape { prompt, output }], "--prompt-tokens and --output-tokens");
        return Ok((mix.map_err(Halt::usage)?, None));
    }
    if !args.result.is_empty() {
        let sides = args.result.iter().map(|path| sides::read(path)).collect::<Result<Vec<_>, _>>()?;
        let names: Vec<&str> = sides.iter().map(|side| side.name.as_str()).collect();
        let origin = names.join(", ");
        let mut runs: Vec<Run> = sides.into_iter().flat_map(|side| side.runs).collect();
        if runs.len() > 1 {
            // Of a ladder or a search, those that nobody answered say nothing.
            runs.retain(|run| run.metrics.completed > 0);
        }
        let mix = Mix::of_runs(&runs, &origin).map_err(Halt::usage)?;
        let measured: Vec<Measured> = runs.iter().filter_map(Measured::of).collect();
        return Ok((mix, Speed::measured(&measured)));
    }
    let lengths = super::run::lengths(&args.dataset, args.seed)?;
    let shapes = lengths.requests.into_iter().map(|(prompt, output)| Shape { prompt, output });
    Ok((Mix::of(shapes, lengths.origin).map_err(Halt::usage)?, None))
}

/// As the flags say; what they leave open is as it was measured.
fn speed(args: &PlanArgs, measured: Option<Speed>) -> Result<Option<Speed>, Halt> {
    match (args.tpot, args.ttft, measured) {
        (Some(tpot), ttft, measured) => {
            // The prompt's own time, as far as a result tells: that of its lowest concurrency.
            let ttft = ttft.or(measured.map(|measured| measured.at(0.0).ttft)).unwrap_or_default();
            Ok(Some(Speed::Given { pace: Pace { ttft, tpot } }))
        }
        (None, Some(ttft), Some(measured)) => Ok(Some(measured.with_ttft(ttft))),
        (None, Some(_), None) => {
            Err(Halt::usage("--ttft alone gives no rate: give --tpot too, such as --tpot 30ms"))
        }
        (None, None, measured) => Ok(measured),
    }
}

fn wanted(text: &str) -> Result<Rate, String> {
    let rate: Rate = text.parse()?;
    if rate.is_finite() {
        Ok(rate)
    } else {
        Err("a rate to serve is a finite number of requests per second".into())
    }
}
