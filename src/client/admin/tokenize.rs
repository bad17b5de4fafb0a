//! How servers count the tokens of a text. Each server has its own path, fields and response shape.

use reqwest::Method;
use serde_json::{Value, json};

use super::{AdminClient, AdminError, MAX_RESPONSE_BYTES};
use crate::client::excerpt::excerpt;
use crate::model::run_spec::Backend;

/// Builds the request's fields from the model's served name, the text, and whether the count includes the special
/// tokens that the tokenizer adds.
type TokenizeBodyFn = fn(&str, &str, bool) -> Value;

/// The size of an answer about any text that is read, in bytes.
const LEAST_ANSWER_BYTES: usize = 64 << 10;

/// What an answer may have for each byte of its text: TGI describes each token in some 60 bytes.
const ANSWER_BYTES_PER_BYTE: usize = 64;

/// The text of the first request, which finds out whether the server has a tokenizer.
const PROBE: &str = "Is there a tokenizer?";

/// One server's way of counting tokens.
#[derive(Debug)]
struct TokenizeApi {
    path: &'static str,
    question: TokenizeBodyFn,
    /// Whether the server always omits special tokens on request. If it may not, the count of an empty text shows what
    /// the server adds.
    omits: bool,
}

/// The API of vLLM, SGLang and aphrodite.
const VLLM: TokenizeApi = TokenizeApi {
    path: "/tokenize",
    question: |model, text, add| json!({ "model": model, "prompt": text, "add_special_tokens": add }),
    omits: true,
};

/// The API of llama.cpp, which also parses special tokens in the text of a prompt.
const LLAMA_CPP: TokenizeApi = TokenizeApi {
    path: "/tokenize",
    question: |_, text, add| json!({ "content": text, "add_special": add }),
    omits: true,
};

/// The API of Text Generation Inference and Text Embeddings Inference. Older versions do not know `add_special_tokens`.
const TGI: TokenizeApi = TokenizeApi {
    path: "/tokenize",
    question: |_, text, add| json!({ "inputs": text, "add_special_tokens": add }),
    omits: false,
};

/// All APIs, in the order in which the client tries them on an unknown server.
const TOKENIZE_APIS: [TokenizeApi; 9] = [
    VLLM,
    LLAMA_CPP,
    TGI,
    // vLLM's form on servers that have no paths outside `/v1` (SGLang has both).
    TokenizeApi { path: "/v1/tokenize", ..VLLM },
    // llama-cpp-python always adds the model's beginning-of-sequence token.
    TokenizeApi {
        path: "/extras/tokenize/count",
        question: |model, text, _| json!({ "model": model, "input": text }),
        omits: false,
    },
    // LMDeploy.
    TokenizeApi {
        path: "/v1/encode",
        question: |_, text, add| json!({ "input": text, "do_preprocess": false, "add_bos": add }),
        omits: true,
    },
    // TabbyAPI.
    TokenizeApi {
        path: "/v1/token/encode",
        question: |_, text, add| json!({ "text": text, "add_bos_token": add }),
        omits: true,
    },
    // text-generation-webui.
    TokenizeApi {
        path: "/v1/internal/token-count",
        question: |_, text, _| json!({ "text": text }),
        omits: false,
    },
    // KoboldCpp.
    TokenizeApi {
        path: "/api/extra/tokencount",
        question: |_, text, add| json!({ "prompt": text, "special": add }),
        omits: false,
    },
];

/// A server's tokenizer and the API that reaches it.
#[derive(Debug, Clone)]
pub(crate) struct TokenCounter {
    dialect: &'static TokenizeApi,
    model: String,
    /// The number of special tokens that the server counts even when the request omits them.
    always_added: u32,
}

impl TokenCounter {
    /// The path that the client requests.
    pub(crate) fn path(&self) -> &'static str {
        self.dialect.path
    }
}

