//! Parses the documents of embeddings, pooling and reranking: the number of results and of tokens. It skips the
//! numbers.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::error;
use super::object::{self, ObjectKey, object};
use super::usage::UsageObject;
use crate::client::protocol::parsed_event::{EventOutput, ParsedEvent, TokenUsage};

/// Parses a document: an object with a list of results, or the list itself, which Text Embeddings Inference sends.
pub(crate) fn parse(data: &[u8]) -> serde_json::Result<ParsedEvent<'_>> {
    if data.trim_ascii_start().first() == Some(&b'[') {
        let count: ResultCount = serde_json::from_slice(data)?;
        let output = EventOutput::Results(count.all);
        return Ok(ParsedEvent { output, error: count.error(), ..ParsedEvent::default() });
    }
    let document: PoolingDocument<'_> = object::read(data)?;
    let usage = document.usage.usage().and_then(|usage| usage.prompt_tokens);
    let count = document.results();
    Ok(ParsedEvent {
        output: EventOutput::Results(count.all),
        // Jina's rerankers report only the total, which equals the prompt tokens.
        usage: TokenUsage::new(usage.or(document.usage.total_tokens.0), None),
        error: error::error_message(document.error).or_else(|| count.error()),
        ..ParsedEvent::default()
    })
}

object! {
    /// The names under which servers list their results: OpenAI's `data`, vLLM's `results`, ollama's and Cohere's
    /// `embeddings`, llama.cpp's `embedding`, and `rankings` of NVIDIA's NIM.
    struct PoolingDocument<'a> {
        data: ResultCount = "data",
        results: ResultCount = "results",
        embeddings: ResultCount = "embeddings",
        embedding: ResultCount = "embedding",
        rankings: ResultCount = "rankings",
        usage: UsageObject<'a> = "usage",
        error: Option<&'a RawValue> = "error",
    }
}

impl PoolingDocument<'_> {
    fn results(&self) -> ResultCount {
        let lists = [self.data, self.results, self.embeddings, self.embedding, self.rankings];
        let sum = |count: fn(&ResultCount) -> usize| lists.iter().map(count).sum();
        ResultCount { all: sum(|list| list.all), empty: sum(|list| list.empty) }
    }
}

/// The number of results in a value, and the number of empty ones among them.
#[derive(Debug, Clone, Copy, Default)]
struct ResultCount {
    all: usize,
    empty: usize,
}

impl ResultCount {
    /// The error of a document with empty results.
    fn error(self) -> Option<String> {
        let Self { all, empty } = self;
        (empty > 0).then(|| format!("{empty} of {all} results are empty (null, or numbers that are null)"))
    }
}

impl<'de> Deserialize<'de> for ResultCount {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(match from.deserialize_any(ResultVisitor)? {
            ResultValue::Null | ResultValue::Number => Self::default(),
            ResultValue::Results(count) | ResultValue::Fields(count) => count,
        })
    }
}

/// The names of the fields that hold a result. An entry whose field is empty is no result.
const RESULT_FIELDS: [&str; 8] =
    ["embedding", "embeddings", "data", "score", "relevance_score", "logit", "value", "values"];

/// What a value is.
enum ResultValue {
    Null,
    Number,
    /// A list or a text.
    Results(ResultCount),
    /// An object: one result, or lists of them.
    Fields(ResultCount),
}

impl ResultValue {
    fn results(all: usize, empty: usize) -> Self {
        Self::Results(ResultCount { all, empty })
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Number => false,
            Self::Results(count) => count.all == 0 || count.empty > 0,
            Self::Fields(count) => count.empty > 0,
        }
    }
}

impl<'de> Deserialize<'de> for ResultValue {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ResultVisitor)
    }
}

/// Counts the results in a value. A list of numbers is one vector. In an object with one list per type (Cohere's
/// `float`, `int8`), each list holds all results.
struct ResultVisitor;

