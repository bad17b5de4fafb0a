//! A client's share of a load that several clients send.

use std::fmt;
use std::iter::StepBy;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The share of one client: of `count` clients, the one with this index, from 0. It sends the requests, or the sessions,
/// whose number modulo `count` is the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) struct Shard {
    index: usize,
    count: NonZeroUsize,
}

impl Shard {
    /// The share of the only client: everything.
    pub(crate) const WHOLE: Self = Self { index: 0, count: NonZeroUsize::MIN };

    /// The share of one of `count` clients; `None` for an index that is too large.
    pub(crate) fn new(index: usize, count: NonZeroUsize) -> Option<Self> {
        (index < count.get()).then_some(Self { index, count })
    }

    /// The index of this client, from 0.
    pub(crate) fn index(self) -> usize {
        self.index
    }

    /// The number of clients.
    pub(crate) fn count(self) -> usize {
        self.count.get()
    }

    /// Whether there is only one client.
    pub(crate) fn is_whole(self) -> bool {
        self.count == NonZeroUsize::MIN
    }

    /// The numbers below `end` that one of this client's `workers` sends.
    pub(crate) fn worker_numbers(self, worker: usize, workers: usize, end: usize) -> StepBy<Range<usize>> {
        (self.index + worker * self.count()..end).step_by(self.count() * workers)
    }

    /// This client's part of a limit. The parts of all clients add up to the limit.
    pub(crate) fn part_of(self, limit: usize) -> usize {
        limit / self.count + usize::from(self.index < limit % self.count)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl From<Shard> for String {
    fn from(shard: Shard) -> Self {
        shard.to_string()
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form =
            || format!("`{text}` is not a shard; write INDEX/COUNT, such as 0/4 for the first of four");
        let (index, count) = text.split_once('/').ok_or_else(form)?;
        let number = |text: &str| text.trim().parse::<usize>().map_err(|_| form());
        let (index, count) = (number(index)?, NonZeroUsize::new(number(count)?).ok_or_else(form)?);
        Self::new(index, count).ok_or_else(|| {
            format!("there is no shard {index} of {count}: the index is from 0 to {}", count.get() - 1)
        })
    }
}

impl TryFrom<String> for Shard {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shards(count: usize) -> impl Iterator<Item = Shard> {
        let count = NonZeroUsize::new(count).unwrap();
        (0..count.get()).map(move |index| Shard::new(index, count).unwrap())
    }

    proptest! {
        #[test]
        fn each_number_has_one_worker_of_one_shard(count in 1..17_usize, workers in 1..5_usize, end in 0..300_usize) {
            let mut all = Vec::new();
            for shard in shards(count) {
                for worker in 0..workers {
                    let numbers: Vec<_> = shard.worker_numbers(worker, workers, end).collect();
                    prop_assert!(numbers.iter().all(|number| number % shard.count() == shard.index()));
                    all.extend(numbers);
                }
            }
            all.sort_unstable();
            prop_assert_eq!(all, (0..end).collect::<Vec<_>>());
        }

        #[test]
        fn the_parts_of_a_limit_add_up_to_it(count in 1..17_usize, limit in 0..100_000_usize) {
            let parts: Vec<_> = shards(count).map(|shard| shard.part_of(limit)).collect();
            prop_assert_eq!(parts.iter().sum::<usize>(), limit);
            prop_assert!(parts.iter().max().unwrap() - parts.iter().min().unwrap() <= 1);
        }
    }

    #[test]
    fn a_shard_is_written_as_its_index_and_the_count() {
        assert_eq!("2/4".parse::<Shard>().unwrap().to_string(), "2/4");
        assert!("0/1".parse::<Shard>().unwrap().is_whole());
        for wrong in ["", "1", "4/4", "1/0", "-1/2", "a/b", "1/2/3"] {
            let error = wrong.parse::<Shard>().unwrap_err();
            assert!(error.contains("shard"), "{error}");
        }
    }
}
