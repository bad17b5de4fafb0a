//! Reads CSV files with a header. Only one record is in memory at a time.

use std::io;

use csv::{ByteRecord, ErrorKind};

use crate::dataset::read_options::{BadRowFilter, FileSummary, RowRejection};
use crate::dataset::row_limit::{RowLimitReader, RowTooLong};
use crate::dataset::source::DatasetSource;
use crate::dataset::{DatasetError, DatasetFault, FilePosition};

/// Maximum length of a row, in bytes. A row of the largest traces has some 60,000 hashes.
const MAX_ROW_BYTES: usize = 1 << 20;

/// Maximum number of columns. Each costs memory beside its text.
const MAX_COLUMNS: usize = 1000;

/// The names of the columns, in order.
pub(super) struct ColumnNames(Vec<String>);

impl ColumnNames {
    /// The index of a column. Letter case is ignored unless two columns differ only in case.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        let exact = self.0.iter().position(|column| column == name);
        exact.or_else(|| self.0.iter().position(|column| column.eq_ignore_ascii_case(name)))
    }

    /// The fault if two columns have this very name: it is not known which one is meant.
    pub(super) fn ambiguous(&self, name: &str) -> Option<DatasetFault> {
        let count = self.0.iter().filter(|column| *column == name).count();
        (count > 1).then(|| {
            DatasetFault::Shape(format!(
                "{count} columns are called `{name}`: rename all but the one that counts"
            ))
        })
    }

    /// The fault for a missing column.
    pub(super) fn missing(&self, name: &str) -> DatasetFault {
        let mut names = self.0.join(", ");
        if let Some((end, _)) = names.char_indices().nth(120) {
            names.truncate(end);
            names.push('…');
        }
        DatasetFault::Shape(format!("no column `{name}` among: {names}"))
    }
}

/// Receives the fields of a line. Returns an error if they are faulty.
pub(super) type CsvRowSink<'a> = dyn FnMut(&[&str], usize) -> Result<(), RowRejection> + 'a;

/// Reads all records. `begin` receives the columns before the first record. A faulty record is skipped, unless the
/// source is read strictly.
pub(super) fn read(
    source: DatasetSource<'_>,
    begin: &mut dyn FnMut(ColumnNames) -> Result<(), DatasetFault>,
    sink: &mut CsvRowSink<'_>,
) -> Result<FileSummary, DatasetError> {
    let path = source.name.clone();
    let mut screen = BadRowFilter::new(path.clone(), source.format, source.strict);
    let (text, seal) = source.into_text();
    let (guarded, allowance) = RowLimitReader::new(text, MAX_ROW_BYTES);
    let mut csv = csv::ReaderBuilder::new();
    let mut csv = csv.has_headers(false).flexible(true).trim(csv::Trim::All).from_reader(guarded);
    let mut record = ByteRecord::new();
    let mut width = None;
    // A record with too few fields. If it is the last one, the file is truncated.
    let mut short: Option<(FilePosition, String)> = None;
    loop {
        allowance.renew();
        let line = csv.position().line() as usize;
        let more = csv.read_byte_record(&mut record).map_err(|error| failed(&screen, &path, line, &error))?;
        if let Some((place, text)) = short.take() {
            screen.reject(
                place,
                if more { DatasetFault::Shape(text) } else { DatasetFault::Truncated(text) },
            )?;
        }
        if !more {
            return Ok(FileSummary { digest: seal.digest(), bad: screen.bad });
        }
        let line = record.position().map_or(line, |position| position.line() as usize);
        let place = FilePosition { entry: None, line, column: 0 };
        if record.len() > MAX_COLUMNS {
            let fault = DatasetFault::Shape(format!("{} fields, of at most {MAX_COLUMNS}", record.len()));
            match width {
                None => return Err(screen.malformed(place, fault)),
                Some(_) => screen.reject(place, fault)?,
            }
            continue;
        }
        let fields = match fields(&record) {
            Ok(fields) => fields,
            Err(fault) if width.is_none() => return Err(screen.malformed(place, fault)),
            Err(fault) => {
                screen.reject(place, fault)?;
                continue;
            }
        };
        match width {
            None => {
                width = Some(fields.len());
                let names = fields.into_iter().map(ToOwned::to_owned).collect();
                begin(ColumnNames(names)).map_err(|fault| screen.malformed(place, fault))?;
            }
            Some(width) if fields.len() == width => screen.handle(place, sink(&fields, line))?,
            Some(width) => {
                let text = format!("{} fields instead of {width}", fields.len());
                match fields.len() < width {
                    true => short = Some((place, text)),
                    false => screen.reject(place, DatasetFault::Shape(text))?,
                }
            }
        }
    }
}

fn fields(record: &ByteRecord) -> Result<Vec<&str>, DatasetFault> {
    record.iter().map(|field| str::from_utf8(field).map_err(|_| DatasetFault::Encoding)).collect()
}

/// The error that ended the reading.
fn failed(screen: &BadRowFilter, path: &str, line: usize, error: &csv::Error) -> DatasetError {
    let place = FilePosition { entry: None, line, column: 0 };
    match error.kind() {
        ErrorKind::Io(error) if error.get_ref().is_some_and(|inner| inner.is::<RowTooLong>()) => {
            screen.malformed(place, DatasetFault::LongLine(MAX_ROW_BYTES >> 20))
        }
        ErrorKind::Io(error) => {
            DatasetError::unreadable(path, io::Error::new(error.kind(), error.to_string()))
        }
        _ => screen.malformed(place, DatasetFault::Shape(error.to_string())),
    }
}
