//! Answers in vLLM's JSON shapes, written by hand: what is the same in every event of a stream is
//! formatted once, and a token costs no more than a few copies.

use std::io::Write;

use super::{ask::Endpoint, refusal::Refusal};
use crate::sim::{plan::Finish, spec::LineEnding};

/// What stands for the build of the server in an answer's last part.
const FINGERPRINT: &str = "vllm-0.32.0-sim";

/// The constant parts of one answer.
pub(super) struct Chunks {
    endpoint: Endpoint,
    /// `"id":…,"object":…,"created":…,"model":…,"choices":[`
    head: String,
    blank_line: &'static str,
}

/// Who an answer belongs to.
pub(super) struct Identity<'a> {
    pub id: &'a str,
    /// Unix time in seconds.
    pub created: u64,
    pub model: &'a str,
}

/// Where a piece of text goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// `text` or the delta's `content`.
    Text,
    /// A delta's field of this name.
    Reasoning(&'static str),
}

/// Token counts.
#[derive(Clone, Copy)]
pub(super) struct Usage {
    pub prompt: usize,
    pub completion: usize,
}

/// One event's worth of output. The text is taken as it is: words need no escaping.
pub(super) struct Piece<'a> {
    pub field: Field,
    pub text: &'a str,
    pub finish: Option<Finish>,
    pub usage: Option<Usage>,
    /// Whether this is the stream's last object, which carries the fingerprint.
    pub signed: bool,
}

impl Chunks {
    /// The parts of a stream's chunks.
    pub(super) fn new(endpoint: Endpoint, who: &Identity, line_ending: LineEnding) -> Self {
        let object = match endpoint {
            Endpoint::Completions => "text_completion",
            Endpoint::Chat => "chat.completion.chunk",
        };
        Self { endpoint, head: head(endpoint, object, who), blank_line: line_ending.blank_line() }
    }

