//! Continuous batching as a pure state machine of lengths and block contents, without tokens, clock and sockets.
//!
//! [`Scheduler::begin_step`] decides what the next step computes; [`Scheduler::complete_step`] returns the tokens
//! that the step generated. The order of decisions is that of vLLM's V1 scheduler: running sequences first, in the
//! order of their admission, then waiting ones, first come first served. If blocks run out, the most recently
//! admitted sequence loses all its blocks and starts again.

use std::collections::VecDeque;

use super::blocks::{BlockId, BlockPool, ContentHash};

/// Identifies a sequence.
pub(super) type SeqId = u64;

/// The scheduler's resources.
#[derive(Clone, Copy, Debug)]
pub(super) struct SchedulerLimits {
    pub max_num_seqs: usize,
    pub max_num_batched_tokens: usize,
    pub chunked_prefill: bool,
    /// The number of blocks that sequences can hold.
    pub usable_blocks: usize,
    pub block_size: usize,
    pub prefix_caching: bool,
}

/// The work of the next step.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct StepBatch {
    pub prefill_tokens: usize,
    pub decode_seqs: usize,
    pub admitted: Vec<AdmittedSequence>,
    pub preempted: Vec<SeqId>,
}

/// A sequence that moved from waiting to running.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AdmittedSequence {
    pub id: SeqId,
    /// Tokens that needed no computation, since the prefix cache had them.
    pub cached: usize,
    /// Whether the sequence had run before and was preempted.
    pub resumed: bool,
}

/// A sequence to schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SequenceShape {
    /// The number of prompt tokens, at least 1.
    pub prompt: usize,
    /// The number of tokens that it will generate, at least 1.
    pub output: usize,
    /// The content of each full block of the prompt and the output after it; empty if it shares no block with others.
    pub contents: Vec<ContentHash>,
}

/// A token that a step generated.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct GeneratedToken {
    pub id: SeqId,
    /// Whether the token was its sequence's last. The scheduler then drops the sequence.
    pub last: bool,
}

/// The load of the scheduler.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct SchedulerLoad {
    pub running: usize,
    pub waiting: usize,
    /// Share of the usable blocks in use, 0 to 1.
    pub kv_usage: f64,
}

struct Sequence {
    id: SeqId,
    shape: SequenceShape,
    /// The number of tokens that it has generated.
    generated: usize,
    blocks: Vec<BlockId>,
    computed: usize,
    /// The number of tokens that the current step computes.
    scheduled: usize,
    preempted: bool,
}

impl Sequence {
    /// The number of tokens of the prompt and the output so far.
    fn len(&self) -> usize {
        self.shape.prompt + self.generated
    }

    fn to_compute(&self) -> usize {
        self.len() - self.computed
    }

    fn is_finished(&self) -> bool {
        self.generated >= self.shape.output
    }

    fn generate_token(&mut self) -> GeneratedToken {
        self.generated += 1;
        GeneratedToken { id: self.id, last: self.is_finished() }
    }
}

pub(super) struct Scheduler {
    limits: SchedulerLimits,
    pool: BlockPool,
    waiting: VecDeque<Sequence>,
    /// Running sequences in the order of admission.
    running: Vec<Sequence>,
}

impl Scheduler {
    /// Creates an empty scheduler. One sequence of the maximum length must fit `limits.usable_blocks`. Without
    /// chunked prefill, its prompt must also fit `limits.max_num_batched_tokens`.
    pub(super) fn new(limits: SchedulerLimits) -> Self {
        let pool = BlockPool::new(limits.usable_blocks);
        Self { limits, pool, waiting: VecDeque::new(), running: Vec::new() }
    }

    /// Queues a sequence.
    pub(super) fn add(&mut self, id: SeqId, shape: SequenceShape) {
        debug_assert!(shape.prompt > 0 && shape.output > 0);
        let (blocks, preempted) = (Vec::new(), false);
        self.waiting.push_back(Sequence {
            id,
            shape,
            generated: 0,
            blocks,
            computed: 0,
            scheduled: 0,
            preempted,
        });
    }

    /// Drops a running or waiting sequence; only between steps. Returns whether the sequence existed.
    pub(super) fn abort(&mut self, id: SeqId) -> bool {
        if let Some(at) = self.running.iter().position(|sequence| sequence.id == id) {
            let sequence = self.running.remove(at);
            self.pool.release(sequence.blocks);
            return true;
        }
        let before = self.waiting.len();
        self.waiting.retain(|sequence| sequence.id != id);
        self.waiting.len() < before
    }

    /// Clears the prefix cache.
    pub(super) fn reset_prefix_cache(&mut self) {
        self.pool.forget_contents();
    }

    pub(super) fn load(&self) -> SchedulerLoad {
        SchedulerLoad {
            running: self.running.len(),
            waiting: self.waiting.len(),
            kv_usage: self.pool.held_count() as f64 / self.pool.size().max(1) as f64,
        }
    }

    /// The number of tokens of a block that later sequences may find; `None` without prefix caching.
    pub(super) fn cached_block_size(&self) -> Option<usize> {
        self.limits.prefix_caching.then_some(self.limits.block_size)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty()
    }

