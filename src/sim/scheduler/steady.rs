//! Steps in which nothing changes but lengths: foreseen, and done at once.

use super::{Scheduler, SchedulerLimits, SequencePart, StepWork, sequence::Sequence};

/// A number of steps in which every running sequence decodes one token, and no sequence ends, is admitted or preempted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SteadySteps {
    /// The number of steps, 0 if the next step is another one.
    pub steps: u64,
    /// The work of the first of them. Each further step reads `decode_seqs` more `kv_tokens`.
    pub first: StepWork,
}

impl StepWork {
    /// The work of a steady step `steps` after this one.
    pub(crate) fn after_steady(&self, steps: u64) -> Self {
        Self { kv_tokens: self.kv_tokens + self.decode_seqs as u64 * steps, ..*self }
    }
}

/// A change of the pool within a leap, in the order in which single steps make them: the number of the step, claims
/// before registrations, and the place of the sequence.
type PoolChange = (u64, PoolChangeKind, usize);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum PoolChangeKind {
    Claim,
    Register,
}

impl Scheduler {
    /// Foresees the number of coming steps in which nothing changes but lengths, if no sequence is added, received,
    /// released or aborted. It may be less than the true number.
    pub(crate) fn steady_steps(&self) -> SteadySteps {
        let seqs = self.running.len();
        if seqs == 0 || seqs > self.limits.max_num_batched_tokens {
            return SteadySteps::default();
        }
        if self.received > 0 && self.has_room() {
            return SteadySteps::default();
        }
        if !self.waiting.is_empty() && !self.keeps_waiting() {
            return SteadySteps::default();
        }
        let (mut steps, mut kv_tokens) = (usize::MAX, 0);
        for sequence in &self.running {
            // The step of the last token is not steady.
            let left = sequence.shape.output - sequence.generated - 1;
            if left == 0 || !sequence.is_decoding() {
                return SteadySteps::default();
            }
            steps = steps.min(left);
            kv_tokens += sequence.len() as u64;
        }
        let first = StepWork { decode_seqs: seqs, kv_tokens, ..StepWork::default() };
        SteadySteps { steps: self.most_with_blocks(steps) as u64, first }
    }

    /// Whether a newly added sequence could be admitted by the next step, as far as the queue, the number of running
    /// sequences and the tokens of a step decide it. If not, it changes nothing in [`steady_steps`](Self::steady_steps).
    pub(crate) fn could_admit(&self) -> bool {
        self.waiting.is_empty() && self.has_room()
    }

    /// Whether a step in which all running sequences decode has a place and a token left for one more.
    pub(super) fn has_room(&self) -> bool {
        let seqs = self.running.len();
        seqs < self.limits.max_num_seqs && seqs < self.limits.max_num_batched_tokens
    }

    /// Whether the first waiting sequence cannot be admitted while the running ones only decode.
    fn keeps_waiting(&self) -> bool {
        if !self.has_room() {
            return true;
        }
        let Some(head) = self.waiting.front() else { return true };
        // What the prefix cache knows of the head may grow or shrink with each step, and with it the head's needs.
        if self.limits.prefix_caching && !head.shape.contents.is_empty() {
            return false;
        }
        let lacks = |tokens: usize| tokens.div_ceil(self.limits.block_size) > self.pool.free_count();
        if head.part == SequencePart::Decode {
            return lacks(head.len());
        }
        if head.part == SequencePart::Prefill && lacks(head.len()) {
            return true;
        }
        let budget = self.limits.max_num_batched_tokens - self.running.len();
        if head.len() > budget && !self.limits.chunked_prefill {
            return true;
        }
        // Decoding frees no blocks.
        lacks(head.len().min(budget))
    }

    /// The most steps, up to `most`, for which there are enough blocks.
    fn most_with_blocks(&self, most: usize) -> usize {
        let at_most = self.running.len().saturating_mul(most.div_ceil(self.limits.block_size));
        if at_most <= self.pool.free_count() || self.fits(most) {
            return most;
        }
        let (mut fitting, mut too_many) = (0, most);
        while too_many - fitting > 1 {
            let middle = fitting.midpoint(too_many);
            if self.fits(middle) {
                fitting = middle;
            } else {
                too_many = middle;
            }
        }
        fitting
    }

    fn fits(&self, steps: usize) -> bool {
        let fresh = |sequence: &Sequence| fresh_blocks(sequence, steps, &self.limits);
        self.running.iter().map(fresh).sum::<usize>() <= self.pool.free_count()
    }

    /// Does `steps` steps at once, at most as many as [`steady_steps`](Self::steady_steps) returned.
    pub(crate) fn leap(&mut self, steps: u64) {
        let steps = usize::try_from(steps).unwrap_or(usize::MAX);
        let registers = |sequence: &Sequence| registered(sequence, steps, &self.limits);
        if self.limits.prefix_caching && self.running.iter().any(registers) {
            self.change_pool_in_order(steps);
        }
        for sequence in &mut self.running {
            let fresh = fresh_blocks(sequence, steps, &self.limits);
            if fresh > 0 {
                let is_claimed = self.pool.claim(&mut sequence.blocks, &[], fresh);
                debug_assert!(is_claimed, "a leap goes no further than the blocks last");
            }
            sequence.computed += steps;
            sequence.generated += steps;
        }
    }

    /// Claims and registers the blocks of a leap in the order of single steps. The order decides which contents are
    /// registered, and which are lost, only if the leap does both.
    fn change_pool_in_order(&mut self, steps: usize) {
        let mut changes: Vec<PoolChange> = Vec::new();
        let block_size = self.limits.block_size;
        for (place, sequence) in self.running.iter().enumerate() {
            // Step `s` (from 0) computes the token at `computed + s`. It claims a block if the token is a block's first,
            // and registers it if the token is a block's last.
            let held = sequence.blocks.len();
            for block in held..held + fresh_blocks(sequence, steps, &self.limits) {
                let step = block * block_size - sequence.computed;
                changes.push((step as u64, PoolChangeKind::Claim, place));
            }
            let full = (sequence.computed + steps) / block_size;
            for block in sequence.computed / block_size..full.min(sequence.shape.contents.len()) {
                let step = (block + 1) * block_size - 1 - sequence.computed;
                changes.push((step as u64, PoolChangeKind::Register, place));
            }
        }
        changes.sort_unstable();
        for (step, kind, place) in changes {
            let sequence = &mut self.running[place];
            match kind {
                PoolChangeKind::Claim => {
                    let is_claimed = self.pool.claim(&mut sequence.blocks, &[], 1);
                    debug_assert!(is_claimed, "a leap goes no further than the blocks last");
                }
                PoolChangeKind::Register => {
                    let block = (sequence.computed + step as usize) / block_size;
                    self.pool.remember(sequence.blocks.id(block), sequence.shape.contents[block]);
                }
            }
        }
    }
}

/// The number of blocks that `steps` decode steps of a sequence claim.
fn fresh_blocks(sequence: &Sequence, steps: usize, limits: &SchedulerLimits) -> usize {
    let held = sequence.blocks.len();
    let needed = sequence.computed + steps;
    if needed <= held * limits.block_size { 0 } else { needed.div_ceil(limits.block_size) - held }
}

/// Whether `steps` decode steps of a sequence complete a block that others may find.
fn registered(sequence: &Sequence, steps: usize, limits: &SchedulerLimits) -> bool {
    let full = sequence.computed / limits.block_size;
    let contents = sequence.shape.contents.len();
    full < contents && full < (sequence.computed + steps) / limits.block_size
}

#[cfg(test)]
mod tests;
