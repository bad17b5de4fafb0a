//! Writes answers in vLLM's JSON formats without a serializer: the constant parts of a stream's events are formatted
//! once, so that a token costs only a few copies.

use std::borrow::Cow;
use std::io::Write;
use std::time::Duration;

use crate::sim::api::{
    api_error::ApiError,
    response_writer::{FullResponse, GenerationIdentity, GenerationProgress},
};
use crate::sim::output_plan::SimFinishReason;
use crate::sim::spec::LineEnding;

/// The `system_fingerprint` of an answer's last part, which stands for the server's build.
const FINGERPRINT: &str = "vllm-0.32.0-sim";

/// The two APIs for completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CompletionApi {
    Completions,
    Chat,
}

/// The constant parts of one answer.
pub(super) struct ChunkWriter {
    kind: CompletionApi,
    /// `"id":…,"object":…,"created":…,"model":…,"choices":[`
    head: String,
    blank_line: &'static str,
}

/// The field that output text goes to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum OutputField {
    /// `text` or the delta's `content`.
    Text,
    /// A delta's field of this name.
    Reasoning(&'static str),
}

#[derive(Clone, Copy)]
pub(super) struct UsageCounts {
    pub prompt: usize,
    pub completion: usize,
    /// Prompt tokens from the prefix cache, if usage reports them.
    pub cached: Option<usize>,
}

/// The engine's own times for a request.
#[derive(Clone, Copy)]
pub(super) struct EngineTimes {
    pub queue: Duration,
    pub prefill: Duration,
    pub decode: Duration,
    pub output_tokens: usize,
}

impl EngineTimes {
    /// The times of an answer, which is complete.
    pub(super) fn new(whole: &GenerationProgress) -> Self {
        Self {
            queue: whole.queue_time,
            prefill: whole.prefill_time,
            decode: whole.output_time,
            output_tokens: whole.output,
        }
    }

    /// vLLM's `metrics` object.
    fn json(&self) -> String {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let gaps = self.output_tokens.saturating_sub(1);
        let mean_itl = if gaps > 0 { ms(self.decode / gaps as u32).to_string() } else { "null".to_owned() };
        let busy_s = (self.prefill + self.decode).as_secs_f64();
        let speed = if busy_s > 0.0 { self.output_tokens as f64 / busy_s } else { 0.0 };
        format!(
            r#"{{"time_to_first_token_ms":{},"generation_time_ms":{},"queue_time_ms":{},"mean_itl_ms":{mean_itl},"tokens_per_second":{speed}}}"#,
            ms(self.prefill),
            ms(self.decode),
            ms(self.queue),
        )
    }
}

/// What an answer in one piece reports besides its output.
pub(super) struct AnswerReport {
    pub usage: Option<UsageCounts>,
    pub times: Option<EngineTimes>,
}

/// The output of one event. The text is written unchanged: its words need no escaping.
pub(super) struct ChunkOutput<'a> {
    pub field: OutputField,
    pub text: &'a str,
    pub finish: Option<SimFinishReason>,
    pub usage: Option<UsageCounts>,
    /// Whether this is the stream's last object, which carries the fingerprint.
    pub signed: bool,
    pub tokens: &'a TokenFields,
}

/// The JSON of the fields about tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TokenFields {
    pub logprobs: Cow<'static, str>,
    pub token_ids: Cow<'static, str>,
    pub prompt_token_ids: Cow<'static, str>,
}

impl TokenFields {
    /// The fields of a request that asks for none.
    pub(super) const NULL: Self = Self {
        logprobs: Cow::Borrowed("null"),
        token_ids: Cow::Borrowed("null"),
        prompt_token_ids: Cow::Borrowed("null"),
    };
}

impl ChunkWriter {
    /// Prepares the constant parts of a stream's chunks.
    pub(super) fn new(kind: CompletionApi, who: &GenerationIdentity, line_ending: LineEnding) -> Self {
        let object = match kind {
            CompletionApi::Completions => "text_completion",
            CompletionApi::Chat => "chat.completion.chunk",
        };
        Self { kind, head: head(kind, object, who), blank_line: line_ending.blank_line() }
    }

