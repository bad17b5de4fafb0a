//! A sequence within the scheduler.

use super::{
    GeneratedToken, SeqId, StepWork,
    blocks::{BlockContents, BlockPool, HeldBlocks},
};

/// A sequence to schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SequenceShape {
    /// The number of prompt tokens, at least 1.
    pub prompt: usize,
    /// The number of tokens that it will generate, at least 1.
    pub output: usize,
    /// The content of each full block of the prompt and the output after it; empty if it shares no block with others.
    pub contents: BlockContents,
}

/// The part of a sequence that a server computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum SequencePart {
    /// All of it.
    #[default]
    Whole,
    /// The prompt, with one token of output. It is admitted when all of it has blocks, which stay in use after its end until
    /// [`Scheduler::release`](super::Scheduler::release).
    Prefill,
    /// The output. The prompt's keys and values come from another server, and are there after
    /// [`Scheduler::receive`](super::Scheduler::receive).
    Decode,
}

pub(super) struct Sequence {
    pub id: SeqId,
    pub shape: SequenceShape,
    pub part: SequencePart,
    /// The number of tokens that it has generated.
    pub generated: usize,
    pub blocks: HeldBlocks,
    pub computed: usize,
    /// The number of tokens that the current step computes.
    pub scheduled: usize,
    /// Whether it was preempted, and has not yet computed again what it had before.
    pub preempted: bool,
    /// Whether the keys and values of a prompt of another server have come.
    pub is_received: bool,
}

impl Sequence {
    pub(super) fn new(id: SeqId, shape: SequenceShape, part: SequencePart) -> Self {
        Self {
            id,
            shape,
            part,
            generated: 0,
            blocks: HeldBlocks::default(),
            computed: 0,
            scheduled: 0,
            preempted: false,
            is_received: false,
        }
    }

    /// The number of tokens of the prompt and the output so far.
    pub(super) fn len(&self) -> usize {
        self.shape.prompt + self.generated
    }

    /// The number of tokens that it would compute in a step without a budget.
    pub(super) fn to_compute(&self) -> usize {
        self.len() - self.computed
    }

    pub(super) fn is_finished(&self) -> bool {
        self.generated >= self.shape.output
    }

    /// Whether its next computation yields one token after another, rather than the first of a prompt of this server or
    /// one after a preemption.
    pub(super) fn is_decoding(&self) -> bool {
        let has_prompt = self.generated > 0 || self.part == SequencePart::Decode;
        self.to_compute() == 1 && has_prompt && !self.preempted
    }

    /// Lets the current step compute `tokens`, and counts them.
    pub(super) fn schedule(&mut self, tokens: usize, work: &mut StepWork) {
        self.scheduled = tokens;
        if self.is_decoding() {
            work.decode_seqs += 1;
            work.kv_tokens += self.len() as u64;
        } else {
            work.prefill_tokens += tokens;
            let (chunk, before) = (tokens as u64, self.computed as u64);
            work.attention += chunk * before + chunk * (chunk + 1) / 2;
        }
    }

    /// Registers the blocks that become full when `tokens` more are computed.
    pub(super) fn remember_full_blocks(&self, pool: &mut BlockPool, tokens: usize, block_size: usize) {
        let contents = &self.shape.contents;
        let full = (self.computed / block_size)..((self.computed + tokens) / block_size).min(contents.len());
        for at in full {
            pool.remember(self.blocks.id(at), contents[at]);
        }
    }

    /// Counts `tokens` as computed. Returns what this generates, unless a part of the prompt is left.
    pub(super) fn compute(&mut self, tokens: usize) -> Option<GeneratedToken> {
        let is_complete = self.to_compute() == tokens;
        self.computed += tokens;
        if !is_complete {
            return None;
        }
        self.preempted = false;
        let first = self.generated == 0;
        self.generated += 1;
        Some(GeneratedToken { id: self.id, first, last: self.is_finished() })
    }
}
