//! Runs the ready check, then the warm-up and the measured load.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use tokio::sync::watch;
use tracing::info_span;

use super::error::Error;
use super::event::{Event, Note, Phase as RunPhase, Warning};
use super::live_load::{LiveLoad, LoadObservers};
use super::membership::Membership;
use super::options::RecordDetail;
use super::probes;
use super::session::Session;
use super::stop::OnRequest;
use super::wait_ready::{NotReady, is_permanent, retry_until};
use crate::client::protocol::Protocol;
use crate::client::request_timer::{Capture, CaptureText};
use crate::dataset::requests::RequestRange;
use crate::dataset::salt::PromptSalter;
use crate::dataset::{PreparedWorkload, sessions};
use crate::loadgen::{
    self, DRAIN_TIMEOUT, LoadError, LoadPhase, LoadPlan, LoadResult, LoadShare, StopHandle, WarmupCount,
};
use crate::model::arrival::{self, Schedule};
use crate::model::probes::ProbeSummary;
use crate::model::record::{FailureClass, Record, TokenSource};
use crate::model::record_log::PackedRecords;
use crate::model::request::Request;
use crate::model::rng::RunRng;
use crate::model::run_spec::{BackendTask, Spec};
use crate::model::spool::SpoolError;

/// The number of tokens above which the text of the answers takes megabytes.
const MANY_TOKENS: usize = 1 << 20;

/// Keeps the warm-up's arrivals independent of the run's.
const WARMUP_STREAM: u64 = 0x5EED_0FA1;

/// The number of measured requests in flight; `None` before the measured load begins.
pub(super) type InFlightCount = Option<u64>;

/// Receives the events of the measured load, and may end it early.
pub(crate) type StopEarly<'a> = &'a mut dyn FnMut(&Event<'_>, &StopHandle);

/// Who follows the measured load.
pub(super) struct MeasureObservers<'o> {
    /// The number of measured requests in flight, from the start of the load.
    pub in_flight: watch::Sender<InFlightCount>,
    /// Receives the events of this client's own load.
    pub own: &'o mut dyn FnMut(&Event<'_>),
    /// Receives the events of the load of all clients.
    pub all: StopEarly<'o>,
}

/// The requests of a run, and when they are due.
pub(super) struct PlannedLoad<'r> {
    /// The measured requests.
    pub requests: RequestRange<'r>,
    /// The requests of the warm-up.
    pub warmup: RequestRange<'r>,
    /// When the measured requests are due.
    pub schedule: Schedule,
}

/// The context of the ready check, the warm-up, the measured load and the probes.
pub(super) struct Measurement<'a> {
    /// The Spec of the run.
    pub spec: &'a Spec,
    /// The server and the tokenizer.
    pub session: &'a Session,
    /// What is kept of each request.
    pub detail: RecordDetail,
    /// The number of Records above which only the record log has them; `None` without a limit.
    pub most_records: Option<usize>,
    /// Whether to send every request even if the first requests all fail alike.
    pub keep_going: bool,
    /// Adds a unique prefix to each prompt.
    pub salter: Option<&'a PromptSalter>,
    /// This client's share of the load.
    pub share: LoadShare<'a>,
    /// The membership of a client that shares the load with others.
    pub membership: Option<&'a dyn Membership>,
}

/// The result of the load, and of the probes if the Spec has some.
type DriveOutcome = (Result<LoadResult<PackedRecords>, LoadError>, Option<Result<ProbeSummary, LoadError>>);

