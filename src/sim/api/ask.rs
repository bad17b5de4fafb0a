//! Requests as they come in: read, and checked in vLLM's order with vLLM's words.

use axum::http::{HeaderMap, header};
use serde::{Deserialize, de::DeserializeOwned};

use super::refusal::Refusal;
use crate::sim::spec::Spec;

/// The two ways to ask for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Completions,
    Chat,
}

/// A request for an answer that can be served, unless its prompt is too long.
#[derive(Debug)]
pub(super) struct Ask {
    /// The name the client used, which the answer repeats.
    pub model: String,
    pub prompt: Prompt,
    /// Output tokens asked for, if the request says.
    pub max_tokens: Option<usize>,
    pub min_tokens: usize,
    pub ignore_eos: bool,
    pub stream: bool,
    pub usage: UsageReports,
}

/// What is to be continued.
#[derive(Debug)]
pub(super) enum Prompt {
    Text(String),
    Tokens(Vec<u32>),
    Conversation(Vec<Message>),
}

/// When a stream tells its token counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UsageReports {
    Never,
    AtTheEnd,
    WithEveryEvent,
}

/// One turn of a conversation.
#[derive(Debug, Deserialize)]
pub(super) struct Message {
    #[serde(default)]
    role: String,
    content: Option<Content>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
struct Part {
    text: Option<String>,
}

impl Message {
    /// Who speaks, and what.
    pub(super) fn turn(&self) -> (&str, String) {
        let text = match &self.content {
            None => String::new(),
            Some(Content::Text(text)) => text.clone(),
            Some(Content::Parts(parts)) => parts.iter().filter_map(|part| part.text.as_deref()).collect(),
        };
        (&self.role, text)
    }
}

/// The fields that matter here; others are accepted and ignored, as the text is made up anyway.
#[derive(Deserialize)]
struct Body {
    model: Option<String>,
    prompt: Option<PromptField>,
    messages: Option<Vec<Message>>,
    max_tokens: Option<i64>,
    max_completion_tokens: Option<i64>,
    min_tokens: Option<i64>,
    n: Option<i64>,
    temperature: Option<f64>,
    ignore_eos: Option<bool>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum PromptField {
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

/// Reads a JSON object.
pub(super) fn read_object<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, Refusal> {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let media_type = media_type.split(';').next().unwrap_or("").trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        return Err(Refusal::media_type());
    }
    if body.is_empty() {
        return Err(Refusal::shape("missing", "body", "Field required", "None"));
    }
    let is_object = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    serde_json::from_slice(body).map_err(|error| {
        let place = format!("body.{}", error.column());
        let detail = error.to_string().replace('\'', "`");
        match error.classify() {
            serde_json::error::Category::Data if is_object => {
                Refusal::shape("value_error", "body", &detail, "<dict>")
            }
            serde_json::error::Category::Data => {
                let message = "Input should be a valid dictionary or object to extract fields from";
                Refusal::shape("model_attributes_type", "body", message, "<not an object>")
            }
            _ => Refusal::shape(
                "json_invalid",
                &place,
                &format!("JSON decode error: {detail}"),
                "<dict of 0 items>",
            ),
        }
    })
}

/// Checks that the model is served; a request without a name gets the first.
pub(super) fn served_model(model: Option<String>, spec: &Spec) -> Result<String, Refusal> {
    let name = model.unwrap_or_else(|| spec.chief_name().to_owned());
    if spec.serves(&name) { Ok(name) } else { Err(Refusal::unknown_model(&name, &spec.names())) }
}

impl Ask {
    /// Reads a request; the refusal says what is wrong with it.
    pub(super) fn read(
        endpoint: Endpoint,
        headers: &HeaderMap,
        body: &[u8],
        spec: &Spec,
    ) -> Result<Self, Refusal> {
        let body: Body = read_object(headers, body)?;
        let stream = body.stream.unwrap_or(false);
        let usage = body.usage_reports(stream)?;
        body.check_sampling()?;
        let max_tokens = body.output_limit(spec)?;
        let model = served_model(body.model, spec)?;
        let prompt = match endpoint {
            Endpoint::Completions => completion_prompt(body.prompt)?,
            Endpoint::Chat => conversation(body.messages)?,
        };
        Ok(Self {
            model,
            prompt,
            max_tokens,
            min_tokens: usize::try_from(body.min_tokens.unwrap_or(0)).unwrap_or(0),
            ignore_eos: body.ignore_eos.unwrap_or(false),
            stream,
            usage,
        })
    }
}

impl Body {
    fn usage_reports(&self, stream: bool) -> Result<UsageReports, Refusal> {
        let Some(options) = &self.stream_options else { return Ok(UsageReports::Never) };
        if !stream {
            let message = "Stream options can only be defined when `stream=True`. (parameter=stream_options)";
            return Err(Refusal::bad("stream_options", message.to_owned()));
        }
        let asked = options.include_usage.unwrap_or(false);
        let continuous = options.continuous_usage_stats.unwrap_or(false);
        Ok(match (asked, continuous) {
            (false, _) => UsageReports::Never,
            (true, false) => UsageReports::AtTheEnd,
            (true, true) => UsageReports::WithEveryEvent,
        })
    }

