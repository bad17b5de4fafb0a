//! Requests as they come in, and what reading them has in common in all protocols.

use std::time::Duration;

use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;

use super::{endpoint::Endpoint, refusal::Refusal};
use crate::sim::{
    spec::Spec,
    tokens::{Segment, Turn},
};

/// A request before it has been understood.
pub(super) struct Call<'a> {
    pub path: &'a str,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
}

impl Call<'_> {
    /// A header's value, if it is there and is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The id the client gave, or a new one.
    pub(super) fn id(&self) -> String {
        let given = self.header("x-request-id");
        given.map_or_else(|| uuid::Uuid::new_v4().simple().to_string()[..16].to_owned(), str::to_owned)
    }
}

/// A request for text that can be served, unless its prompt is too long.
#[derive(Debug)]
pub(super) struct Ask {
    /// How it was asked.
    pub endpoint: &'static Endpoint,
    /// The name the client used, which the answer repeats.
    pub model: String,
    pub prompt: Prompt,
    /// Output tokens asked for, if the request says.
    pub max_tokens: Option<usize>,
    pub min_tokens: usize,
    pub ignore_eos: bool,
    pub stream: bool,
    pub usage: UsageReports,
    /// Requests of different salts share nothing of the prefix cache.
    pub cache_salt: Option<String>,
    /// How much sound came with it.
    pub heard: Duration,
}

impl Ask {
    /// A request that says no more than this, and wants its answer whole and counted.
    pub(super) fn new(endpoint: &'static Endpoint, model: String, prompt: Prompt) -> Self {
        Self {
            endpoint,
            model,
            prompt,
            max_tokens: None,
            min_tokens: 0,
            ignore_eos: false,
            stream: false,
            usage: UsageReports::AtTheEnd,
            cache_salt: None,
            heard: Duration::ZERO,
        }
    }
}

/// What is to be continued.
#[derive(Debug)]
pub(super) enum Prompt {
    Text(String),
    Tokens(Vec<u32>),
    Conversation(Vec<Turn>),
    /// Text and what is not text, as it is.
    Segments(Vec<Segment>),
}

impl Prompt {
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::Tokens(tokens) => tokens.is_empty(),
            Self::Conversation(turns) => turns.is_empty(),
            Self::Segments(segments) => segments.is_empty(),
        }
    }
}

/// When a stream tells its token counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UsageReports {
    Never,
    AtTheEnd,
    WithEveryEvent,
}

/// Reads a JSON object, which has to be declared as one.
pub(super) fn read_object<T: DeserializeOwned>(call: &Call) -> Result<T, Refusal> {
    let media_type = call.header(header::CONTENT_TYPE.as_str()).unwrap_or("");
    let media_type = media_type.split(';').next().unwrap_or("").trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        return Err(Refusal::media_type());
    }
    read_undeclared(call)
}

/// Reads a JSON object of whatever media type.
pub(super) fn read_undeclared<T: DeserializeOwned>(call: &Call) -> Result<T, Refusal> {
    let body = call.body;
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

/// The value of a field without which there is nothing to do.
pub(super) fn required<T>(value: Option<T>, field: &str) -> Result<T, Refusal> {
    value.ok_or_else(|| Refusal::shape("missing", &format!("body.{field}"), "Field required", "<dict>"))
}

pub(super) fn check_temperature(temperature: Option<f64>) -> Result<(), Refusal> {
    match temperature {
        Some(t) if t < 0.0 => {
            let (message, t) = (format!("temperature must be non-negative, got {t:?}."), format!("{t:?}"));
            Err(Refusal::value("temperature", t, &message))
        }
        _ => Ok(()),
    }
}

/// The limit of output tokens that the request's `field` asks for.
pub(super) fn output_limit(field: &str, asked: Option<i64>, spec: &Spec) -> Result<Option<usize>, Refusal> {
    let Some(asked) = asked else { return Ok(None) };
    let limit = spec.max_model_len;
    match usize::try_from(asked) {
        Ok(tokens) if tokens > limit => {
            let message = format!(
                "{field}={asked} cannot be greater than max_model_len={limit}. Please request fewer output tokens."
            );
            Err(Refusal::value(field, asked, &message))
        }
        Ok(tokens) if tokens > 0 => Ok(Some(tokens)),
        _ => Err(Refusal::value(field, asked, &format!("{field} must be at least 1, got {asked}."))),
    }
}
