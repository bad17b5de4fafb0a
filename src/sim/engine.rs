//! The step loop: drives the scheduler by the clock and hands out tokens.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{
    alarm::Alarm,
    blocks::ContentHash,
    metrics::{Metrics, Retired},
    plan::Finish,
    scheduler::{Batch, Emission, Limits, Scheduler, SeqId},
    spec::Spec,
    timing::StepTime,
};

/// A step loop that is late by more than this starts afresh. Less is made up for by shorter waits, so that
/// the granularity of sleep does not add up; more means the machine had no time for us, and steps without
/// any time between them would be a lie of another kind.
const FORGIVEN_LAG: Duration = Duration::from_millis(20);

/// What a request asks of the engine.
pub(super) struct Job {
    pub prompt: Vec<u32>,
    pub output: Vec<u32>,
    pub work: Work,
    /// When the request had been read.
    pub arrived: Instant,
    /// The LoRA adapter it is for.
    pub adapter: Option<String>,
    /// Jobs of different salts share nothing of the prefix cache, nor do jobs for different adapters.
    pub cache_salt: Option<String>,
}

/// What a job is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Work {
    /// Its output, which ends for this reason.
    Generate {
        finish: Finish,
        /// The request's own limit of output tokens, for the statistics.
        max_tokens: usize,
    },
    /// Its prompt alone: the one token of its output is an end and no output.
    Pool,
}

impl Work {
    fn generates(self) -> bool {
        matches!(self, Self::Generate { .. })
    }
}

/// A token has been generated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    /// End of the step that made it.
    pub at: Instant,
    /// Prompt tokens that the prefix cache had.
    pub cached: usize,
    /// Whether it is the last.
    pub last: bool,
}

enum Command {
    Submit { id: SeqId, job: Job, events: UnboundedSender<Event> },
    Abort(SeqId),
    ResetPrefixCache,
}

/// The way to the step loop; clones lead to the same one.
#[derive(Clone)]
pub(super) struct Engine {
    commands: UnboundedSender<Command>,
    next_id: Arc<AtomicU64>,
}

impl Engine {
    /// Makes the step loop and the way to it. The loop runs when it is awaited and never ends by itself;
    /// when it is dropped, every ticket's events end.
    pub(super) fn new(
        spec: &Spec,
        metrics: Arc<Mutex<Metrics>>,
    ) -> io::Result<(Self, impl Future<Output = ()> + Send + use<>)> {
        let (commands, inbox) = unbounded_channel();
        let engine = Self { commands, next_id: Arc::default() };
        let stepper = Stepper {
            scheduler: Scheduler::new(limits(spec)),
            flights: HashMap::new(),
            inbox,
            alarm: Alarm::new()?,
            timing: spec.timing,
            dice: StdRng::seed_from_u64(spec.seed),
            metrics,
        };
        Ok((engine, stepper.run()))
    }

    /// Queues a job.
    pub(super) fn submit(&self, job: Job) -> Ticket {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, events) = unbounded_channel();
        // If the loop has ended, the sender is dropped with the command and the events end at once.
        let _ = self.commands.send(Command::Submit { id, job, events: sender });
        Ticket { id, events, commands: self.commands.clone(), done: false }
    }

    /// Forgets what the prefix cache holds.
    pub(super) fn reset_prefix_cache(&self) {
        let _ = self.commands.send(Command::ResetPrefixCache);
    }
}

/// A job's way back: its tokens. Dropping it before the last one aborts the job.
pub(super) struct Ticket {
    id: SeqId,
    events: UnboundedReceiver<Event>,
    commands: UnboundedSender<Command>,
    done: bool,
}

impl Ticket {
    /// The next token; `None` after the last one, or if the server is shutting down.
    pub(super) async fn next(&mut self) -> Option<Event> {
        let event = self.events.recv().await;
        self.done = event.is_none_or(|event| event.last);
        event
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.done {
            let _ = self.commands.send(Command::Abort(self.id));
        }
    }
}

fn limits(spec: &Spec) -> Limits {
    let budget = spec.max_num_batched_tokens;
    Limits {
        max_num_seqs: spec.max_num_seqs,
        max_num_batched_tokens: if spec.chunked_prefill { budget } else { budget.max(spec.max_model_len) },
        chunked_prefill: spec.chunked_prefill,
        usable_blocks: spec.num_gpu_blocks - 1,
        block_size: spec.block_size,
        prefix_caching: spec.prefix_caching,
    }
}

/// A job on its way through the scheduler.
struct Flight {
    events: UnboundedSender<Event>,
    facts: Retired,
    arrived: Instant,
    queued: Instant,
    scheduled: Option<Instant>,
    first: Option<Instant>,
    latest: Instant,
    work: Work,
    adapter: Option<String>,
}

struct Stepper {
    scheduler: Scheduler,
    flights: HashMap<SeqId, Flight>,
    inbox: UnboundedReceiver<Command>,
    alarm: Alarm,
    timing: StepTime,
    dice: StdRng,
    metrics: Arc<Mutex<Metrics>>,
}

