//! Reads files that are one JSON array. Only one entry is in memory at a time.
//!
//! The entries are cut at their brackets before they are parsed, so an entry that is not JSON (Python writes `NaN`)
//! costs only that entry.

use std::io::BufRead;

use serde::de::{DeserializeOwned, IgnoredAny};

use super::source::DatasetSource;
use super::{DatasetError, DatasetFault, FilePosition};
use crate::dataset::json_entry::{Cut, EntryReader};
use crate::dataset::read_options::{BadRowFilter, FileSummary, RowRejection};
use crate::dataset::row_limit::check_values;

/// Receives entries as they are read, each with its number and its first line.
type EntrySink<'a, T> = dyn FnMut(FilePosition, T) -> Result<(), RowRejection> + 'a;

/// Reads all entries. An entry that is malformed is skipped, unless the source is read strictly.
pub(super) fn read<T: DeserializeOwned>(
    source: DatasetSource<'_>,
    sink: &mut EntrySink<'_, T>,
) -> Result<FileSummary, DatasetError> {
    let screen = BadRowFilter::new(source.name.clone(), source.format, source.strict);
    let name = source.name.clone();
    let (text, seal) = source.into_text();
    let mut array = JsonArrayReader { name, text: EntryReader::new(text), read: 0, screen, sink };
    array.read()?;
    Ok(FileSummary { digest: seal.digest(), bad: array.screen.bad })
}

struct JsonArrayReader<'a, 'b, R, T> {
    name: String,
    text: EntryReader<R>,
    /// The number of entries that have been read completely.
    read: usize,
    screen: BadRowFilter,
    sink: &'a mut EntrySink<'b, T>,
}

impl<R: BufRead, T: DeserializeOwned> JsonArrayReader<'_, '_, R, T> {
    fn read(&mut self) -> Result<(), DatasetError> {
        match self.next()? {
            Some(b'[') => self.text.consume_byte(),
            Some(other) => return Err(self.malformed(false, not_array(other))),
            None => return Err(self.cut_off(false)),
        }
        while let Some(entry) = self.next_entry()? {
            self.handle_entry(&entry)?;
        }
        match self.next()? {
            Some(_) => Err(self.malformed(false, DatasetFault::Syntax("trailing characters".into()))),
            None => Ok(()),
        }
    }

    /// Cuts the next entry out of the text. Returns `None` at the end of the array.
    fn next_entry(&mut self) -> Result<Option<Vec<u8>>, DatasetError> {
        let mut next = self.next()?;
        if next == Some(b']') && self.read == 0 {
            self.text.consume_byte();
            return Ok(None);
        }
        if self.read > 0 {
            match next {
                Some(b',') => self.text.consume_byte(),
                Some(b']') => {
                    self.text.consume_byte();
                    return Ok(None);
                }
                Some(_) => {
                    return Err(self.malformed(true, DatasetFault::Syntax("expected `,` or `]`".into())));
                }
                None => return Err(self.cut_off(false)),
            }
            next = self.next()?;
        }
        match next {
            Some(b',' | b']' | b'}') => {
                return Err(self.malformed(true, DatasetFault::Syntax("expected value".into())));
            }
            Some(_) => {}
            None => return Err(self.cut_off(true)),
        }
        match self.text.cut().map_err(|error| DatasetError::unreadable(&self.name, error))? {
            Cut::Entry(entry) => Ok(Some(entry)),
            Cut::Fault(fault) => Err(self.malformed(true, fault)),
            Cut::TextEnd(part) => {
                let parsed = serde_json::from_slice::<IgnoredAny>(&part);
                let fault = parsed.err().map(|error| DatasetFault::from_json(&error));
                let fault = fault.filter(|fault| matches!(fault, DatasetFault::Truncated(_)));
                Err(self.malformed(true, fault.unwrap_or_else(cut_off)))
            }
        }
    }

    /// Processes one entry. Returns an error if the reading must end.
    fn handle_entry(&mut self, entry: &[u8]) -> Result<(), DatasetError> {
        self.read += 1;
        let (line, _) = self.text.position_in_entry(None);
        let place = FilePosition { entry: Some(self.read), line, column: 0 };
        let parsed = parse::<T>(entry);
        let (at, fault) = match parsed.map(|entry| (self.sink)(place, entry)) {
            Ok(Ok(())) => {
                self.screen.note_good();
                return Ok(());
            }
            Ok(Err(RowRejection::Workload(error))) => return Err(error),
            Ok(Err(RowRejection::Row(fault))) => (None, fault),
            Err((at, fault)) => (Some(at), fault),
        };
        let (line, column) = self.text.position_in_entry(at);
        self.screen.reject(FilePosition { entry: Some(self.read), line, column }, fault)
    }

    /// The next byte that is not white space, which stays in the text.
    fn next(&mut self) -> Result<Option<u8>, DatasetError> {
        self.text.peek().map_err(|error| DatasetError::unreadable(&self.name, error))
    }

    /// The error that ends the reading at the byte that follows. `inside` tells whether it is where an entry should be.
    fn malformed(&self, inside: bool, fault: DatasetFault) -> DatasetError {
        let (line, column) = self.text.next_position();
        let place = FilePosition { entry: inside.then_some(self.read + 1), line, column };
        self.screen.malformed(place, fault)
    }

