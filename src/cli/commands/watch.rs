//! `servegauge watch`: monitors servers without load.

mod screen;
mod watched;
mod watched_server;

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::runtime::{Builder, Runtime};

use super::run::{Pair, metrics_url, pair, seconds};
use crate::cli::args::JsonArgs;
use crate::cli::exit::{CliError, ExitReason};
use crate::cli::interrupt::InterruptSignal;
use crate::cli::stdout::print;
use crate::cli::{advice, target};
use crate::client::admin::AdminClient;
use crate::model::run_spec::Target;
use crate::model::server::{ImpossibleShare, SignalCondition, SignalStatus};
use crate::model::units::Secret;
use crate::report::watch;
use crate::runner::{EMPTY, MetricsClient};
use crate::server::health::{SnapshotPair, conditions};
use crate::server::signals::MetricsSnapshot;

/// Monitor servers without load.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 success, 1 an alert, or no metrics at the end, 2 usage or I/O error, 130 interrupted."
)]
pub(crate) struct WatchArgs {
    /// Server, or its /metrics; several are monitored separately
    #[arg(value_name = "URL", default_value = "http://localhost:8000", value_parser = metrics_url)]
    urls: Vec<String>,
    /// The same as URL
    #[arg(long = "url", alias = "base-url", value_name = "URL", value_parser = metrics_url, hide = true, conflicts_with = "urls")]
    named_urls: Vec<String>,
    /// Take two readings, an --interval apart, and exit
    #[arg(long)]
    once: bool,
    /// Stop after this time [default: on Ctrl-C]
    #[arg(long = "for", value_name = "TIME", value_parser = seconds, conflicts_with = "once")]
    duration: Option<Duration>,
    #[command(flatten)]
    json: JsonArgs,
    /// Time between two readings (a bare number is seconds)
    #[arg(long, value_name = "TIME", default_value = "2", value_parser = seconds)]
    interval: Duration,
    /// Extra request headers
    #[arg(long, value_name = "K=V", num_args = 1.., value_parser = pair)]
    header: Vec<Pair>,
    /// Accept any TLS certificate
    #[arg(long)]
    insecure: bool,
}

impl WatchArgs {
    fn urls(&self) -> &[String] {
        if self.named_urls.is_empty() { &self.urls } else { &self.named_urls }
    }
}

/// Runs the command.
pub(crate) fn execute(args: &WatchArgs, interrupts: &InterruptSignal) -> Result<ExitReason, CliError> {
    if args.interval.is_zero() {
        return Err(CliError::usage("--interval must be above 0"));
    }
    if args.insecure {
        target::warn_insecure();
    }
    let pages = metrics_client(args)?;
    let runtime = Builder::new_current_thread().enable_all().build().map_err(CliError::io)?;
    match args.once {
        true => once(args, &pages, &runtime),
        false => runtime.block_on(watched_server::watch(args, &pages, interrupts)),
    }
}

/// Reads each server twice.
fn once(args: &WatchArgs, pages: &MetricsClient, runtime: &Runtime) -> Result<ExitReason, CliError> {
    let read = || read_all(pages, runtime);
    let (before, start) = (read()?, Instant::now());
    std::thread::sleep(args.interval);
    let now = read()?;
    let apart = start.elapsed();
    let servers = before.iter().zip(&now).map(|(before, now)| conditions(before, now, apart));
    let servers: Vec<Vec<SignalCondition>> = servers.collect();
    let pairs = before.iter().zip(&now);
    let pairs = pairs.map(|(before, now)| SnapshotPair { now, before: Some((before, apart)) });
    let impossible: Vec<Vec<ImpossibleShare>> = pairs.map(|pair| pair.impossible_shares()).collect();
    let is_single = args.urls().len() == 1;
    let mut servers_of_urls = pages.urls().zip(servers.iter().zip(&impossible));
    print(|out| {
        servers_of_urls.try_for_each(|(url, (conditions, impossible))| {
            if args.json.is_wanted() {
                let mut object = watch::json(conditions, impossible);
                if !is_single {
                    object["url"] = url.into();
                }
                return writeln!(out, "{object}");
            }
            if !is_single {
                writeln!(out, "{url}")?;
            }
            impossible.iter().try_for_each(|share| writeln!(out, "Left out: {share}"))?;
            if conditions.is_empty() && impossible.is_empty() {
                return writeln!(out, "{EMPTY}");
            }
            watch::render(conditions, out)
        })
    })?;
    let alert = servers.iter().flatten().any(|condition| condition.state == SignalStatus::Alert);
    Ok(if alert { ExitReason::Failed } else { ExitReason::Success })
}

/// Reads each server once. Fails if one does not answer.
fn read_all(pages: &MetricsClient, runtime: &Runtime) -> Result<Vec<MetricsSnapshot>, CliError> {
    let readings = pages.urls().zip(runtime.block_on(pages.read()));
    readings
        .map(|(url, reading)| {
            reading.map_err(|error| CliError::failed(format!("{url}: {}", advice::on_scrape_error(&error))))
        })
        .collect()
}

fn metrics_client(args: &WatchArgs) -> Result<MetricsClient, CliError> {
    let place = |url: &String| {
        let control =
            AdminClient::new(&watch_target(args, url)).map_err(CliError::usage)?.with_metrics_at(url);
        Ok((url.clone(), Arc::new(control)))
    };
    args.urls().iter().map(place).collect::<Result<_, _>>().map(MetricsClient::new)
}

fn watch_target(args: &WatchArgs, url: &str) -> Target {
    let mut target = target::of_url(url);
    // A header on the command line replaces ours.
    let given = args.header.iter().map(|pair| (pair.key.clone(), Secret::new(pair.value.clone())));
    target.headers.extend(given);
    target.insecure = args.insecure;
    target
}