    fn check_sampling(&self) -> Result<(), Refusal> {
        if let Some(t) = self.temperature.filter(|t| *t < 0.0) {
            let (message, t) = (format!("temperature must be non-negative, got {t:?}."), format!("{t:?}"));
            return Err(Refusal::value("temperature", t, &message));
        }
        match self.n {
            None | Some(1) => Ok(()),
            Some(n) => {
                Err(Refusal::value("n", n, &format!("the simulator gives one answer, n must be 1, got {n}.")))
            }
        }
    }

    fn output_limit(&self, spec: &Spec) -> Result<Option<usize>, Refusal> {
        let Some(asked) = self.max_completion_tokens.or(self.max_tokens) else { return Ok(None) };
        let limit = spec.max_model_len;
        match usize::try_from(asked) {
            Ok(tokens) if tokens > limit => {
                let message = format!(
                    "max_tokens={asked} cannot be greater than max_model_len={limit}. Please request fewer output tokens."
                );
                Err(Refusal::value("max_tokens", asked, &message))
            }
            Ok(tokens) if tokens > 0 => Ok(Some(tokens)),
            _ => Err(Refusal::value(
                "max_tokens",
                asked,
                &format!("max_tokens must be at least 1, got {asked}."),
            )),
        }
    }
}

fn completion_prompt(field: Option<PromptField>) -> Result<Prompt, Refusal> {
    let one_only = |count: usize| {
        Refusal::bad(
            "prompt",
            format!("the simulator takes one prompt per request, got {count}. (parameter=prompt)"),
        )
    };
    let prompt = match field {
        None => Prompt::Text(String::new()),
        Some(PromptField::Text(text)) => Prompt::Text(text),
        Some(PromptField::Tokens(tokens)) => Prompt::Tokens(tokens),
        Some(PromptField::Texts(texts)) => {
            let [text] = <[String; 1]>::try_from(texts).map_err(|texts| one_only(texts.len()))?;
            Prompt::Text(text)
        }
        Some(PromptField::TokenLists(lists)) => {
            let [tokens] = <[Vec<u32>; 1]>::try_from(lists).map_err(|lists| one_only(lists.len()))?;
            Prompt::Tokens(tokens)
        }
    };
    match &prompt {
        Prompt::Text(text) if text.is_empty() => Err(no_prompt()),
        Prompt::Tokens(tokens) if tokens.is_empty() => Err(no_prompt()),
        _ => Ok(prompt),
    }
}

/// vLLM's words for a completion without anything to complete.
pub(super) fn no_prompt() -> Refusal {
    let message = "Either prompt or prompt_embeds must be provided and non-empty. (parameter=prompt)";
    Refusal::bad("prompt", message.to_owned())
}

fn conversation(messages: Option<Vec<Message>>) -> Result<Prompt, Refusal> {
    match messages {
        None => Err(Refusal::shape("missing", "body.messages", "Field required", "<dict>")),
        Some(messages) if messages.is_empty() => {
            let message =
                "Cannot apply chat template to an empty conversation. Provide at least one message.";
            Err(Refusal::bad("", message.to_owned()))
        }
        Some(messages) => Ok(Prompt::Conversation(messages)),
    }
}
