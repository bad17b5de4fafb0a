//! Traffic: the ready check, then the warm-up and the measured run.

use std::num::NonZeroUsize;
use std::sync::mpsc::channel;
use std::time::Duration;

use tokio::sync::watch;

use super::probes;
use super::ready::{NotReady, patiently};
use super::stage::Stage;
use crate::cli::advice;
use crate::cli::exit::{Halt, say};
use crate::cli::interrupt::Attention;
use crate::core::arrival::{self, Schedule};
use crate::core::probes::Probes;
use crate::core::record::{FailureClass, Record, TokenSource};
use crate::core::rng::Dice;
use crate::core::spec::{Spec, Task};
use crate::drive::client::stopwatch::{Keep, KeepGaps, KeepText};
use crate::drive::client::wire::Wire;
use crate::drive::engine::{self, Beat, DriveError, Event, GRACE, Outcome, Phase, Plan, Stop, WarmupCount};
use crate::drive::workload::salt::Salter;
use crate::drive::workload::{Request, Workload, sessions};
use crate::report::progress::{Live, Medium, Progress, Unit};

/// So many tokens in flight are megabytes of text.
const MANY_TOKENS: usize = 1 << 20;

/// Keeps the warm-up's arrivals independent of the run's.
const WARMUP_STREAM: u64 = 0x5EED_0FA1;

/// The measured requests in flight; `None` before the measured run begins.
pub type Pulse = Option<u64>;

/// What of each request is wanted after the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Details {
    /// The generated text.
    pub text: bool,
    /// Every gap between output events.
    pub gaps: KeepGaps,
}

impl Details {
    /// Times and counts alone.
    pub const NONE: Self = Self { text: false, gaps: KeepGaps::Never };

    /// Times, counts and every gap: what comparisons look at.
    pub const GAPS: Self = Self { text: false, gaps: KeepGaps::Always };

    /// Everything that can be saved of a request.
    pub const ALL: Self = Self { text: true, gaps: KeepGaps::Always };

    /// The same, and what somebody wants to see of a request that ends.
    pub fn seen_by(self, somebody: bool) -> Self {
        if somebody { Self { gaps: self.gaps.max(KeepGaps::UntilEnded), ..self } } else { self }
    }
}

/// Is told of everything that happens in the measured run, and may stop it.
pub type Onlooker<'a> = &'a mut dyn FnMut(&Event<'_>, &Stop);

/// What is to be sent, and when.
pub struct Traffic<'r> {
    /// The measured requests.
    pub requests: &'r [Request],
    /// Those that go before.
    pub warmup: &'r [Request],
    /// When the measured ones are due.
    pub schedule: Schedule,
}

/// What all traffic of a run shares.
pub struct Measurement<'a> {
    pub spec: &'a Spec,
    pub stage: &'a Stage,
    pub keep: Details,
    pub medium: Medium,
    /// Send everything even where the first requests all fail alike.
    pub keep_going: bool,
    /// What gives each prompt a beginning of its own.
    pub salter: Option<&'a Salter>,
}

