//! Sequences whose prompt one server computes and another one continues.
//!
//! The states are those of vLLM's V1 scheduler with a connector that reads. The first server admits a prompt if all of
//! it has blocks, not only its first chunk, and keeps these blocks until they were read. The second one reserves blocks
//! for the whole prompt when the sequence is first in the queue. A sequence whose keys and values are on their way has
//! these blocks, but runs in no step and takes no place among the running ones. When they are there it runs, and
//! computes the prompt's last token again, which yields its first output. If it is preempted later, it computes its
//! prompt itself.

use super::{Scheduler, SeqId, SequencePart, SequenceShape, SequenceTooLarge, sequence::Sequence};

/// A sequence that got blocks for its prompt, whose keys and values can now be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReservedSequence {
    pub id: SeqId,
    /// Prompt tokens that the prefix cache has, and that need not be read.
    pub cached: usize,
}

impl Scheduler {
    /// Queues a part of a sequence.
    ///
    /// # Errors
    ///
    /// The sequence can never be computed within the limits.
    pub(crate) fn add_part(
        &mut self,
        id: SeqId,
        shape: SequenceShape,
        part: SequencePart,
    ) -> Result<(), SequenceTooLarge> {
        debug_assert!(shape.prompt > 0 && shape.output > 0);
        self.limits.check(shape.prompt, shape.output)?;
        self.waiting.push_back(Sequence::new(id, shape, part));
        Ok(())
    }

    /// Lets a sequence run whose prompt's keys and values have come. Returns whether the next step has a place for it.
    pub(crate) fn receive(&mut self, id: SeqId) -> bool {
        if let Some(sequence) = self.transfers.iter_mut().find(|sequence| sequence.id == id) {
            debug_assert!(!sequence.is_received, "a prompt comes once");
            sequence.is_received = true;
            self.received += 1;
        }
        self.has_room()
    }

    /// Frees the blocks of a computed prompt, which another server has read. Returns whether sequences wait.
    pub(crate) fn release(&mut self, id: SeqId) -> bool {
        if let Some(at) = self.kept.iter().position(|(kept, _)| *kept == id) {
            let (_, mut blocks) = self.kept.remove(at);
            self.pool.release(&mut blocks);
        }
        !self.waiting.is_empty()
    }

    /// Reserves blocks for the prompt of the first waiting sequence; `found` has those of its prefix. Returns whether
    /// there were enough.
    pub(super) fn reserve_for_first(&mut self) -> bool {
        let Some(sequence) = self.waiting.front_mut() else { return false };
        let fresh = sequence.shape.prompt.div_ceil(self.limits.block_size) - self.found.len();
        if !self.pool.claim(&mut sequence.blocks, &self.found, fresh) {
            return false;
        }
        sequence.computed = self.found.len() * self.limits.block_size;
        self.batch.reserved.push(ReservedSequence { id: sequence.id, cached: sequence.computed });
        self.transfers.extend(self.waiting.pop_front());
        true
    }

    /// Admits the sequences whose prompts have come, in the order in which they got their blocks.
    pub(super) fn admit_received(&mut self, budget: &mut usize) {
        while self.received > 0 && *budget > 0 && self.running.len() < self.limits.max_num_seqs {
            let Some(at) = self.transfers.iter().position(|sequence| sequence.is_received) else { break };
            let mut sequence = self.transfers.remove(at);
            self.received -= 1;
            let computed = sequence.shape.prompt - 1;
            if self.limits.prefix_caching {
                let came = computed - sequence.computed;
                sequence.remember_full_blocks(&mut self.pool, came, self.limits.block_size);
            }
            sequence.computed = computed;
            self.batch.continued.push(sequence.id);
            sequence.schedule(1, &mut self.batch.work);
            *budget -= 1;
            self.running.push(sequence);
        }
    }

    /// Drops a sequence whose prompt is on its way or has come. Returns whether it existed.
    pub(super) fn abort_transfer(&mut self, id: SeqId) -> bool {
        let Some(at) = self.transfers.iter().position(|sequence| sequence.id == id) else { return false };
        let mut sequence = self.transfers.remove(at);
        self.received -= usize::from(sequence.is_received);
        self.pool.release(&mut sequence.blocks);
        true
    }
}

#[cfg(test)]
mod tests;
