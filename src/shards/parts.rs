//! The names of the parts of record logs in a store: `RUN/shard-003/part-00001.reclog`, and `RUN/shard-003/end-00012`
//! beside the last of twelve.

use std::collections::{BTreeMap, BTreeSet};

/// The name of the folder of a shard's parts.
pub(super) fn shard_folder(run: &str, shard: usize) -> String {
    format!("{run}/shard-{shard:03}")
}

/// The name of a part, from 1, in the folder of its shard.
pub(super) fn part_name(folder: &str, number: usize) -> String {
    format!("{folder}/part-{number:05}.reclog")
}

/// The name of what says that there are no more than `count` parts.
pub(super) fn end_name(folder: &str, count: usize) -> String {
    format!("{folder}/end-{count:05}")
}

/// The name of what a client writes before it sends its first request.
pub(super) fn started_name(folder: &str) -> String {
    format!("{folder}/started")
}

/// The parts of one shard that a store has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct StoredShard {
    /// The folder of the parts.
    pub folder: String,
    /// The numbers of the parts.
    pub parts: BTreeSet<usize>,
    /// The number of parts that the client wrote; `None` if it did not end normally.
    pub end: Option<usize>,
}

impl StoredShard {
    /// The number of parts that follow each other from the first on, and the first number that is missing, if one is.
    pub(super) fn whole_parts(&self) -> (usize, Option<usize>) {
        let whole = (1..).zip(&self.parts).take_while(|(expected, number)| expected == *number).count();
        let last = self.parts.last().copied().max(self.end).unwrap_or(0);
        (whole, (whole < last).then_some(whole + 1))
    }
}

/// The shards of each run, by the run's id and the shard's index. Names that are no parts are left out. The id is empty
/// where the names begin with the shard.
pub(super) fn stored_runs(names: &[String]) -> BTreeMap<String, BTreeMap<usize, StoredShard>> {
    let mut runs: BTreeMap<String, BTreeMap<usize, StoredShard>> = BTreeMap::new();
    for name in names {
        let Some((folder, file)) = name.rsplit_once('/') else { continue };
        let (run, shard) = folder.rsplit_once('/').unwrap_or(("", folder));
        let Some(index) = shard.strip_prefix("shard-").and_then(|index| index.parse::<usize>().ok()) else {
            continue;
        };
        let number = |file: &str| file.parse::<usize>().ok().filter(|number| *number > 0);
        let part = file.strip_prefix("part-").and_then(|rest| rest.strip_suffix(".reclog")).and_then(number);
        let end = file.strip_prefix("end-").and_then(|count| count.parse().ok());
        if part.is_none() && end.is_none() {
            continue;
        }
        let stored = runs.entry(run.to_owned()).or_default().entry(index).or_default();
        folder.clone_into(&mut stored.folder);
        stored.parts.extend(part);
        stored.end = stored.end.or(end);
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found_by_their_names() {
        let folder = shard_folder("run-a", 3);
        let mut names =
            vec![started_name(&folder), part_name(&folder, 1), part_name(&folder, 2), end_name(&folder, 2)];
        names.push(part_name("shard-000", 1));
        names.extend(
            ["run-a/notes.txt", "run-a/shard-x/part-00001.reclog", "a", "run-a/shard-003/part-0.reclog"]
                .map(Into::into),
        );
        let runs = stored_runs(&names);
        assert_eq!(runs.keys().collect::<Vec<_>>(), ["", "run-a"]);
        let shard = &runs["run-a"][&3];
        assert_eq!(
            (shard.folder.as_str(), shard.end, shard.whole_parts()),
            ("run-a/shard-003", Some(2), (2, None))
        );
    }

    #[test]
    fn a_gap_between_parts_is_found() {
        let shard = |parts: &[usize], end| StoredShard {
            parts: parts.iter().copied().collect(),
            end,
            ..Default::default()
        };
        assert_eq!(shard(&[1, 2, 4], None).whole_parts(), (2, Some(3)));
        assert_eq!(shard(&[1, 2], Some(3)).whole_parts(), (2, Some(3)));
        assert_eq!(shard(&[2], None).whole_parts(), (0, Some(1)));
        assert_eq!(shard(&[], Some(0)).whole_parts(), (0, None));
    }
}
