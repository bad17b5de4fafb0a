//! The step loop: runs the scheduler by the clock and delivers tokens.

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
    metrics::{EngineMetrics, FinishedRequest},
    scheduler::{
        BlockContents, ContentHash, Scheduler, SchedulerLimits, SeqId, SequenceShape, StepWork,
        block_contents,
    },
    spec::SimSpec,
};
use crate::sim::{output_plan::SimFinishReason, precise_timer::PreciseTimer, step_time::StepTime};

/// A step loop that is later than this resets its schedule. Smaller delays are caught up by shorter waits, so that
/// the granularity of sleep does not add up. A larger delay means that the machine had no CPU time for the loop, and
/// catching up with steps of no duration would distort the timing in another way.
const MAX_CATCH_UP: Duration = Duration::from_millis(20);

/// A request's job for the engine.
pub(super) struct EngineJob {
    pub prompt: Vec<u32>,
    pub output: Vec<u32>,
    pub work: JobKind,
    /// When the request had been read.
    pub arrived: Instant,
    /// The LoRA adapter of the job.
    pub adapter: Option<String>,
    /// Jobs with different salts or adapters share nothing in the prefix cache.
    pub cache_salt: Option<String>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum JobKind {
    /// Generate output, which ends for this reason.
    Generate {
        finish: SimFinishReason,
        /// The request's own limit of output tokens, for the statistics.
        max_tokens: usize,
    },
    /// Compute the prompt alone. Its one output token marks the end and is not output.
    Pool,
}

impl JobKind {
    fn is_generation(self) -> bool {
        matches!(self, Self::Generate { .. })
    }
}

/// A generated token.
#[derive(Clone, Copy, Debug)]
pub(super) struct TokenEvent {
    /// When the job entered the queue.
    pub queued: Instant,
    /// The beginning of the first step that computed the job.
    pub scheduled: Instant,
    /// The end of the step that generated the token.
    pub at: Instant,
    /// Prompt tokens from the prefix cache.
    pub cached: usize,
    /// Whether the token is the job's last.
    pub last: bool,
}

enum EngineCommand {
    Submit { id: SeqId, job: EngineJob, events: UnboundedSender<TokenEvent> },
    Abort(SeqId),
    ResetPrefixCache,
}

/// A handle to the step loop; clones refer to the same loop.
#[derive(Clone)]
pub(super) struct EngineHandle {
    commands: UnboundedSender<EngineCommand>,
    next_id: Arc<AtomicU64>,
}

impl EngineHandle {
    /// Creates the step loop and a handle to it. The loop runs while it is awaited and never ends on its own; when it
    /// is dropped, all token streams end.
    pub(super) fn new(
        spec: &SimSpec,
        metrics: Arc<Mutex<EngineMetrics>>,
    ) -> io::Result<(Self, impl Future<Output = ()> + Send + use<>)> {
        let (commands, inbox) = unbounded_channel();
        let engine = Self { commands, next_id: Arc::default() };
        let stepper = StepLoop {
            scheduler: Scheduler::new(limits(spec)),
            running_jobs: HashMap::new(),
            inbox,
            alarm: PreciseTimer::new()?,
            timing: spec.timing,
            dice: StdRng::seed_from_u64(spec.seed),
            metrics,
        };
        Ok((engine, stepper.run()))
    }

    /// Submits a job.
    pub(super) fn submit(&self, job: EngineJob) -> TokenStream {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, events) = unbounded_channel();
        // If the loop has ended, the sender is dropped with the command, and the stream ends at once.
        let _ = self.commands.send(EngineCommand::Submit { id, job, events: sender });
        TokenStream { id, events, commands: self.commands.clone(), done: false }
    }

    /// Clears the prefix cache.
    pub(super) fn reset_prefix_cache(&self) {
        let _ = self.commands.send(EngineCommand::ResetPrefixCache);
    }
}

/// The tokens of a job. Dropping it before the last token aborts the job.
pub(super) struct TokenStream {
    id: SeqId,
    events: UnboundedReceiver<TokenEvent>,
    commands: UnboundedSender<EngineCommand>,
    done: bool,
}

