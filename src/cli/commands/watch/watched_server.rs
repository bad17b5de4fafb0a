//! The loop that samples watched servers.

use std::future::pending;
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};

use super::WatchArgs;
use super::screen::OutputMode;
use super::watched::Watched;
use crate::cli::advice;
use crate::cli::exit::{CliError, ExitReason};
use crate::cli::interrupt::InterruptSignal;
use crate::cli::stdout::StdoutReader;
use crate::runner::{MetricsClient, ScrapeError};
use crate::server::monitor::StatusChange;
use crate::server::signals::MetricsSnapshot;

/// Samples the servers at each interval until the time is over or a signal arrives.
///
/// # Errors
/// The output cannot be written, or a server never answered within the time.
pub(super) async fn watch(
    args: &WatchArgs,
    pages: &MetricsClient,
    interrupts: &InterruptSignal,
) -> Result<ExitReason, CliError> {
    interrupts.allow_report();
    let mut medium = OutputMode::from_stdout(args.json.is_wanted());
    let mut servers: Vec<Watched> = pages.urls().map(Watched::new).collect();
    let start = Instant::now();
    let over = wait_until_over(args.duration, start);
    tokio::pin!(over);
    let mut ticks = interval(args.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let interrupted = loop {
        let readings = tokio::select! {
            biased;
            () = interrupts.wait() => break true,
            () = &mut over => break false,
            readings = next_snapshots(&mut ticks, pages) => readings,
        };
        let at = start.elapsed();
        let looks = servers.iter_mut().zip(readings);
        let changes: Vec<Vec<StatusChange>> =
            looks.map(|(server, reading)| server.look(at, reading)).collect();
        if medium.show(&servers, &changes)? == StdoutReader::Gone {
            break false;
        }
    };
    medium.finish(&servers, start.elapsed())?;
    if interrupted { Ok(ExitReason::Interrupted) } else { exit_reason(&servers) }
}

fn exit_reason(servers: &[Watched]) -> Result<ExitReason, CliError> {
    if let Some(server) = servers.iter().find(|server| !server.monitor.has_answered()) {
        let why = server.silence.as_ref().map(advice::on_scrape_error);
        let why = why.unwrap_or_else(|| "it was not read".to_owned());
        return Err(CliError::failed(format!("{}: {why}", server.url)));
    }
    let bad = |server: &Watched| server.monitor.has_alerted() || server.monitor.unreachable_for().is_some();
    Ok(if servers.iter().any(bad) { ExitReason::Failed } else { ExitReason::Success })
}

async fn next_snapshots(
    ticks: &mut Interval,
    pages: &MetricsClient,
) -> Vec<Result<MetricsSnapshot, ScrapeError>> {
    ticks.tick().await;
    pages.read().await
}

async fn wait_until_over(duration: Option<Duration>, start: Instant) {
    match duration {
        Some(duration) => sleep_until(start + duration).await,
        None => pending().await,
    }
}
