//! `servegauge plan`: how many requests fit, which rate that serves, and how many servers a load needs.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args};
use serde::Serialize;

use crate::analysis::plan::check::{self, PlanCheck};
use crate::analysis::plan::demand::ServiceTime;
use crate::analysis::plan::mix::{RequestLengths, RequestMix};
use crate::analysis::plan::speed::{MeasuredSpeed, ServerSpeed};
use crate::analysis::plan::{self, CapacityPlan, PlanInput};
use crate::cli::args::{JsonArgs, values};
use crate::cli::exit::{CliError, ExitReason, print_stderr};
use crate::cli::{defaults, html_page, load_runs, stdout};
use crate::model::run::Run;
use crate::model::units::Rate;
use crate::report;

pub(crate) mod fraction;
mod gpu;
mod next_command;
mod pool;

/// Plan capacity.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("kv_pool").required(true).multiple(true).args(["kv_tokens", "base_url", "log", "model_config"])))]
#[command(group(ArgGroup::new("mix").required(true).args(["prompt_tokens", "result", "dataset"])))]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pool: pool::PoolArgs,
    /// Tokens per prompt
    #[arg(long, value_name = "TOKENS", requires = "output_tokens", help_heading = "Requests (one of these)", value_parser = values::tokens)]
    prompt_tokens: Option<u32>,
    /// Tokens per response
    #[arg(long, value_name = "TOKENS", requires = "prompt_tokens", help_heading = "Requests (one of these)", value_parser = values::tokens)]
    output_tokens: Option<u32>,
    /// Saved runs that provide the requests, TTFT and TPOT
    ///
    /// Runs with --save-detailed provide each request, others the means. Several results, or a folder of them, at
    /// several concurrencies show how TPOT grows with concurrency.
    #[arg(long, value_name = "PATH", num_args = 1.., help_heading = "Requests (one of these)")]
    result: Vec<PathBuf>,
    /// After `--`: dataset flags of `run`, such as `-- --dataset-path FILE`
    #[arg(last = true, value_name = "RUN'S FLAGS", help_heading = "Requests (one of these)")]
    dataset: Vec<String>,
    /// Time per output token; needed for rates
    #[arg(long, value_name = "TIME", value_parser = values::seconds, help_heading = "Plan")]
    tpot: Option<Duration>,
    /// Time to first token without queueing [default: 0, or that of --result]
    #[arg(long, value_name = "TIME", value_parser = values::seconds, help_heading = "Plan")]
    ttft: Option<Duration>,
    /// Requests per second to serve; needed for the number of replicas
    #[arg(long, value_name = "RATE", value_parser = parse_wanted_rate, help_heading = "Plan")]
    wanted_rate: Option<Rate>,
    /// Share of the limit to leave free
    #[arg(long, value_name = "SHARE", default_value = defaults::HEADROOM, value_parser = fraction::below_one, help_heading = "Plan")]
    headroom: f64,
    /// Percentage of the time in which the demand must fit
    #[arg(long, value_name = "PERCENT", default_value = "99", value_parser = fraction::percent, help_heading = "Plan")]
    percentile: f64,
    /// Seed of the draws, and of the dataset unless its own flags set one
    #[arg(long, default_value_t = 0, help_heading = "Plan", value_parser = values::number::<u64>)]
    seed: u64,
    /// Calibrated model of the server: the plan ends with the command that predicts its load
    #[arg(long, value_name = "MODEL", help_heading = "Plan")]
    model: Option<PathBuf>,
    /// Compare the plan with this saved run
    #[arg(long, value_name = "FILE", help_heading = "Plan")]
    check: Option<PathBuf>,
    /// Write the plan and the run side by side as one HTML file that needs no network
    #[arg(long, value_name = "OUT", requires = "check", help_heading = "Plan")]
    html: Option<PathBuf>,
    #[command(flatten, next_help_heading = "Plan")]
    json: JsonArgs,
}

/// The output of `--json`.
#[derive(Serialize)]
struct PlanOutput {
    #[serde(flatten)]
    plan: CapacityPlan,
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<PlanCheck>,
    /// The command that predicts the load with the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    prediction: Option<String>,
}

