//! One simulated server: the scheduler and its clock.
//!
//! A replica goes from boundary to boundary. Between two boundaries it does a stretch: one step, or several steady ones
//! at once. A request that arrives within a stretch waits for the end of the step at hand, as in the simulator's step
//! loop, so it ends a stretch of several steps early if it could be admitted.

use std::collections::BTreeMap;

use super::{
    noise::{StepRegime, mix},
    observer::{SimulatedAnswer, SimulationObserver, SpanDurations, StepSpan},
    step_time::SteadyDurations,
    ticks::Ticks,
    workload::SimulatedRequest,
};
use crate::sim::scheduler::{
    Scheduler, SchedulerLoad, SeqId, SequencePart, SequenceShape, SequenceTooLarge, SteadySteps, StepWork,
};

mod handover;
mod server_config;

pub(crate) use handover::ReservedPrompt;
pub(crate) use server_config::{RequestOverhead, ServerConfig};

/// The most steps that are foreseen with noise, each with a random number: an arrival may make most of them void.
const MOST_NOISY_STEPS: u64 = 64;

/// Sums over a replica's steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReplicaTotals {
    pub steps: u64,
    /// The time in steps.
    pub busy: Ticks,
    pub preemptions: u64,
}

/// What a replica does until its next boundary.
#[derive(Clone, Copy, Debug)]
enum Stretch {
    /// Nothing, and there is no boundary: it waits for requests, or for other servers.
    Idle,
    /// Nothing: its next boundary starts a step.
    Starting,
    /// The step that the scheduler has begun.
    Step { start: Ticks, duration: Ticks, load: SchedulerLoad },
    /// Steps that the scheduler has foreseen. With noise, their ends are in [`Replica::ends`].
    Steady { start: Ticks, steps: u64, first: StepWork, durations: SteadyDurations },
}

/// A request in a replica.
#[derive(Clone, Debug, Default)]
struct RequestState {
    /// What is known of its answer.
    answer: SimulatedAnswer,
    /// When it got its last token before it was preempted.
    interrupted: Option<Ticks>,
    part: SequencePart,
}

pub(crate) struct Replica<'a> {
    config: &'a ServerConfig,
    number: u32,
    seed: u64,
    scheduler: Scheduler,
    stretch: Stretch,
    /// By the scheduler's sequence id.
    requests: Vec<RequestState>,
    /// Places in `requests` that are free.
    vacant: Vec<SeqId>,
    /// The sequences of requests that two servers compute, by the request's number.
    shared: BTreeMap<u64, SeqId>,
    /// Requests that got blocks for a prompt of another server, since they were last taken.
    reserved: Vec<ReservedPrompt>,
    /// The number of requests that were preempted between two tokens and wait for the next one.
    interrupted: usize,
    /// The end of each steady step, counted from the start of the stretch.
    ends: Vec<Ticks>,
    load: SchedulerLoad,
    totals: ReplicaTotals,
    // Counts of random numbers.
    decode_steps: u64,
    mixed_steps: u64,
}

impl<'a> Replica<'a> {
    pub(crate) fn new(config: &'a ServerConfig, number: u32, seed: u64) -> Self {
        Self {
            config,
            number,
            seed: mix(seed, u64::from(number)),
            scheduler: Scheduler::new(config.limits),
            stretch: Stretch::Idle,
            requests: Vec::new(),
            vacant: Vec::new(),
            shared: BTreeMap::new(),
            reserved: Vec::new(),
            interrupted: 0,
            ends: Vec::new(),
            load: SchedulerLoad::default(),
            totals: ReplicaTotals::default(),
            decode_steps: 0,
            mixed_steps: 0,
        }
    }

    pub(crate) fn totals(&self) -> ReplicaTotals {
        self.totals
    }

    /// Whether it has neither requests nor blocks in use.
    pub(crate) fn is_drained(&self) -> bool {
        self.shared.is_empty() && self.scheduler.load() == SchedulerLoad::default()
    }

    /// Puts the replica's part of a request, sent at `sent`, into the queue. Returns the replica's next boundary if this
    /// changes it.
    ///
    /// # Errors
    ///
    /// The request is too large for the server.
    pub(crate) fn arrive(
        &mut self,
        request: SimulatedRequest,
        part: SequencePart,
        sent: Ticks,
        now: Ticks,
    ) -> Result<Option<Ticks>, SequenceTooLarge> {
        let is_admissible = self.scheduler.could_admit();
        let SimulatedRequest { index, due, prompt, output, session, contents } = request;
        let id = self.vacant.pop().unwrap_or(self.requests.len() as SeqId);
        let shape = SequenceShape { prompt: prompt as usize, output: output as usize, contents };
        self.scheduler.add_part(id, shape, part)?;
        let answer = SimulatedAnswer {
            index,
            replica: self.number,
            session,
            prompt,
            output,
            due,
            sent,
            queued: now,
            ..SimulatedAnswer::default()
        };
        let state = RequestState { answer, interrupted: None, part };
        if part != SequencePart::Whole {
            self.shared.insert(index, id);
        }
        match self.requests.get_mut(id as usize) {
            Some(place) => *place = state,
            None => self.requests.push(state),
        }
        Ok(self.wake(is_admissible, now))
    }