    fn cut_off(&self, inside: bool) -> DatasetError {
        self.malformed(inside, cut_off())
    }
}

fn cut_off() -> DatasetFault {
    DatasetFault::Truncated("EOF while parsing a list".into())
}

/// Parses an entry. A fault has its line and column within the entry.
fn parse<T: DeserializeOwned>(entry: &[u8]) -> Result<T, ((usize, usize), DatasetFault)> {
    check_values(entry).map_err(|fault| ((1, 0), fault))?;
    let text = str::from_utf8(entry).map_err(|error| {
        let valid = &entry[..error.valid_up_to()];
        let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = valid.iter().rev().take_while(|byte| **byte != b'\n').count();
        ((line, column), DatasetFault::Encoding)
    })?;
    serde_json::from_str(text)
        .map_err(|error| ((error.line(), error.column()), DatasetFault::from_json(&error).for_line(true)))
}

/// The fault of a text that begins with another byte than that of an array.
fn not_array(first: u8) -> DatasetFault {
    let found = match first {
        b'{' => "an object",
        b'"' => "a string",
        b'-' | b'0'..=b'9' => "a number",
        b't' | b'f' => "true or false",
        b'n' => "null",
        _ => return DatasetFault::Syntax("expected value".into()),
    };
    DatasetFault::NotArray(format!("expected an array of conversations, found {found}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::dataset::error::DatasetFormat;
    use crate::dataset::read_options::ReadOptions;

    const FORMAT: &DatasetFormat =
        &DatasetFormat { name: "test file", shape: "an array", named_by: "`dataset.path`" };

    /// The entries that are read, the bad ones in words, and the error that ended the reading.
    fn all(text: &str, strict: bool) -> Result<(Vec<Value>, String), String> {
        let reading = ReadOptions { strict, ..ReadOptions::plain(&|_| {}) };
        let source = DatasetSource::from_reader("x.json".into(), text.as_bytes(), None, FORMAT, reading);
        let mut entries = Vec::new();
        let read = read(source.map_err(|error| error.to_string())?, &mut |_, entry: Value| {
            entries.push(entry);
            Ok(())
        });
        read.map(|summary| (entries, summary.bad.to_string())).map_err(|error| error.to_string())
    }

    /// Python's `json.dumps` writes `NaN` and `Infinity`, and its `json.load` reads them; JSON has neither.
    #[test]
    fn an_entry_that_is_no_json_costs_the_entry_and_is_named_with_its_line() {
        for bad in [
            r#"{"score": NaN}"#,
            r#"{"score": -Infinity, "x": [1]}"#,
            "NaN",
            r#"{"a": 1,}"#,
            r#"{'a': "]"}"#,
            r#"{"a": [1 2]}"#,
            r#"{"a": "\x"}"#,
            "\"a\tb\"",
        ] {
            let text = format!("[1,\n  {bad},\n {{\"good\": \"],[\\\"\"}}]\n");
            let (entries, told) = all(&text, false).unwrap();
            assert_eq!(entries, [json!(1), json!({ "good": "],[\"" })], "{bad}");
            assert!(told.contains("entry 2, line 2 column "), "{bad}: {told}");
            let error = all(&text, true).unwrap_err();
            assert!(
                error.contains("entry 2, line 2 column ") && error.contains("not JSON"),
                "{bad}: {error}"
            );
        }
    }

    #[test]
    fn a_fault_in_an_entry_of_several_lines_is_named_with_its_own_line() {
        let (_, told) = all("[\n{\n \"a\": 1,\n \"b\": NaN\n},\n 2]", false).unwrap();
        assert!(told.contains("entry 1, line 4 column 7"), "{told}");
        let (_, told) = all("[1, 2, {\"a\": NaN}]", false).unwrap();
        assert!(told.contains("entry 3, line 1 column 14"), "{told}");
    }

    #[test]
    fn a_text_that_is_no_array_is_refused_whole() {
        for (text, expected) in [
            ("[1, 2", "entry 2, line 1 column 5: the file ends in the middle"),
            ("[1, {\"a\": [", "entry 2, line 1 column 11: the file ends in the middle"),
            ("[1,,2]", "entry 2, line 1 column 4: not JSON: expected value"),
            ("[1,]", "entry 2, line 1 column 4: not JSON: expected value"),
            ("[1 2]", "entry 2, line 1 column 4: not JSON: expected `,` or `]`"),
            ("[{\"a\": [1}]", "entry 1, line 1 column 10: not JSON: `}` closes no `{`"),
            ("[1] 2", "line 1 column 5: not JSON: trailing characters"),
            ("{}", "line 1 column 1: expected an array of conversations, found an object"),
            ("x", "line 1 column 1: not JSON: expected value"),
        ] {
            let error = all(text, false).unwrap_err();
            assert!(error.starts_with(&format!("x.json: {expected}")), "{text}: {error}");
        }
        assert_eq!(all("[ ]", true), Ok((Vec::new(), String::new())));
    }
}