impl AdminClient {
    /// Finds out how the server counts tokens for a model, given by its served name. It tries the backend's own API
    /// first, then the others.
    ///
    /// # Errors
    /// Why the first API failed, if no API returns a count.
    pub(crate) async fn token_counter(&self, backend: Backend, model: &str) -> Result<TokenCounter, String> {
        let mut first_error = None;
        for dialect in apis_for(backend) {
            let counter = TokenCounter { dialect, model: model.to_owned(), always_added: 0 };
            match self.count(&counter, PROBE, false).await {
                Ok(_) => {
                    let added =
                        if dialect.omits { 0 } else { self.count(&counter, "", false).await.unwrap_or(0) };
                    return Ok(TokenCounter { always_added: added, ..counter });
                }
                Err(error @ AdminError::Unreachable { .. }) => return Err(error.to_string()),
                Err(error) => _ = first_error.get_or_insert_with(|| error.to_string()),
            }
        }
        let first_error = first_error.unwrap_or_default();
        Err(format!("{first_error}; no answer either from {}", other_paths(backend)))
    }

    /// Counts the tokens of a text, with or without the special tokens that the tokenizer adds.
    pub(crate) async fn count_tokens(
        &self,
        counter: &TokenCounter,
        text: &str,
        specials: bool,
    ) -> Result<u32, AdminError> {
        let count = self.count(counter, text, specials).await?;
        Ok(if specials { count } else { count.saturating_sub(counter.always_added) })
    }

    async fn count(&self, counter: &TokenCounter, text: &str, specials: bool) -> Result<u32, AdminError> {
        let TokenCounter { dialect, model, .. } = counter;
        let question = (dialect.question)(model, text, specials);
        let limit = MAX_RESPONSE_BYTES.min(LEAST_ANSWER_BYTES + text.len() * ANSWER_BYTES_PER_BYTE);
        let answer: Value = self.fetch_json(Method::POST, dialect.path, Some(question), limit).await?;
        // A server that does not know the text's field counts zero tokens.
        parse_count(&answer).filter(|count| *count > 0 || text.is_empty()).ok_or_else(|| {
            let body = answer.to_string();
            AdminError::NotUnderstood {
                url: self.url(dialect.path),
                status: 200,
                cause: "no count of tokens".into(),
                body: excerpt(body.as_bytes()),
            }
        })
    }
}

/// The APIs to try; the backend's own comes first.
fn apis_for(backend: Backend) -> impl Iterator<Item = &'static TokenizeApi> {
    let own = match backend {
        Backend::LlamaCpp => 1,
        Backend::Tgi => 2,
        _ => 0,
    };
    let others =
        TOKENIZE_APIS.iter().enumerate().filter(move |(index, _)| *index != own).map(|(_, dialect)| dialect);
    std::iter::once(&TOKENIZE_APIS[own]).chain(others)
}

fn other_paths(backend: Backend) -> String {
    let mut paths: Vec<&str> = apis_for(backend).skip(1).map(|dialect| dialect.path).collect();
    paths.dedup();
    paths.join(", ")
}

/// The count in a response: a number under a usual name, or the length of a list of tokens. A nested list is the answer
/// to a batch; our batch has one text.
fn parse_count(answer: &Value) -> Option<u32> {
    const COUNT_FIELDS: [&str; 5] = ["count", "length", "value", "token_count", "total_tokens"];
    const TOKEN_LIST_FIELDS: [&str; 4] = ["tokens", "input_ids", "token_ids", "ids"];
    let number = |value: &Value| u32::try_from(value.as_u64()?).ok();
    match answer {
        Value::Number(_) => number(answer),
        Value::Array(batch) => match batch.as_slice() {
            [Value::Array(tokens)] => u32::try_from(tokens.len()).ok(),
            tokens => u32::try_from(tokens.len()).ok(),
        },
        Value::Object(object) => {
            let counts = COUNT_FIELDS.iter().filter_map(|name| object.get(*name));
            let mut counts = counts.filter_map(|value| number(value).or_else(|| number(value.get(0)?)));
            counts.next().or_else(|| {
                let mut lists = TOKEN_LIST_FIELDS
                    .iter()
                    .filter_map(|name| object.get(*name))
                    .filter(|list| list.is_array());
                parse_count(lists.next()?)
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
