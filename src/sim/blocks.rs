//! The paged KV pool: blocks, who holds them, and which content can be found again.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
};

/// Names a block of the pool.
pub(super) type BlockId = u32;
/// Stands for the content of a block and everything before it.
pub(super) type ContentHash = u64;

#[derive(Clone, Default)]
struct Block {
    holders: u32,
    content: Option<ContentHash>,
    freed_at: u64,
}

/// A fixed number of blocks. A block nobody holds keeps its content until it is handed out again, the
/// least recently freed first.
pub(super) struct BlockPool {
    blocks: Vec<Block>,
    /// Blocks nobody holds, by the moment they were freed.
    free: BTreeMap<u64, BlockId>,
    known: HashMap<ContentHash, BlockId>,
    moment: u64,
}

/// The hash of a full block: its tokens after everything that `parent` stands for.
pub(super) fn content_hash(parent: Option<ContentHash>, tokens: &[u32]) -> ContentHash {
    let mut hasher = DefaultHasher::new();
    (parent, tokens).hash(&mut hasher);
    hasher.finish()
}

impl BlockPool {
    pub(super) fn new(size: usize) -> Self {
        let mut pool = Self {
            blocks: vec![Block::default(); size],
            free: BTreeMap::new(),
            known: HashMap::new(),
            moment: 0,
        };
        for id in 0..size as BlockId {
            pool.put_back(id);
        }
        pool
    }

    /// Blocks in all.
    pub(super) fn size(&self) -> usize {
        self.blocks.len()
    }

    /// Blocks held by some sequence.
    pub(super) fn held(&self) -> usize {
        self.blocks.len() - self.free.len()
    }

    /// The blocks of the longest prefix of `contents` that is known.
    pub(super) fn find(&self, contents: &[ContentHash]) -> Vec<BlockId> {
        contents.iter().map_while(|content| self.known.get(content).copied()).collect()
    }

    /// Takes hold of the blocks `found` and of `fresh` more; `None`, and no change, if there are too few.
    pub(super) fn claim(&mut self, found: &[BlockId], fresh: usize) -> Option<Vec<BlockId>> {
        let revived = found.iter().filter(|id| self.blocks[**id as usize].holders == 0).count();
        if revived + fresh > self.free.len() {
            return None;
        }
        for id in found {
            let block = &mut self.blocks[*id as usize];
            if block.holders == 0 {
                self.free.remove(&block.freed_at);
            }
            block.holders += 1;
        }
        let mut claimed = found.to_vec();
        claimed.extend((0..fresh).map(|_| self.take_oldest()));
        Some(claimed)
    }

    fn take_oldest(&mut self) -> BlockId {
        let (_, id) = self.free.pop_first().expect("claim counted the free blocks before taking them");
        let block = &mut self.blocks[id as usize];
        block.holders = 1;
        if let Some(content) = block.content.take() {
            self.known.remove(&content);
        }
        id
    }

    /// Notes that the block now holds `content`, so that others can find it.
    pub(super) fn remember(&mut self, id: BlockId, content: ContentHash) {
        // A second block of the same content stays anonymous: the first is found anyway.
        if let std::collections::hash_map::Entry::Vacant(slot) = self.known.entry(content) {
            slot.insert(id);
            self.blocks[id as usize].content = Some(content);
        }
    }

    /// Lets go of a sequence's blocks. The last is freed first, since a prefix is worth more than its tail.
    pub(super) fn release(&mut self, held: Vec<BlockId>) {
        for id in held.into_iter().rev() {
            let block = &mut self.blocks[id as usize];
            block.holders -= 1;
            if block.holders == 0 {
                self.put_back(id);
            }
        }
    }

    /// Forgets all contents; who holds what stays as it is.
    pub(super) fn forget(&mut self) {
        self.known.clear();
        for block in &mut self.blocks {
            block.content = None;
        }
    }

    fn put_back(&mut self, id: BlockId) {
        self.moment += 1;
        self.blocks[id as usize].freed_at = self.moment;
        self.free.insert(self.moment, id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_that_cannot_be_met_changes_nothing() {
        let mut pool = BlockPool::new(4);
        let held = pool.claim(&[], 3).unwrap();
        assert!(pool.claim(&[], 2).is_none());
        assert_eq!(pool.held(), 3);
        pool.release(held);
        assert_eq!(pool.held(), 0);
    }

    #[test]
    fn freed_content_is_found_until_its_block_is_handed_out_again() {
        let mut pool = BlockPool::new(3);
        let held = pool.claim(&[], 2).unwrap();
        let first = content_hash(None, &[1, 2]);
        let second = content_hash(Some(first), &[3, 4]);
        pool.remember(held[0], first);
        pool.remember(held[1], second);
        pool.release(held.clone());
        assert_eq!(pool.find(&[first, second]), held);

        // The oldest free block is the third, then the tail of the released sequence.
        let others = pool.claim(&[], 2).unwrap();
        assert_eq!(pool.find(&[first, second]), vec![held[0]]);
        pool.release(others);
    }

    #[test]
    fn a_shared_block_is_free_only_when_the_last_holder_lets_go() {
        let mut pool = BlockPool::new(2);
        let held = pool.claim(&[], 1).unwrap();
        pool.remember(held[0], 9);
        let found = pool.find(&[9]);
        let shared = pool.claim(&found, 0).unwrap();
        pool.release(held);
        assert_eq!(pool.held(), 1);
        pool.release(shared);
        assert_eq!(pool.held(), 0);
    }

    #[test]
    fn the_same_tokens_after_another_prefix_are_another_content() {
        assert_ne!(content_hash(None, &[1, 2]), content_hash(Some(5), &[1, 2]));
    }
}
