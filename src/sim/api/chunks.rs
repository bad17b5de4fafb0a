//! Answers in vLLM's JSON shapes, written by hand: what is the same in every event of a stream is
//! formatted once, and a token costs no more than a few copies.

use std::io::Write;

use super::{
    refusal::Refusal,
    shape::{Identity, Whole},
};
use crate::sim::{plan::Finish, spec::LineEnding};

/// What stands for the build of the server in an answer's last part.
const FINGERPRINT: &str = "vllm-0.32.0-sim";

/// The two kinds of OpenAI's older API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Completions,
    Chat,
}

/// The constant parts of one answer.
pub(super) struct Chunks {
    kind: Kind,
    /// `"id":…,"object":…,"created":…,"model":…,"choices":[`
    head: String,
    blank_line: &'static str,
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
    /// Of the prompt, what the prefix cache had, if that is to be told.
    pub cached: Option<usize>,
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
    pub(super) fn new(kind: Kind, who: &Identity, line_ending: LineEnding) -> Self {
        let object = match kind {
            Kind::Completions => "text_completion",
            Kind::Chat => "chat.completion.chunk",
        };
        Self { kind, head: head(kind, object, who), blank_line: line_ending.blank_line() }
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
        match (self.kind, piece.field) {
            (Kind::Completions, _) => put(out, r#"{"index":0,"text":""#),
            (Kind::Chat, Field::Text) => put(out, r#"{"index":0,"delta":{"content":""#),
            (Kind::Chat, Field::Reasoning(name)) => {
                put(out, r#"{"index":0,"delta":{""#);
                put(out, name);
                put(out, r#"":""#);
            }
        }
        put(out, piece.text);
        put(out, if self.kind == Kind::Chat { r#""},"logprobs":null"# } else { r#"","logprobs":null"# });
        put_finish(out, piece.finish);
        put(
            out,
            match (self.kind, piece.finish) {
                (Kind::Completions, _) => r#","stop_reason":null,"prompt_token_ids":null,"token_ids":null}]"#,
                (Kind::Chat, None) => r#","token_ids":null}]"#,
                (Kind::Chat, Some(_)) => r#","stop_reason":null,"token_ids":null}]"#,
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

/// The body of an answer in one piece.
pub(super) fn whole(kind: Kind, who: &Identity, answer: &Whole, usage: Option<Usage>) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024 + answer.said.text.len());
    put(&mut out, "{");
    let object = match kind {
        Kind::Completions => "text_completion",
        Kind::Chat => "chat.completion",
    };
    put(&mut out, &head(kind, object, who));
    match kind {
        Kind::Completions => put_text(&mut out, answer),
        Kind::Chat => put_message(&mut out, answer),
    }
    put(&mut out, r#","service_tier":null,"system_fingerprint":""#);
    put(&mut out, FINGERPRINT);
    put(&mut out, "\"");
    if let Some(usage) = usage {
        put_usage(&mut out, Some(usage));
        out.pop();
        if usage.cached.is_none() {
            put(&mut out, r#","prompt_tokens_details":null"#);
        }
        put(&mut out, r#","completion_tokens_details":null}"#);
    }
    if kind == Kind::Chat {
        put(&mut out, r#","prompt_logprobs":null,"prompt_token_ids":null,"prompt_text":null"#);
    }
    put(&mut out, r#","kv_transfer_params":null,"ec_transfer_params":null,"metrics":null}"#);
    out
}

fn put_text(out: &mut Vec<u8>, answer: &Whole) {
    put(out, r#"{"index":0,"text":""#);
    put(out, answer.said.text);
    put(out, r#"","logprobs":null"#);
    put_finish(out, answer.finish);
    put(
        out,
        r#","stop_reason":null,"token_ids":null,"prompt_logprobs":null,"prompt_token_ids":null,"routed_experts":null}]"#,
    );
}

fn put_message(out: &mut Vec<u8>, answer: &Whole) {
    put(out, r#"{"index":0,"message":{"role":"assistant","content":""#);
    put(out, answer.said.text);
    put(out, r#"","refusal":null,"annotations":null,"audio":null,"function_call":null,"reasoning":"#);
    let reasoning =
        if answer.reasoning.is_empty() { "null".to_owned() } else { format!("\"{}\"", answer.reasoning) };
    put(out, &reasoning);
    put(out, r#"},"logprobs":null"#);
    put_finish(out, answer.finish);
    put(out, r#","stop_reason":null,"token_ids":null,"routed_experts":null}]"#);
}

fn head(kind: Kind, object: &str, who: &Identity) -> String {
    let prefix = match kind {
        Kind::Completions => "cmpl-",
        Kind::Chat => "chatcmpl-",
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
    let Some(Usage { prompt, completion, cached }) = usage else { return };
    let total = prompt + completion;
    // Writing to a vector cannot fail.
    let _ = write!(
        out,
        r#","usage":{{"prompt_tokens":{prompt},"total_tokens":{total},"completion_tokens":{completion}"#
    );
    if let Some(cached) = cached {
        let _ = write!(out, r#","prompt_tokens_details":{{"cached_tokens":{cached}}}"#);
    }
    put(out, "}");
}