impl TokenStream {
    /// Returns the next token, or `None` after the last one, or if the server shuts down.
    pub(super) async fn next(&mut self) -> Option<TokenEvent> {
        let event = self.events.recv().await;
        self.done = event.is_none_or(|event| event.last);
        event
    }
}

impl Drop for TokenStream {
    fn drop(&mut self) {
        if !self.done {
            let _ = self.commands.send(EngineCommand::Abort(self.id));
        }
    }
}

fn limits(spec: &SimSpec) -> SchedulerLimits {
    let budget = spec.max_num_batched_tokens;
    SchedulerLimits {
        max_num_seqs: spec.max_num_seqs,
        max_num_batched_tokens: if spec.chunked_prefill { budget } else { budget.max(spec.max_model_len) },
        chunked_prefill: spec.chunked_prefill,
        usable_blocks: spec.num_gpu_blocks - 1,
        block_size: spec.block_size,
        prefix_caching: spec.prefix_caching,
    }
}

/// A job in the scheduler.
struct RunningJob {
    events: UnboundedSender<TokenEvent>,
    facts: FinishedRequest,
    arrived: Instant,
    queued: Instant,
    scheduled: Option<Instant>,
    first: Option<Instant>,
    latest: Instant,
    work: JobKind,
    adapter: Option<String>,
}

struct StepLoop {
    scheduler: Scheduler,
    running_jobs: HashMap<SeqId, RunningJob>,
    inbox: UnboundedReceiver<EngineCommand>,
    alarm: PreciseTimer,
    timing: StepTime,
    dice: StdRng,
    metrics: Arc<Mutex<EngineMetrics>>,
}

impl StepLoop {
    async fn run(mut self) {
        let mut step_end = Instant::now();
        loop {
            if self.scheduler.is_idle() {
                let Some(command) = self.inbox.recv().await else { return };
                self.handle_command(command);
                step_end = Instant::now();
            }
            while let Ok(command) = self.inbox.try_recv() {
                self.handle_command(command);
            }
            if self.scheduler.is_idle() {
                continue;
            }
            let work = self.scheduler.begin_step().work;
            self.record_step_begin();
            step_end = self.wait_for_step(&work, step_end).await;
            self.scheduler.complete_step();
            self.deliver_tokens(&work);
        }
    }

    fn handle_command(&mut self, command: EngineCommand) {
        match command {
            EngineCommand::Submit { id, job, events } => self.queue(id, job, events),
            EngineCommand::Abort(id) => {
                self.scheduler.abort(id);
                if let Some(job) = self.running_jobs.remove(&id) {
                    self.with_metrics(|metrics| {
                        metrics.record_abort();
                        job.leave_adapter(metrics);
                    });
                }
            }
            EngineCommand::ResetPrefixCache => self.scheduler.reset_prefix_cache(),
        }
    }

    fn queue(&mut self, id: SeqId, job: EngineJob, events: UnboundedSender<TokenEvent>) {
        let now = Instant::now();
        let shape = self.shape(&job);
        if self.scheduler.add(id, shape).is_err() {
            // The dropped sender ends the job's stream. It does not happen: `SimSpec::check` makes room for a sequence of
            // the maximum length, and no request is accepted beyond it.
            return;
        }
        let max_tokens = match job.work {
            JobKind::Generate { max_tokens, .. } => max_tokens,
            JobKind::Pool => 0,
        };
        if let Some(adapter) = &job.adapter {
            self.with_metrics(|metrics| metrics.adapters.record_waiting(adapter));
        }
        let running = RunningJob {
            events,
            facts: FinishedRequest::new(job.prompt.len(), max_tokens),
            arrived: job.arrived,
            queued: now,
            scheduled: None,
            first: None,
            latest: now,
            work: job.work,
            adapter: job.adapter,
        };
        self.running_jobs.insert(id, running);
    }

    fn shape(&self, job: &EngineJob) -> SequenceShape {
        let EngineJob { prompt, output, .. } = job;
        let contents = match self.scheduler.cached_block_size() {
            Some(size) => block_contents(&[&**prompt, output].concat(), cache_salt(job), size),
            None => BlockContents::NONE,
        };
        SequenceShape { prompt: prompt.len(), output: output.len(), contents }
    }

