//! Reads files that are one JSON array. Only one entry is in memory at a time.

use std::cell::Cell;
use std::fmt;
use std::io::{self, BufReader, Read};
use std::rc::Rc;

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::source::DatasetSource;
use super::{DatasetError, DatasetFault, FilePosition};
use crate::dataset::read_options::{BadRowFilter, FileSummary, RowRejection};
use crate::dataset::row_limit::{ByteAllowance, RowLimitReader};

/// Receives entries as they are read, each with its number, counted from 1.
type EntrySink<'a, T> = dyn FnMut(usize, T) -> Result<(), RowRejection> + 'a;

/// Reads all entries. An entry that is valid JSON of the wrong shape is skipped, unless the source is read strictly.
pub(super) fn read<T: DeserializeOwned>(
    source: DatasetSource<'_>,
    sink: &mut EntrySink<'_, T>,
) -> Result<FileSummary, DatasetError> {
    let screen = BadRowFilter::new(source.name.clone(), source.format, source.strict);
    let name = source.name.clone();
    let (text, seal) = source.into_text();
    let (guarded, allowance) = RowLimitReader::new(text);
    let at = SharedPosition::default();
    let mut entries = JsonArrayReader { read: 0, inside: false, refused: None, allowance, screen, at, sink };
    let text = BufReader::new(guarded);
    let result = match entries.screen.is_strict() {
        true => {
            let at = entries.at.clone();
            read_from(PositionReader { text, at }, &mut entries)
        }
        false => read_from(text, &mut entries),
    };
    match (result, entries.refused.take()) {
        (Ok(()), _) => Ok(FileSummary { digest: seal.digest(), bad: entries.screen.bad }),
        (Err(_), Some(refused)) => Err(refused),
        (Err(error), None) if error.is_io() => {
            Err(DatasetError::Unreadable { path: name, source: io::Error::from(error) })
        }
        (Err(error), None) => {
            let entry = entries.inside.then_some(entries.read + 1);
            let place = FilePosition { entry, line: error.line(), column: error.column() };
            let fault = match DatasetFault::from_json(&error) {
                DatasetFault::Shape(text) if !entries.inside => DatasetFault::NotArray(text),
                fault => fault,
            };
            Err(entries.screen.malformed(place, fault))
        }
    }
}

fn read_from<T: DeserializeOwned>(
    text: impl Read,
    entries: &mut JsonArrayReader<'_, '_, T>,
) -> Result<(), serde_json::Error> {
    let mut json = serde_json::Deserializer::from_reader(text);
    entries.deserialize(&mut json).and_then(|()| json.end())
}

/// The line and column up to which a text has been read.
type SharedPosition = Rc<Cell<(usize, usize)>>;

/// A reader that tracks its position. serde_json exposes a position only for its own errors. This reader delivers
/// single bytes, which is slow.
struct PositionReader<R> {
    text: R,
    at: SharedPosition,
}

impl<R: Read> Read for PositionReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.text.read(buffer)?;
        for byte in &buffer[..count] {
            let (line, column) = self.at.get();
            self.at.set(if *byte == b'\n' { (line + 1, 0) } else { (line, column + 1) });
        }
        Ok(count)
    }
}

/// Reads the top-level array and tracks the progress.
struct JsonArrayReader<'a, 'b, T> {
    /// Number of entries that have been read completely.
    read: usize,
    /// Whether the next entry has begun.
    inside: bool,
    /// The error that ended the reading, if it is not serde's.
    refused: Option<DatasetError>,
    allowance: ByteAllowance,
    screen: BadRowFilter,
    /// The current position, if it is tracked.
    at: SharedPosition,
    sink: &'a mut EntrySink<'b, T>,
}

/// A fault in an entry.
struct EntryError {
    fault: DatasetFault,
    /// The line and column within the entry, if they are known.
    at: Option<(usize, usize)>,
}

impl EntryError {
    /// The position of the fault in the file. `end` is the position where the entry ends; its lines count from 0.
    fn position_in(&self, raw: &RawValue, end: (usize, usize)) -> FilePosition {
        let breaks = raw.get().bytes().filter(|byte| *byte == b'\n').count();
        let first = (end.0 + 1).saturating_sub(breaks);
        let (line, column) = match self.at {
            Some((1, column)) if breaks == 0 => (first, end.1.saturating_sub(raw.get().len()) + column),
            Some((1, _)) | None => (first, 0),
            Some((line, column)) => (first + line - 1, column),
        };
        FilePosition { entry: None, line, column }
    }
}

impl<T: DeserializeOwned> JsonArrayReader<'_, '_, T> {
    /// Processes one entry. Returns an error if the reading must end.
    fn handle_entry(&mut self, raw: &RawValue) -> Result<(), DatasetError> {
        self.read += 1;
        self.allowance.renew();
        let parsed = serde_json::from_str::<T>(raw.get()).map_err(|error| EntryError {
            fault: DatasetFault::from_json(&error).for_line(true),
            at: Some((error.line(), error.column())),
        });
        let misfit = match parsed.map(|entry| (self.sink)(self.read, entry)) {
            Ok(Ok(())) => {
                self.screen.note_good();
                return Ok(());
            }
            Ok(Err(RowRejection::Workload(error))) => return Err(error),
            Ok(Err(RowRejection::Row(fault))) => EntryError { fault, at: None },
            Err(misfit) => misfit,
        };
        // If the position is not tracked, only the number of the entry is known.
        let place = match self.screen.is_strict() {
            true => misfit.position_in(raw, self.at.get()),
            false => FilePosition { entry: None, line: 0, column: 0 },
        };
        self.screen.reject(FilePosition { entry: Some(self.read), ..place }, misfit.fault)
    }
}

impl<'de, T: DeserializeOwned> DeserializeSeed<'de> for &mut JsonArrayReader<'_, '_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de, T: DeserializeOwned> Visitor<'de> for &mut JsonArrayReader<'_, '_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of conversations")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        self.inside = true;
        while let Some(raw) = array.next_element::<Box<RawValue>>()? {
            if let Err(refused) = self.handle_entry(&raw) {
                self.refused = Some(refused);
                return Err(A::Error::custom("refused"));
            }
        }
        self.inside = false;
        Ok(())
    }
}