    /// Writes the chunk that opens a chat stream and carries no output.
    pub(super) fn write_role(&self, out: &mut Vec<u8>, usage: Option<UsageCounts>, prompt_token_ids: &str) {
        const ROLE: &str =
            r#"{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]"#;
        self.open(out);
        push_text(out, ROLE);
        put_usage(out, usage);
        push_all(
            out,
            &[r#","prompt_token_ids":"#, prompt_token_ids, r#","prompt_text":null}"#, self.blank_line],
        );
    }

    /// Writes a chunk with output, a finish reason, or both.
    pub(super) fn write_output(&self, out: &mut Vec<u8>, piece: &ChunkOutput) {
        self.open(out);
        match (self.kind, piece.field) {
            (CompletionApi::Completions, _) => push_text(out, r#"{"index":0,"text":""#),
            (CompletionApi::Chat, OutputField::Text) => push_text(out, r#"{"index":0,"delta":{"content":""#),
            (CompletionApi::Chat, OutputField::Reasoning(name)) => {
                push_text(out, r#"{"index":0,"delta":{""#);
                push_text(out, name);
                push_text(out, r#"":""#);
            }
        }
        push_text(out, piece.text);
        let TokenFields { logprobs, token_ids, prompt_token_ids } = piece.tokens;
        push_text(
            out,
            if self.kind == CompletionApi::Chat { r#""},"logprobs":"# } else { r#"","logprobs":"# },
        );
        push_text(out, logprobs);
        put_finish(out, piece.finish);
        match (self.kind, piece.finish) {
            (CompletionApi::Completions, _) => {
                push_all(out, &[r#","stop_reason":null,"prompt_token_ids":"#, prompt_token_ids]);
            }
            (CompletionApi::Chat, None) => {}
            (CompletionApi::Chat, Some(_)) => push_text(out, r#","stop_reason":null"#),
        }
        push_all(out, &[r#","token_ids":"#, token_ids, "}]"]);
        put_usage(out, piece.usage);
        self.close(out, piece.signed);
    }

    /// Writes the chunk without choices that reports the token counts and, if they are reported, the engine's times.
    pub(super) fn usage(&self, out: &mut Vec<u8>, usage: UsageCounts, times: Option<EngineTimes>) {
        self.open(out);
        push_text(out, "]");
        put_usage(out, Some(usage));
        if let Some(times) = times {
            push_all(out, &[r#","metrics":"#, &times.json()]);
        }
        self.close(out, true);
    }

    /// Writes `[DONE]`.
    pub(super) fn done(&self, out: &mut Vec<u8>) {
        push_text(out, "data: [DONE]");
        push_text(out, self.blank_line);
    }

    /// Writes an error inside the stream.
    pub(super) fn error(&self, out: &mut Vec<u8>, refusal: &ApiError) {
        push_text(out, "data: ");
        push_text(out, &refusal.json());
        push_text(out, self.blank_line);
    }

    /// Writes an event that breaks off in the middle of its JSON.
    pub(super) fn malformed(&self, out: &mut Vec<u8>) {
        self.open(out);
        push_text(out, r#"{"index":0,"te"#);
        push_text(out, self.blank_line);
    }

    fn open(&self, out: &mut Vec<u8>) {
        push_text(out, "data: {");
        push_text(out, &self.head);
    }

    fn close(&self, out: &mut Vec<u8>, signed: bool) {
        if signed {
            push_text(out, r#","system_fingerprint":""#);
            push_text(out, FINGERPRINT);
            push_text(out, "\"");
        }
        push_text(out, "}");
        push_text(out, self.blank_line);
    }
}

/// Returns the body of an answer in one piece.
pub(super) fn full_body(
    kind: CompletionApi,
    who: &GenerationIdentity,
    answer: &FullResponse,
    report: &AnswerReport,
    tokens: &TokenFields,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024 + answer.said.text.len());
    push_text(&mut out, "{");
    let object = match kind {
        CompletionApi::Completions => "text_completion",
        CompletionApi::Chat => "chat.completion",
    };
    push_text(&mut out, &head(kind, object, who));
    match kind {
        CompletionApi::Completions => put_text(&mut out, answer, tokens),
        CompletionApi::Chat => put_message(&mut out, answer, tokens),
    }
    push_text(&mut out, r#","service_tier":null,"system_fingerprint":""#);
    push_text(&mut out, FINGERPRINT);
    push_text(&mut out, "\"");
    if let Some(usage) = report.usage {
        put_usage(&mut out, Some(usage));
        out.pop();
        if usage.cached.is_none() {
            push_text(&mut out, r#","prompt_tokens_details":null"#);
        }
        push_text(&mut out, r#","completion_tokens_details":null}"#);
    }
    if kind == CompletionApi::Chat {
        let ids = &tokens.prompt_token_ids;
        push_all(
            &mut out,
            &[r#","prompt_logprobs":null,"prompt_token_ids":"#, ids, r#","prompt_text":null"#],
        );
    }
    let times = report.times.map_or_else(|| "null".to_owned(), |times| times.json());
    push_all(&mut out, &[r#","kv_transfer_params":null,"ec_transfer_params":null,"metrics":"#, &times, "}"]);
    out
}

fn put_text(out: &mut Vec<u8>, answer: &FullResponse, tokens: &TokenFields) {
    push_text(out, r#"{"index":0,"text":""#);
    push_text(out, answer.said.text);
    push_all(out, &[r#"","logprobs":"#, &tokens.logprobs]);
    put_finish(out, answer.finish);
    push_all(out, &[r#","stop_reason":null,"token_ids":"#, &tokens.token_ids, r#","prompt_logprobs":null"#]);
    push_all(out, &[r#","prompt_token_ids":"#, &tokens.prompt_token_ids, r#","routed_experts":null}]"#]);
}

fn put_message(out: &mut Vec<u8>, answer: &FullResponse, tokens: &TokenFields) {
    push_text(out, r#"{"index":0,"message":{"role":"assistant","content":""#);
    push_text(out, answer.said.text);
    push_text(out, r#"","refusal":null,"annotations":null,"audio":null,"function_call":null,"reasoning":"#);
    let reasoning =
        if answer.reasoning.is_empty() { "null".to_owned() } else { format!("\"{}\"", answer.reasoning) };
    push_text(out, &reasoning);
    push_all(out, &[r#"},"logprobs":"#, &tokens.logprobs]);
    put_finish(out, answer.finish);
    push_all(out, &[r#","stop_reason":null,"token_ids":"#, &tokens.token_ids, r#","routed_experts":null}]"#]);
}

fn head(kind: CompletionApi, object: &str, who: &GenerationIdentity) -> String {
    let prefix = match kind {
        CompletionApi::Completions => "cmpl-",
        CompletionApi::Chat => "chatcmpl-",
    };
    let id = quoted(&format!("{prefix}{}", who.id));
    let model = quoted(who.model);
    format!(r#""id":{id},"object":"{object}","created":{},"model":{model},"choices":["#, who.created)
}

/// Formats the text as a JSON string.
pub(super) fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("any text can be written as JSON")
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn push_all(out: &mut Vec<u8>, texts: &[&str]) {
    texts.iter().for_each(|text| push_text(out, text));
}

fn put_finish(out: &mut Vec<u8>, finish: Option<SimFinishReason>) {
    match finish {
        None => push_text(out, r#","finish_reason":null"#),
        Some(finish) => {
            push_text(out, r#","finish_reason":""#);
            push_text(out, finish.name());
            push_text(out, "\"");
        }
    }
}

fn put_usage(out: &mut Vec<u8>, usage: Option<UsageCounts>) {
    let Some(UsageCounts { prompt, completion, cached }) = usage else { return };
    let total = prompt + completion;
    // Writing to a vector cannot fail.
    let _ = write!(
        out,
        r#","usage":{{"prompt_tokens":{prompt},"total_tokens":{total},"completion_tokens":{completion}"#
    );
    if let Some(cached) = cached {
        let _ = write!(out, r#","prompt_tokens_details":{{"cached_tokens":{cached}}}"#);
    }
    push_text(out, "}");
}
