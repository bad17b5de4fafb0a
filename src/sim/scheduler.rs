//! Continuous batching as a pure state machine of lengths and block contents, without tokens, clock and sockets.
//!
//! [`Scheduler::begin_step`] decides what the next step computes; [`Scheduler::complete_step`] returns the tokens
//! that the step generated. The order of decisions is that of vLLM's V1 scheduler: running sequences first, in the
//! order of their admission, then waiting ones, first come first served. If blocks run out, the most recently
//! admitted sequence loses all its blocks and starts again.
//!
//! [`Scheduler::steady_steps`] foresees a number of steps in which nothing changes but lengths, and
//! [`Scheduler::leap`] does them at once.

use std::collections::VecDeque;

mod blocks;
mod handover;
mod sequence;
mod steady;

use blocks::{BlockId, BlockPool, HeldBlocks};
use sequence::Sequence;

pub(crate) use blocks::{BlockContents, ContentHash};
pub(in crate::sim) use blocks::{block_contents, content_hash};
pub(crate) use handover::ReservedSequence;
pub(crate) use sequence::{SequencePart, SequenceShape};
pub(crate) use steady::SteadySteps;

/// Identifies a sequence. The caller chooses it.
pub(crate) type SeqId = u64;

/// The scheduler's resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SchedulerLimits {
    pub max_num_seqs: usize,
    pub max_num_batched_tokens: usize,
    pub chunked_prefill: bool,
    /// The number of blocks that sequences can hold.
    pub usable_blocks: usize,
    pub block_size: usize,
    pub prefix_caching: bool,
}

/// A sequence that can never be computed within the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SequenceTooLarge {
    #[error("a sequence of {tokens} tokens needs {needed} KV blocks of {block_size}, and there are {usable}")]
    Pool { tokens: usize, needed: usize, usable: usize, block_size: usize },
    #[error(
        "a sequence of {tokens} tokens does not fit a step of {budget} tokens, and chunked prefill is disabled"
    )]
    Step { tokens: usize, budget: usize },
}

impl SchedulerLimits {
    /// Checks that a sequence can be computed. One that cannot would wait forever, and with it all that come later.
    ///
    /// # Errors
    ///
    /// The KV pool or the step is too small for the sequence at its greatest length.
    pub(crate) fn check(&self, prompt: usize, output: usize) -> Result<(), SequenceTooLarge> {
        // The last token is never computed.
        let tokens = prompt + output.max(1) - 1;
        let needed = tokens.div_ceil(self.block_size);
        if needed > self.usable_blocks {
            let (usable, block_size) = (self.usable_blocks, self.block_size);
            return Err(SequenceTooLarge::Pool { tokens, needed, usable, block_size });
        }
        // A sequence that was preempted computes its output so far like a prompt.
        if !self.chunked_prefill && tokens > self.max_num_batched_tokens {
            return Err(SequenceTooLarge::Step { tokens, budget: self.max_num_batched_tokens });
        }
        Ok(())
    }
}

/// The amounts of a step's work that decide how long it takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StepWork {
    /// Prompt tokens, and tokens that are computed again after a preemption.
    pub prefill_tokens: usize,
    /// Sequences that compute one token after another: they generate a token beyond their first, or the first one of a
    /// prompt that another server computed.
    pub decode_seqs: usize,
    /// The sum of the lengths of the decoding sequences: the tokens whose keys and values the step reads for them.
    pub kv_tokens: u64,
    /// The number of pairs of a query and a key in the attention of the prefill: c·q + c·(c + 1)/2 for a chunk of `c`
    /// tokens after `q` that were computed before.
    pub attention: u64,
}

/// The work of the next step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StepBatch {
    pub work: StepWork,
    pub admitted: Vec<AdmittedSequence>,
    pub preempted: Vec<SeqId>,
    /// Sequences that got blocks for a prompt of another server.
    pub reserved: Vec<ReservedSequence>,
    /// Sequences that begin to decode after a prompt of another server. They are among the decoding ones.
    pub continued: Vec<SeqId>,
}

impl StepBatch {
    fn clear(&mut self) {
        self.work = StepWork::default();
        self.admitted.clear();
        self.preempted.clear();
        self.reserved.clear();
        self.continued.clear();
    }

    /// Whether the step computes nothing, because every sequence waits for another server.
    pub(crate) fn is_empty(&self) -> bool {
        self.work.prefill_tokens == 0 && self.work.decode_seqs == 0
    }
}

/// A sequence that moved from waiting to running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AdmittedSequence {
    pub id: SeqId,
    /// Tokens that needed no computation, since the prefix cache had them.
    pub cached: usize,
    /// Whether the sequence had run before and was preempted.
    pub resumed: bool,
}

