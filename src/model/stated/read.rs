//! Finds out by its content which tool wrote a file, and reads it.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

use memchr::memmem;
use serde_json::value::RawValue;

use super::json_object::JsonObject;
use super::result::{StatedResult, Tool};
use super::{aiperf, bench_serve, guidellm, inference_perf};
use crate::model::bounded_file::{self, FileLimit};

/// Why a result of another tool was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StatedError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// No tool that is known wrote the file.
    #[error(
        "{path} is not a servegauge result and not one of another tool that is read: {found}; read are results of aiperf (the \
         summary in JSON, the requests in JSONL), guidellm (JSON), vllm bench serve, vllm-rs bench serve, SGLang \
         bench_serving, and inference-perf",
        path = path.display()
    )]
    Unknown {
        /// The file.
        path: PathBuf,
        /// What is in the file.
        found: String,
    },
    /// The file is of this program.
    #[error("{path} is a result of servegauge", path = path.display())]
    Own {
        /// The file.
        path: PathBuf,
    },
    /// A field is wrong.
    #[error("{path} is a result of {tool}, but {why}", path = path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The tool.
        tool: Tool,
        /// The field and what is wrong with it.
        why: String,
    },
}

/// What a JSON value of a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    AiperfSummary,
    AiperfRequest,
    Guidellm,
    BenchServe(Tool),
    InferencePerfSummary,
    InferencePerfRequest,
}

impl Content {
    fn of(object: &JsonObject<'_>) -> Option<Self> {
        // Our own results have vLLM's keys too.
        if is_own(object) {
            return None;
        }
        type IsContentFn = fn(&JsonObject<'_>) -> bool;
        let known: [(IsContentFn, Self); 5] = [
            (aiperf::is_summary, Self::AiperfSummary),
            (aiperf::is_request, Self::AiperfRequest),
            (guidellm::is_benchmarks, Self::Guidellm),
            (inference_perf::is_summary, Self::InferencePerfSummary),
            (inference_perf::is_request, Self::InferencePerfRequest),
        ];
        let found = known.into_iter().find(|(is, _)| is(object)).map(|(_, content)| content);
        found.or_else(|| bench_serve::tool(object).map(Self::BenchServe))
    }

    fn tool(self) -> Tool {
        match self {
            Self::AiperfSummary | Self::AiperfRequest => Tool::Aiperf,
            Self::Guidellm => Tool::Guidellm,
            Self::BenchServe(tool) => tool,
            Self::InferencePerfSummary | Self::InferencePerfRequest => Tool::InferencePerf,
        }
    }
}

/// Reads all results in a file of another tool.
pub(crate) fn read(path: &Path) -> Result<Vec<StatedResult>, StatedError> {
    let text = bounded_file::read_json(path, FileLimit::RESULT)
        .map_err(|source| StatedError::Read { path: path.to_owned(), source })?;
    let unknown = |found| StatedError::Unknown { path: path.to_owned(), found };
    let text = strict_json(&text);
    let values = values(&text).map_err(unknown)?;
    let objects = objects(&values).map_err(unknown)?;
    let Some(first) = objects.first() else { return Err(unknown("it is empty".to_owned())) };
    if is_own(first) {
        return Err(StatedError::Own { path: path.to_owned() });
    }
    let Some(content) = Content::of(first) else { return Err(unknown(keys_found(first))) };
    let results = read_objects(content, &objects);
    results.map_err(|why| StatedError::Field { path: path.to_owned(), tool: content.tool(), why })
}

/// Whether an object is a result of this program, also under its old name.
fn is_own(object: &JsonObject<'_>) -> bool {
    object.has("servegauge") || object.has("servebench")
}

/// The tool that wrote a text; `None` if it is not known.
pub(crate) fn recognize(text: &[u8]) -> Option<Tool> {
    let text = strict_json(text);
    let values = first_value(&text)?;
    let objects = objects(&[values]).ok()?;
    Content::of(objects.first()?).map(Content::tool)
}

fn read_objects(content: Content, objects: &[JsonObject<'_>]) -> Result<Vec<StatedResult>, String> {
    match content {
        Content::AiperfRequest | Content::InferencePerfRequest => {
            if let Some(at) = objects.iter().position(|object| Content::of(object) != Some(content)) {
                return Err(format!("entry {} of the file is no request", at + 1));
            }
            let requests =
                if content == Content::AiperfRequest { aiperf::requests } else { inference_perf::requests };
            Ok(vec![requests(objects)?])
        }
        _ => {
            let results = objects.iter().enumerate().map(|(at, object)| read_object(at, object));
            let mut results: Vec<StatedResult> = results.collect::<Result<Vec<_>, _>>()?.concat();
            let count = results.len();
            for (at, result) in results.iter_mut().enumerate().filter(|_| count > 1) {
                result.part.get_or_insert_with(|| format!("result {} of {count}", at + 1));
            }
            Ok(results)
        }
    }
}

/// Reads an object that is a result by itself, or several.
fn read_object(at: usize, object: &JsonObject<'_>) -> Result<Vec<StatedResult>, String> {
    match Content::of(object) {
        Some(Content::AiperfSummary) => Ok(vec![aiperf::summary(object)?]),
        Some(Content::Guidellm) => guidellm::benchmarks(object),
        Some(Content::InferencePerfSummary) => Ok(vec![inference_perf::summary(object)?]),
        Some(Content::BenchServe(tool)) => Ok(vec![bench_serve::result(object, tool)?]),
        Some(Content::AiperfRequest | Content::InferencePerfRequest) | None => {
            Err(format!("entry {} of the file is of another kind than the first", at + 1))
        }
    }
}

fn keys_found(object: &JsonObject<'_>) -> String {
    const SHOWN: usize = 6;
    let keys: Vec<&str> = object.keys().take(SHOWN).collect();
    let more = object.keys().count().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    match keys.is_empty() {
        true => "it is an object without keys".to_owned(),
        false => format!("it is an object with the keys {}{more}", keys.join(", ")),
    }
}

fn values(text: &[u8]) -> Result<Vec<&RawValue>, String> {
    let values = serde_json::Deserializer::from_slice(text).into_iter::<&RawValue>();
    values.collect::<Result<_, _>>().map_err(|error| format!("it is not JSON ({error})"))
}

fn first_value(text: &[u8]) -> Option<&RawValue> {
    serde_json::Deserializer::from_slice(text).into_iter().next()?.ok()
}

/// The objects of a file, also those of a list.
fn objects<'a>(values: &[&'a RawValue]) -> Result<Vec<JsonObject<'a>>, String> {
    let mut objects = Vec::new();
    for value in values {
        if value.get().starts_with('[') {
            let items: Vec<&RawValue> =
                serde_json::from_str(value.get()).map_err(|error| error.to_string())?;
            for item in items {
                objects.push(JsonObject::parse(item, "")?);
            }
        } else {
            objects.push(JsonObject::parse(value, "")?);
        }
    }
    Ok(objects)
}