impl Measurement<'_> {
    /// Sends one small request again and again until it is answered; no time means no question.
    pub fn wait_until_ready(&self, patience: Duration) -> Result<(), Halt> {
        patiently(patience, self.stage.interrupts(), || {
            let record = self.ask_once().map_err(NotReady::Yet)?;
            let Some(failure) = record.failure() else { return Ok(()) };
            let why = format!("{}: {failure}", self.spec.target.url());
            Err(match failure.class {
                FailureClass::Status(401 | 403) => {
                    NotReady::Never(format!("{why}; {}", advice::on_failure(failure)))
                }
                _ => NotReady::Yet(why),
            })
        })
    }

    /// What becomes of one small request.
    fn ask_once(&self) -> Result<Record, String> {
        let request = Wire::of(self.spec.target.backend).question();
        let plan = self.plan(None, one(&request), KeepText::UntilUsage);
        let workers = NonZeroUsize::MIN;
        let plan = Plan { preconnect: 0, workers, keep_going: true, salter: None, ..plan };
        let stop = Stop::default();
        let stopped = stop.clone();
        let (interrupts, runtime) = (self.stage.interrupts(), self.stage.runtime().handle());
        let _attention = interrupts.on_first(runtime, move || stopped.request_at_once());
        let outcome = engine::drive(&plan, self.stage.tokenizer(), &stop, &mut |_| {});
        let records = outcome.map_err(|error| error.to_string())?.records;
        records.into_iter().next().ok_or_else(|| "the request was not sent".to_owned())
    }

    /// Answers are kept until the server counts their tokens: for a server that does not, they are counted in the text.
    /// Where that would take much memory, one request beforehand tells whether the server counts.
    fn text_to_keep(&self, requests: &[Request]) -> KeepText {
        let slots = self.spec.load.slots().map_or(requests.len(), usize::from).min(requests.len());
        let lengths = requests.iter().map(|request| request.max_tokens as usize);
        let at_once = (slots * lengths.clone().max().unwrap_or_default()).min(lengths.sum());
        if self.spec.target.backend.task() == Task::Pooling {
            KeepText::Never
        } else if self.keep.text {
            KeepText::Always
        } else if at_once <= MANY_TOKENS {
            KeepText::UntilUsage
        } else {
            say(
                "many long answers at once: asking for one token first, to see whether the server counts tokens",
            );
            match self.ask_once() {
                Ok(record) if record.output_tokens.source == TokenSource::Usage => KeepText::Never,
                _ => KeepText::UntilUsage,
            }
        }
    }

    /// When the measured requests are due: as a trace says, or by the load's own laws and these dice.
    pub fn arrivals(&self, workload: &Workload, dice: &mut Dice) -> Schedule {
        let measured = self.spec.workload.num_prompts;
        match &workload.arrivals {
            Some(arrivals) => Schedule::Open(arrivals[..measured].to_vec()),
            None => arrival::schedule(&self.spec.load, measured, dice),
        }
    }

    /// The warm-up and, without a pause, the measured run, whose begin and progress are told by `pulse`.
    pub fn measure(
        &self,
        traffic: Traffic<'_>,
        pulse: watch::Sender<Pulse>,
        onlooker: Onlooker<'_>,
    ) -> Result<(Outcome, Option<Probes>), Halt> {
        let load = &self.spec.load;
        let Traffic { requests, warmup, schedule } = traffic;
        let measured = Phase { requests, schedule, cycle: load.cycle, duration: load.duration };
        let plan = self.plan(self.warmup(warmup), measured, self.text_to_keep(requests));
        let stop = Stop::default();
        let attention = self.on_interrupt(stop.clone());
        let (outcome, probes) = self.drive(&plan, &stop, pulse, onlooker);
        drop(attention);
        let outcome = outcome.map_err(Halt::failed)?;
        if let Some(setup) = &outcome.wrong_setup {
            return Err(Halt::failed(advice::on_wrong_setup(setup, &self.spec.target)));
        }
        let probes = probes.transpose().map_err(Halt::failed)?;
        if outcome.warmup.failed > 0 && !outcome.interrupted {
            let WarmupCount { sent, failed } = outcome.warmup;
            say(format_args!("warning: {failed} of {sent} warm-up requests failed"));
        }
        Ok((outcome, probes))
    }

    /// The load, and the probes beside it, with a bar.
    fn drive(
        &self,
        plan: &Plan<'_>,
        stop: &Stop,
        pulse: watch::Sender<Pulse>,
        onlooker: Onlooker<'_>,
    ) -> (Result<Outcome, DriveError>, Option<Result<Probes, DriveError>>) {
        let mut display = Display::new(plan, self.medium);
        // What goes along with the measured run waits for it: the first event says that it begins. Probes begin when
        // `hold` is dropped.
        let (hold, begin) = channel();
        let mut hold = plan.warmup.is_some().then_some(hold);
        if hold.is_none() {
            pulse.send_replace(Some(0));
        }
        let load = move || {
            let outcome = engine::drive(plan, self.stage.tokenizer(), stop, &mut |event| {
                hold.take();
                display.show(&event);
                onlooker(&event, stop);
                pulse.send_replace(Some(display.in_flight() as u64));
            });
            display.bar.finish();
            outcome
        };
        match self.spec.load.probes {
            None => (load(), None),
            Some(rate) => {
                let (outcome, probes) = probes::beside(self, rate, begin, load);
                (outcome, Some(probes))
            }
        }
    }

    /// The same load on prompts and at times of its own.
    fn warmup<'r>(&self, requests: &'r [Request]) -> Option<Phase<'r>> {
        let load = &self.spec.load.before_the_run();
        (!requests.is_empty()).then(|| Phase {
            requests,
            schedule: arrival::schedule(
                load,
                sessions::count(requests),
                &mut Dice::native(self.spec.seed ^ WARMUP_STREAM),
            ),
            cycle: load.warmup.is_some() && load.is_closed_loop(),
            duration: load.warmup,
        })
    }

    pub(super) fn plan<'p>(
        &'p self,
        warmup: Option<Phase<'p>>,
        measured: Phase<'p>,
        text: KeepText,
    ) -> Plan<'p> {
        Plan {
            target: &self.spec.target,
            sampling: &self.spec.sampling,
            warmup,
            measured,
            cap: self.spec.load.max_concurrency.map(usize::from),
            max_active: self.spec.load.max_active_sessions.map(usize::from),
            history: self.spec.sessions.history,
            keep: Keep { text, gaps: self.keep.gaps },
            preconnect: self.spec.load.preconnect,
            workers: self.spec.load.workers,
            keep_going: self.keep_going,
            salter: self.salter.cloned(),
        }
    }

    /// The first signal ends the run with a report, also one that came before the first request.
    fn on_interrupt(&self, stop: Stop) -> Attention {
        self.stage.interrupts().on_first(self.stage.runtime().handle(), move || {
            let grace = humantime::format_duration(GRACE);
            say(format_args!(
                "\ninterrupted: requests in flight have {grace} to finish, then comes the report; again to end at once"
            ));
            stop.request();
        })
    }
}

