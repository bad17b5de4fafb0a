//! The paged KV pool: blocks, their holders, and the content that can be reused.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{DefaultHasher, Hash, Hasher},
    ops::Deref,
    sync::Arc,
};

use foldhash::fast::FixedState;

/// Identifies a block of the pool.
pub(super) type BlockId = u32;
/// Identifies the content of a block and of all blocks before it.
pub(crate) type ContentHash = u64;

/// No block: the end of the free list.
const NONE: BlockId = BlockId::MAX;

/// The contents of a sequence's full blocks, shared between copies. Empty contents take no memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BlockContents(Option<Arc<[ContentHash]>>);

impl BlockContents {
    /// Contents that no other sequence has.
    pub(crate) const NONE: Self = Self(None);
}

impl Deref for BlockContents {
    type Target = [ContentHash];

    fn deref(&self) -> &[ContentHash] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl From<Arc<[ContentHash]>> for BlockContents {
    fn from(contents: Arc<[ContentHash]>) -> Self {
        Self((!contents.is_empty()).then_some(contents))
    }
}

impl FromIterator<ContentHash> for BlockContents {
    fn from_iter<I: IntoIterator<Item = ContentHash>>(contents: I) -> Self {
        let contents: Arc<[ContentHash]> = contents.into_iter().collect();
        Self((!contents.is_empty()).then_some(contents))
    }
}

/// Returns the hash of a full block: of its tokens and of the prefix that `parent` identifies.
pub(in crate::sim) fn content_hash(parent: Option<ContentHash>, tokens: &[u32]) -> ContentHash {
    let mut hasher = DefaultHasher::new();
    (parent, tokens).hash(&mut hasher);
    hasher.finish()
}

/// Returns the contents of the full blocks of `tokens`. Blocks of sequences with different salts differ.
pub(in crate::sim) fn block_contents(
    tokens: &[u32],
    salt: Option<ContentHash>,
    block_size: usize,
) -> BlockContents {
    let hash = |parent: &mut Option<ContentHash>, block| {
        *parent = Some(content_hash(*parent, block));
        *parent
    };
    tokens.chunks_exact(block_size).scan(salt, hash).collect()
}

/// The blocks of one sequence.
#[derive(Default)]
pub(super) struct HeldBlocks {
    count: usize,
    /// The blocks in the order of the sequence; empty if the pool only counts.
    ids: Vec<BlockId>,
}

impl HeldBlocks {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// The block at a position of the sequence. The pool must not be one that only counts.
    pub(super) fn id(&self, at: usize) -> BlockId {
        self.ids[at]
    }
}

#[derive(Clone)]
struct Block {
    holders: u32,
    content: Option<ContentHash>,
    /// The neighbors in the list of free blocks, while the block is free.
    previous: BlockId,
    next: BlockId,
}

/// A fixed number of blocks. A free block keeps its content until it is allocated again, the least recently freed
/// block first. The free blocks are a doubly linked list within the blocks, as in vLLM's `FreeKVCacheBlockQueue`.
pub(super) struct BlockPool {
    size: usize,
    free: usize,
    /// Empty if the pool only counts: without prefix caching, all blocks are alike.
    blocks: Vec<Block>,
    oldest: BlockId,
    newest: BlockId,
    known: HashMap<ContentHash, BlockId, FixedState>,
}

impl BlockPool {
    /// A pool whose blocks can be found by their content.
    pub(super) fn with_contents(size: usize) -> Self {
        let block = Block { holders: 0, content: None, previous: NONE, next: NONE };
        let mut pool = Self { blocks: vec![block; size], ..Self::counting(size) };
        pool.free = 0;
        for id in 0..size as BlockId {
            pool.put_back(id);
        }
        pool
    }

    /// A pool that only counts its blocks.
    pub(super) fn counting(size: usize) -> Self {
        Self { size, free: size, blocks: Vec::new(), oldest: NONE, newest: NONE, known: HashMap::default() }
    }

    fn only_counts(&self) -> bool {
        self.blocks.is_empty()
    }

    /// The total number of blocks.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// The number of blocks that sequences hold.
    pub(super) fn held_count(&self) -> usize {
        self.size - self.free
    }

    /// The number of free blocks.
    pub(super) fn free_count(&self) -> usize {
        self.free
    }

    /// Puts into `found` the blocks of the longest known prefix of `contents`, and nothing else.
    pub(super) fn find(&self, contents: &[ContentHash], found: &mut Vec<BlockId>) {
        found.clear();
        found.extend(contents.iter().map_while(|content| self.known.get(content).copied()));
    }

    /// Whether the blocks `found` and `fresh` more can be claimed.
    pub(super) fn has_free(&self, found: &[BlockId], fresh: usize) -> bool {
        let revived = found.iter().filter(|id| self.blocks[**id as usize].holders == 0).count();
        revived + fresh <= self.free
    }

    /// Adds the blocks `found` and `fresh` more to `held`. Returns false and changes nothing if too few are free.
    pub(super) fn claim(&mut self, held: &mut HeldBlocks, found: &[BlockId], fresh: usize) -> bool {
        if !self.has_free(found, fresh) {
            return false;
        }
        held.count += found.len() + fresh;
        if self.only_counts() {
            self.free -= fresh;
            return true;
        }
        for id in found {
            if self.blocks[*id as usize].holders == 0 {
                self.take(*id);
            }
            self.blocks[*id as usize].holders += 1;
        }
        held.ids.extend_from_slice(found);
        for _ in 0..fresh {
            let id = self.take_oldest();
            held.ids.push(id);
        }
        true
    }