    /// The chunk that opens a chat stream and carries no output.
    pub(super) fn role(&self, out: &mut Vec<u8>, usage: Option<Usage>) {
        const ROLE: &str =
            r#"{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]"#;
        self.open(out);
        put(out, ROLE);
        put_usage(out, usage);
        put(out, r#","prompt_token_ids":null,"prompt_text":null}"#);
        put(out, self.blank_line);
    }

    /// A chunk with output, a finish reason, or both.
    pub(super) fn piece(&self, out: &mut Vec<u8>, piece: &Piece) {
        self.open(out);
        match (self.endpoint, piece.field) {
            (Endpoint::Completions, _) => put(out, r#"{"index":0,"text":""#),
            (Endpoint::Chat, Field::Text) => put(out, r#"{"index":0,"delta":{"content":""#),
            (Endpoint::Chat, Field::Reasoning(name)) => {
                put(out, r#"{"index":0,"delta":{""#);
                put(out, name);
                put(out, r#"":""#);
            }
        }
        put(out, piece.text);
        put(
            out,
            if self.endpoint == Endpoint::Chat { r#""},"logprobs":null"# } else { r#"","logprobs":null"# },
        );
        put_finish(out, piece.finish);
        put(
            out,
            match (self.endpoint, piece.finish) {
                (Endpoint::Completions, _) => {
                    r#","stop_reason":null,"prompt_token_ids":null,"token_ids":null}]"#
                }
                (Endpoint::Chat, None) => r#","token_ids":null}]"#,
                (Endpoint::Chat, Some(_)) => r#","stop_reason":null,"token_ids":null}]"#,
            },
        );
        put_usage(out, piece.usage);
        self.close(out, piece.signed);
    }

    /// The chunk without choices that tells the token counts.
    pub(super) fn usage(&self, out: &mut Vec<u8>, usage: Usage) {
        self.open(out);
        put(out, "]");
        put_usage(out, Some(usage));
        self.close(out, true);
    }

    /// `[DONE]`.
    pub(super) fn done(&self, out: &mut Vec<u8>) {
        put(out, "data: [DONE]");
        put(out, self.blank_line);
    }

    /// An error inside the stream.
    pub(super) fn error(&self, out: &mut Vec<u8>, refusal: &Refusal) {
        put(out, "data: ");
        put(out, &refusal.json());
        put(out, self.blank_line);
    }

    /// An event that breaks off in the middle of its JSON.
    pub(super) fn malformed(&self, out: &mut Vec<u8>) {
        self.open(out);
        put(out, r#"{"index":0,"te"#);
        put(out, self.blank_line);
    }

    fn open(&self, out: &mut Vec<u8>) {
        put(out, "data: {");
        put(out, &self.head);
    }

    fn close(&self, out: &mut Vec<u8>, signed: bool) {
        if signed {
            put(out, r#","system_fingerprint":""#);
            put(out, FINGERPRINT);
            put(out, "\"");
        }
        put(out, "}");
        put(out, self.blank_line);
    }
}

/// An answer given at once; `finish` and `usage` are left out only by faults.
pub(super) struct Whole<'a> {
    pub reasoning: &'a str,
    pub text: &'a str,
    pub finish: Option<Finish>,
    pub usage: Option<Usage>,
}

impl Whole<'_> {
    /// The body of the answer.
    pub(super) fn json(&self, endpoint: Endpoint, who: &Identity) -> Vec<u8> {
        let mut out = Vec::with_capacity(1024 + self.text.len());
        put(&mut out, "{");
        let object = match endpoint {
            Endpoint::Completions => "text_completion",
            Endpoint::Chat => "chat.completion",
        };
        put(&mut out, &head(endpoint, object, who));
        match endpoint {
            Endpoint::Completions => self.put_text(&mut out),
            Endpoint::Chat => self.put_message(&mut out),
        }
        put(&mut out, r#","service_tier":null,"system_fingerprint":""#);
        put(&mut out, FINGERPRINT);
        put(&mut out, "\"");
        if let Some(usage) = self.usage {
            put_usage(&mut out, Some(usage));
            out.pop();
            put(&mut out, r#","prompt_tokens_details":null,"completion_tokens_details":null}"#);
        }
        if endpoint == Endpoint::Chat {
            put(&mut out, r#","prompt_logprobs":null,"prompt_token_ids":null,"prompt_text":null"#);
        }
        put(&mut out, r#","kv_transfer_params":null,"ec_transfer_params":null,"metrics":null}"#);
        out
    }

    fn put_text(&self, out: &mut Vec<u8>) {
        put(out, r#"{"index":0,"text":""#);
        put(out, self.text);
        put(out, r#"","logprobs":null"#);
        put_finish(out, self.finish);
        put(
            out,
            r#","stop_reason":null,"token_ids":null,"prompt_logprobs":null,"prompt_token_ids":null,"routed_experts":null}]"#,
        );
    }

    fn put_message(&self, out: &mut Vec<u8>) {
        put(out, r#"{"index":0,"message":{"role":"assistant","content":""#);
        put(out, self.text);
        put(out, r#"","refusal":null,"annotations":null,"audio":null,"function_call":null,"reasoning":"#);
        let reasoning =
            if self.reasoning.is_empty() { "null".to_owned() } else { format!("\"{}\"", self.reasoning) };
        put(out, &reasoning);
        put(out, r#"},"logprobs":null"#);
        put_finish(out, self.finish);
        put(out, r#","stop_reason":null,"token_ids":null,"routed_experts":null}]"#);
    }
}

fn head(endpoint: Endpoint, object: &str, who: &Identity) -> String {
    let prefix = match endpoint {
        Endpoint::Completions => "cmpl-",
        Endpoint::Chat => "chatcmpl-",
    };
    let id = quoted(&format!("{prefix}{}", who.id));
    let model = quoted(who.model);
    format!(r#""id":{id},"object":"{object}","created":{},"model":{model},"choices":["#, who.created)
}

/// The text as a JSON string.
pub(super) fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("any text can be written as JSON")
}

fn put(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn put_finish(out: &mut Vec<u8>, finish: Option<Finish>) {
    match finish {
        None => put(out, r#","finish_reason":null"#),
        Some(finish) => {
            put(out, r#","finish_reason":""#);
            put(out, finish.name());
            put(out, "\"");
        }
    }
}

fn put_usage(out: &mut Vec<u8>, usage: Option<Usage>) {
    let Some(Usage { prompt, completion }) = usage else { return };
    let total = prompt + completion;
    // Writing to a vector cannot fail.
    let _ = write!(
        out,
        r#","usage":{{"prompt_tokens":{prompt},"total_tokens":{total},"completion_tokens":{completion}}}"#
    );
}
