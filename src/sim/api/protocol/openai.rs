//! `/v1/completions` and `/v1/chat/completions` as vLLM serves them.

use std::{borrow::Cow, mem};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::{
    chunks::{
        AnswerReport, ChunkOutput, ChunkWriter, CompletionApi, EngineTimes, OutputField, UsageCounts,
        full_body,
    },
    message::{ChatMessage, chat_turns},
};
use crate::sim::api::{
    api_error::{ApiError, ErrorFormat},
    generate_request::{
        Endpoint, GenerateRequest, PromptInput, RawRequest, UsageReporting, check_temperature, output_limit,
        read_object, served_model,
    },
    response_writer::{FullResponse, GenerationIdentity, GenerationProgress, OutputChunk, ResponseWriter},
    token_details::{MAX_LOGPROBS, TokenDetails},
};
use crate::sim::output_plan::SimFinishReason;
use crate::sim::spec::SimSpec;

/// Output tokens of a completion without a limit, as in OpenAI's API.
pub(in crate::sim::api) const DEFAULT_COMPLETION: usize = 16;

pub(in crate::sim::api) static COMPLETIONS: Endpoint = Endpoint {
    paths: &["/v1/completions"],
    dialect: ErrorFormat::OpenAi,
    read: |call, spec| read(CompletionApi::Completions, call, spec),
    shape: |who, ask, spec| Box::new(OpenAiWriter::new(CompletionApi::Completions, who, ask, spec)),
    otherwise: Some(DEFAULT_COMPLETION),
    reasons: false,
};

pub(in crate::sim::api) static CHAT: Endpoint = Endpoint {
    paths: &["/v1/chat/completions"],
    dialect: ErrorFormat::OpenAi,
    read: |call, spec| read(CompletionApi::Chat, call, spec),
    shape: |who, ask, spec| Box::new(OpenAiWriter::new(CompletionApi::Chat, who, ask, spec)),
    otherwise: None,
    reasons: true,
};

/// The fields that matter here. Other fields are ignored, since the output is synthetic.
#[derive(Deserialize)]
struct OpenAiBody {
    model: Option<String>,
    prompt: Option<OpenAiPrompt>,
    messages: Option<Vec<ChatMessage>>,
    tools: Option<Vec<Box<RawValue>>>,
    max_tokens: Option<i64>,
    max_completion_tokens: Option<i64>,
    min_tokens: Option<i64>,
    n: Option<i64>,
    temperature: Option<f64>,
    ignore_eos: Option<bool>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    cache_salt: Option<String>,
    return_token_ids: Option<bool>,
    logprobs: Option<Logprobs>,
    top_logprobs: Option<i64>,
}

/// A number of alternatives for completions, a switch for chats.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Logprobs {
    Switch(bool),
    Alternatives(i64),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OpenAiPrompt {
    Text(String),
    Tokens(Vec<u32>),
    Texts(Vec<String>),
    TokenLists(Vec<Vec<u32>>),
}

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
    continuous_usage_stats: Option<bool>,
}

/// Checks a request in vLLM's order, with vLLM's error messages.
pub(in crate::sim::api) fn read(
    kind: CompletionApi,
    call: &RawRequest,
    spec: &SimSpec,
) -> Result<GenerateRequest, ApiError> {
    let body: OpenAiBody = read_object(call)?;
    let stream = body.stream.unwrap_or(false);
    let usage = body.usage_reports(stream)?;
    check_temperature(body.temperature)?;
    body.check_number()?;
    let max_tokens = output_limit("max_tokens", body.max_completion_tokens.or(body.max_tokens), spec)?;
    let details = body.token_details(kind)?;
    let model = served_model(body.model, spec)?;
    let (endpoint, prompt) = match kind {
        CompletionApi::Completions => (&COMPLETIONS, completion_prompt(body.prompt)?),
        CompletionApi::Chat => (&CHAT, conversation(body.messages, body.tools)?),
    };
    Ok(GenerateRequest {
        max_tokens,
        min_tokens: usize::try_from(body.min_tokens.unwrap_or(0)).unwrap_or(0),
        ignore_eos: body.ignore_eos.unwrap_or(false),
        stream,
        usage,
        cache_salt: body.cache_salt,
        details,
        ..GenerateRequest::new(endpoint, model, prompt)
    })
}