impl<'de> Visitor<'de> for ResultVisitor {
    type Value = ResultValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("results")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let (mut count, mut numbers, mut nulls, mut empty) = (0, 0, 0, 0);
        while let Some(entry) = list.next_element::<ResultValue>()? {
            count += 1;
            numbers += usize::from(matches!(entry, ResultValue::Number));
            nulls += usize::from(matches!(entry, ResultValue::Null));
            empty += usize::from(entry.is_empty());
        }
        Ok(match () {
            () if numbers == count => ResultValue::results(count.min(1), 0),
            // A vector with numbers that JSON cannot express, such as NaN.
            () if numbers > 0 && numbers + nulls == count => ResultValue::results(1, 1),
            () => ResultValue::results(count, empty),
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut kinds: A) -> Result<Self::Value, A::Error> {
        let (mut most, mut is_empty) = (0, false);
        while let Some((ObjectKey(name), value)) = kinds.next_entry::<ObjectKey<'de>, ResultValue>()? {
            is_empty |= RESULT_FIELDS.contains(&&*name) && value.is_empty();
            if let ResultValue::Results(count) | ResultValue::Fields(count) = value {
                most = most.max(count.all);
                is_empty |= count.empty > 0;
            }
        }
        Ok(ResultValue::Fields(ResultCount { all: most, empty: usize::from(is_empty) }))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        // The text is a vector in base64.
        Ok(ResultValue::results(usize::from(!text.is_empty()), 0))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(ResultValue::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(ResultValue::results(0, 0))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(ResultValue::Number)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(ResultValue::Number)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(ResultValue::Number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The documents are those of Text Embeddings Inference (`router/src/http/types.rs`: `EmbedResponse`,
    /// `EmbedAllResponse`, `RerankResponse`, errors with `error_type`; chunkhound PR #77), llama.cpp
    /// (`tools/server/README.md`, `/embedding`),
    /// ollama (`docs/api.md`, `/api/embed`), Cohere (`/v2/embed`), NVIDIA's NIM (`/v1/ranking`), OpenAI and vLLM.
    #[test]
    fn results_are_counted_under_each_name_and_in_each_shape() {
        for (document, expected) in [
            (r#"[{"index":1,"score":0.9871},{"index":0,"score":0.0123}]"#, 2),
            (r#" [[0.1,0.2,3],[0.3,0.4,-5]]"#, 2),
            ("[[[0.1,0.2],[0.3,0.4]]]", 1),
            (r#"[[{"index":3,"value":0.5}]]"#, 1),
            ("[0.1,0.2,0.3]", 1),
            ("[]", 0),
            (r#"{"embedding":[0.1,0.2]}"#, 1),
            (r#"[{"index":0,"embedding":[[0.1,0.2]]}]"#, 1),
            (r#"{"model":"m","embeddings":[[0.1],[0.2]],"total_duration":5}"#, 2),
            (r#"{"id":"x","embeddings":{"float":[[0.1],[0.2],[0.3]]}}"#, 3),
            (r#"{"rankings":[{"index":0,"logit":1.5},{"index":1,"logit":-2}]}"#, 2),
            (r#"{"object":"list","data":[{"embedding":"AAAA","index":0}],"usage":{"prompt_tokens":3}}"#, 1),
            (r#"{"results":[{"index":0,"relevance_score":0.5}],"error":null}"#, 1),
        ] {
            let meaning = parse(document.as_bytes()).unwrap_or_else(|error| panic!("{document}: {error}"));
            let EventOutput::Results(count) = meaning.output else { panic!("{document}") };
            assert_eq!((count, meaning.error), (expected, None), "{document}");
        }
    }

    /// A server whose numbers overflow to NaN writes `null` for them.
    #[test]
    fn an_empty_result_is_an_error() {
        for none in [r#"{"data":{}}"#, r#"{"data":null}"#, r#"{"data":[]}"#, r#"{"embedding":[]}"#, "{}"] {
            let meaning = parse(none.as_bytes()).unwrap();
            assert!(matches!(meaning.output, EventOutput::Results(0)), "{none}: {meaning:?}");
        }
        for (document, words) in [
            (r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":null}]}"#, "1 of 1"),
            (r#"{"data":[{"embedding":[0.1],"index":0},{"embedding":[],"index":1}]}"#, "1 of 2"),
            (r#"{"data":[{"embedding":"","index":0}]}"#, "1 of 1"),
            (r#"{"data":[null]}"#, "1 of 1"),
            (r#"{"data":[{"embedding":[null,0.5,null]}]}"#, "1 of 1"),
            (r#"{"results":[{"index":0,"relevance_score":null},{"index":1,"relevance_score":0}]}"#, "1 of 2"),
            (r#"[{"index":0,"score":null}]"#, "1 of 1"),
            (r#"[[0.1],null]"#, "1 of 2"),
        ] {
            let error = parse(document.as_bytes()).unwrap().error.unwrap_or_default();
            assert!(error.starts_with(&format!("{words} results are empty")), "{document}: {error}");
        }
    }

    #[test]
    fn errors_with_a_status_of_success_are_errors() {
        let document = br#"{"error":"Input validation error: `inputs` must have less than 512 tokens","error_type":"Validation"}"#;
        assert!(parse(document).unwrap().error.unwrap().contains("less than 512 tokens"));
        assert_eq!(parse(br#"{"data":[{"embedding":[1]}],"error":""}"#).unwrap().error, None);
        assert!(parse(b"<html>").is_err() && parse(b"[1,").is_err());
    }
}