    /// If the next step may be another one than foreseen, begins it, or lets the step at hand be the last of its stretch.
    /// Returns the next boundary if this changes it.
    fn wake(&mut self, is_changed: bool, now: Ticks) -> Option<Ticks> {
        match self.stretch {
            Stretch::Idle if is_changed => {
                self.stretch = Stretch::Starting;
                Some(now)
            }
            Stretch::Steady { .. } if is_changed => self.cut(now),
            _ => None,
        }
    }

    /// Ends a steady stretch with the step that is under way. Returns the new boundary if it is an earlier one.
    fn cut(&mut self, now: Ticks) -> Option<Ticks> {
        let Stretch::Steady { start, steps, durations, .. } = &mut self.stretch else { return None };
        let elapsed = now - *start;
        let until = if self.ends.is_empty() {
            durations.steps_until(elapsed, *steps)
        } else {
            (self.ends.partition_point(|end| *end < elapsed) as u64 + 1).min(*steps)
        };
        if until == *steps {
            return None;
        }
        *steps = until;
        self.ends.truncate(until as usize);
        Some(*start + self.ends.last().copied().unwrap_or_else(|| durations.total(until)))
    }

    /// Ends the stretch and begins the next one. Appends the answers that end. Returns the next boundary.
    pub(crate) fn pass_boundary(
        &mut self,
        now: Ticks,
        observer: &mut dyn SimulationObserver,
        answers: &mut Vec<SimulatedAnswer>,
    ) -> Option<Ticks> {
        match std::mem::replace(&mut self.stretch, Stretch::Idle) {
            Stretch::Idle | Stretch::Starting => {}
            Stretch::Step { start, duration, load } => {
                let durations = SteadyDurations { first: duration, growth: Ticks::ZERO };
                let durations = SpanDurations::Steady(durations);
                let first = self.scheduler.batch().work;
                let (replica, ordinal) = (self.number, self.totals.steps);
                let first_tokens = self.scheduler.batch().continued.len();
                let steps = 1;
                observer.on_steps(&StepSpan {
                    replica,
                    ordinal,
                    start,
                    steps,
                    first,
                    first_tokens,
                    durations,
                    load,
                });
                self.complete_step(now, observer, answers);
                self.totals.steps += 1;
                self.totals.busy += duration;
            }
            Stretch::Steady { start, steps, first, durations } => {
                self.complete_steady(StretchPart { start, steps, first, durations }, observer);
            }
        }
        self.load = self.scheduler.load();
        self.begin_stretch(now)
    }

    fn begin_stretch(&mut self, now: Ticks) -> Option<Ticks> {
        if self.scheduler.is_idle() {
            return None;
        }
        let steady = if self.config.leaps { self.scheduler.steady_steps() } else { SteadySteps::default() };
        if steady.steps > 0 { Some(self.begin_steady(now, steady)) } else { self.begin_step(now) }
    }

    fn begin_steady(&mut self, now: Ticks, SteadySteps { steps, first }: SteadySteps) -> Ticks {
        let (durations, mut steps) = self.config.step_time.steady(&first, steps);
        self.ends.clear();
        if !self.config.noise.is_none() {
            steps = steps.min(MOST_NOISY_STEPS);
            let mut end = Ticks::ZERO;
            for step in 0..steps {
                end += self.deviate(durations.duration(step), StepRegime::Decode, self.decode_steps + step);
                self.ends.push(end);
            }
        }
        self.stretch = Stretch::Steady { start: now, steps, first, durations };
        now + self.ends.last().copied().unwrap_or_else(|| durations.total(steps))
    }

    /// Begins a step. Returns its end; `None` if there is none, because every sequence waits for another server.
    fn begin_step(&mut self, now: Ticks) -> Option<Ticks> {
        loop {
            self.form_batch(now);
            let batch = self.scheduler.batch();
            match (batch.is_empty(), batch.preempted.is_empty()) {
                (false, _) => break,
                // The preempted sequences have left their blocks to others.
                (true, false) => {}
                (true, true) => {
                    self.load = self.scheduler.load();
                    return None;
                }
            }
        }
        let work = self.scheduler.batch().work;
        let (regime, count) = match work.prefill_tokens {
            0 => (StepRegime::Decode, &mut self.decode_steps),
            _ => (StepRegime::Mixed, &mut self.mixed_steps),
        };
        let number = *count;
        *count += 1;
        let duration = self.deviate(self.config.step_time.step_ticks(&work), regime, number);
        self.stretch = Stretch::Step { start: now, duration, load: self.scheduler.load() };
        Some(now + duration)
    }