    fn take_oldest(&mut self) -> BlockId {
        let id = self.oldest;
        self.take(id);
        let block = &mut self.blocks[id as usize];
        block.holders = 1;
        if let Some(content) = block.content.take() {
            self.known.remove(&content);
        }
        id
    }

    /// Takes a block out of the free list.
    fn take(&mut self, id: BlockId) {
        let Block { previous, next, .. } = self.blocks[id as usize];
        match previous {
            NONE => self.oldest = next,
            _ => self.blocks[previous as usize].next = next,
        }
        match next {
            NONE => self.newest = previous,
            _ => self.blocks[next as usize].previous = previous,
        }
        self.free -= 1;
    }

    /// Records that the block holds `content`, so that other sequences can find it.
    pub(super) fn remember(&mut self, id: BlockId, content: ContentHash) {
        // A second block with the same content stays unregistered, since the first one is found anyway.
        if let Entry::Vacant(slot) = self.known.entry(content) {
            slot.insert(id);
            self.blocks[id as usize].content = Some(content);
        }
    }

    /// Releases a sequence's blocks. The last block is freed first, since a prefix is more valuable than its tail.
    pub(super) fn release(&mut self, held: &mut HeldBlocks) {
        let count = std::mem::take(&mut held.count);
        if self.only_counts() {
            self.free += count;
            return;
        }
        for id in held.ids.drain(..).rev() {
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

    /// Appends a block to the free list.
    fn put_back(&mut self, id: BlockId) {
        let previous = std::mem::replace(&mut self.newest, id);
        match previous {
            NONE => self.oldest = id,
            _ => self.blocks[previous as usize].next = id,
        }
        let block = &mut self.blocks[id as usize];
        (block.previous, block.next) = (previous, NONE);
        self.free += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(pool: &mut BlockPool, found: &[BlockId], fresh: usize) -> Option<HeldBlocks> {
        let mut held = HeldBlocks::default();
        pool.claim(&mut held, found, fresh).then_some(held)
    }

    fn find(pool: &BlockPool, contents: &[ContentHash]) -> Vec<BlockId> {
        let mut found = vec![7; 3];
        pool.find(contents, &mut found);
        found
    }

    #[test]
    fn a_claim_that_cannot_be_met_changes_nothing() {
        for mut pool in [BlockPool::with_contents(4), BlockPool::counting(4)] {
            let mut held = claim(&mut pool, &[], 3).unwrap();
            assert!(!pool.claim(&mut held, &[], 2));
            assert_eq!((pool.held_count(), held.len()), (3, 3));
            pool.release(&mut held);
            assert_eq!((pool.held_count(), held.len()), (0, 0));
        }
    }

    #[test]
    fn freed_content_is_found_until_its_block_is_handed_out_again() {
        let mut pool = BlockPool::with_contents(3);
        let mut held = claim(&mut pool, &[], 2).unwrap();
        let first = content_hash(None, &[1, 2]);
        let second = content_hash(Some(first), &[3, 4]);
        let ids = held.ids.clone();
        pool.remember(ids[0], first);
        pool.remember(ids[1], second);
        pool.release(&mut held);
        assert_eq!(find(&pool, &[first, second]), ids);

        // The oldest free block is the third one, followed by the tail of the released sequence.
        let mut others = claim(&mut pool, &[], 2).unwrap();
        assert_eq!(find(&pool, &[first, second]), vec![ids[0]]);
        pool.release(&mut others);
    }

    #[test]
    fn a_shared_block_is_free_only_when_the_last_holder_lets_go() {
        let mut pool = BlockPool::with_contents(2);
        let mut held = claim(&mut pool, &[], 1).unwrap();
        pool.remember(held.id(0), 9);
        let found = find(&pool, &[9]);
        let mut shared = claim(&mut pool, &found, 0).unwrap();
        pool.release(&mut held);
        assert_eq!(pool.held_count(), 1);
        pool.release(&mut shared);
        assert_eq!(pool.held_count(), 0);
    }

    #[test]
    fn a_found_block_leaves_the_free_list_from_any_place_in_it() {
        let mut pool = BlockPool::with_contents(3);
        let mut held = claim(&mut pool, &[], 3).unwrap();
        (0..3).for_each(|at| pool.remember(held.id(at), at as ContentHash));
        pool.release(&mut held);
        // The free list is now 2, 1, 0.
        for (taken, left) in [(1, [2, 0]), (2, [1, 0]), (0, [2, 1])] {
            let found = find(&pool, &[taken]);
            let mut revived = claim(&mut pool, &found, 0).unwrap();
            assert_eq!(pool.free_count(), 2);
            let next = |id: &BlockId| Some(pool.blocks[*id as usize].next).filter(|next| *next != NONE);
            let listed: Vec<_> = std::iter::successors(Some(pool.oldest), next).collect();
            assert_eq!(listed, left);
            pool.release(&mut revived);
            // Restore the order.
            let found = find(&pool, &[0, 1, 2]);
            let mut all = claim(&mut pool, &found, 0).unwrap();
            pool.release(&mut all);
        }
    }

    #[test]
    fn the_same_tokens_after_another_prefix_are_another_content() {
        assert_ne!(content_hash(None, &[1, 2]), content_hash(Some(5), &[1, 2]));
    }
}