impl Measurement<'_> {
    /// Sends one small request each second until it is answered. If the time is zero, nothing is sent.
    pub(super) fn wait_until_ready(&self, timeout: Duration) -> Result<(), Error> {
        if !timeout.is_zero() {
            self.session.emit(&Event::Phase(RunPhase::WaitingForServer));
        }
        retry_until(timeout, self.session.stop_handle(), || {
            let record = self.ask_once().map_err(NotReady::Yet)?;
            let Some(failure) = record.failure() else { return Ok(()) };
            let url = self.spec.target.display_url();
            let is_refused = matches!(failure.class, FailureClass::Status(401 | 403));
            Err(match is_permanent(&failure.detail) || is_refused {
                true => NotReady::Never(Error::Refused { url, failure: failure.clone() }),
                false => NotReady::Yet(format!("{url}: {failure}")),
            })
        })
    }

    /// Sends one small request and returns its Record.
    fn ask_once(&self) -> Result<Record, String> {
        let _span = info_span!("small_request").entered();
        let request = Protocol::for_target(&self.spec.target).probe_request();
        let plan = self.plan(None, one(&request), CaptureText::UntilUsage);
        let workers = NonZeroUsize::MIN;
        let plan = LoadPlan { preconnect: 0, workers, keep_going: true, salter: None, ..plan };
        let stop = StopHandle::default();
        let stopped = stop.clone();
        let handle = self.session.handle();
        let _on_request = self.session.stop_handle().on_request(handle, move || stopped.abort());
        let outcome = loadgen::run_load(&plan, self.session.tokenizer(), &stop, &mut |_| {});
        let records = outcome.map_err(|error| error.to_string())?.records;
        records.into_iter().next().ok_or_else(|| "the request was not sent".to_owned())
    }

    /// Which answers are kept as text. If the server does not count tokens, they are counted in the text, so answers
    /// are kept until the server reports a count. If that would take much memory, one request beforehand finds out
    /// whether the server counts.
    fn text_to_keep(&self, requests: RequestRange<'_>) -> CaptureText {
        let slots = self.spec.load.closed_loop_size().map_or(requests.len(), usize::from).min(requests.len());
        let lengths = requests.outlines().map(|request| request.max_tokens as usize);
        let (longest, sum) = lengths
            .fold((0, 0_usize), |(longest, sum), length| (longest.max(length), sum.saturating_add(length)));
        let at_once = slots.saturating_mul(longest).min(sum);
        if self.spec.target.backend.task() == BackendTask::Pooling {
            CaptureText::Never
        } else if self.detail.text != CaptureText::Never {
            self.detail.text
        } else if at_once <= MANY_TOKENS {
            CaptureText::UntilUsage
        } else {
            self.session.emit(&Event::Note(Note::AsksWhetherTokensAreCounted));
            match self.ask_once() {
                Ok(record) if record.output_tokens.source == TokenSource::Usage => CaptureText::Never,
                _ => CaptureText::UntilUsage,
            }
        }
    }

    /// The phase that the load begins with.
    pub(super) fn first_phase(&self, requests: RequestRange<'_>, warmup: RequestRange<'_>) -> RunPhase {
        let load = &self.spec.load;
        match warmup.is_empty() {
            false => RunPhase::WarmUp { requests: (!self.cycles_warmup()).then_some(warmup.len() as u64) },
            true => RunPhase::Measuring {
                requests: (!load.cycle).then(|| self.share.shown_count(requests) as u64),
                duration: load.duration,
            },
        }
    }

    /// When the measured requests are due: from the trace, or drawn from the load's distributions with this RNG.
    pub(super) fn arrivals(
        &self,
        workload: &PreparedWorkload,
        dice: &mut RunRng,
    ) -> Result<Schedule, SpoolError> {
        let measured = self.spec.workload.num_prompts;
        match workload.arrivals.clone() {
            Some(mut arrivals) => {
                arrivals.truncate(measured);
                Ok(Schedule::Open(arrivals))
            }
            None => arrival::schedule(&self.spec.load, measured, dice),
        }
    }

    /// Runs the warm-up and then, without a pause, the measured load.
    pub(super) fn measure(
        &self,
        load: PlannedLoad<'_>,
        observers: MeasureObservers<'_>,
    ) -> Result<(LoadResult<PackedRecords>, Option<ProbeSummary>), Error> {
        let PlannedLoad { requests, warmup, schedule } = load;
        let Spec { load, .. } = self.spec;
        let measured = LoadPhase { requests, schedule, cycle: load.cycle, duration: load.duration };
        let plan = self.plan(self.warmup(warmup)?, measured, self.text_to_keep(requests));
        let shard = self.share.shard;
        let plan = LoadPlan {
            share: self.share,
            cap: plan.cap.map(|cap| shard.part_of(cap)),
            max_active: plan.max_active.map(|most| shard.part_of(most)),
            preconnect: shard.part_of(plan.preconnect),
            ..plan
        };
        let stop = StopHandle::default();
        let on_request = self.on_request(stop.clone());
        let (outcome, probes) = self.drive(&plan, &stop, observers);
        drop(on_request);
        let outcome = outcome?;
        if let Some(setup) = outcome.setup_failure {
            return Err(Error::WrongSetup { url: self.spec.target.display_url(), setup });
        }
        let probes = probes.transpose()?;
        if outcome.observed.warmup.failed > 0 && !outcome.observed.interrupted {
            let WarmupCount { sent, failed } = outcome.observed.warmup;
            self.session.emit(&Event::Warning(Warning::WarmupFailed { failed, sent }));
        }
        Ok((outcome, probes))
    }

    /// Runs the load, and the probes beside it.
    fn drive(&self, plan: &LoadPlan<'_>, stop: &StopHandle, observers: MeasureObservers<'_>) -> DriveOutcome {
        let MeasureObservers { in_flight, own, all } = observers;
        // The first client judges the first responses of all.
        let keep_going = self.keep_going || self.share.shard.index() > 0;
        let others = self.membership.map(|membership| (membership, keep_going));
        let mut live = LiveLoad::new(self.spec, plan, stop, others);
        let total = live.total();
        // Work that accompanies the measured load waits for its first event. Probes begin when `hold` is dropped.
        let (hold, begin) = channel();
        let mut hold = plan.warmup.is_some().then_some(hold);
        if hold.is_none() {
            in_flight.send_replace(Some(0));
        }
        let mut emit = |event: &Event<'_>| {
            self.session.emit(event);
            all(event, stop);
        };
        let mut load = move || {
            let mut to = LoadObservers { own, all: &mut emit };
            let mut outcome = loadgen::run_load_packed(plan, self.session.tokenizer(), stop, &mut |event| {
                if hold.take().is_some() {
                    let (requests, duration) = (total.map(|total| total as u64), plan.measured.duration);
                    (to.all)(&Event::Phase(RunPhase::Measuring { requests, duration }));
                }
                live.take(&event, &mut to);
                in_flight.send_replace(Some(live.in_flight()));
            });
            if let Ok(outcome) = &mut outcome {
                live.wait_for_others(&mut to);
                outcome.observed.interrupted |= stop.is_requested();
                outcome.setup_failure = outcome.setup_failure.take().or_else(|| live.setup_failure());
            }
            (to.all)(&Event::Phase(RunPhase::Assembling));
            outcome
        };
        // Probes measure the server, so one client sends all of them.
        match self.spec.load.probes.filter(|_| self.share.shard.index() == 0) {
            None => (load(), None),
            Some(rate) => {
                let request = probes::request(&self.spec.target);
                let plan = self.plan(None, probes::phase(&request, rate), CaptureText::Never);
                let (outcome, probes) = probes::run_alongside(plan, rate, begin, load);
                (outcome, Some(probes))
            }
        }
    }

    /// The warm-up: the same load with its own prompts and arrivals.
    fn warmup<'r>(&self, requests: RequestRange<'r>) -> Result<Option<LoadPhase<'r>>, SpoolError> {
        if requests.is_empty() {
            return Ok(None);
        }
        let load = &self.spec.load.warmup_load();
        let mut dice = RunRng::native(self.spec.seed ^ WARMUP_STREAM);
        let schedule = arrival::schedule(load, sessions::session_count(requests), &mut dice)?;
        Ok(Some(LoadPhase { requests, schedule, cycle: self.cycles_warmup(), duration: load.warmup }))
    }

    /// Whether the warm-up sends its requests again until its time is over.
    fn cycles_warmup(&self) -> bool {
        let load = self.spec.load.warmup_load();
        load.warmup.is_some() && load.is_closed_loop()
    }

    /// The plan of a load on this run's target.
    pub(super) fn plan<'p>(
        &'p self,
        warmup: Option<LoadPhase<'p>>,
        measured: LoadPhase<'p>,
        text: CaptureText,
    ) -> LoadPlan<'p> {
        LoadPlan {
            target: &self.spec.target,
            sampling: &self.spec.sampling,
            warmup,
            measured,
            cap: self.spec.load.max_concurrency.map(usize::from),
            max_active: self.spec.load.max_active_sessions.map(usize::from),
            history: self.spec.sessions.history,
            capture: Capture { text, gaps: self.detail.gaps },
            most_records: self.most_records,
            preconnect: self.spec.load.preconnect,
            workers: self.spec.load.workers,
            // The clients of a shared load judge the first responses together.
            keep_going: self.keep_going || self.membership.is_some(),
            salter: self.salter.cloned(),
            share: LoadShare::default(),
        }
    }

    /// Lets in-flight requests finish when the user asks for the end, even if that came before the first request.
    fn on_request(&self, stop: StopHandle) -> OnRequest {
        let observer = Arc::clone(self.session.observer());
        self.session.stop_handle().on_request(self.session.handle(), move || {
            observer(&Event::Stopping { grace: DRAIN_TIMEOUT });
            stop.request_stop();
        })
    }
}

/// A phase of one request, sent immediately.
fn one(request: &Request) -> LoadPhase<'_> {
    let schedule = Schedule::Open(vec![Duration::ZERO].into());
    LoadPhase { requests: std::slice::from_ref(request).into(), schedule, cycle: false, duration: None }
}
