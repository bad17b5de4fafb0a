//! Guesses the dataset of a file from the beginning of the file.

use std::io::{BufRead as _, Read as _};
use std::path::Path;

use super::conversations::SHAREGPT;
use super::hf;
use super::source::DatasetSource;
use crate::dataset::read_options::ReadOptions;

/// Number of bytes that are read from the beginning of a file.
const MAX_SCANNED_BYTES: u64 = 64 << 10;

/// Keys of JSON records and the dataset that each key indicates, in order of precedence.
const RECORD_KEYS: [(&str, &str); 12] = [
    ("\"conversations\"", "sharegpt"),
    ("\"messages\"", "sharegpt"),
    ("\"hash_ids\"", "timed_trace"),
    ("\"input_length\"", "timed_trace"),
    ("\"image_files\"", "custom_image"),
    ("\"audio\"", "custom_audio"),
    ("\"turns\"", "spec_bench"),
    ("\"prompt\"", "custom"),
    ("\"question\"", "hf"),
    ("\"instruction\"", "hf"),
    ("\"input\"", "hf"),
    ("\"text\"", "hf"),
];

/// Columns of CSV files and the dataset that each column indicates.
const CSV_COLUMNS: [(&str, &str); 3] =
    [("ContextTokens", "azure"), ("Request tokens", "burstgpt"), ("input_length", "trace")];

/// vLLM's name of the dataset that a file or a folder looks like. `None` if the content matches no known dataset.
pub(crate) fn detect_dataset(path: &Path) -> Option<&'static str> {
    if path.is_dir() || hf::is_parquet(path) {
        return Some("hf");
    }
    if !path.is_file() {
        return None;
    }
    let source = DatasetSource::open(path, SHAREGPT, ReadOptions::plain(&|_| {})).ok()?;
    let mut head = Vec::new();
    source.text.take(MAX_SCANNED_BYTES).read_to_end(&mut head).ok()?;
    detect_by_head(&head)
}

fn detect_by_head(head: &[u8]) -> Option<&'static str> {
    // No format of text has a zero byte.
    if head.contains(&0) {
        return None;
    }
    let text = String::from_utf8_lossy(head);
    let text = text.trim_start();
    if text.starts_with(['{', '[']) {
        let first = text.as_bytes().lines().next().and_then(Result::ok).unwrap_or_default();
        // The file has either one record a line, or one record over several lines.
        let record = if first.trim_end().ends_with('}') { first.as_str() } else { text };
        return RECORD_KEYS.iter().find(|(key, _)| record.contains(key)).map(|(_, name)| *name);
    }
    let header = text.lines().next().unwrap_or_default();
    let has = |column: &str| header.split(',').any(|name| name.trim().eq_ignore_ascii_case(column));
    let of_columns = CSV_COLUMNS.iter().find(|(column, _)| has(column)).map(|(_, name)| *name);
    of_columns.or((!text.is_empty() && !header.contains(',')).then_some("sonnet"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first lines of each file as its publisher writes them.
    #[test]
    fn files_are_known_by_their_beginning() {
        for (head, expected) in [
            (r#"[{"id": "x", "conversations": [{"from": "human", "value": "prompt"}]}]"#, Some("sharegpt")),
            ("[\n {\n  \"id\": \"b1\",\n  \"conversations\": [", Some("sharegpt")),
            (r#"{"messages": [{"role": "user", "content": "x"}]}"#, Some("sharegpt")),
            (r#"{"prompt": "x", "output_tokens": 3}"#, Some("custom")),
            (
                r#"{"timestamp": 0, "input_length": 6758, "output_length": 500, "hash_ids": [0]}"#,
                Some("timed_trace"),
            ),
            (r#"{"question_id": 81, "category": "writing", "turns": ["x"]}"#, Some("spec_bench")),
            (r#"{"prompt": "x", "image_files": ["a.png"]}"#, Some("custom_image")),
            (r#"{"question": "x", "answer": "y"}"#, Some("hf")),
            ("TIMESTAMP,ContextTokens,GeneratedTokens\n", Some("azure")),
            ("Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n", Some("burstgpt")),
            ("timestamp,input_length,output_length\n", Some("trace")),
            ("From fairest creatures we desire increase\nThat thereby\n", Some("sonnet")),
            ("a,b\n1,2\n", None),
            ("", None),
            ("a line\0of bytes\n", None),
            ("[]", None),
        ] {
            assert_eq!(detect_by_head(head.as_bytes()), expected, "{head}");
        }
    }
}
