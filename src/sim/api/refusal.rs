//! Errors in vLLM's shape.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

/// A request that is not served, with what the client is told.
#[derive(Debug)]
pub(super) struct Refusal {
    pub status: StatusCode,
    pub kind: &'static str,
    pub message: String,
    pub param: Option<String>,
}

#[derive(Serialize)]
struct Envelope<'a> {
    error: Inner<'a>,
}

#[derive(Serialize)]
struct Inner<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    param: Option<&'a str>,
    code: u16,
}

impl Refusal {
    /// 400: a value that cannot be served; the message gets vLLM's note of the parameter and its value.
    pub(super) fn value(param: &str, value: impl std::fmt::Display, message: &str) -> Self {
        Self::bad(param, format!("{message} (parameter={param}, value={value})"))
    }

    /// 400: something else is wrong with this parameter.
    pub(super) fn bad(param: &str, message: String) -> Self {
        let param = (!param.is_empty()).then(|| param.to_owned());
        Self { status: StatusCode::BAD_REQUEST, kind: "BadRequestError", message, param }
    }

    /// 400: the body does not have the shape of a request. `what` is the Python type that vLLM's validation names.
    pub(super) fn shape(what: &str, place: &str, message: &str, input: &str) -> Self {
        let message = format!(
            "1 validation error:\n  {{'type': '{what}', 'loc': '{place}', 'msg': '{message}', 'input': '{input}'}}"
        );
        let param = Some(place.to_owned());
        Self { status: StatusCode::BAD_REQUEST, kind: "Bad Request", message, param }
    }

    /// 400: anything but JSON.
    pub(super) fn media_type() -> Self {
        let message =
            "1 validation error:\n  Unsupported Media Type: Only 'application/json' is allowed".to_owned();
        Self { status: StatusCode::BAD_REQUEST, kind: "Bad Request", message, param: None }
    }

    /// 404: a model that is not served.
    pub(super) fn unknown_model(name: &str, served: &[&str]) -> Self {
        let message = format!("The model `{name}` does not exist. Valid aliases: {}.", served.join(", "));
        let param = Some("model".to_owned());
        Self { status: StatusCode::NOT_FOUND, kind: "NotFoundError", message, param }
    }

    /// 500: a fault that was asked for.
    pub(super) fn internal() -> Self {
        let message =
            "EngineCore encountered an issue. See stack trace (above) for the root cause.".to_owned();
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, kind: "InternalServerError", message, param: None }
    }

    /// 429: a fault that was asked for.
    pub(super) fn too_many() -> Self {
        let message = "Too many requests. Please try again later.".to_owned();
        Self { status: StatusCode::TOO_MANY_REQUESTS, kind: "TooManyRequestsError", message, param: None }
    }

    /// The error object as JSON.
    pub(super) fn json(&self) -> String {
        let code = self.status.as_u16();
        let inner = Inner { message: &self.message, kind: self.kind, param: self.param.as_deref(), code };
        serde_json::to_string(&Envelope { error: inner }).expect("strings and numbers can be written as JSON")
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, [(header::CONTENT_TYPE, "application/json")], self.json()).into_response()
    }
}