/// A phase of one request, at once.
fn one(request: &Request) -> Phase<'_> {
    let schedule = Schedule::Open(vec![Duration::ZERO]);
    Phase { requests: std::slice::from_ref(request), schedule, cycle: false, duration: None }
}

/// The run's bar.
struct Display {
    bar: Progress,
    live: Live,
    /// The latest of each worker.
    beats: Vec<Option<Beat>>,
}

impl Display {
    fn new(plan: &Plan<'_>, medium: Medium) -> Self {
        let total = plan.measured.total().map(|total| total as u64);
        let beats = vec![None; plan.workers.get()];
        Self { bar: Progress::new("requests", total, Unit::Count, medium), live: Live::default(), beats }
    }

    fn show(&mut self, event: &Event<'_>) {
        match event {
            Event::Started(_) => return,
            Event::Done(record) => self.live.ended(record.ttft(), record.failed()),
            Event::Beat(beat) => {
                self.beats[beat.worker] = Some(*beat);
                let gaps = self.beats.iter().flatten().map(|beat| beat.gaps).sum();
                self.live.beat(beat.elapsed, gaps);
            }
        }
        let (live, in_flight) = (&self.live, self.in_flight());
        let sent = self.beats.iter().flatten().map(|beat| beat.sent).sum();
        self.bar.show(live.done(), || live.note(sent, in_flight));
    }

    fn in_flight(&self) -> usize {
        self.beats.iter().flatten().map(|beat| beat.in_flight).sum()
    }
}
