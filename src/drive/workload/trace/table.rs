//! CSV with a header, one record in memory at a time.

use std::cell::Cell as Shared;
use std::io::{self, Read};
use std::rc::Rc;

use csv::{ByteRecord, ErrorKind};

use crate::core::digest::Digest;
use crate::drive::workload::lines::LONGEST;
use crate::drive::workload::source::Source;
use crate::drive::workload::{Fault, Format, Place, WorkloadError};

/// The columns' names, in order.
pub(super) struct Header(Vec<String>);

impl Header {
    /// Where a column is; letter case counts only where two columns differ in nothing else.
    pub fn find(&self, name: &str) -> Option<usize> {
        let exact = self.0.iter().position(|column| column == name);
        exact.or_else(|| self.0.iter().position(|column| column.eq_ignore_ascii_case(name)))
    }

    /// What to say where a column is missing.
    pub fn missing(&self, name: &str) -> Fault {
        let mut names = self.0.join(", ");
        if let Some((end, _)) = names.char_indices().nth(120) {
            names.truncate(end);
            names.push('…');
        }
        Fault::Shape(format!("no column `{name}` among: {names}"))
    }
}

/// Takes the fields of a line; an error ends the reading.
pub(super) type Sink<'a> = dyn FnMut(&[&str], usize) -> Result<(), Fault> + 'a;

/// Reads all records, and gives the digest of the file. `begin` is told the columns before the first.
pub(super) fn read(
    source: Source<'_>,
    begin: &mut dyn FnMut(Header) -> Result<(), Fault>,
    sink: &mut Sink<'_>,
) -> Result<Digest, WorkloadError> {
    let (path, format) = (source.name.clone(), source.format);
    let (text, seal) = source.into_text();
    let left = Rc::new(Shared::new(LONGEST));
    let guarded = Guarded { text, left: Rc::clone(&left) };
    let mut csv = csv::ReaderBuilder::new().has_headers(false).trim(csv::Trim::All).from_reader(guarded);
    let at = Report { path: &path, format };
    let mut record = ByteRecord::new();
    let mut begun = false;
    loop {
        left.set(LONGEST);
        let line = csv.position().line() as usize;
        match csv.read_byte_record(&mut record) {
            Ok(false) => break,
            Ok(true) => {}
            Err(error) => {
                let ends = matches!(csv.read_byte_record(&mut ByteRecord::new()), Ok(false));
                return Err(at.error(line, &error, ends));
            }
        }
        let line = record.position().map_or(line, |position| position.line() as usize);
        let fields = fields(&record).map_err(|fault| at.fault(line, fault))?;
        let taken = if begun {
            sink(&fields, line)
        } else {
            begun = true;
            begin(Header(fields.into_iter().map(ToOwned::to_owned).collect()))
        };
        taken.map_err(|fault| at.fault(line, fault))?;
    }
    Ok(seal.digest())
}

fn fields(record: &ByteRecord) -> Result<Vec<&str>, Fault> {
    record.iter().map(|field| str::from_utf8(field).map_err(|_| Fault::Encoding)).collect()
}

/// Says what is wrong where.
struct Report<'a> {
    path: &'a str,
    format: &'static Format,
}

impl Report<'_> {
    fn fault(&self, line: usize, fault: Fault) -> WorkloadError {
        let place = Place { entry: None, line, column: 1 };
        WorkloadError::Malformed { path: self.path.to_owned(), place, fault, format: self.format }
    }

    /// `ends`: nothing comes behind it.
    fn error(&self, line: usize, error: &csv::Error, ends: bool) -> WorkloadError {
        match error.kind() {
            ErrorKind::Io(error) if error.get_ref().is_some_and(|inner| inner.is::<TooLong>()) => {
                self.fault(line, Fault::LongLine(LONGEST >> 20))
            }
            ErrorKind::Io(error) => {
                WorkloadError::unreadable(self.path, io::Error::new(error.kind(), error.to_string()))
            }
            ErrorKind::UnequalLengths { pos, expected_len, len } => {
                let line = pos.as_ref().map_or(line, |pos| pos.line() as usize);
                let text = format!("{len} fields instead of {expected_len}");
                let fault =
                    if ends && len < expected_len { Fault::Truncated(text) } else { Fault::Shape(text) };
                self.fault(line, fault)
            }
            _ => self.fault(line, Fault::Shape(error.to_string())),
        }
    }
}

/// Ends the reading where a record has no end: it must not eat our memory.
struct Guarded<R> {
    text: R,
    left: Rc<Shared<usize>>,
}

#[derive(Debug, thiserror::Error)]
#[error("the line is too long")]
struct TooLong;

impl<R: Read> Read for Guarded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.text.read(buffer)?;
        let left = self.left.get().checked_sub(count).ok_or_else(|| io::Error::other(TooLong))?;
        self.left.set(left);
        Ok(count)
    }
}