/// Runs the command.
pub(crate) fn execute(args: &PlanArgs) -> Result<ExitReason, CliError> {
    let checked = args.check.as_deref().map(load_runs::load_run).transpose()?;
    let prediction = args.model.as_deref().map(|model| next_command::prediction(model, args)).transpose()?;
    let (mix, measured) = load_mix(args)?;
    let speed = resolve_speed(args, measured)?;
    let question = PlanInput {
        pool: pool::resolve_pool(&args.pool)?,
        mix,
        headroom: args.headroom,
        speed,
        wanted: args.wanted_rate,
        percent: args.percentile,
        seed: args.seed,
    };
    let plan = plan::plan(&question).map_err(CliError::usage)?;
    let check = checked.map(|run| check::check_plan(&plan, &run));
    if let (Some(path), Some(check)) = (&args.html, &check) {
        html_page::write_plan(path, &plan, check)?;
        print_stderr(format_args!("saved {}", path.display()));
    }
    print(&PlanOutput { plan, check, prediction }, args.json.is_wanted())?;
    Ok(ExitReason::Success)
}

fn print(answer: &PlanOutput, json: bool) -> Result<(), CliError> {
    stdout::print(|out| {
        if json {
            let text = serde_json::to_string_pretty(answer).expect("a plan has only string keys");
            return writeln!(out, "{text}");
        }
        report::plan::render(&answer.plan, out)?;
        answer.check.iter().try_for_each(|check| report::plan::render_check(check, out))?;
        answer.prediction.iter().try_for_each(|command| report::plan::render_prediction(command, out))
    })
}

/// Loads the requests, and the measured speed if a result has one.
fn load_mix(args: &PlanArgs) -> Result<(RequestMix, Option<ServerSpeed>), CliError> {
    if let Some((prompt, output)) = args.prompt_tokens.zip(args.output_tokens) {
        let mix = RequestMix::from_lengths(
            [RequestLengths { prompt, output }],
            "--prompt-tokens and --output-tokens",
        );
        return Ok((mix.map_err(CliError::usage)?, None));
    }
    if !args.result.is_empty() {
        let sides =
            args.result.iter().map(|path| load_runs::load_side(path)).collect::<Result<Vec<_>, _>>()?;
        let names: Vec<&str> = sides.iter().map(|side| side.name.as_str()).collect();
        let origin = names.join(", ");
        let mut runs: Vec<Run> = sides.into_iter().flat_map(|side| side.runs).collect();
        if runs.iter().any(Run::is_predicted) {
            return Err(CliError::usage(
                "--result takes measured runs, and one of these is predicted: `servegauge predict --fleet` finds the replicas \
                 of a prediction",
            ));
        }
        if runs.len() > 1 {
            // Runs without a completed request, as in a ladder or a search, say nothing about speed.
            runs.retain(|run| run.metrics.completed > 0);
        }
        let mix = RequestMix::from_runs(&runs, &origin).map_err(CliError::usage)?;
        let measured: Vec<MeasuredSpeed> = runs.iter().filter_map(MeasuredSpeed::from_run).collect();
        return Ok((mix, ServerSpeed::from_results(&measured)));
    }
    let lengths = super::run::lengths(&args.dataset, args.seed)?;
    let shapes = lengths.requests.into_iter().map(|(prompt, output)| RequestLengths { prompt, output });
    Ok((RequestMix::from_lengths(shapes, lengths.origin).map_err(CliError::usage)?, None))
}

/// Returns the speed that the flags give, completed by the measured one.
fn resolve_speed(args: &PlanArgs, measured: Option<ServerSpeed>) -> Result<Option<ServerSpeed>, CliError> {
    match (args.tpot, args.ttft, measured) {
        (Some(tpot), ttft, measured) => {
            // Without --ttft, use the result with the lowest concurrency: its TTFT is closest to the prefill time
            // alone.
            let ttft =
                ttft.or(measured.map(|measured| measured.at_concurrency(0.0).ttft)).unwrap_or_default();
            Ok(Some(ServerSpeed::Given { pace: ServiceTime { ttft, tpot } }))
        }
        (None, Some(ttft), Some(measured)) => Ok(Some(measured.with_ttft(ttft))),
        (None, Some(_), None) => {
            Err(CliError::usage("--ttft alone gives no rate: give --tpot too, such as --tpot 30ms"))
        }
        (None, None, measured) => Ok(measured),
    }
}

fn parse_wanted_rate(text: &str) -> Result<Rate, String> {
    let rate: Rate = text.parse()?;
    if rate.is_finite() {
        Ok(rate)
    } else {
        Err("a rate to serve is a finite number of requests per second".into())
    }
}
