//! Reads a record log that is still being written.

use super::encoding::StringTable;
use super::frame::read_frame;
use super::{MAGIC, RecordLogEntry, VERSION, decode};
use crate::model::record::Record;

/// Reads the Records of a log from its pieces as they arrive. A damaged entry is the last that is read.
#[derive(Debug, Default)]
pub(crate) struct RecordLogFollower {
    /// The bytes that do not form a whole entry yet.
    pending: Vec<u8>,
    has_header: bool,
    strings: StringTable,
}

impl RecordLogFollower {
    /// Takes the next bytes of the log, and returns the Records that they complete.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Vec<Record> {
        self.pending.extend_from_slice(bytes);
        let mut records = Vec::new();
        let mut used = 0;
        if !self.has_header {
            let begin = MAGIC.len() + size_of_val(&VERSION);
            let Some(mut rest) = self.pending.get(begin..) else { return records };
            let Ok(Ok(Some(_))) = read_frame(&mut rest) else { return records };
            used = self.pending.len() - rest.len();
            self.has_header = true;
        }
        loop {
            let mut rest = &self.pending[used..];
            let Ok(Ok(Some(payload))) = read_frame(&mut rest) else { break };
            used = self.pending.len() - rest.len();
            if let Some(Some(RecordLogEntry::Record(record))) = decode(&payload, &mut self.strings) {
                records.push(*record);
            }
        }
        self.pending.drain(..used);
        records
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
    fn garbage_has_no_records() {
        let mut follower = RecordLogFollower::default();
        assert!((0..50).all(|_| follower.take(&[0xFF; 1000]).is_empty()));
    }
}
