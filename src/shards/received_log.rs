//! The record log of another client, as far as it has arrived.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::messages::Beat;
use crate::model::record::Record;
use crate::model::record_log::RecordLogFollower;
use crate::runner::LoadProgress;

/// A log that arrives in pieces: the file of what has arrived, and what it says of the load.
#[derive(Debug)]
pub(super) struct ReceivedLog {
    path: PathBuf,
    file: File,
    length: u64,
    is_whole: bool,
    follower: RecordLogFollower,
    /// The measured requests that ended, by the log, and those that were sent, by the beats.
    ended: u64,
    sent: u64,
    gaps: u64,
}

impl ReceivedLog {
    /// Creates the empty file of a log before its first bytes arrive.
    pub(super) fn create(path: PathBuf) -> io::Result<Self> {
        let file = File::create(&path)?;
        let follower = RecordLogFollower::default();
        Ok(Self { path, file, length: 0, is_whole: false, follower, ended: 0, sent: 0, gaps: 0 })
    }

    /// Takes a beat with bytes of the log, and returns the Records that these complete. What has arrived before is
    /// skipped, and what does not follow it is not taken.
    pub(super) fn take(&mut self, beat: &Beat, bytes: &[u8]) -> io::Result<Vec<Record>> {
        self.sent = self.sent.max(beat.sent);
        self.gaps = self.gaps.max(beat.gaps);
        let known = self.length.checked_sub(beat.offset).and_then(|known| usize::try_from(known).ok());
        let Some(new) = known.and_then(|known| bytes.get(known..)) else { return Ok(Vec::new()) };
        self.file.write_all(new)?;
        self.length += new.len() as u64;
        self.is_whole |= beat.is_end;
        let records = self.follower.take(new);
        self.ended += records.len() as u64;
        Ok(records)
    }

    /// The file of what has arrived.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The number of bytes that have arrived.
    pub(super) fn len(&self) -> u64 {
        self.length
    }

    /// Whether all of the log has arrived.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// The progress of the client, without the time. A request is in flight until its Record has arrived.
    pub(super) fn progress(&self) -> LoadProgress {
        let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        LoadProgress {
            sent: count(self.sent.max(self.ended)),
            in_flight: if self.is_whole { 0 } else { count(self.sent.saturating_sub(self.ended)) },
            gaps: self.gaps,
            ..LoadProgress::default()
        }
    }

    /// Removes the file.
    pub(super) fn remove(self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(offset: u64, sent: u64, is_end: bool) -> Beat {
        Beat { shard: "1/2".parse().unwrap(), number: 1, sent, gaps: 3 * sent, offset, is_end }
    }

    #[test]
    fn beats_that_are_lost_or_repeated_or_late_change_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = ReceivedLog::create(folder.path().join("a.reclog")).unwrap();
        let beats = [
            (beat(0, 4, false), &b"abc"[..]),
            (beat(9, 8, false), b"a piece before it is lost"),
            (beat(3, 8, false), b"de"),
            (beat(0, 4, false), b"abc"),
            (beat(3, 8, true), b"defg"),
            (beat(3, 8, false), b"de"),
        ];
        for (beat, bytes) in beats {
            assert!(log.take(&beat, bytes).unwrap().is_empty());
        }
        assert_eq!(fs::read(log.path()).unwrap(), b"abcdefg");
        assert_eq!((log.len(), log.is_whole()), (7, true));
        assert_eq!((log.progress().sent, log.progress().gaps), (8, 24));
    }
}