/// What a step generated for a sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GeneratedToken {
    pub id: SeqId,
    /// Whether this is the sequence's first output.
    pub first: bool,
    /// Whether the sequence is complete. The scheduler then drops it.
    pub last: bool,
}

/// The load of the scheduler.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct SchedulerLoad {
    pub running: usize,
    pub waiting: usize,
    /// Share of the usable blocks in use, 0 to 1.
    pub kv_usage: f64,
}

pub(crate) struct Scheduler {
    limits: SchedulerLimits,
    pool: BlockPool,
    waiting: VecDeque<Sequence>,
    /// Running sequences in the order of admission.
    running: Vec<Sequence>,
    /// Sequences that have blocks for a prompt of another server, in the order in which they got them.
    transfers: Vec<Sequence>,
    /// The number of `transfers` whose prompts have come.
    received: usize,
    /// The blocks of computed prompts that another server has not yet read.
    kept: Vec<(SeqId, HeldBlocks)>,
    // Buffers of a step.
    batch: StepBatch,
    generated: Vec<GeneratedToken>,
    found: Vec<BlockId>,
}

impl Scheduler {
    /// Creates an empty scheduler.
    pub(crate) fn new(limits: SchedulerLimits) -> Self {
        let pool = if limits.prefix_caching { BlockPool::with_contents } else { BlockPool::counting };
        Self {
            limits,
            pool: pool(limits.usable_blocks),
            waiting: VecDeque::new(),
            running: Vec::new(),
            transfers: Vec::new(),
            received: 0,
            kept: Vec::new(),
            batch: StepBatch::default(),
            generated: Vec::new(),
            found: Vec::new(),
        }
    }

    /// Queues a sequence.
    ///
    /// # Errors
    ///
    /// The sequence can never be computed within the limits.
    pub(crate) fn add(&mut self, id: SeqId, shape: SequenceShape) -> Result<(), SequenceTooLarge> {
        self.add_part(id, shape, SequencePart::Whole)
    }

    /// Drops a running or waiting sequence; only between steps. Returns whether the sequence existed.
    pub(crate) fn abort(&mut self, id: SeqId) -> bool {
        if let Some(at) = self.running.iter().position(|sequence| sequence.id == id) {
            let mut sequence = self.running.remove(at);
            self.pool.release(&mut sequence.blocks);
            return true;
        }
        if self.abort_transfer(id) {
            return true;
        }
        let before = self.waiting.len();
        self.waiting.retain(|sequence| sequence.id != id);
        self.waiting.len() < before
    }

    /// Clears the prefix cache.
    pub(crate) fn reset_prefix_cache(&mut self) {
        self.pool.forget_contents();
    }

    pub(crate) fn load(&self) -> SchedulerLoad {
        SchedulerLoad {
            running: self.running.len(),
            waiting: self.waiting.len() + self.transfers.len(),
            kv_usage: self.pool.held_count() as f64 / self.pool.size().max(1) as f64,
        }
    }

    /// The number of tokens of a block that later sequences may find; `None` without prefix caching.
    pub(crate) fn cached_block_size(&self) -> Option<usize> {
        self.limits.prefix_caching.then_some(self.limits.block_size)
    }

    /// Whether there is nothing to do until a sequence is added or received.
    pub(crate) fn is_idle(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty() && self.received == 0
    }

    /// The step that [`begin_step`](Self::begin_step) decided on.
    pub(crate) fn batch(&self) -> &StepBatch {
        &self.batch
    }

    /// What the last completed step generated, in the order of admission.
    pub(crate) fn generated(&self) -> &[GeneratedToken] {
        &self.generated
    }

    /// Decides what the next step computes.
    pub(crate) fn begin_step(&mut self) -> &StepBatch {
        self.batch.clear();
        let mut budget = self.limits.max_num_batched_tokens;
        self.continue_running(&mut budget);
        // After a preemption, no new sequence may take the freed blocks.
        if self.batch.preempted.is_empty() {
            self.admit_waiting(&mut budget);
        }
        debug_assert!(
            self.is_idle() || budget < self.limits.max_num_batched_tokens || self.awaits_others(),
            "a step without work would repeat itself forever"
        );
        &self.batch
    }

    /// Whether other servers decide when some blocks are free or some sequences run.
    fn awaits_others(&self) -> bool {
        !self.transfers.is_empty() || !self.kept.is_empty()
    }

