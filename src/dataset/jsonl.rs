//! Reads JSONL files: one record a line. Only one line is in memory at a time.

use std::io::{BufRead, Read};

use serde::de::DeserializeOwned;

use super::source::DatasetSource;
use super::{DatasetError, DatasetFault, FilePosition};
use crate::dataset::read_options::{BadRowFilter, FileSummary, RowRejection};
use crate::dataset::row_limit::check_values;

/// Maximum length of a line, in bytes. It keeps a file without line ends from exhausting the memory.
pub(super) const MAX_LINE_BYTES: usize = 32 << 20;

/// A record of a file, and its line number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct JsonlRecord<T> {
    /// The line number, counted from 1.
    pub number: usize,
    /// The parsed record.
    pub record: T,
}

/// Reads all records. Blank lines are ignored.
///
/// `sink` returns an error if a record is faulty. A faulty record, and a line that is not a record, is skipped unless
/// the source is read strictly.
pub(super) fn read<T: DeserializeOwned>(
    source: DatasetSource<'_>,
    sink: &mut dyn FnMut(JsonlRecord<T>) -> Result<(), RowRejection>,
) -> Result<FileSummary, DatasetError> {
    let name = source.name.clone();
    let mut screen = BadRowFilter::new(name.clone(), source.format, source.strict);
    let (mut text, seal) = source.into_text();
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let place = |column| FilePosition { entry: None, line: number, column };
        let read = (&mut text).take(MAX_LINE_BYTES as u64 + 1).read_until(b'\n', &mut line);
        if read.map_err(|error| DatasetError::unreadable(&name, error))? == 0 {
            break;
        }
        if line.len() > MAX_LINE_BYTES {
            return Err(screen.malformed(place(MAX_LINE_BYTES), DatasetFault::LongLine(MAX_LINE_BYTES >> 20)));
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let whole = line.ends_with(b"\n");
        match parse(line.trim_ascii_end()) {
            Ok(record) => screen.handle(place(0), sink(JsonlRecord { number, record }))?,
            Err((column, fault)) => screen.reject(place(column), fault.for_line(whole))?,
        }
    }
    Ok(FileSummary { digest: seal.digest(), bad: screen.bad })
}

fn parse<T: DeserializeOwned>(line: &[u8]) -> Result<T, (usize, DatasetFault)> {
    check_values(line).map_err(|fault| (0, fault))?;
    let text = str::from_utf8(line).map_err(|error| (error.valid_up_to(), DatasetFault::Encoding))?;
    serde_json::from_str(text).map_err(|error| (error.column(), DatasetFault::from_json(&error)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::dataset::error::DatasetFormat;
    use crate::dataset::read_options::ReadOptions;

    const FORMAT: &DatasetFormat = &DatasetFormat {
        name: "test file",
        shape: r#"{"prompt": "…"} in each line"#,
        named_by: "`dataset.path`",
    };

    fn all(bytes: &[u8]) -> Result<Vec<JsonlRecord<Value>>, String> {
        let mut lines = Vec::new();
        let strict = ReadOptions { strict: true, ..ReadOptions::plain(&|_| {}) };
        let source = DatasetSource::from_reader("x.jsonl".into(), bytes, None, FORMAT, strict)
            .map_err(|error| error.to_string())?;
        read(source, &mut |line| {
            lines.push(line);
            Ok(())
        })
        .map_err(|error| error.to_string())?;
        Ok(lines)
    }

    #[test]
    fn every_line_but_blank_ones_is_a_record() {
        let lines = all(b"{\"a\":1}\r\n\n  \n{\"a\":2}").unwrap();
        let expected = [(1, json!({"a": 1})), (4, json!({"a": 2}))]
            .map(|(number, record)| JsonlRecord { number, record });
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_line_that_is_no_record_is_named_with_its_cure() {
        let cases: [(&[u8], &str); 4] = [
            (b"{\"a\":1}\n{\"a\":\n{}", "line 2 column 5: not JSON"),
            (b"{\"a\":1}\n{\"a\":", "line 2 column 5: the file ends in the middle"),
            (b"{\"a\":\"\xff\"}\n", "line 1 column 6: not UTF-8"),
            (b"", "is empty"),
        ];
        for (bytes, words) in cases {
            let error = all(bytes).unwrap_err();
            assert!(error.contains(words), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn a_line_without_end_is_refused_before_it_fills_the_memory() {
        let endless = std::io::repeat(b'x').take(MAX_LINE_BYTES as u64 * 2);
        let lenient = ReadOptions::plain(&|_| {});
        let source = DatasetSource::from_reader("x.jsonl".into(), endless, None, FORMAT, lenient).unwrap();
        let error = read::<Value>(source, &mut |_| Ok(())).unwrap_err().to_string();
        assert!(error.contains("line 1") && error.contains("32 MiB"), "{error}");
    }
}
