//! Errors in vLLM's format.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::json;

/// The format of a protocol's errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorFormat {
    /// vLLM's format: OpenAI's with additional fields.
    OpenAi,
    Sglang,
    Tgi,
    Triton,
    LlamaCpp,
    Ollama,
}

/// A rejected request, with the message for the client.
#[derive(Debug)]
pub(super) struct ApiError {
    pub dialect: ErrorFormat,
    pub status: StatusCode,
    pub kind: &'static str,
    pub message: String,
    pub param: Option<String>,
}

#[derive(Serialize)]
struct ErrorEnvelope<'a> {
    error: ErrorObject<'a>,
}

#[derive(Serialize)]
struct ErrorObject<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    param: Option<&'a str>,
    code: u16,
}

impl ApiError {
    /// 400: an invalid value. The message gets vLLM's note of the parameter and its value.
    pub(super) fn invalid_value(param: &str, value: impl std::fmt::Display, message: &str) -> Self {
        Self::bad_parameter(param, format!("{message} (parameter={param}, value={value})"))
    }

    /// 400: another problem with this parameter.
    pub(super) fn bad_parameter(param: &str, message: String) -> Self {
        let param = (!param.is_empty()).then(|| param.to_owned());
        Self {
            status: StatusCode::BAD_REQUEST,
            kind: "BadRequestError",
            message,
            param,
            dialect: ErrorFormat::OpenAi,
        }
    }

    /// 400: the body is not a valid request. `what` is the Python type that vLLM's validation names.
    pub(super) fn invalid_shape(what: &str, place: &str, message: &str, input: &str) -> Self {
        let message = format!(
            "1 validation error:\n  {{'type': '{what}', 'loc': '{place}', 'msg': '{message}', 'input': '{input}'}}"
        );
        let param = Some(place.to_owned());
        Self {
            status: StatusCode::BAD_REQUEST,
            kind: "Bad Request",
            message,
            param,
            dialect: ErrorFormat::OpenAi,
        }
    }

    pub(super) fn unsupported_media_type() -> Self {
        let message =
            "1 validation error:\n  Unsupported Media Type: Only 'application/json' is allowed".to_owned();
        Self {
            status: StatusCode::BAD_REQUEST,
            kind: "Bad Request",
            message,
            param: None,
            dialect: ErrorFormat::OpenAi,
        }
    }

    pub(super) fn unknown_model(name: &str, served: &[&str]) -> Self {
        let message = format!("The model `{name}` does not exist. Valid aliases: {}.", served.join(", "));
        let param = Some("model".to_owned());
        Self {
            status: StatusCode::NOT_FOUND,
            kind: "NotFoundError",
            message,
            param,
            dialect: ErrorFormat::OpenAi,
        }
    }

    /// 500: an injected fault.
    pub(super) fn internal() -> Self {
        let message =
            "EngineCore encountered an issue. See stack trace (above) for the root cause.".to_owned();
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            kind: "InternalServerError",
            message,
            param: None,
            dialect: ErrorFormat::OpenAi,
        }
    }

    /// 429: an injected fault.
    pub(super) fn too_many_requests() -> Self {
        let message = "Too many requests. Please try again later.".to_owned();
        Self {
            status: StatusCode::TOO_MANY_REQUESTS,
            kind: "TooManyRequestsError",
            message,
            param: None,
            dialect: ErrorFormat::OpenAi,
        }
    }

    pub(super) fn invalid_form(cause: &str) -> Self {
        Self::bad_parameter("", format!("The body cannot be read as multipart/form-data: {cause}."))
    }

    /// Changes the format of the error.
    pub(super) fn in_format(mut self, dialect: ErrorFormat) -> Self {
        self.dialect = dialect;
        if dialect == ErrorFormat::Tgi && self.status == StatusCode::BAD_REQUEST {
            self.status = StatusCode::UNPROCESSABLE_ENTITY;
        }
        self
    }

    pub(super) fn json(&self) -> String {
        let (code, message) = (self.status.as_u16(), &self.message);
        match self.dialect {
            ErrorFormat::OpenAi => {
                let inner = ErrorObject { message, kind: self.kind, param: self.param.as_deref(), code };
                serde_json::to_string(&ErrorEnvelope { error: inner })
                    .expect("strings and numbers can be written as JSON")
            }
            ErrorFormat::Sglang => json!({ "error": { "message": message } }).to_string(),
            ErrorFormat::Tgi => json!({ "error": message, "error_type": self.tgi_type() }).to_string(),
            ErrorFormat::Triton | ErrorFormat::Ollama => json!({ "error": message }).to_string(),
            ErrorFormat::LlamaCpp => {
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

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, [(header::CONTENT_TYPE, "application/json")], self.json()).into_response()
    }
}
