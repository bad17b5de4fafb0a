//! The order in which a file's items are taken, and its front: the file itself need not be in memory.

use std::collections::BTreeMap;

use rand::Rng as _;

use super::stream::Stream;
use super::{Job, WorkloadError};
use crate::core::rng::{Dice, Random};

/// The order in which items are taken.
pub(super) enum Order {
    /// As they stand in the file.
    AsWritten,
    /// By a number that each draws from the seed: it does not depend on how many there are.
    Drawn(u64),
    /// By the places that Python's shuffle gave them.
    Shuffled(Vec<usize>),
    /// As Python's shuffle will have it, once their number is known: that of a pipe is known only at its end.
    ShuffledLater,
}

impl Order {
    /// Decides on the order. Python's shuffle needs to know how many items there are: `count` reads a file for that, and
    /// is `None` for one that can be read only once.
    pub fn of<C>(job: &Job<'_>, dice: &mut Dice, count: Option<C>) -> Result<Self, WorkloadError>
    where
        C: FnOnce() -> Result<usize, WorkloadError>,
    {
        let Some(globals) = dice.python() else {
            return Ok(if job.draw.shuffle { Self::Drawn(job.seed) } else { Self::AsWritten });
        };
        globals.random = Random::new(job.seed);
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

    /// The place of each item of the file, in its order. Equal places are those of the file.
    fn places(&self) -> Box<dyn Iterator<Item = u64> + '_> {
        match self {
            Self::AsWritten | Self::ShuffledLater => Box::new(std::iter::repeat(0)),
            Self::Drawn(seed) => {
                let mut rng = Stream::Shuffle.rng(*seed);
                Box::new(std::iter::repeat_with(move || rng.next_u64()))
            }
            // A file that has grown since it was counted has its new end behind.
            Self::Shuffled(places) => {
                Box::new(places.iter().map(|place| *place as u64).chain(std::iter::repeat(u64::MAX)))
            }
        }
    }
}

/// The items that are first in an order, as they are read.
pub(super) struct Front<'a, T> {
    places: Box<dyn Iterator<Item = u64> + 'a>,
    shuffled_later: bool,
    wanted: usize,
    /// As many as are wanted, or all of those whose order is known only at the end.
    keep: usize,
    kept: BTreeMap<(u64, usize), T>,
    /// How many items there were.
    pub seen: usize,
}

impl<'a, T> Front<'a, T> {
    /// Wants the first so many items.
    pub fn new(order: &'a Order, wanted: usize) -> Self {
        let shuffled_later = matches!(order, Order::ShuffledLater);
        let keep = if shuffled_later { usize::MAX } else { wanted };
        Self { places: order.places(), shuffled_later, wanted, keep, kept: BTreeMap::new(), seen: 0 }
    }

    /// Keeps an item if it is among the first so far.
    pub fn offer(&mut self, item: impl FnOnce() -> T) {
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

    /// Whether the wanted ones are all that there are.
    pub fn is_whole(&self) -> bool {
        self.seen <= self.wanted
    }

    /// The items in their order.
    pub fn into_items(self, dice: &mut Dice) -> Vec<T> {
        let mut items: Vec<T> = self.kept.into_values().collect();
        if let Some(globals) = dice.python().filter(|_| self.shuffled_later) {
            globals.random.shuffle(&mut items);
            items.truncate(self.wanted);
        }
        items
    }
}