impl Stepper {
    async fn run(mut self) {
        let mut step_end = Instant::now();
        loop {
            if self.scheduler.is_idle() {
                let Some(command) = self.inbox.recv().await else { return };
                self.obey(command);
                step_end = Instant::now();
            }
            while let Ok(command) = self.inbox.try_recv() {
                self.obey(command);
            }
            if self.scheduler.is_idle() {
                continue;
            }
            let batch = self.scheduler.begin();
            self.note_begin(&batch);
            step_end = self.sit_through(&batch, step_end).await;
            let emissions = self.scheduler.complete();
            self.hand_out(&batch, &emissions);
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Submit { id, job, events } => self.queue(id, job, events),
            Command::Abort(id) => {
                self.scheduler.abort(id);
                if let Some(flight) = self.flights.remove(&id) {
                    self.with_metrics(|metrics| {
                        metrics.abort();
                        flight.leave(metrics);
                    });
                }
            }
            Command::ResetPrefixCache => self.scheduler.reset_prefix_cache(),
        }
    }

    fn queue(&mut self, id: SeqId, job: Job, events: UnboundedSender<Event>) {
        let now = Instant::now();
        let salt = salt_of(&job);
        let max_tokens = match job.work {
            Work::Generate { max_tokens, .. } => max_tokens,
            Work::Pool => 0,
        };
        if let Some(adapter) = &job.adapter {
            self.with_metrics(|metrics| metrics.adapters.wait(adapter));
        }
        let flight = Flight {
            events,
            facts: Retired::of(job.prompt.len(), max_tokens),
            arrived: job.arrived,
            queued: now,
            scheduled: None,
            first: None,
            latest: now,
            work: job.work,
            adapter: job.adapter,
        };
        self.flights.insert(id, flight);
        self.scheduler.add(id, job.prompt, job.output, salt);
    }

    /// Waits until the step is over: its time after the end of the one before.
    async fn sit_through(&mut self, batch: &Batch, previous_end: Instant) -> Instant {
        let noise = self.dice.random_range(-1.0..=1.0);
        let step = self.timing.of(batch.prefill_tokens, batch.decode_seqs, noise);
        let due = previous_end + step;
        self.alarm.wait_until(due).await;
        let now = Instant::now();
        if now.duration_since(due) > FORGIVEN_LAG { now } else { due }
    }

    fn note_begin(&mut self, batch: &Batch) {
        let now = Instant::now();
        let load = self.scheduler.load();
        for id in &batch.preempted {
            if let Some(flight) = self.flights.get_mut(id) {
                flight.facts.preemptions += 1;
            }
        }
        let mut metrics = self.metrics.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        metrics.load = load;
        metrics.preemptions += batch.preempted.len() as u64;
        for admission in batch.admitted.iter().filter(|admission| !admission.resumed) {
            let Some(flight) = self.flights.get_mut(&admission.id) else { continue };
            flight.scheduled = Some(now);
            flight.facts.cached = admission.cached;
            if let Some(adapter) = &flight.adapter {
                metrics.adapters.run(adapter);
            }
            metrics.admit(flight.facts.prompt_tokens, admission.cached);
        }
    }

    /// Sends each token of a step to its request, all together, and counts them.
    fn hand_out(&mut self, batch: &Batch, emissions: &[Emission]) {
        let now = Instant::now();
        let load = self.scheduler.load();
        let mut metrics = self.metrics.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        metrics.load = load;
        metrics.step(batch.prefill_tokens + batch.decode_seqs);
        for emission in emissions {
            let Some(flight) = self.flights.get_mut(&emission.id) else { continue };
            match flight.first {
                None => metrics.prompt_done(&flight.facts),
                Some(_) => metrics.next_token(now - flight.latest),
            }
            if flight.work.generates() {
                if flight.first.is_none() {
                    metrics.first_token(now - flight.arrived);
                }
                flight.facts.output_tokens += 1;
                metrics.generation_tokens += 1;
            }
            flight.first.get_or_insert(now);
            flight.latest = now;
            let event = Event { at: now, cached: flight.facts.cached, last: emission.last };
            // A ticket that is gone has sent its abort; nothing to do here.
            let _ = flight.events.send(event);
            if emission.last
                && let Some(flight) = self.flights.remove(&emission.id)
            {
                flight.leave(&mut metrics);
                let finish = match flight.work {
                    Work::Generate { finish, .. } => finish,
                    Work::Pool => Finish::Stop,
                };
                metrics.retire(&flight.retired(now), finish);
            }
        }
    }

    fn with_metrics(&self, change: impl FnOnce(&mut Metrics)) {
        let mut metrics = self.metrics.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        change(&mut metrics);
        metrics.load = self.scheduler.load();
    }
}

/// What keeps a job's blocks apart from those of jobs that compute something else of the same tokens.
fn salt_of(job: &Job) -> Option<ContentHash> {
    if job.adapter.is_none() && job.cache_salt.is_none() {
        return None;
    }
    let mut hasher = DefaultHasher::new();
    (&job.adapter, &job.cache_salt).hash(&mut hasher);
    Some(hasher.finish())
}

impl Flight {
    /// Takes the job off the count of its adapter.
    fn leave(&self, metrics: &mut Metrics) {
        if let Some(adapter) = &self.adapter {
            metrics.adapters.leave(adapter, self.scheduled.is_some());
        }
    }

    /// The whole story of a job that has come to its end.
    fn retired(self, now: Instant) -> Retired {
        let scheduled = self.scheduled.unwrap_or(self.queued);
        let first = self.first.unwrap_or(now);
        Retired {
            e2e: now - self.arrived,
            queue: scheduled - self.queued,
            prefill: first - scheduled,
            decode: now - first,
            ..self.facts
        }
    }
}
