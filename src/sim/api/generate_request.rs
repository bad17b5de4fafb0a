//! Endpoints that generate text, their requests, and the parts of request parsing that all protocols share.

use std::time::Duration;

use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;

use crate::sim::api::{
    api_error::{ApiError, ErrorFormat},
    response_writer::{GenerationIdentity, ResponseWriter},
    token_details::TokenDetails,
};
use crate::sim::{
    spec::SimSpec,
    tokens::{ChatTurn, PromptSegment},
};

/// A request before it is parsed.
pub(super) struct RawRequest<'a> {
    pub path: &'a str,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
}

impl RawRequest<'_> {
    /// Returns a header's value, if it is present and is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Returns the client's request id, or a new one.
    pub(super) fn id(&self) -> String {
        let given = self.header("x-request-id");
        given.map_or_else(|| uuid::Uuid::new_v4().simple().to_string()[..16].to_owned(), str::to_owned)
    }
}

/// An endpoint that generates text. All endpoints share one path through engine and stream; they differ in parsing
/// and formatting.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// The endpoint's paths, all for POST.
    pub paths: &'static [&'static str],
    /// The format of errors.
    pub dialect: ErrorFormat,
    pub read: fn(&RawRequest, &SimSpec) -> Result<GenerateRequest, ApiError>,
    /// Creates the writer of an answer.
    pub shape: fn(&GenerationIdentity, &GenerateRequest, &SimSpec) -> Box<dyn ResponseWriter>,
    /// Output tokens of a request without a limit of its own; `None`: as many as the context holds.
    pub otherwise: Option<usize>,
    /// Whether the first tokens may go out as reasoning.
    pub reasons: bool,
}

/// A valid request for text, except that its prompt may be too long.
#[derive(Debug)]
pub(super) struct GenerateRequest {
    /// The endpoint that received the request.
    pub endpoint: &'static Endpoint,
    /// The model name that the client used, which the answer repeats.
    pub model: String,
    pub prompt: PromptInput,
    /// The limit of output tokens, if the request has one.
    pub max_tokens: Option<usize>,
    pub min_tokens: usize,
    pub ignore_eos: bool,
    pub stream: bool,
    pub usage: UsageReporting,
    /// Requests with different salts share nothing in the prefix cache.
    pub cache_salt: Option<String>,
    /// The duration of the audio in the request.
    pub heard: Duration,
    /// What the request wants to know of each token.
    pub details: TokenDetails,
}

impl GenerateRequest {
    /// Creates a request with defaults for everything else: a complete answer with usage.
    pub(super) fn new(endpoint: &'static Endpoint, model: String, prompt: PromptInput) -> Self {
        Self {
            endpoint,
            model,
            prompt,
            max_tokens: None,
            min_tokens: 0,
            ignore_eos: false,
            stream: false,
            usage: UsageReporting::AtTheEnd,
            cache_salt: None,
            heard: Duration::ZERO,
            details: TokenDetails::default(),
        }
    }
}

#[derive(Debug)]
pub(super) enum PromptInput {
    Text(String),
    Tokens(Vec<u32>),
    Conversation(Vec<ChatTurn>),
    /// A mix of text and media, used without a template.
    Segments(Vec<PromptSegment>),
}

impl PromptInput {
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::Tokens(tokens) => tokens.is_empty(),
            Self::Conversation(turns) => turns.is_empty(),
            Self::Segments(segments) => segments.is_empty(),
        }
    }
}

/// When a stream reports its token counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UsageReporting {
    Never,
    AtTheEnd,
    WithEveryEvent,
}

/// Parses a JSON object, which must have the JSON media type.
pub(super) fn read_object<T: DeserializeOwned>(call: &RawRequest) -> Result<T, ApiError> {
    let media_type = call.header(header::CONTENT_TYPE.as_str()).unwrap_or("");
    let media_type = media_type.split(';').next().unwrap_or("").trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        return Err(ApiError::unsupported_media_type());
    }
    read_undeclared(call)
}

/// Parses a JSON object of any media type.
pub(super) fn read_undeclared<T: DeserializeOwned>(call: &RawRequest) -> Result<T, ApiError> {
    let body = call.body;
    if body.is_empty() {
        return Err(ApiError::invalid_shape("missing", "body", "Field required", "None"));
    }
    let is_object = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    serde_json::from_slice(body).map_err(|error| {
        let place = format!("body.{}", error.column());
        let detail = error.to_string().replace('\'', "`");
        match error.classify() {
            serde_json::error::Category::Data if is_object => {
                ApiError::invalid_shape("value_error", "body", &detail, "<dict>")
            }
            serde_json::error::Category::Data => {
                let message = "Input should be a valid dictionary or object to extract fields from";
                ApiError::invalid_shape("model_attributes_type", "body", message, "<not an object>")
            }
            _ => ApiError::invalid_shape(
                "json_invalid",
                &place,
                &format!("JSON decode error: {detail}"),
                "<dict of 0 items>",
            ),
        }
    })
}

/// Checks that the model is served. A request without a name gets the first model.
pub(super) fn served_model(model: Option<String>, spec: &SimSpec) -> Result<String, ApiError> {
    let name = model.unwrap_or_else(|| spec.primary_name().to_owned());
    if spec.serves(&name) { Ok(name) } else { Err(ApiError::unknown_model(&name, &spec.names())) }
}

/// Returns the value of a required field.
pub(super) fn required<T>(value: Option<T>, field: &str) -> Result<T, ApiError> {
    value.ok_or_else(|| {
        ApiError::invalid_shape("missing", &format!("body.{field}"), "Field required", "<dict>")
    })
}

pub(super) fn check_temperature(temperature: Option<f64>) -> Result<(), ApiError> {
    match temperature {
        Some(t) if t < 0.0 => {
            let (message, t) = (format!("temperature must be non-negative, got {t:?}."), format!("{t:?}"));
            Err(ApiError::invalid_value("temperature", t, &message))
        }
        _ => Ok(()),
    }
}

/// Returns the limit of output tokens that the request's `field` asks for.
pub(super) fn output_limit(
    field: &str,
    asked: Option<i64>,
    spec: &SimSpec,
) -> Result<Option<usize>, ApiError> {
    let Some(asked) = asked else { return Ok(None) };
    let limit = spec.max_model_len;
    match usize::try_from(asked) {
        Ok(tokens) if tokens > limit => {
            let message = format!(
                "{field}={asked} cannot be greater than max_model_len={limit}. Please request fewer output tokens."
            );
            Err(ApiError::invalid_value(field, asked, &message))
        }
        Ok(tokens) if tokens > 0 => Ok(Some(tokens)),
        _ => Err(ApiError::invalid_value(field, asked, &format!("{field} must be at least 1, got {asked}."))),
    }
}
