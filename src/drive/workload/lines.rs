//! Files of one record a line: JSONL. One line in memory at a time.

use std::io::{BufRead, Read};

use serde::de::DeserializeOwned;

use super::source::Source;
use super::{Fault, Place, WorkloadError};
use crate::core::digest::Digest;

/// The longest line, in bytes: a file without line ends must not eat our memory.
pub(super) const LONGEST: usize = 64 << 20;

/// A record of a file, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line<T> {
    /// From 1.
    pub number: usize,
    /// What it holds.
    pub record: T,
}

/// Reads all records, blank lines aside, and gives the digest of the file.
///
/// `sink` says what is wrong with a record, if anything is; that or a line that is no record ends the reading.
pub(super) fn read<T: DeserializeOwned>(
    source: Source<'_>,
    sink: &mut dyn FnMut(Line<T>) -> Result<(), Fault>,
) -> Result<Digest, WorkloadError> {
    let (name, format) = (source.name.clone(), source.format);
    let (mut text, seal) = source.into_text();
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let malformed = |column, fault| {
            let place = Place { entry: None, line: number, column };
            WorkloadError::Malformed { path: name.clone(), place, fault, format }
        };
        let read = (&mut text).take(LONGEST as u64 + 1).read_until(b'\n', &mut line);
        if read.map_err(|error| WorkloadError::unreadable(&name, error))? == 0 {
            break;
        }
        if line.len() > LONGEST {
            return Err(malformed(LONGEST, Fault::LongLine(LONGEST >> 20)));
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let whole = line.ends_with(b"\n");
        let record = parse(line.trim_ascii_end())
            .map_err(|(column, fault)| malformed(column, fault.of_line(whole)))?;
        sink(Line { number, record }).map_err(|fault| malformed(0, fault))?;
    }
    Ok(seal.digest())
}

fn parse<T: DeserializeOwned>(line: &[u8]) -> Result<T, (usize, Fault)> {
    let text = str::from_utf8(line).map_err(|error| (error.valid_up_to(), Fault::Encoding))?;
    serde_json::from_str(text).map_err(|error| (error.column(), Fault::of_json(&error)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::drive::workload::error::Format;

    const FORMAT: &Format =
        &Format { name: "test file", shape: r#"{"prompt": "…"} in each line"#, flag: "--dataset-path" };

    fn all(bytes: &[u8]) -> Result<Vec<Line<Value>>, String> {
        let mut lines = Vec::new();
        let source =
            Source::of("x.jsonl".into(), bytes, None, FORMAT, &|_| {}).map_err(|error| error.to_string())?;
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
        let expected =
            [(1, json!({"a": 1})), (4, json!({"a": 2}))].map(|(number, record)| Line { number, record });
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
        let endless = std::io::repeat(b'x').take(LONGEST as u64 * 2);
        let source = Source::of("x.jsonl".into(), endless, None, FORMAT, &|_| {}).unwrap();
        let error = read::<Value>(source, &mut |_| Ok(())).unwrap_err().to_string();
        assert!(error.contains("line 1") && error.contains("64 MiB"), "{error}");
    }
}
