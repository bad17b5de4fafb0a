//! Copies a record log to a store while it grows, in parts.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::warn;
use uuid::Uuid;

use super::parts::{end_name, part_name, shard_folder, started_name};
use crate::model::shard::Shard;
use crate::storage::PartStore;

/// The time between two parts: what a client that is killed loses at most, besides the second that its log is behind.
const PART_INTERVAL: Duration = Duration::from_secs(5);

/// The most bytes of a part, which are in memory while it is written.
const PART_BYTES: u64 = 8 << 20;

/// A copy of a record log that grows with it. Without [`PartUpload::finish`], it has no end.
pub(crate) struct PartUpload {
    ended: Sender<()>,
    thread: JoinHandle<Result<(), String>>,
}

impl PartUpload {
    /// Writes that the client of a shard begins, and then parts of its log as the log grows.
    ///
    /// # Errors
    /// If the store does not take what is written first, in a clause.
    pub(crate) fn start(store: Arc<PartStore>, run: Uuid, shard: Shard, log: &Path) -> Result<Self, String> {
        let folder = shard_folder(&run.to_string(), shard.index());
        store.put(&started_name(&folder), shard.to_string().into_bytes())?;
        let (ended, has_ended) = channel();
        let mut parts = Parts { store, folder, log: log.to_owned(), file: None, count: 0, copied: 0 };
        let copy = move || parts.copy_until(&has_ended, PART_INTERVAL);
        let thread = std::thread::Builder::new().name("records".into()).spawn(copy);
        Ok(Self { ended, thread: thread.map_err(|error| error.to_string())? })
    }

    /// Writes the rest of a log that has ended.
    ///
    /// # Errors
    /// Why the store does not have the whole log, in a clause.
    pub(crate) fn finish(self) -> Result<(), String> {
        // A thread that has ended says why when it is joined.
        let _ = self.ended.send(());
        self.thread.join().unwrap_or_else(|_| Err("the thread that writes the parts has panicked".to_owned()))
    }
}

/// The parts of a log.
struct Parts {
    store: Arc<PartStore>,
    folder: String,
    log: PathBuf,
    /// The log, once it exists.
    file: Option<File>,
    /// The number of parts in the store.
    count: usize,
    /// The number of bytes in the store.
    copied: u64,
}

impl Parts {
    /// Copies the log each interval until it has ended. What cannot be written is tried again with the next part.
    fn copy_until(&mut self, ended: &Receiver<()>, interval: Duration) -> Result<(), String> {
        loop {
            match ended.recv_timeout(interval) {
                Err(RecvTimeoutError::Timeout) => {
                    if let Err(error) = self.copy() {
                        warn!(error, "a part of the record log was not written; it is tried again");
                    }
                }
                Ok(()) => {
                    self.copy()?;
                    return self.store.put(&end_name(&self.folder, self.count), Vec::new());
                }
                // The run has failed, so that its log has no end.
                Err(RecvTimeoutError::Disconnected) => return self.copy(),
            }
        }
    }

    /// Writes what the log has and the store has not.
    fn copy(&mut self) -> Result<(), String> {
        loop {
            let bytes =
                self.next().map_err(|error| format!("cannot read {}: {error}", self.log.display()))?;
            let length = bytes.len() as u64;
            if length == 0 {
                return Ok(());
            }
            self.store.put(&part_name(&self.folder, self.count + 1), bytes)?;
            self.count += 1;
            self.copied += length;
        }
    }

    /// The next bytes of the log; none until there are more.
    fn next(&mut self) -> std::io::Result<Vec<u8>> {
        if self.file.is_none() {
            // The log is created when the load begins.
            self.file = File::open(&self.log).ok();
        }
        let mut bytes = Vec::new();
        if let Some(file) = &mut self.file {
            file.seek(SeekFrom::Start(self.copied))?;
            file.take(PART_BYTES).read_to_end(&mut bytes)?;
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;

    use super::*;
    use crate::shards::part_download::download;

    fn parts(folder: &Path, index: usize) -> Parts {
        let store = Arc::new(PartStore::Folder(folder.join("store")));
        let log = folder.join("run.reclog");
        Parts { store, folder: shard_folder("run", index), log, file: None, count: 0, copied: 0 }
    }

    #[test]
    fn parts_that_are_written_while_the_log_grows_make_the_log_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut parts = parts(folder.path(), 1);
        parts.copy().unwrap();
        assert_eq!(parts.count, 0, "there is no log yet");
        let mut log = File::create(&parts.log).unwrap();
        for text in ["first ", "second ", "third"] {
            log.write_all(text.as_bytes()).unwrap();
            parts.copy().unwrap();
            parts.copy().unwrap();
        }
        assert_eq!(parts.count, 3);
        let (sender, receiver) = channel();
        log.write_all(b" and the end").unwrap();
        sender.send(()).unwrap();
        parts.copy_until(&receiver, Duration::MAX).unwrap();
        let downloaded = download(&parts.store, None).unwrap();
        assert_eq!(fs::read_to_string(&downloaded.logs()[0]).unwrap(), "first second third and the end");
        assert!(downloaded.missing.is_empty());
        let place = downloaded.logs()[0].parent().unwrap().to_owned();
        drop(downloaded);
        assert!(!place.exists(), "the copies are removed");
    }

    #[test]
    fn a_part_that_is_missing_cuts_the_log_with_a_message() {
        let folder = tempfile::tempdir().unwrap();
        let parts = parts(folder.path(), 0);
        for (number, text) in [(1, "a"), (2, "b"), (4, "d")] {
            parts.store.put(&part_name(&parts.folder, number), text.into()).unwrap();
        }
        let downloaded = download(&parts.store, None).unwrap();
        assert_eq!(fs::read_to_string(&downloaded.logs()[0]).unwrap(), "ab");
        assert_eq!(
            downloaded.missing,
            ["shard 0: part 3 of its log is missing, and what follows is left out"]
        );
    }

    #[test]
    fn one_of_several_runs_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let store = PartStore::Folder(folder.path().to_owned());
        assert!(download(&store, None).unwrap_err().contains("no records of a run"));
        for run in ["run-a", "run-b"] {
            store.put(&part_name(&shard_folder(run, 0), 1), run.into()).unwrap();
        }
        let error = download(&store, None).unwrap_err();
        assert!(error.contains("2 runs") && error.contains("run-a, run-b"), "{error}");
        let one = download(&store, Some("run-b")).unwrap();
        assert_eq!(fs::read_to_string(&one.logs()[0]).unwrap(), "run-b");
        let below = PartStore::Folder(folder.path().join("run-a"));
        assert_eq!(download(&below, None).unwrap().logs().len(), 1, "the URL may name the run");
        assert!(download(&store, Some("run-c")).unwrap_err().contains("no records of a run run-c"));
    }
}
