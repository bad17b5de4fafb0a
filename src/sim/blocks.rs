//! The paged KV pool: blocks, their holders, and the content that can be reused.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
};

/// Identifies a block of the pool.
pub(super) type BlockId = u32;
/// Identifies the content of a block and of all blocks before it.
pub(super) type ContentHash = u64;

#[derive(Clone, Default)]
struct Block {
    holders: u32,
    content: Option<ContentHash>,
    freed_at: u64,
}

/// A fixed number of blocks. A free block keeps its content until it is allocated again, the least recently freed
/// block first.
pub(super) struct BlockPool {
    blocks: Vec<Block>,
    /// Free blocks, ordered by when they were freed.
    free: BTreeMap<u64, BlockId>,
    known: HashMap<ContentHash, BlockId>,
    moment: u64,
}

/// Returns the hash of a full block: of its tokens and of the prefix that `parent` identifies.
pub(super) fn content_hash(parent: Option<ContentHash>, tokens: &[u32]) -> ContentHash {
    let mut hasher = DefaultHasher::new();
    (parent, tokens).hash(&mut hasher);
    hasher.finish()
}

/// Returns the contents of the full blocks of `tokens`. Blocks of sequences with different salts differ.
pub(super) fn block_contents(
    tokens: &[u32],
    salt: Option<ContentHash>,
    block_size: usize,
) -> Vec<ContentHash> {
    let hash = |parent: &mut Option<ContentHash>, block| {
        *parent = Some(content_hash(*parent, block));
        *parent
    };
    tokens.chunks_exact(block_size).scan(salt, hash).collect()
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

    /// The total number of blocks.
    pub(super) fn size(&self) -> usize {
        self.blocks.len()
    }

    /// The number of blocks that sequences hold.
    pub(super) fn held_count(&self) -> usize {
        self.blocks.len() - self.free.len()
    }

    /// Returns the blocks of the longest known prefix of `contents`.
    pub(super) fn find(&self, contents: &[ContentHash]) -> Vec<BlockId> {
        contents.iter().map_while(|content| self.known.get(content).copied()).collect()
    }

    /// Claims the blocks `found` and `fresh` more. Returns `None` and changes nothing if too few are free.
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

    /// Records that the block holds `content`, so that other sequences can find it.
    pub(super) fn remember(&mut self, id: BlockId, content: ContentHash) {
        // A second block with the same content stays unregistered, since the first one is found anyway.
        if let std::collections::hash_map::Entry::Vacant(slot) = self.known.entry(content) {
            slot.insert(id);
            self.blocks[id as usize].content = Some(content);
        }
    }

    /// Releases a sequence's blocks. The last block is freed first, since a prefix is more valuable than its tail.
    pub(super) fn release(&mut self, held: Vec<BlockId>) {
        for id in held.into_iter().rev() {
            let block = &mut self.blocks[id as usize];
            block.holders -= 1;
            if block.holders == 0 {
                self.put_back(id);
            }
        }
    }

    /// Forgets all contents, but keeps allocations.
    pub(super) fn forget_contents(&mut self) {
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
        assert_eq!(pool.held_count(), 3);
        pool.release(held);
        assert_eq!(pool.held_count(), 0);
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

        // The oldest free block is the third one, followed by the tail of the released sequence.
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
        assert_eq!(pool.held_count(), 1);
        pool.release(shared);
        assert_eq!(pool.held_count(), 0);
    }

    #[test]
    fn the_same_tokens_after_another_prefix_are_another_content() {
        assert_ne!(content_hash(None, &[1, 2]), content_hash(Some(5), &[1, 2]));
    }
}
