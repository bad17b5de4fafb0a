//! `servegauge diagnose`: why a server is slow, and what to change.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{ArgGroup, Args};
use serde_json::json;

use super::logs;
use super::run::{metrics_url, seconds};
use crate::analysis::diagnose::{Diagnosis, DiagnosisEvidence, diagnose};
use crate::cli::args::JsonArgs;
use crate::cli::exit::{CliError, ExitReason};
use crate::cli::stdout::print;
use crate::cli::{advice, load_runs, target};
use crate::client::admin::AdminClient;
use crate::model::secrets;
use crate::model::server::ServerMetrics;
use crate::report;
use crate::runner::MetricsClient;
use crate::server::log_summary::{LineCounts, LogSummary};
use crate::server::recorder::MetricsRecorder;

/// The time between two samples of a live server.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// Diagnose why a server is slow.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("evidence").required(true).multiple(true).args(["result", "log", "url"])))]
#[command(after_help = "Exit codes: 0 success, with or without findings, 2 usage or I/O error.")]
#[command(after_long_help = after_help())]
pub(crate) struct DiagnoseArgs {
    /// A saved run, or a kept one: `last`
    #[arg(value_name = "RESULT")]
    result: Option<PathBuf>,
    /// Log of the server (also .gz, `-` for stdin); repeat for pieces, oldest first
    #[arg(long, value_name = "FILE")]
    log: Vec<PathBuf>,
    /// URL of a running server, or of its /metrics
    #[arg(long, alias = "base-url", value_name = "URL", value_parser = metrics_url)]
    url: Option<String>,
    /// How long to observe the running server (a bare number is seconds)
    #[arg(long = "for", value_name = "TIME", default_value = "5", value_parser = seconds, requires = "url")]
    time: Duration,
    #[command(flatten)]
    json: JsonArgs,
}

fn after_help() -> String {
    format!(
        "{}\nExit codes: 0 success, with or without findings, 2 usage or I/O error.",
        report::diagnose::lever_table()
    )
}

/// Runs the command.
pub(crate) fn execute(args: &DiagnoseArgs) -> Result<ExitReason, CliError> {
    let run = args.result.as_deref().map(load_runs::load_run).transpose()?;
    let log = if args.log.is_empty() { None } else { Some(logs::summarize(&args.log)?) };
    let live = args.url.as_deref().map(|url| sample_server(url, args.time)).transpose()?;
    let evidence = DiagnosisEvidence {
        run: run.as_ref(),
        log: log.as_ref(),
        live: live.as_ref().map(|live| &live.side),
        live_version: live.as_ref().and_then(|live| live.version.as_deref()),
    };
    let looked_at = evidence_names(args, log.as_ref(), live.as_ref());
    print_diagnosis(&diagnose(&evidence), &looked_at, args.json.is_wanted())?;
    Ok(ExitReason::Success)
}

fn print_diagnosis(diagnosis: &Diagnosis, looked_at: &[String], json: bool) -> Result<(), CliError> {
    print(|out| match json {
        true => writeln!(out, "{}", json!({ "looked_at": looked_at, "diagnosis": diagnosis })),
        false => report::diagnose::render(diagnosis, looked_at, out),
    })
}

/// Lists the names of the evidence.
fn evidence_names(args: &DiagnoseArgs, log: Option<&LogSummary>, live: Option<&LiveServer>) -> Vec<String> {
    let result = args.result.as_ref().map(|path| format!("result {}", path.display()));
    let log = log.map(|log| format!("log {} ({})", logs::log_name(&args.log), line_counts(log)));
    let live = args.url.as_ref().zip(live);
    let live =
        live.map(|(url, live)| format!("server {} ({} samples)", secrets::mask_url(url), live.side.taken));
    [result, log, live].into_iter().flatten().collect()
}

/// `6 lines, 6 damaged`
fn line_counts(log: &LogSummary) -> String {
    match log.lines {
        LineCounts { all, damaged: 0, .. } => format!("{all} lines"),
        LineCounts { all, damaged, .. } => format!("{all} lines, {damaged} damaged"),
    }
}

/// The samples of a running server.
struct LiveServer {
    side: ServerMetrics,
    version: Option<String>,
}

/// Samples a server repeatedly.
fn sample_server(url: &str, time: Duration) -> Result<LiveServer, CliError> {
    let control = AdminClient::new(&target::of_url(url)).map_err(CliError::usage)?.with_metrics_at(url);
    let control = Arc::new(control);
    let pages = MetricsClient::new(vec![(url.to_owned(), Arc::clone(&control))]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::io)?;
    let read = || runtime.block_on(pages.read()).into_iter();
    let began = jiff::Timestamp::now();
    let mut recorder = MetricsRecorder::new([secrets::mask_url(url)], SAMPLE_INTERVAL);
    let first = read().collect::<Result<Vec<_>, _>>();
    let first = first.map_err(|error| {
        CliError::usage(format!("{}: {}", secrets::mask_url(url), advice::on_scrape_error(&error)))
    })?;
    recorder.push(began, first.into_iter().map(Some).collect());
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        std::thread::sleep(left.min(SAMPLE_INTERVAL));
        recorder.push(jiff::Timestamp::now(), read().map(Result::ok).collect());
    }
    Ok(LiveServer { side: recorder.finish(began), version: runtime.block_on(control.version()) })
}
