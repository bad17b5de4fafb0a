//! Servers that are looked at until somebody has seen enough.

use std::future::pending;
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};

use super::WatchArgs;
use super::screen::Medium;
use crate::cli::exit::{Exit, Halt};
use crate::cli::interrupt::Interrupts;
use crate::cli::pages::{Pages, Silence};
use crate::cli::stdout::Reader;
use crate::judge::vigil::{News, Vigil};
use crate::server::signals::Reading;

/// A server, and what is known of it.
pub struct Watched {
    /// Its page.
    pub url: String,
    /// How it is.
    pub vigil: Vigil,
    /// Why there was no reading at the last look.
    silence: Option<Silence>,
}

/// Looks at the servers each interval until the time is over, or a signal.
///
/// # Errors
/// Where it cannot be shown, and when the time is over and a server never answered.
pub async fn watch(args: &WatchArgs, pages: &Pages, interrupts: &Interrupts) -> Result<Exit, Halt> {
    interrupts.hold();
    let mut medium = Medium::of_stdout(args.json);
    let mut servers: Vec<Watched> = pages.urls().map(Watched::new).collect();
    let start = Instant::now();
    let over = over(args.duration, start);
    tokio::pin!(over);
    let mut ticks = interval(args.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let interrupted = loop {
        let readings = tokio::select! {
            biased;
            () = interrupts.wait() => break true,
            () = &mut over => break false,
            readings = next(&mut ticks, pages) => readings,
        };
        let at = start.elapsed();
        let looks = servers.iter_mut().zip(readings);
        let news: Vec<Vec<News>> = looks.map(|(server, reading)| server.look(at, reading)).collect();
        if medium.show(&servers, &news)? == Reader::Gone {
            break false;
        }
    };
    medium.finish(&servers, start.elapsed())?;
    if interrupted { Ok(Exit::Interrupted) } else { verdict(&servers) }
}

impl Watched {
    fn new(url: &str) -> Self {
        Self { url: url.to_owned(), vigil: Vigil::default(), silence: None }
    }

    fn look(&mut self, at: Duration, reading: Result<Reading, Silence>) -> Vec<News> {
        self.silence = reading.as_ref().err().copied();
        self.vigil.look(at, reading.ok())
    }
}

fn verdict(servers: &[Watched]) -> Result<Exit, Halt> {
    if let Some(server) = servers.iter().find(|server| !server.vigil.answered()) {
        let why = server.silence.unwrap_or(Silence::NoAnswer);
        return Err(Halt::failed(format!("{}: {why}", server.url)));
    }
    let bad = |server: &Watched| server.vigil.alerted() || server.vigil.silent().is_some();
    Ok(if servers.iter().any(bad) { Exit::Failed } else { Exit::Fine })
}

async fn next(ticks: &mut Interval, pages: &Pages) -> Vec<Result<Reading, Silence>> {
    ticks.tick().await;
    pages.read().await
}

async fn over(duration: Option<Duration>, start: Instant) {
    match duration {
        Some(duration) => sleep_until(start + duration).await,
        None => pending().await,
    }
}