    /// Lets the scheduler form a step, and notes what this means for the requests.
    fn form_batch(&mut self, now: Ticks) {
        let batch = self.scheduler.begin_step();
        for admission in batch.admitted.iter().filter(|admission| !admission.resumed) {
            let answer = &mut self.requests[admission.id as usize].answer;
            (answer.scheduled, answer.cached) = (now, admission.cached as u32);
        }
        for id in &batch.continued {
            self.requests[*id as usize].answer.scheduled = now;
        }
        for found in &batch.reserved {
            let SimulatedAnswer { index, prompt, .. } = self.requests[found.id as usize].answer;
            self.reserved.push(ReservedPrompt { index, tokens: prompt - found.cached as u32 });
        }
        for id in &batch.preempted {
            let state = &mut self.requests[*id as usize];
            state.answer.preemptions += 1;
            self.totals.preemptions += 1;
            // Before the first token there is no gap. A second preemption prolongs the gap of the first.
            if state.answer.first_token > Ticks::ZERO && state.interrupted.is_none() {
                state.interrupted = Some(now);
                self.interrupted += 1;
            }
        }
    }

    fn deviate(&self, duration: Ticks, regime: StepRegime, count: u64) -> Ticks {
        self.config.noise.deviate(duration, regime, self.seed, count)
    }

    fn complete_step(
        &mut self,
        now: Ticks,
        observer: &mut dyn SimulationObserver,
        answers: &mut Vec<SimulatedAnswer>,
    ) {
        let generated = self.scheduler.complete_step();
        let delivered = now + self.config.overhead.of_delivery(generated.len());
        let batch = generated.len() as u32;
        for token in generated {
            if !(token.first || token.last || self.interrupted > 0) {
                continue;
            }
            let RequestState { answer, interrupted, part } = &mut self.requests[token.id as usize];
            if let Some(before) = interrupted.take() {
                self.interrupted -= 1;
                observer.on_interruption(now - before);
            }
            if token.first {
                (answer.first_token, answer.first_step) = (delivered, self.totals.steps);
                answer.first_batch = batch;
            }
            if token.last {
                (answer.last_token, answer.last_step) = (delivered, self.totals.steps);
                answer.last_batch = batch;
                answers.push(answer.clone());
                match part {
                    SequencePart::Whole => self.vacant.push(token.id),
                    SequencePart::Decode => {
                        self.shared.remove(&answer.index);
                        self.vacant.push(token.id);
                    }
                    // Its blocks stay until they were read.
                    SequencePart::Prefill => {}
                }
            }
        }
    }

    fn complete_steady(&mut self, part: StretchPart, observer: &mut dyn SimulationObserver) {
        let StretchPart { start, steps, first, durations } = part;
        let ends = &self.ends[..self.ends.len().min(steps as usize)];
        let durations =
            if ends.is_empty() { SpanDurations::Steady(durations) } else { SpanDurations::Ends(ends) };
        let (replica, ordinal) = (self.number, self.totals.steps);
        let (first_tokens, load) = (0, self.load);
        let span = StepSpan { replica, ordinal, start, steps, first, first_tokens, durations, load };
        observer.on_steps(&span);
        self.totals.busy += span.total();
        self.totals.steps += steps;
        self.decode_steps += steps;
        self.scheduler.leap(steps);
    }

    /// The load, with the blocks in use at the end of the last step that ended by `now`.
    pub(crate) fn read_load(&mut self, now: Ticks, observer: &mut dyn SimulationObserver) -> SchedulerLoad {
        if let Stretch::Steady { start, steps, first, durations } = self.stretch {
            let elapsed = now - start;
            // The last step of a stretch ends at its boundary.
            let ended = if self.ends.is_empty() {
                durations.steps_until(elapsed + Ticks(1), steps) - 1
            } else {
                (self.ends.partition_point(|end| *end <= elapsed) as u64).min(steps - 1)
            };
            if ended > 0 {
                self.complete_steady(StretchPart { start, steps: ended, first, durations }, observer);
                self.load = self.scheduler.load();
                self.forget_ended(ended);
            }
        }
        SchedulerLoad { kv_usage: self.load.kv_usage, ..self.scheduler.load() }
    }

    /// Takes the first `ended` steps out of a steady stretch.
    fn forget_ended(&mut self, ended: u64) {
        let Stretch::Steady { start, steps, first, durations } = &mut self.stretch else { return };
        let passed = match self.ends.get(ended as usize - 1) {
            Some(end) => *end,
            None => durations.total(ended),
        };
        if !self.ends.is_empty() {
            self.ends.drain(..ended as usize);
            self.ends.iter_mut().for_each(|end| *end = *end - passed);
        }
        *start += passed;
        *steps -= ended;
        *first = first.after_steady(ended);
        durations.first = durations.duration(ended);
    }
}

/// Steady steps that have ended.
struct StretchPart {
    start: Ticks,
    steps: u64,
    first: StepWork,
    durations: SteadyDurations,
}
