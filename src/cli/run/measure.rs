//! Traffic: the ready check, the warm-up, the measured run.

use std::time::{Duration, Instant};

use tokio::signal;

use super::stage::Stage;
use crate::cli::exit::{Exit, Halt, say};
use crate::core::arrival::{self, Schedule};
use crate::core::record::Record;
use crate::core::spec::Spec;
use crate::drive::client::Client;
use crate::drive::client::stopwatch::{Keep, KeepText};
use crate::drive::engine::{self, Beat, Event, GRACE, Outcome, Plan, Stop};
use crate::drive::workload::Request;
use crate::report::progress::{Live, Medium, Progress, Unit};

/// Connections that may idle where there is no cap on requests in flight.
const IDLE_CONNECTIONS: usize = 2048;

/// Between two questions of the ready check.
const READY_EVERY: Duration = Duration::from_secs(1);

/// What all traffic of a run shares.
pub struct Measurement<'a> {
    pub spec: &'a Spec,
    pub stage: &'a Stage,
    pub details: bool,
    pub medium: Medium,
}

impl Measurement<'_> {
    /// Sends one small request again and again until it is answered; no time means no question.
    pub fn wait_until_ready(&self, patience: Duration) -> Result<(), Halt> {
        let request = Request { prompt: "Are you ready?".into(), prompt_tokens: 4, max_tokens: 1 };
        let start = Instant::now();
        while !patience.is_zero() {
            let outcome = self.unmeasured(std::slice::from_ref(&request), &Stop::default())?;
            match outcome.records.first().map(|record| &record.outcome) {
                Some(Err(failure)) if start.elapsed() >= patience => {
                    let url = self.spec.target.url();
                    let waited = humantime::format_duration(patience);
                    return Err(Halt::failed(format!("{url} was not ready within {waited}: {failure}")));
                }
                Some(Err(_)) => std::thread::sleep(READY_EVERY),
                _ => return Ok(()),
            }
        }
        Ok(())
    }

    /// Sends the warm-up; it must work for at least one request.
    pub fn warm_up(&self, requests: &[Request]) -> Result<(), Halt> {
        if requests.is_empty() {
            return Ok(());
        }
        say(format_args!("warming up with {} requests", requests.len()));
        let stop = Stop::default();
        let watch = self.on_interrupt(stop.clone());
        let outcome = self.unmeasured(requests, &stop);
        watch.abort();
        let outcome = outcome?;
        if outcome.interrupted {
            return Err(Halt::interrupted());
        }
        match outcome.records.iter().find_map(|record| record.outcome.as_ref().err()) {
            Some(failure) if !outcome.records.iter().any(Record::succeeded) => {
                Err(Halt::failed(format!("every warm-up request failed; the first: {failure}")))
            }
            _ => Ok(()),
        }
    }

    /// The measured run.
    pub fn measure(&self, requests: &[Request]) -> Result<Outcome, Halt> {
        let load = &self.spec.load;
        let text = if self.details { KeepText::Always } else { KeepText::UntilUsage };
        let plan = Plan {
            requests,
            schedule: arrival::schedule(load, requests.len(), self.spec.seed),
            cycle: load.cycle,
            cap: self.cap(),
            duration: load.duration,
            timeout: self.spec.target.timeout,
            preconnect: self.spec.target.connection.preconnect,
            keep: Keep { text, gaps: self.details },
        };
        let stop = Stop::default();
        let watch = self.on_interrupt(stop.clone());
        let mut display = Display::new(&plan, self.medium);
        let outcome = engine::drive(&plan, self.client()?, self.stage.tokenizer(), &stop, &mut |event| {
            display.show(&event)
        });
        display.bar.finish();
        watch.abort();
        outcome.map_err(Halt::failed)
    }

    /// All at once under the cap; nothing is kept of it.
    fn unmeasured(&self, requests: &[Request], stop: &Stop) -> Result<Outcome, Halt> {
        let plan = Plan {
            requests,
            schedule: Schedule::Closed,
            cycle: false,
            cap: self.cap(),
            duration: None,
            timeout: self.spec.target.timeout,
            preconnect: 0,
            keep: Keep { text: KeepText::Never, gaps: false },
        };
        engine::drive(&plan, self.client()?, self.stage.tokenizer(), stop, &mut |_| {}).map_err(Halt::failed)
    }

    fn cap(&self) -> Option<usize> {
        self.spec.load.max_concurrency.map(usize::from)
    }

    /// A client's connections belong to the run it is made for.
    fn client(&self) -> Result<Client, Halt> {
        let idle = self.cap().unwrap_or(IDLE_CONNECTIONS);
        Client::new(&self.spec.target, &self.spec.sampling, idle).map_err(Halt::usage)
    }

    /// The first Ctrl-C ends the run with a report, the second ends the program.
    fn on_interrupt(&self, stop: Stop) -> tokio::task::JoinHandle<()> {
        self.stage.runtime().spawn(async move {
            if signal::ctrl_c().await.is_err() {
                return;
            }
            let grace = humantime::format_duration(GRACE);
            say(format_args!(
                "\ninterrupted: requests in flight have {grace} to finish, then comes the report; again to end at once"
            ));
            stop.request();
            if signal::ctrl_c().await.is_ok() {
                end_at_once();
            }
        })
    }
}

#[expect(clippy::exit, reason = "a second Ctrl-C means now, not after the report")]
fn end_at_once() {
    std::process::exit(Exit::Interrupted as i32);
}

/// The run's bar.
struct Display {
    bar: Progress,
    live: Live,
    beat: Option<Beat>,
}

impl Display {
    fn new(plan: &Plan<'_>, medium: Medium) -> Self {
        let total = plan.total().map(|total| total as u64);
        Self { bar: Progress::new("requests", total, Unit::Count, medium), live: Live::default(), beat: None }
    }

    fn show(&mut self, event: &Event<'_>) {
        match event {
            Event::Done(record) => self.live.ended(record.ttft(), record.succeeded()),
            Event::Beat(beat) => {
                self.live.beat(beat.elapsed, beat.events);
                self.beat = Some(*beat);
            }
        }
        let (sent, in_flight) = self.beat.map_or((0, 0), |beat| (beat.sent, beat.in_flight));
        let live = &self.live;
        self.bar.show(live.done(), || live.note(sent, in_flight));
    }
}
