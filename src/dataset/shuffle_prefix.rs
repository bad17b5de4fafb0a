//! The order in which the items of a file are taken, and the first items in that order. The file need not be in memory.

use std::collections::BTreeMap;

use rand::Rng as _;

use super::{DatasetError, PrepareContext};
use crate::dataset::rng_stream::RngStream;
use crate::model::rng::{PythonRandom, RunRng};

pub(super) enum ReadOrder {
    /// The order of the file.
    AsWritten,
    /// By a number that each item draws from the seed. It does not depend on the number of items.
    Drawn(u64),
    /// By the positions that Python's shuffle assigned.
    Shuffled(Vec<usize>),
    /// By Python's shuffle, once the number of items is known. For a pipe, it is known only at the end.
    ShuffledLater,
}

impl ReadOrder {
    /// Determines the order. Python's shuffle needs the number of items. `count` reads the file to determine it, and is
    /// `None` for a file that can be read only once.
    pub(super) fn decide<C>(
        job: &PrepareContext<'_>,
        dice: &mut RunRng,
        count: Option<C>,
    ) -> Result<Self, DatasetError>
    where
        C: FnOnce() -> Result<usize, DatasetError>,
    {
        let Some(globals) = dice.python_mut() else {
            return Ok(if job.draw.shuffle { Self::Drawn(job.seed) } else { Self::AsWritten });
        };
        globals.random = PythonRandom::new(job.seed);
        if !job.draw.shuffle {
            return Ok(Self::AsWritten);
        }
        let Some(count) = count else { return Ok(Self::ShuffledLater) };
        let mut deck: Vec<usize> = (0..count()?).collect();
        globals.random.shuffle(&mut deck);
        let mut places = vec![0; deck.len()];
        deck.into_iter().enumerate().for_each(|(place, item)| places[item] = place);
        Ok(Self::Shuffled(places))
    }

    /// The position of each item, in file order. Items with equal positions keep their file order.
    fn positions(&self) -> Box<dyn Iterator<Item = u64> + '_> {
        match self {
            Self::AsWritten | Self::ShuffledLater => Box::new(std::iter::repeat(0)),
            Self::Drawn(seed) => {
                let mut rng = RngStream::Shuffle.rng(*seed);
                Box::new(std::iter::repeat_with(move || rng.next_u64()))
            }
            // If a file has grown since it was counted, the new items come last.
            Self::Shuffled(places) => {
                Box::new(places.iter().map(|place| *place as u64).chain(std::iter::repeat(u64::MAX)))
            }
        }
    }
}

/// Collects the items that come first in an order, while the file is read.
pub(super) struct ShufflePrefix<'a, T> {
    places: Box<dyn Iterator<Item = u64> + 'a>,
    shuffled_later: bool,
    wanted: usize,
    /// The number of items to keep: the wanted number, or all items if the order is known only at the end.
    keep: usize,
    kept: BTreeMap<(u64, usize), T>,
    /// The number of items that have been offered.
    pub seen: usize,
}

impl<'a, T> ShufflePrefix<'a, T> {
    /// Collects the first `wanted` items.
    pub(super) fn new(order: &'a ReadOrder, wanted: usize) -> Self {
        let shuffled_later = matches!(order, ReadOrder::ShuffledLater);
        let keep = if shuffled_later { usize::MAX } else { wanted };
        Self { places: order.positions(), shuffled_later, wanted, keep, kept: BTreeMap::new(), seen: 0 }
    }

    /// Keeps an item if it is among the first items so far.
    pub(super) fn offer(&mut self, item: impl FnOnce() -> T) {
        let place = (self.places.next().unwrap_or(u64::MAX), self.seen);
        self.seen += 1;
        let last = self.kept.last_key_value().map(|(last, _)| *last);
        if self.kept.len() < self.keep || last.is_some_and(|last| place < last) {
            self.kept.insert(place, item());
        }
        if self.kept.len() > self.keep {
            self.kept.pop_last();
        }
    }

    /// Whether the file has no more items than are wanted.
    pub(super) fn is_complete(&self) -> bool {
        self.seen <= self.wanted
    }

    /// The items in order.
    pub(super) fn into_items(self, dice: &mut RunRng) -> Vec<T> {
        let mut items: Vec<T> = self.kept.into_values().collect();
        if let Some(globals) = dice.python_mut().filter(|_| self.shuffled_later) {
            globals.random.shuffle(&mut items);
            items.truncate(self.wanted);
        }
        items
    }
}