impl OpenAiBody {
    fn usage_reports(&self, stream: bool) -> Result<UsageReporting, ApiError> {
        let Some(options) = &self.stream_options else { return Ok(UsageReporting::Never) };
        if !stream {
            let message = "Stream options can only be defined when `stream=True`. (parameter=stream_options)";
            return Err(ApiError::bad_parameter("stream_options", message.to_owned()));
        }
        let asked = options.include_usage.unwrap_or(false);
        let continuous = options.continuous_usage_stats.unwrap_or(false);
        Ok(match (asked, continuous) {
            (false, _) => UsageReporting::Never,
            (true, false) => UsageReporting::AtTheEnd,
            (true, true) => UsageReporting::WithEveryEvent,
        })
    }

    /// What is asked of each token, within vLLM's limits.
    fn token_details(&self, kind: CompletionApi) -> Result<TokenDetails, ApiError> {
        let (field, asked) = match (kind, self.logprobs, self.top_logprobs) {
            (_, None | Some(Logprobs::Switch(false)), None | Some(0)) => ("logprobs", None),
            (CompletionApi::Chat, None | Some(Logprobs::Switch(false)), Some(_)) => {
                let message =
                    "when using `top_logprobs`, `logprobs` must be set to true. (parameter=top_logprobs)";
                return Err(ApiError::bad_parameter("top_logprobs", message.to_owned()));
            }
            (CompletionApi::Chat, Some(_), top) => ("top_logprobs", Some(top.unwrap_or(0))),
            (CompletionApi::Completions, Some(Logprobs::Alternatives(count)), _) => ("logprobs", Some(count)),
            (CompletionApi::Completions, on, _) => ("logprobs", on.map(|_| 1)),
        };
        let logprobs = asked.map(|count| match usize::try_from(count) {
            Ok(count) if count <= MAX_LOGPROBS => Ok(count),
            _ => {
                let message = format!("{field} must be between 0 and {MAX_LOGPROBS}, got {count}.");
                Err(ApiError::invalid_value(field, count, &message))
            }
        });
        let prompt_ids = self.return_token_ids.unwrap_or(false).then(Vec::new);
        Ok(TokenDetails { prompt_ids, logprobs: logprobs.transpose()? })
    }

    fn check_number(&self) -> Result<(), ApiError> {
        match self.n {
            None | Some(1) => Ok(()),
            Some(n) => Err(ApiError::invalid_value(
                "n",
                n,
                &format!("the simulator gives one answer, n must be 1, got {n}."),
            )),
        }
    }
}

fn completion_prompt(field: Option<OpenAiPrompt>) -> Result<PromptInput, ApiError> {
    let one_only = |count: usize| {
        ApiError::bad_parameter(
            "prompt",
            format!("the simulator takes one prompt per request, got {count}. (parameter=prompt)"),
        )
    };
    let prompt = match field {
        None => PromptInput::Text(String::new()),
        Some(OpenAiPrompt::Text(text)) => PromptInput::Text(text),
        Some(OpenAiPrompt::Tokens(tokens)) => PromptInput::Tokens(tokens),
        Some(OpenAiPrompt::Texts(texts)) => {
            let [text] = <[String; 1]>::try_from(texts).map_err(|texts| one_only(texts.len()))?;
            PromptInput::Text(text)
        }
        Some(OpenAiPrompt::TokenLists(lists)) => {
            let [tokens] = <[Vec<u32>; 1]>::try_from(lists).map_err(|lists| one_only(lists.len()))?;
            PromptInput::Tokens(tokens)
        }
    };
    if prompt.is_empty() { Err(missing_prompt()) } else { Ok(prompt) }
}

/// vLLM's message for a completion without a prompt.
pub(in crate::sim::api) fn missing_prompt() -> ApiError {
    let message = "Either prompt or prompt_embeds must be provided and non-empty. (parameter=prompt)";
    ApiError::bad_parameter("prompt", message.to_owned())
}

/// Returns the conversation. Tools become a separate turn, as a chat template would write them.
fn conversation(
    messages: Option<Vec<ChatMessage>>,
    tools: Option<Vec<Box<RawValue>>>,
) -> Result<PromptInput, ApiError> {
    match messages {
        None => Err(ApiError::invalid_shape("missing", "body.messages", "Field required", "<dict>")),
        Some(messages) if messages.is_empty() => {
            let message =
                "Cannot apply chat template to an empty conversation. Provide at least one message.";
            Err(ApiError::bad_parameter("", message.to_owned()))
        }
        Some(messages) => {
            let tools = tools.unwrap_or_default();
            let tools = tools.iter().map(|tool| ChatMessage::from_text("tools", tool.get().to_owned()));
            Ok(PromptInput::Conversation(chat_turns(tools.chain(messages))?))
        }
    }
}

