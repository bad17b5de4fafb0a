//! Parses the documents of embeddings, pooling and reranking: the number of results and of tokens. It skips the
//! numbers.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::error;
use super::object::{self, object};
use super::usage::UsageObject;
use crate::client::protocol::parsed_event::{EventOutput, ParsedEvent, TokenUsage};

/// Parses a document: an object with a list of results, or the list itself, which Text Embeddings Inference sends.
pub(crate) fn parse(data: &[u8]) -> serde_json::Result<ParsedEvent<'_>> {
    if data.trim_ascii_start().first() == Some(&b'[') {
        let ResultCount(count) = serde_json::from_slice(data)?;
        return Ok(ParsedEvent { output: EventOutput::Results(count), ..ParsedEvent::default() });
    }
    let document: PoolingDocument<'_> = object::read(data)?;
    let PoolingDocument { data, results, embeddings, embedding, rankings, usage, error, .. } = document;
    let counted = usage.usage().and_then(|usage| usage.prompt_tokens);
    Ok(ParsedEvent {
        output: EventOutput::Results(
            [data, results, embeddings, embedding, rankings].iter().map(|list| list.0).sum(),
        ),
        // Jina's rerankers report only the total, which equals the prompt tokens.
        usage: TokenUsage::new(counted.or(usage.total_tokens.0), None),
        error: error::error_message(error),
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

/// The number of results in a value. A list of numbers is one vector. In an object with one list per type (Cohere's
/// `float`, `int8`), each list holds all results.
#[derive(Debug, Default)]
struct ResultCount(usize);

impl<'de> Deserialize<'de> for ResultCount {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ResultVisitor).map(|(count, _)| Self(count))
    }
}

/// Counts the results in a value, and reports whether the value is a number.
struct ResultVisitor;

/// Whether an element of a list is a number.
struct NumberProbe(bool);

impl<'de> Deserialize<'de> for NumberProbe {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ResultVisitor).map(|(_, is_number)| Self(is_number))
    }
}

impl<'de> Visitor<'de> for ResultVisitor {
    type Value = (usize, bool);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("results")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let (mut count, mut numbers) = (0, 0);
        while let Some(NumberProbe(is_number)) = list.next_element()? {
            count += 1;
            numbers += usize::from(is_number);
        }
        Ok((if numbers == count { count.min(1) } else { count }, false))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut kinds: A) -> Result<Self::Value, A::Error> {
        let mut most = 0;
        while let Some((IgnoredAny, ResultCount(count))) = kinds.next_entry()? {
            most = most.max(count);
        }
        Ok((most, false))
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        // The text is a vector in base64.
        Ok((1, false))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok((0, false))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok((0, false))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok((0, true))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok((0, true))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok((0, true))
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

    #[test]
    fn errors_with_a_status_of_success_are_errors() {
        let document = br#"{"error":"Input validation error: `inputs` must have less than 512 tokens","error_type":"Validation"}"#;
        assert!(parse(document).unwrap().error.unwrap().contains("less than 512 tokens"));
        assert_eq!(parse(br#"{"data":[{"embedding":[1]}],"error":""}"#).unwrap().error, None);
        assert!(parse(b"<html>").is_err() && parse(b"[1,").is_err());
    }
}