/// Replaces the numbers that Python writes and JSON does not have: `NaN` by `null`, infinities by texts.
fn strict_json(text: &[u8]) -> Cow<'_, [u8]> {
    const WORDS: [(&[u8], &[u8]); 3] =
        [(b"-Infinity", b"\"-inf\""), (b"Infinity", b"\"inf\""), (b"NaN", b"null")];
    if WORDS[1..].iter().all(|(word, _)| memmem::find(text, word).is_none()) {
        return Cow::Borrowed(text);
    }
    let mut strict = Vec::with_capacity(text.len());
    let (mut at, mut in_text) = (0, false);
    while at < text.len() {
        let word = WORDS.iter().find(|(word, _)| !in_text && text[at..].starts_with(word));
        if let Some((word, replacement)) = word {
            strict.extend_from_slice(replacement);
            at += word.len();
            continue;
        }
        // A backslash outside a text is an error that the parser reports.
        let length = if in_text && text[at] == b'\\' { 2.min(text.len() - at) } else { 1 };
        in_text ^= text[at] == b'"';
        strict.extend_from_slice(&text[at..at + length]);
        at += length;
    }
    Cow::Owned(strict)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_only_python_writes_are_read_and_texts_stay() {
        let text = br#"{"a": Infinity, "b": -Infinity, "c": NaN, "d": "NaN \" Infinity"}"#;
        let strict = String::from_utf8(strict_json(text).into_owned()).unwrap();
        assert_eq!(strict, r#"{"a": "inf", "b": "-inf", "c": null, "d": "NaN \" Infinity"}"#);
    }
}
