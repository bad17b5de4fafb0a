//! `servebench plan`: how many requests fit, what that serves, and how many servers a load needs.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args};
use serde::Serialize;

use super::exit::{Exit, Halt};
use super::run::values;
use super::stdout;
use crate::core::metrics::Latency;
use crate::core::run::Run;
use crate::core::units::Rate;
use crate::judge::plan::check::{self, Check};
use crate::judge::plan::demand::Pace;
use crate::judge::plan::mix::{Mix, Shape};
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
    #[arg(long, value_name = "TOKENS", requires = "output_tokens", help_heading = "Requests (one of these)")]
    prompt_tokens: Option<u32>,
    /// Tokens of an answer
    #[arg(long, value_name = "TOKENS", requires = "prompt_tokens", help_heading = "Requests (one of these)")]
    output_tokens: Option<u32>,
    /// The requests of a saved run, and its TTFT and TPOT; with --save-detailed each, else their means
    #[arg(long, value_name = "FILE", help_heading = "Requests (one of these)")]
    result: Option<PathBuf>,
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
    let question = Question {
        pool: pool::pool(&args.pool)?,
        mix,
        headroom: args.headroom,
        pace: pace(args, measured)?,
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
fn mix(args: &PlanArgs) -> Result<(Mix, Option<Pace>), Halt> {
    if let Some((prompt, output)) = args.prompt_tokens.zip(args.output_tokens) {
        let mix = Mix::of([Shape { prompt, output }], "--prompt-tokens and --output-tokens");
        return Ok((mix.map_err(Halt::usage)?, None));
    }
    if let Some(path) = &args.result {
        let run = Run::load(path).map_err(Halt::usage)?;
        let mix = Mix::of_run(&run, &path.display().to_string()).map_err(Halt::usage)?;
        return Ok((mix, measured(&run)));
    }
    let lengths = super::run::lengths(&args.dataset, args.seed)?;
    let shapes = lengths.requests.into_iter().map(|(prompt, output)| Shape { prompt, output });
    Ok((Mix::of(shapes, lengths.origin).map_err(Halt::usage)?, None))
}

fn measured(run: &Run) -> Option<Pace> {
    let mean = |latency| run.metrics.latencies.get(&latency).map(|distribution| distribution.mean);
    Some(Pace { ttft: mean(Latency::Ttft)?, tpot: mean(Latency::Tpot)? })
}

/// As the flags say; what they leave open is as it was measured.
fn pace(args: &PlanArgs, measured: Option<Pace>) -> Result<Option<Pace>, Halt> {
    let Some(tpot) = args.tpot.or(measured.map(|pace| pace.tpot)) else {
        return match args.ttft {
            Some(_) => Err(Halt::usage("--ttft alone gives no rate: give --tpot too, such as --tpot 30ms")),
            None => Ok(None),
        };
    };
    Ok(Some(Pace { ttft: args.ttft.or(measured.map(|pace| pace.ttft)).unwrap_or_default(), tpot }))
}

fn wanted(text: &str) -> Result<Rate, String> {
    let rate: Rate = text.parse()?;
    if rate.is_finite() {
        Ok(rate)
    } else {
        Err("a rate to serve is a finite number of requests per second".into())
    }
}