/// Writes an answer of either API.
struct OpenAiWriter {
    kind: CompletionApi,
    chunks: ChunkWriter,
    reports: UsageReporting,
    /// Whether usage reports the prompt's cached tokens.
    details: bool,
    /// Whether an answer reports the engine's times.
    reports_times: bool,
    /// Whether an answer in one piece reports usage.
    tells: bool,
    reasoning_field: &'static str,
    tokens: TokenDetails,
    /// The prompt's ids, until a stream's first part has them.
    prompt_json: Cow<'static, str>,
    /// The number of characters that were written.
    offset: usize,
    id: String,
    created: u64,
    model: String,
}

impl OpenAiWriter {
    fn new(kind: CompletionApi, who: &GenerationIdentity, ask: &GenerateRequest, spec: &SimSpec) -> Self {
        let output = &spec.output;
        Self {
            kind,
            chunks: ChunkWriter::new(kind, who, output.line_ending),
            reports: if output.usage { ask.usage } else { UsageReporting::Never },
            details: output.prompt_tokens_details,
            reports_times: output.per_request_metrics,
            tells: output.usage,
            reasoning_field: output.reasoning_field.name(),
            prompt_json: ask.details.prompt_json(),
            tokens: ask.details.clone(),
            offset: 0,
            id: who.id.to_owned(),
            created: who.created,
            model: who.model.to_owned(),
        }
    }

    fn count(&self, so_far: &GenerationProgress) -> UsageCounts {
        let cached = self.details.then_some(so_far.cached);
        UsageCounts { prompt: so_far.prompt, completion: so_far.output, cached }
    }

    /// The engine's times, if the complete answer reports them.
    fn engine_times(&self, whole: &GenerationProgress) -> Option<EngineTimes> {
        self.reports_times.then(|| EngineTimes::new(whole))
    }

    /// The usage of an event before the last, which has no details.
    fn running(&self, so_far: &GenerationProgress) -> Option<UsageCounts> {
        (self.reports == UsageReporting::WithEveryEvent)
            .then(|| UsageCounts { cached: None, ..self.count(so_far) })
    }

    fn put(
        &mut self,
        out: &mut Vec<u8>,
        fragment: &OutputChunk,
        finish: Option<SimFinishReason>,
        so_far: &GenerationProgress,
    ) {
        let field = if fragment.is_reasoning {
            OutputField::Reasoning(self.reasoning_field)
        } else {
            OutputField::Text
        };
        let signed = finish.is_some() && self.reports == UsageReporting::Never;
        let mut tokens = self.tokens.fields(self.kind, fragment, self.offset);
        if self.kind == CompletionApi::Completions {
            tokens.prompt_token_ids = mem::replace(&mut self.prompt_json, Cow::Borrowed("null"));
        }
        self.offset += fragment.text.chars().count();
        let (text, usage) = (fragment.text, self.running(so_far));
        let piece = ChunkOutput { field, text, finish, usage, signed, tokens: &tokens };
        self.chunks.write_output(out, &piece);
    }
}

impl ResponseWriter for OpenAiWriter {
    fn open(&mut self, out: &mut Vec<u8>, so_far: &GenerationProgress) {
        if self.kind == CompletionApi::Chat {
            let nothing_yet = GenerationProgress { output: 0, ..*so_far };
            self.chunks.write_role(out, self.running(&nothing_yet), &self.prompt_json);
        }
    }

    fn write_output(&mut self, out: &mut Vec<u8>, fragment: &OutputChunk, so_far: &GenerationProgress) {
        self.put(out, fragment, None, so_far);
    }

    fn close(
        &mut self,
        out: &mut Vec<u8>,
        last: &OutputChunk,
        finish: SimFinishReason,
        so_far: &GenerationProgress,
    ) {
        self.put(out, last, Some(finish), so_far);
        if self.reports != UsageReporting::Never {
            self.chunks.usage(out, self.count(so_far), self.engine_times(so_far));
        }
        self.chunks.done(out);
    }

    fn error(&mut self, out: &mut Vec<u8>, refusal: &ApiError) {
        self.chunks.error(out, refusal);
        self.chunks.done(out);
    }

    fn malformed(&mut self, out: &mut Vec<u8>) {
        self.chunks.malformed(out);
    }

    fn full_body(&mut self, answer: &FullResponse, so_far: &GenerationProgress) -> Vec<u8> {
        let who = GenerationIdentity { id: &self.id, created: self.created, model: &self.model };
        let mut tokens = self.tokens.fields(self.kind, &answer.said, 0);
        tokens.prompt_token_ids = mem::replace(&mut self.prompt_json, Cow::Borrowed("null"));
        let usage = self.tells.then(|| self.count(so_far));
        let report = AnswerReport { usage, times: self.engine_times(so_far) };
        full_body(self.kind, &who, answer, &report, &tokens)
    }
}