    /// Decides what the next step computes.
    pub(super) fn begin_step(&mut self) -> StepBatch {
        let mut batch = StepBatch::default();
        let mut budget = self.limits.max_num_batched_tokens;
        self.continue_running(&mut batch, &mut budget);
        // After a preemption, no new sequence may take the freed blocks.
        if batch.preempted.is_empty() {
            self.admit_waiting(&mut batch, &mut budget);
        }
        batch
    }

    fn continue_running(&mut self, batch: &mut StepBatch, budget: &mut usize) {
        let mut at = 0;
        while at < self.running.len() && *budget > 0 {
            let tokens = self.running[at].to_compute().min(*budget);
            while at < self.running.len() && !self.allocate_blocks(at, tokens) {
                batch.preempted.push(self.preempt_latest());
            }
            let Some(sequence) = self.running.get_mut(at) else { break };
            schedule(sequence, tokens, batch);
            *budget -= tokens;
            at += 1;
        }
    }

    /// Allocates blocks for `tokens` more tokens of a sequence. Returns whether there were enough blocks.
    fn allocate_blocks(&mut self, at: usize, tokens: usize) -> bool {
        let sequence = &mut self.running[at];
        let needed = (sequence.computed + tokens).div_ceil(self.limits.block_size);
        let fresh = needed.saturating_sub(sequence.blocks.len());
        match self.pool.claim(&[], fresh) {
            Some(blocks) => sequence.blocks.extend(blocks),
            None => return false,
        }
        true
    }

    fn preempt_latest(&mut self) -> SeqId {
        let mut sequence = self.running.pop().expect("the caller saw a running sequence");
        self.pool.release(std::mem::take(&mut sequence.blocks));
        (sequence.computed, sequence.scheduled, sequence.preempted) = (0, 0, true);
        let id = sequence.id;
        self.waiting.push_front(sequence);
        id
    }

    fn admit_waiting(&mut self, batch: &mut StepBatch, budget: &mut usize) {
        while *budget > 0 && self.running.len() < self.limits.max_num_seqs {
            let Some(sequence) = self.waiting.front() else { break };
            let found = self.find_prefix(sequence);
            let cached = found.len() * self.limits.block_size;
            let left = sequence.len() - cached;
            if left > *budget && !self.limits.chunked_prefill {
                break;
            }
            let tokens = left.min(*budget);
            let fresh = (cached + tokens).div_ceil(self.limits.block_size) - found.len();
            let Some(blocks) = self.pool.claim(&found, fresh) else { break };
            let Some(mut sequence) = self.waiting.pop_front() else { break };
            (sequence.blocks, sequence.computed) = (blocks, cached);
            batch.admitted.push(AdmittedSequence { id: sequence.id, cached, resumed: sequence.preempted });
            schedule(&mut sequence, tokens, batch);
            *budget -= tokens;
            self.running.push(sequence);
        }
    }

    /// Returns the blocks that already hold the beginning of the sequence. The last token is always computed, since
    /// its computation yields the next token.
    fn find_prefix(&self, sequence: &Sequence) -> Vec<BlockId> {
        if !self.limits.prefix_caching {
            return Vec::new();
        }
        let most = (sequence.len() - 1) / self.limits.block_size;
        let contents = &sequence.shape.contents;
        self.pool.find(&contents[..most.min(contents.len())])
    }

    /// Ends the step that [`begin_step`](Self::begin_step) decided on. Returns its tokens, in the order of admission.
    pub(super) fn complete_step(&mut self) -> Vec<GeneratedToken> {
        let mut emissions = Vec::with_capacity(self.running.len());
        for sequence in &mut self.running {
            let tokens = std::mem::take(&mut sequence.scheduled);
            if self.limits.prefix_caching {
                remember_full_blocks(&mut self.pool, sequence, tokens, self.limits.block_size);
            }
            sequence.computed += tokens;
            if tokens > 0 && sequence.to_compute() == 0 {
                emissions.push(sequence.generate_token());
            }
        }
        self.drop_finished();
        emissions
    }

    fn drop_finished(&mut self) {
        let pool = &mut self.pool;
        self.running.retain_mut(|sequence| {
            if sequence.is_finished() {
                pool.release(std::mem::take(&mut sequence.blocks));
            }
            !sequence.is_finished()
        });
    }
}

fn schedule(sequence: &mut Sequence, tokens: usize, batch: &mut StepBatch) {
    sequence.scheduled = tokens;
    let decoding = sequence.to_compute() == 1 && sequence.generated > 0;
    if decoding {
        batch.decode_seqs += 1;
    } else {
        batch.prefill_tokens += tokens;
    }
}

fn remember_full_blocks(pool: &mut BlockPool, sequence: &Sequence, tokens: usize, block_size: usize) {
    let full = (sequence.computed / block_size)..((sequence.computed + tokens) / block_size);
    for at in full {
        if let Some(content) = sequence.shape.contents.get(at) {
            pool.remember(sequence.blocks[at], *content);
        }
    }
}

#[cfg(test)]
mod tests;
