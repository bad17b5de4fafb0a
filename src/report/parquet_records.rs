//! The requests of a run as a Parquet file: one row a request, with the columns of the Records in a result.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use jiff::Zoned;
use parquet::basic::Compression;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use crate::model::record::Record;
use crate::model::record_columns::{COLUMNS, ColumnValues, RecordColumn};
use crate::model::record_log::RecordPass;
use crate::model::record_log::details::{DetailsReader, LoggedDetails};
use crate::model::rfc3339;
use crate::model::run::Run;

/// The rows of a group. The values of one column of a group are in memory at a time.
const ROWS: usize = 1 << 16;

/// The rows of a group that has texts and gaps, which are in memory for a group at a time.
const DETAILED_ROWS: usize = 1 << 12;

/// The columns that only a run with details has: the generated text, and the gaps between output events in seconds.
const DETAIL_COLUMNS: &str = "optional binary generated_text (STRING);\n\
    optional group itl_s (LIST) { repeated group list { required double element; } }\n";

/// Writes the requests of a run, in the order in which `records` gives them. With `detailed`, their texts and gaps too,
/// which the record log has where the Records do not.
pub(crate) fn render(
    run: &Run,
    records: RecordPass<'_>,
    detailed: bool,
    out: impl Write + Send,
) -> io::Result<()> {
    let mut file = RecordsFile::new(out, Some(&run.started), &run.version, detailed)?;
    file.log = run.details.as_ref().filter(|_| detailed).map(LoggedDetails::reader);
    records(&mut |record| file.add(record))?;
    file.finish().map(drop)
}

/// A Parquet file of Records. Only one group of rows is in memory.
pub(crate) struct RecordsFile<'a, W: Write + Send> {
    file: SerializedFileWriter<W>,
    /// The log that has texts and gaps.
    log: Option<DetailsReader<'a>>,
    detailed: bool,
    rows: Vec<Record>,
    /// The first error.
    outcome: io::Result<()>,
}

impl<W: Write + Send> RecordsFile<'_, W> {
    /// Begins a file of requests of a run that began at this time, measured by this version of the program. With
    /// `detailed`, it has the texts and gaps of the Records too.
    pub(crate) fn new(out: W, started: Option<&Zoned>, version: &str, detailed: bool) -> io::Result<Self> {
        let started = started.map(|at| vec![KeyValue::new("started".to_owned(), rfc3339::format(at))]);
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by(format!("servegauge {version}"))
            .set_key_value_metadata(started)
            .build();
        let file = SerializedFileWriter::new(out, schema(detailed)?.into(), Arc::new(properties))?;
        Ok(Self { file, log: None, detailed, rows: Vec::new(), outcome: Ok(()) })
    }

    /// Adds a row. An error is that of [`RecordsFile::finish`].
    pub(crate) fn add(&mut self, record: &Record) {
        self.rows.push(record.clone());
        if self.rows.len() >= if self.detailed { DETAILED_ROWS } else { ROWS } {
            if self.outcome.is_ok() {
                self.outcome = self.write_group();
            }
            self.rows.clear();
        }
    }

    /// Writes the rest of the file, and returns what it was written to.
    ///
    /// # Errors
    /// The first error of the file.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        std::mem::replace(&mut self.outcome, Ok(()))?;
        if !self.rows.is_empty() {
            self.write_group()?;
        }
        Ok(self.file.into_inner()?)
    }

    fn write_group(&mut self) -> io::Result<()> {
        let rows = &self.rows;
        let mut group = self.file.next_row_group()?;
        for RecordColumn { values, .. } in &COLUMNS {
            write_column(&mut group, |to| write_values(*values, rows, to))?;
        }
        if self.detailed {
            let logged =
                self.log.as_mut().map(|log| rows.iter().map(|row| log.record(row.ordinal)).collect());
            let logged: Option<Vec<Record>> = logged.transpose()?;
            let rows = logged.as_deref().unwrap_or(rows);
            write_column(&mut group, |to| {
                write_optional::<ByteArrayType>(rows.iter().map(generated_text), to)
            })?;
            write_column(&mut group, |to| write_gaps(rows, to))?;
        }
        group.close()?;
        Ok(())
    }
}

/// Writes the next column of a group.
fn write_column<W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    write: impl FnOnce(&mut SerializedColumnWriter<'_>) -> Result<()>,
) -> Result<()> {
    let missing = || ParquetError::General("the schema lacks a column".to_owned());
    let mut column = group.next_column()?.ok_or_else(missing)?;
    write(&mut column)?;
    column.close()
}

/// The schema, in Parquet's own notation.
fn schema(detailed: bool) -> Result<parquet::schema::types::Type> {
    let mut text = String::from("message requests {\n");
    for RecordColumn { name, values } in &COLUMNS {
        let kind = match values {
            ColumnValues::Flag(_) => "required boolean",
            ColumnValues::Count(_) => "optional int64",
            ColumnValues::Seconds(_) => "optional double",
            ColumnValues::Text(_) => "optional binary",
        };
        let is_text = matches!(values, ColumnValues::Text(_));
        let _ = writeln!(text, "{kind} {name}{};", if is_text { " (STRING)" } else { "" });
    }
    text += if detailed { DETAIL_COLUMNS } else { "" };
    parse_message_type(&(text + "}"))
}

