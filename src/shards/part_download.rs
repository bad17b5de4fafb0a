//! Makes record logs of the parts in a store.

use std::fs::{self, File};
use std::path::PathBuf;

use uuid::Uuid;

use super::parts::{part_name, stored_runs};
use crate::storage::PartStore;

/// The most runs that a message names.
const NAMED_RUNS: usize = 8;

/// The record logs of a run, in a folder that ends with this value.
#[derive(Debug)]
pub(crate) struct DownloadedLogs {
    folder: PathBuf,
    logs: Vec<PathBuf>,
    /// A sentence for each log that has a gap.
    pub missing: Vec<String>,
}

impl DownloadedLogs {
    /// The logs, by the index of their shards.
    pub(crate) fn logs(&self) -> &[PathBuf] {
        &self.logs
    }
}

impl Drop for DownloadedLogs {
    fn drop(&mut self) {
        // What stays is in the system's folder of temporary files.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Copies the record logs of a run from a store: of the only run, or of the one with this id.
///
/// # Errors
/// If there is no such run, if there are several and none is chosen, or if a log cannot be copied; in a clause.
pub(crate) fn download(store: &PartStore, run: Option<&str>) -> Result<DownloadedLogs, String> {
    let mut runs = stored_runs(&store.list()?);
    let shards = match (run, runs.len()) {
        (Some(id), _) => runs
            .remove(id)
            .ok_or_else(|| format!("there are no records of a run {id}, only of {}", named(runs.keys())))?,
        (None, 1) => runs.pop_first().map(|(_, shards)| shards).unwrap_or_default(),
        (None, 0) => return Err("there are no records of a run".to_owned()),
        (None, count) => {
            return Err(format!(
                "there are records of {count} runs, so one must be chosen: {}",
                named(runs.keys())
            ));
        }
    };
    let folder = std::env::temp_dir().join(format!("servegauge-merge-{}", Uuid::new_v4()));
    fs::create_dir(&folder).map_err(|error| format!("cannot create {}: {error}", folder.display()))?;
    let mut downloaded = DownloadedLogs { folder, logs: Vec::new(), missing: Vec::new() };
    for (index, shard) in &shards {
        let path = downloaded.folder.join(format!("shard-{index:03}.reclog"));
        let (whole, gap) = shard.whole_parts();
        if let Some(gap) = gap {
            let gap =
                format!("shard {index}: part {gap} of its log is missing, and what follows is left out");
            downloaded.missing.push(gap);
        }
        if whole == 0 {
            continue;
        }
        let mut log =
            File::create(&path).map_err(|error| format!("cannot create {}: {error}", path.display()))?;
        for number in 1..=whole {
            store.append_to(&part_name(&shard.folder, number), &mut log)?;
        }
        downloaded.logs.push(path);
    }
    match downloaded.logs.is_empty() {
        true => Err("no client of the run has written records".to_owned()),
        false => Ok(downloaded),
    }
}

/// The ids of runs, for a message.
fn named<'a>(ids: impl Iterator<Item = &'a String>) -> String {
    let mut ids: Vec<&str> = ids.map(String::as_str).collect();
    let more = ids.len().saturating_sub(NAMED_RUNS);
    ids.truncate(NAMED_RUNS);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", ids.join(", "))
}