    fn continue_running(&mut self, budget: &mut usize) {
        let mut at = 0;
        while at < self.running.len() && *budget > 0 {
            let tokens = self.running[at].to_compute().min(*budget);
            while at < self.running.len() && !self.allocate_blocks(at, tokens) {
                let preempted = self.preempt_latest();
                self.batch.preempted.push(preempted);
            }
            let Some(sequence) = self.running.get_mut(at) else { break };
            sequence.schedule(tokens, &mut self.batch.work);
            *budget -= tokens;
            at += 1;
        }
    }

    /// Allocates blocks for `tokens` more tokens of a sequence. Returns whether there were enough blocks.
    fn allocate_blocks(&mut self, at: usize, tokens: usize) -> bool {
        let sequence = &mut self.running[at];
        let held = sequence.blocks.len();
        if sequence.computed + tokens <= held * self.limits.block_size {
            return true;
        }
        let needed = (sequence.computed + tokens).div_ceil(self.limits.block_size);
        self.pool.claim(&mut sequence.blocks, &[], needed - held)
    }

    fn preempt_latest(&mut self) -> SeqId {
        let mut sequence = self.running.pop().expect("the caller saw a running sequence");
        self.pool.release(&mut sequence.blocks);
        (sequence.computed, sequence.scheduled, sequence.preempted) = (0, 0, true);
        if sequence.part == SequencePart::Decode {
            // The other server has freed its blocks.
            sequence.part = SequencePart::Whole;
        }
        let id = sequence.id;
        self.waiting.push_front(sequence);
        id
    }

    fn admit_waiting(&mut self, budget: &mut usize) {
        self.admit_received(budget);
        while *budget > 0 && self.running.len() < self.limits.max_num_seqs {
            let Some(sequence) = self.waiting.front() else { break };
            find_prefix(&self.pool, &self.limits, sequence, &mut self.found);
            if sequence.part == SequencePart::Decode {
                if self.reserve_for_first() {
                    continue;
                }
                break;
            }
            let cached = self.found.len() * self.limits.block_size;
            let left = sequence.len() - cached;
            if left > *budget && !self.limits.chunked_prefill {
                break;
            }
            let tokens = left.min(*budget);
            let whole = sequence.len().div_ceil(self.limits.block_size) - self.found.len();
            if sequence.part == SequencePart::Prefill && !self.pool.has_free(&self.found, whole) {
                break;
            }
            let fresh = (cached + tokens).div_ceil(self.limits.block_size) - self.found.len();
            let Some(sequence) = self.waiting.front_mut() else { break };
            if !self.pool.claim(&mut sequence.blocks, &self.found, fresh) {
                break;
            }
            let Some(mut sequence) = self.waiting.pop_front() else { break };
            sequence.computed = cached;
            let resumed = sequence.preempted;
            self.batch.admitted.push(AdmittedSequence { id: sequence.id, cached, resumed });
            sequence.schedule(tokens, &mut self.batch.work);
            *budget -= tokens;
            self.running.push(sequence);
        }
    }

    /// Ends the step that [`begin_step`](Self::begin_step) decided on. Returns what it generated, in the order of
    /// admission.
    pub(crate) fn complete_step(&mut self) -> &[GeneratedToken] {
        self.generated.clear();
        let mut has_finished = false;
        for sequence in &mut self.running {
            let tokens = std::mem::take(&mut sequence.scheduled);
            if tokens == 0 {
                continue;
            }
            if self.limits.prefix_caching {
                sequence.remember_full_blocks(&mut self.pool, tokens, self.limits.block_size);
            }
            if let Some(token) = sequence.compute(tokens) {
                has_finished |= token.last;
                self.generated.push(token);
            }
        }
        if has_finished {
            self.drop_finished();
        }
        &self.generated
    }

    fn drop_finished(&mut self) {
        let (pool, kept) = (&mut self.pool, &mut self.kept);
        self.running.retain_mut(|sequence| {
            if sequence.is_finished() {
                match sequence.part {
                    SequencePart::Prefill => kept.push((sequence.id, std::mem::take(&mut sequence.blocks))),
                    SequencePart::Whole | SequencePart::Decode => pool.release(&mut sequence.blocks),
                }
            }
            !sequence.is_finished()
        });
    }
}

/// Puts into `found` the blocks that already contain the beginning of the sequence. The last token is always computed,
/// because its computation yields the next token.
fn find_prefix(pool: &BlockPool, limits: &SchedulerLimits, sequence: &Sequence, found: &mut Vec<BlockId>) {
    let contents: &[ContentHash] = if limits.prefix_caching { &sequence.shape.contents } else { &[] };
    let most = (sequence.len() - 1) / limits.block_size;
    pool.find(&contents[..most.min(contents.len())], found);
}

#[cfg(test)]
mod tests;