    /// Waits until the step ends: its duration after the end of the previous step.
    async fn wait_for_step(&mut self, work: &StepWork, previous_end: Instant) -> Instant {
        let noise = self.dice.random_range(-1.0..=1.0);
        let step = self.timing.step_duration(work, noise);
        let due = previous_end + step;
        self.alarm.sleep_until(due).await;
        let now = Instant::now();
        if now.duration_since(due) > MAX_CATCH_UP { now } else { due }
    }

    fn record_step_begin(&mut self) {
        let now = Instant::now();
        let load = self.scheduler.load();
        let batch = self.scheduler.batch();
        for id in &batch.preempted {
            if let Some(job) = self.running_jobs.get_mut(id) {
                job.facts.preemptions += 1;
            }
        }
        let mut metrics = self.metrics.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        metrics.load = load;
        metrics.preemptions += batch.preempted.len() as u64;
        for admission in batch.admitted.iter().filter(|admission| !admission.resumed) {
            let Some(job) = self.running_jobs.get_mut(&admission.id) else { continue };
            job.scheduled = Some(now);
            job.facts.cached = admission.cached;
            if let Some(adapter) = &job.adapter {
                metrics.adapters.record_running(adapter);
            }
            metrics.record_admission(job.facts.prompt_tokens, admission.cached);
        }
    }

    /// Sends all tokens of a step to their requests at once, and counts them.
    fn deliver_tokens(&mut self, work: &StepWork) {
        let now = Instant::now();
        let load = self.scheduler.load();
        let mut metrics = self.metrics.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        metrics.load = load;
        metrics.record_step(work.prefill_tokens + work.decode_seqs);
        for emission in self.scheduler.generated() {
            let Some(job) = self.running_jobs.get_mut(&emission.id) else { continue };
            match job.first {
                None => metrics.record_prompt(&job.facts),
                Some(_) => metrics.record_next_token(now - job.latest),
            }
            if job.work.is_generation() {
                if job.first.is_none() {
                    metrics.record_first_token(now - job.arrived);
                }
                job.facts.output_tokens += 1;
                metrics.generation_tokens += 1;
            }
            job.first.get_or_insert(now);
            job.latest = now;
            let event = TokenEvent {
                queued: job.queued,
                scheduled: job.scheduled(),
                at: now,
                cached: job.facts.cached,
                last: emission.last,
            };
            // A dropped stream has sent its abort, so an error needs no handling.
            let _ = job.events.send(event);
            if emission.last
                && let Some(job) = self.running_jobs.remove(&emission.id)
            {
                job.leave_adapter(&mut metrics);
                let finish = match job.work {
                    JobKind::Generate { finish, .. } => finish,
                    JobKind::Pool => SimFinishReason::Stop,
                };
                metrics.record_finished(&job.into_finished(now), finish);
            }
        }
    }

    fn with_metrics(&self, change: impl FnOnce(&mut EngineMetrics)) {
        let mut metrics = self.metrics.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        change(&mut metrics);
        metrics.load = self.scheduler.load();
    }
}

/// Returns the salt that keeps a job's blocks apart from those of jobs with other results for the same tokens.
fn cache_salt(job: &EngineJob) -> Option<ContentHash> {
    if job.adapter.is_none() && job.cache_salt.is_none() {
        return None;
    }
    let mut hasher = DefaultHasher::new();
    (&job.adapter, &job.cache_salt).hash(&mut hasher);
    Some(hasher.finish())
}

impl RunningJob {
    /// Removes the job from its adapter's count.
    fn leave_adapter(&self, metrics: &mut EngineMetrics) {
        if let Some(adapter) = &self.adapter {
            metrics.adapters.record_left(adapter, self.scheduled.is_some());
        }
    }

    /// The beginning of the first step that computed the job.
    fn scheduled(&self) -> Instant {
        self.scheduled.unwrap_or(self.queued)
    }

    /// Returns the statistics of a finished job.
    fn into_finished(self, now: Instant) -> FinishedRequest {
        let scheduled = self.scheduled();
        let first = self.first.unwrap_or(now);
        FinishedRequest {
            e2e: now - self.arrived,
            queue: scheduled - self.queued,
            prefill: first - scheduled,
            decode: now - first,
            ..self.facts
        }
    }
}
