//! `servebench watch`: how a server is, without load.

mod live;
mod screen;

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::runtime::{Builder, Runtime};

use super::exit::{Exit, Halt};
use super::interrupt::Interrupts;
use super::pages::Pages;
use super::run::{Pair, metrics_url, pair, seconds};
use super::stdout::print;
use super::target;
use crate::core::server::{Condition, State};
use crate::core::spec::Target;
use crate::core::units::Secret;
use crate::drive::client::control::Control;
use crate::report::watch;
use crate::server::health::conditions;
use crate::server::signals::Reading;

/// Watch a server.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 fine, 1 there was an alert, or no answer at the end, 2 usage, 130 interrupted."
)]
pub struct WatchArgs {
    /// The server, or its /metrics; several are replicas, each by itself
    #[arg(value_name = "URL", default_value = "http://localhost:8000", value_parser = metrics_url)]
    urls: Vec<String>,
    /// Look once and end: two readings, an --interval apart
    #[arg(long)]
    once: bool,
    /// End after this time [default: on Ctrl-C]
    #[arg(long = "for", value_name = "TIME", value_parser = seconds, conflicts_with = "once")]
    duration: Option<Duration>,
    /// Print JSON: a line for each server and look, and at the end one for each server
    #[arg(long)]
    json: bool,
    /// The time between two readings (a bare number is seconds)
    #[arg(long, value_name = "TIME", default_value = "2", value_parser = seconds)]
    interval: Duration,
    /// Extra request headers
    #[arg(long, value_name = "K=V", num_args = 1.., value_parser = pair)]
    header: Vec<Pair>,
    /// Accept any TLS certificate
    #[arg(long)]
    insecure: bool,
}

/// Runs the command.
pub fn execute(args: &WatchArgs, interrupts: &Interrupts) -> Result<Exit, Halt> {
    if args.interval.is_zero() {
        return Err(Halt::usage("--interval must be above 0"));
    }
    let pages = pages(args)?;
    let runtime = Builder::new_current_thread().enable_all().build().map_err(Halt::failed)?;
    match args.once {
        true => once(args, &pages, &runtime),
        false => runtime.block_on(live::watch(args, &pages, interrupts)),
    }
}

/// Two readings of each server.
fn once(args: &WatchArgs, pages: &Pages, runtime: &Runtime) -> Result<Exit, Halt> {
    let read = || all(pages, runtime);
    let (before, start) = (read()?, Instant::now());
    std::thread::sleep(args.interval);
    let now = read()?;
    let apart = start.elapsed();
    let servers = before.iter().zip(&now).map(|(before, now)| conditions(before, now, apart));
    let servers: Vec<Vec<Condition>> = servers.collect();
    let mut servers_of_urls = pages.urls().zip(&servers);
    print(|out| {
        servers_of_urls.try_for_each(|(url, conditions)| {
            match (args.json, args.urls.len()) {
                (true, 1) => return writeln!(out, "{}", watch::json(conditions)),
                (true, _) => {
                    let mut object = watch::json(conditions);
                    object["url"] = url.into();
                    return writeln!(out, "{object}");
                }
                (false, 1) => {}
                (false, _) => writeln!(out, "{url}")?,
            }
            watch::render(conditions, out)
        })
    })?;
    let alert = servers.iter().flatten().any(|condition| condition.state == State::Alert);
    Ok(if alert { Exit::Failed } else { Exit::Fine })
}

/// A reading of each server; none may be silent.
fn all(pages: &Pages, runtime: &Runtime) -> Result<Vec<Reading>, Halt> {
    let readings = pages.urls().zip(runtime.block_on(pages.read()));
    readings.map(|(url, reading)| reading.map_err(|why| Halt::failed(format!("{url}: {why}")))).collect()
}

fn pages(args: &WatchArgs) -> Result<Pages, Halt> {
    let place = |url: &String| {
        let control = Control::new(&asked(args, url)).map_err(Halt::usage)?;
        Ok((url.clone(), Arc::new(control)))
    };
    args.urls.iter().map(place).collect::<Result<_, _>>().map(Pages::new)
}

fn asked(args: &WatchArgs, url: &str) -> Target {
    let mut target = target::of_url(url);
    // A header that is given wins over ours.
    let given = args.header.iter().map(|pair| (pair.key.clone(), Secret::new(pair.value.clone())));
    target.headers.extend(given);
    target.insecure = args.insecure;
    target
}