fn write_values(values: ColumnValues, rows: &[Record], to: &mut SerializedColumnWriter<'_>) -> Result<()> {
    match values {
        ColumnValues::Flag(value) => {
            let flags: Vec<bool> = rows.iter().map(value).collect();
            to.typed::<BoolType>().write_batch(&flags, None, None).map(drop)
        }
        ColumnValues::Count(value) => {
            // No count of a request reaches 2^63.
            write_optional::<Int64Type>(rows.iter().map(|row| value(row).map(|count| count as i64)), to)
        }
        ColumnValues::Seconds(value) => write_optional::<DoubleType>(
            rows.iter().map(|row| value(row).as_ref().map(Duration::as_secs_f64)),
            to,
        ),
        ColumnValues::Text(value) => write_optional::<ByteArrayType>(
            rows.iter().map(|row| value(row).map(|text| ByteArray::from(&*text))),
            to,
        ),
    }
}

/// Writes a column whose values may be null.
fn write_optional<T: DataType>(
    values: impl Iterator<Item = Option<T::T>>,
    to: &mut SerializedColumnWriter<'_>,
) -> Result<()> {
    let (mut levels, mut present) = (Vec::new(), Vec::new());
    for value in values {
        levels.push(i16::from(value.is_some()));
        present.extend(value);
    }
    to.typed::<T>().write_batch(&present, Some(&levels), None).map(drop)
}

fn generated_text(record: &Record) -> Option<ByteArray> {
    record.text.as_deref().map(ByteArray::from)
}

/// Writes the gaps of each request as a list: null where they were not kept, empty below two events.
fn write_gaps(rows: &[Record], to: &mut SerializedColumnWriter<'_>) -> Result<()> {
    let (mut gaps, mut definitions, mut repetitions) = (Vec::new(), Vec::new(), Vec::new());
    for kept in rows.iter().map(|row| row.events.gaps.as_ref()) {
        let before = gaps.len();
        gaps.extend(kept.into_iter().flatten().map(|gap| gap.as_secs_f64()));
        match gaps.len() - before {
            0 => {
                definitions.push(i16::from(kept.is_some()));
                repetitions.push(0);
            }
            count => {
                definitions.extend(std::iter::repeat_n(2, count));
                repetitions.extend((0..count).map(|at| i16::from(at > 0)));
            }
        }
    }
    to.typed::<DoubleType>().write_batch(&gaps, Some(&definitions), Some(&repetitions)).map(drop)
}

#[cfg(test)]
mod tests {
    use parquet::file::reader::{FileReader as _, SerializedFileReader};
    use parquet::record::Row;
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::sample_run;

    fn written(run: &Run, records: &[Record], detailed: bool) -> SerializedFileReader<bytes::Bytes> {
        let mut file = Vec::new();
        let mut pass = |take: &mut dyn FnMut(&Record)| {
            records.iter().for_each(take);
            Ok(())
        };
        render(run, &mut pass, detailed, &mut file).unwrap();
        SerializedFileReader::new(file.into()).unwrap()
    }

    fn rows(file: &SerializedFileReader<bytes::Bytes>) -> Vec<Value> {
        let rows = file.get_row_iter(None).unwrap().map(|row: Result<Row>| row.unwrap().to_json_value());
        rows.collect()
    }

    #[test]
    fn a_row_of_parquet_is_a_record_of_the_result() {
        let run = sample_run::run(true);
        let records = run.records.as_deref().unwrap();
        let file = written(&run, records, false);
        assert_eq!(rows(&file), *serde_json::to_value(records).unwrap().as_array().unwrap());
        let about = file.metadata().file_metadata();
        assert_eq!(about.created_by(), Some("servegauge 0.1.0"));
        let started = &about.key_value_metadata().unwrap()[0];
        assert_eq!(started.value.as_deref(), Some("2026-11-22T09:44:51+01:00"));
    }

    #[test]
    fn texts_and_gaps_are_columns_of_a_run_with_details() {
        let run = sample_run::run(true);
        let mut records = run.records.clone().unwrap();
        records.push(Record { ordinal: 2, text: None, ..records[0].clone() });
        records[2].events.gaps = None;
        let rows = rows(&written(&run, &records, true));
        let columns = |name: &str| rows.iter().map(|row| row[name].clone()).collect::<Vec<_>>();
        assert_eq!(columns("generated_text"), [json!("Gut so."), json!(""), Value::Null]);
        assert_eq!(columns("itl_s"), [json!([0.04, 0.06]), json!([]), Value::Null]);
        assert_eq!(columns("ordinal"), [0, 1, 2]);
    }

    #[test]
    fn groups_of_rows_are_bounded_and_no_request_is_lost() {
        let run = sample_run::run(false);
        let one = sample_run::records().remove(0);
        let records: Vec<Record> =
            (0..DETAILED_ROWS + 1).map(|ordinal| Record { ordinal, ..one.clone() }).collect();
        for (detailed, groups) in [(false, 1), (true, 2)] {
            let file = written(&run, &records, detailed);
            assert_eq!(file.num_row_groups(), groups);
            assert_eq!(file.metadata().file_metadata().num_rows() as usize, records.len());
            assert_eq!(rows(&file).last().unwrap()["ordinal"], DETAILED_ROWS);
        }
        assert_eq!(written(&run, &[], true).num_row_groups(), 0);
    }
}
