//! Finds the errors that servers and gateways put into an answer whose HTTP status is a success.

use serde_json::Value;
use serde_json::value::RawValue;

use super::object::object;
use super::text::Text;

object! {
    /// MiniMax's status, which every answer holds; 0 means no error.
    pub(crate) struct BaseResponse<'a> {
        code: Option<&'a RawValue> = "status_code",
        message: Option<Text<'a>> = "status_msg",
    }
}

impl BaseResponse<'_> {
    /// The error that the status reports; `None` if it reports none.
    pub(crate) fn error(&self) -> Option<String> {
        let code = self.code.map(RawValue::get).filter(|code| !is_blank_json(code))?;
        let message = self.message.map(Text::decode).unwrap_or_default();
        Some(format!("{message} (code {code})"))
    }
}

/// The message of an error field; `None` if the field is absent or reports no error.
pub(crate) fn error_message(error: Option<&RawValue>) -> Option<String> {
    let json = error?.get();
    (!is_blank_json(json)).then(|| describe(json))
}

/// Describes an error: its message and code if it has the usual shape, else its JSON.
pub(crate) fn describe(json: &str) -> String {
    let error: Value = serde_json::from_str(json).unwrap_or_default();
    let field = |name: &str| error[name].as_str().filter(|text| !text.is_empty());
    let message = error.as_str().or_else(|| field("message")).unwrap_or(json);
    match &error["code"] {
        Value::Null => message.to_owned(),
        Value::String(code) if code.is_empty() => message.to_owned(),
        Value::String(code) => format!("{message} (code {code})"),
        code => format!("{message} (code {code})"),
    }
}

fn is_blank_json(json: &str) -> bool {
    matches!(json, "null" | "false" | "\"\"" | "{}" | "[]" | "0")
        || serde_json::from_str(json).is_ok_and(|json| is_blank(&json))
}

/// Whether a value holds no information, such as `{"message": "", "code": null}`.
pub(super) fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.trim().is_empty(),
        Value::Array(list) => list.iter().all(is_blank),
        Value::Object(fields) => fields.values().all(is_blank),
    }
}
