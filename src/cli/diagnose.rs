//! `servebench diagnose`: why a server is slow, and what to change.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{ArgGroup, Args};
use serde_json::json;

use super::exit::{Exit, Halt};
use super::pages::Pages;
use super::run::{metrics_url, seconds};
use super::stdout::print;
use super::{logs, target};
use crate::core::run::Run;
use crate::core::server::ServerSide;
use crate::drive::client::control::Control;
use crate::judge::diagnose::{Diagnosis, Evidence, diagnose};
use crate::judge::log::Summary;
use crate::report;
use crate::server::recorder::Recorder;

/// The time between two looks at a live server.
const PACE: Duration = Duration::from_secs(1);

/// Say why a server is slow.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("evidence").required(true).multiple(true).args(["result", "log", "url"])))]
#[command(after_help = "Exit codes: 0 whatever was found, 2 usage, or input or output trouble.")]
#[command(after_long_help = after_help())]
pub struct DiagnoseArgs {
    /// A saved run: what `servebench run --save-result` wrote
    #[arg(value_name = "RESULT")]
    result: Option<PathBuf>,
    /// The server's log (`.gz` too, `-` for stdin); of a log in pieces each, the oldest first
    #[arg(long, value_name = "FILE")]
    log: Vec<PathBuf>,
    /// A running server, or its /metrics
    #[arg(long, value_name = "URL", value_parser = metrics_url)]
    url: Option<String>,
    /// How long to look at the running server (a bare number is seconds)
    #[arg(long = "for", value_name = "TIME", default_value = "5", value_parser = seconds, requires = "url")]
    time: Duration,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn after_help() -> String {
    format!(
        "{}\nExit codes: 0 whatever was found, 2 usage, or input or output trouble.",
        report::diagnose::levers()
    )
}

/// Runs the command.
pub fn execute(args: &DiagnoseArgs) -> Result<Exit, Halt> {
    let run = args.result.as_deref().map(Run::load).transpose().map_err(Halt::usage)?;
    let log = if args.log.is_empty() { None } else { Some(logs::summary(&args.log)?) };
    let live = args.url.as_deref().map(|url| look(url, args.time)).transpose()?;
    let evidence = Evidence {
        run: run.as_ref(),
        log: log.as_ref(),
        live: live.as_ref().map(|live| &live.side),
        live_version: live.as_ref().and_then(|live| live.version.as_deref()),
    };
    let looked_at = looked_at(args, log.as_ref(), live.as_ref());
    deliver(&diagnose(&evidence), &looked_at, args.json)?;
    Ok(Exit::Fine)
}

fn deliver(diagnosis: &Diagnosis, looked_at: &[String], json: bool) -> Result<(), Halt> {
    print(|out| match json {
        true => writeln!(out, "{}", json!({ "looked_at": looked_at, "diagnosis": diagnosis })),
        false => report::diagnose::render(diagnosis, looked_at, out),
    })
}

/// What was looked at, by name.
fn looked_at(args: &DiagnoseArgs, log: Option<&Summary>, live: Option<&Live>) -> Vec<String> {
    let result = args.result.as_ref().map(|path| format!("result {}", path.display()));
    let log = log.map(|log| format!("log {} ({} lines)", logs::name(&args.log), log.lines.all));
    let live = args.url.as_ref().zip(live);
    let live = live.map(|(url, live)| format!("server {url} ({} looks)", live.side.taken));
    [result, log, live].into_iter().flatten().collect()
}

/// What a running server said.
struct Live {
    side: ServerSide,
    version: Option<String>,
}

/// Looks at a server again and again.
fn look(url: &str, time: Duration) -> Result<Live, Halt> {
    let control = Control::new(&target::of_url(url.trim_end_matches("/metrics"))).map_err(Halt::usage)?;
    let control = Arc::new(control);
    let pages = Pages::new(vec![(url.to_owned(), Arc::clone(&control))]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Halt::failed)?;
    let read = || runtime.block_on(pages.read()).into_iter();
    let began = jiff::Timestamp::now();
    let mut recorder = Recorder::new([url.to_owned()], PACE);
    let first = read().collect::<Result<Vec<_>, _>>();
    let first = first.map_err(|silence| Halt::usage(format!("{url}: {silence}")))?;
    recorder.push(began, first.into_iter().map(Some).collect());
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        std::thread::sleep(left.min(PACE));
        recorder.push(jiff::Timestamp::now(), read().map(Result::ok).collect());
    }
    Ok(Live { side: recorder.finish(began), version: runtime.block_on(control.version()) })
}
