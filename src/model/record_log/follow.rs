//! Reads a record log that is still being written.

use super::encoding::StringTable;
use super::frame::{FirstFrame, first_frame};
use super::{MAGIC, RecordLogEntry, VERSION, decode, decode_record};
use crate::model::record::Record;

/// The bytes before the header.
const BEGINNING: usize = MAGIC.len() + size_of_val(&VERSION);

/// Reads the entries of a log from its pieces as they arrive. A damaged entry ends it: what follows is not kept.
#[derive(Debug, Default)]
pub(crate) struct RecordLogFollower {
    /// The bytes that do not form a whole entry yet.
    pending: Vec<u8>,
    has_header: bool,
    is_damaged: bool,
    strings: StringTable,
}

impl RecordLogFollower {
    /// Takes the next bytes of the log, and returns the Records that they complete.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Vec<Record> {
        let mut records = Vec::new();
        self.take_payloads(bytes, |payload, strings| {
            records.extend(decode_record(payload, strings)?);
            Some(())
        });
        records
    }

    /// Takes the next bytes of the log, and returns the entries that they complete.
    pub(crate) fn entries(&mut self, bytes: &[u8]) -> Vec<RecordLogEntry> {
        let mut entries = Vec::new();
        self.take_payloads(bytes, |payload, strings| {
            entries.extend(decode(payload, strings)?);
            Some(())
        });
        entries
    }

    /// Takes the next bytes of the log, and gives the payload of each entry that they complete to a function. `None` says
    /// that it is damaged.
    fn take_payloads(&mut self, bytes: &[u8], mut take: impl FnMut(&[u8], &mut StringTable) -> Option<()>) {
        if self.is_damaged {
            return;
        }
        self.pending.extend_from_slice(bytes);
        let begin = if self.has_header { 0 } else { BEGINNING };
        let Some(mut rest) = self.pending.get(begin..) else { return };
        loop {
            match first_frame(rest) {
                FirstFrame::Whole { rest: after, .. } if !self.has_header => {
                    self.has_header = true;
                    rest = after;
                }
                FirstFrame::Whole { payload, rest: after } => {
                    rest = after;
                    self.is_damaged = take(payload, &mut self.strings).is_none();
                }
                FirstFrame::Incomplete => break,
                FirstFrame::Damaged => self.is_damaged = true,
            }
            if self.is_damaged {
                self.pending = Vec::new();
                return;
            }
        }
        if self.has_header {
            self.pending.drain(..self.pending.len() - rest.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::RecordLogWriter;
    use super::*;
    use crate::testing::queue::Queue;
    use crate::testing::sample_run::log_header;

    fn log(records: &[Record]) -> Vec<u8> {
        let mut writer = RecordLogWriter::new(Vec::new(), &log_header()).unwrap();
        records.iter().for_each(|record| {
            writer.write_record(record).unwrap();
        });
        writer.write_end(false).unwrap();
        std::mem::take(writer.to_mut())
    }

    proptest! {
        #[test]
        fn the_pieces_of_a_log_have_the_records_of_the_whole(sizes in prop::collection::vec(1..900_usize, 1..60)) {
            let sent = Queue::default().open(40, 18.0);
            let log = log(&sent);
            let mut follower = RecordLogFollower::default();
            let (mut at, mut records) = (0, Vec::new());
            for size in sizes.into_iter().chain([log.len()]) {
                let end = log.len().min(at + size);
                records.extend(follower.take(&log[at..end]));
                at = end;
            }
            prop_assert_eq!(records, sent);
        }
    }

    #[test]
    fn after_a_damaged_entry_nothing_is_kept() {
        let sent = Queue::default().open(40, 18.0);
        let mut log = log(&sent);
        // Among the last of the 40 Records, of about 80 bytes each.
        let damaged = log.len() - 900;
        log[damaged] ^= 0x40;
        let mut follower = RecordLogFollower::default();
        let records: Vec<_> = log.chunks(700).flat_map(|piece| follower.take(piece)).collect();
        assert!(!records.is_empty() && records.len() < sent.len(), "{}", records.len());
        assert_eq!(records, sent[..records.len()]);
        assert!((0..50).all(|_| follower.take(&log).is_empty()));
        assert_eq!(follower.pending.capacity(), 0);
    }

    #[test]
    fn an_entry_longer_than_any_is_damage_and_one_that_is_cut_is_awaited() {
        let log = log(&[]);
        let mut follower = RecordLogFollower::default();
        follower.take(&log);
        let longest = [0x80, 0x80, 0x80, 0x80, 0x04];
        follower.take(&longest);
        assert_eq!(follower.pending, longest, "its payload may still come");
        let mut follower = RecordLogFollower::default();
        follower.take(&log);
        follower.take(&[0x81, 0x80, 0x80, 0x80, 0x04]);
        assert!(follower.is_damaged && follower.pending.is_empty());
    }

    #[test]
    fn garbage_has_no_records_and_is_not_kept() {
        let mut follower = RecordLogFollower::default();
        assert!((0..50).all(|_| follower.take(&[0xFF; 1000]).is_empty()));
        assert!(follower.pending.is_empty());
    }
}
