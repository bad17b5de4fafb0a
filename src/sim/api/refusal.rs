//! Errors in vLLM's shape.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::json;

/// How a protocol words its refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// vLLM's, OpenAI's with a few words more.
    OpenAi,
    Sglang,
    Tgi,
    Triton,
    LlamaCpp,
    Ollama,
}

/// A request that is not served, with what the client is told.
#[derive(Debug)]
pub(super) struct Refusal {
    pub dialect: Dialect,
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
        Self {
            status: StatusCode::BAD_REQUEST,
            kind: "BadRequestError",
            message,
            param,
            dialect: Dialect::OpenAi,
        }
    }

    /// 400: the body does not have the shape of a request. `what` is the Python type that vLLM's validation names.
    pub(super) fn shape(what: &str, place: &str, message: &str, input: &str) -> Self {
        let message = format!(
            "1 validation error:\n  {{'type': '{what}', 'loc': '{place}', 'msg': '{message}', 'input': '{input}'}}"
        );
        let param = Some(place.to_owned());
        Self {
            status: StatusCode::BAD_REQUEST,
            kind: "Bad Request",
            message,
            param,
            dialect: Dialect::OpenAi,
        }
    }

    /// 400: anything but JSON.
    pub(super) fn media_type() -> Self {
        let message =
            "1 validation error:\n  Unsupported Media Type: Only 'application/json' is allowed".to_owned();
        Self {
            status: StatusCode::BAD_REQUEST,
            kind: "Bad Request",
            message,
            param: None,
            dialect: Dialect::OpenAi,
        }
    }

    /// 404: a model that is not served.
    pub(super) fn unknown_model(name: &str, served: &[&str]) -> Self {
        let message = format!("The model `{name}` does not exist. Valid aliases: {}.", served.join(", "));
        let param = Some("model".to_owned());
        Self {
            status: StatusCode::NOT_FOUND,
            kind: "NotFoundError",
            message,
            param,
            dialect: Dialect::OpenAi,
        }
    }

    /// 500: a fault that was asked for.
    pub(super) fn internal() -> Self {
        let message =
            "EngineCore encountered an issue. See stack trace (above) for the root cause.".to_owned();
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            kind: "InternalServerError",
            message,
            param: None,
            dialect: Dialect::OpenAi,
        }
    }

    /// 429: a fault that was asked for.
    pub(super) fn too_many() -> Self {
        let message = "Too many requests. Please try again later.".to_owned();
        Self {
            status: StatusCode::TOO_MANY_REQUESTS,
            kind: "TooManyRequestsError",
            message,
            param: None,
            dialect: Dialect::OpenAi,
        }
    }

    /// 400: a form that cannot be read.
    pub(super) fn form(cause: &str) -> Self {
        Self::bad("", format!("The body cannot be read as multipart/form-data: {cause}."))
    }

    /// The refusal as another protocol words it.
    pub(super) fn speaking(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        if dialect == Dialect::Tgi && self.status == StatusCode::BAD_REQUEST {
            self.status = StatusCode::UNPROCESSABLE_ENTITY;
        }
        self
    }

    /// The error object as JSON.
    pub(super) fn json(&self) -> String {
        let (code, message) = (self.status.as_u16(), &self.message);
        match self.dialect {
            Dialect::OpenAi => {
                let inner = Inner { message, kind: self.kind, param: self.param.as_deref(), code };
                serde_json::to_string(&Envelope { error: inner })
                    .expect("strings and numbers can be written as JSON")
            }
            Dialect::Sglang => json!({ "error": { "message": message } }).to_string(),
            Dialect::Tgi => json!({ "error": message, "error_type": self.tgi_type() }).to_string(),
            Dialect::Triton | Dialect::Ollama => json!({ "error": message }).to_string(),
            Dialect::LlamaCpp => {
                json!({ "error": { "code": code, "message": message, "type": self.llama_cpp_type() } })
                    .to_string()
            }
        }
    }

    fn tgi_type(&self) -> &'static str {
        match self.status {
            StatusCode::UNPROCESSABLE_ENTITY => "validation",
            StatusCode::TOO_MANY_REQUESTS => "overloaded",
            _ => "generation",
        }
    }

    fn llama_cpp_type(&self) -> &'static str {
        match self.status {
            StatusCode::BAD_REQUEST => "invalid_request_error",
            StatusCode::NOT_FOUND => "not_found_error",
            StatusCode::TOO_MANY_REQUESTS => "unavailable_error",
            _ => "server_error",
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, [(header::CONTENT_TYPE, "application/json")], self.json()).into_response()
    }
}
