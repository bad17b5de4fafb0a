//! Errors in JSON that has none of the protocol's fields: of web frameworks, gateways, and servers of another kind.

use memchr::memmem;
use serde_json::{Map, Value};

use super::error;

/// Names of fields that hold an error's message, without case, `_` and `-`. FastAPI's is `detail`.
pub(crate) const MESSAGE_FIELDS: [&str; 9] = [
    "detail",
    "errormessage",
    "errormsg",
    "errmsg",
    "err",
    "errors",
    "errordescription",
    "exception",
    "fault",
];

/// Names of fields that hold an error's code.
pub(crate) const CODE_FIELDS: [&str; 3] = ["errorcode", "errcode", "errno"];

/// Names of fields that hold an HTTP status, which is an error from 400 on if a message is beside it.
const STATUS_FIELDS: [&str; 3] = ["code", "status", "statuscode"];

/// Whether data without output may be an error of another kind. Most such events are none, and are not parsed again.
pub(crate) fn may_be_error(data: &[u8]) -> bool {
    const SIGNS: [&[u8]; 6] = [b"err", b"Err", b"ERR", b"detail", b"essage", b"fault"];
    SIGNS.iter().any(|sign| memmem::find(data, sign).is_some())
}

/// The error in data without output; `None` if it reports none.
pub(crate) fn foreign_error(data: &[u8]) -> Option<String> {
    let Ok(Value::Object(fields)) = serde_json::from_slice(data) else { return None };
    let is_error = |name: &str| fields.get(name).and_then(Value::as_str) == Some("error");
    if is_error("object") || is_error("type") {
        return Some(error::describe(&Value::Object(fields).to_string()));
    }
    let code = field(&fields, &CODE_FIELDS);
    if code.is_some_and(is_success_code) {
        return None;
    }
    let own = field(&fields, &MESSAGE_FIELDS).filter(|message| !error::is_blank(message));
    let message = own.or_else(|| field(&fields, &["message", "msg", "title"]));
    let message = message.filter(|message| !error::is_blank(message)).map(in_words);
    let status = field(&fields, &STATUS_FIELDS).filter(|status| is_failed_status(status));
    match (message, code.or(status)) {
        (Some(message), Some(code)) => Some(format!("{message} (code {})", in_words(code))),
        (None, Some(_)) if code.is_some() => Some(Value::Object(fields).to_string()),
        (Some(message), None) if own.is_some() => Some(message),
        _ => None,
    }
}

/// The first field with one of these names, written in any case, with or without `_` and `-`.
fn field<'a>(fields: &'a Map<String, Value>, names: &[&str]) -> Option<&'a Value> {
    let plain = |name: &str| name.replace(['_', '-'], "").to_ascii_lowercase();
    names.iter().find_map(|wanted| fields.iter().find(|(name, _)| plain(name) == *wanted)).map(|(_, it)| it)
}

fn in_words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(fields) => match fields.get("message").and_then(Value::as_str) {
            Some(message) => message.to_owned(),
            None => value.to_string(),
        },
        other => other.to_string(),
    }
}

fn is_success_code(code: &Value) -> bool {
    let is_word = |word: &str| ["0", "200", "ok", "success"].contains(&word.to_ascii_lowercase().as_str());
    error::is_blank(code) || is_word(&in_words(code))
}

fn is_failed_status(status: &Value) -> bool {
    in_words(status).parse::<u32>().is_ok_and(|status| (400..600).contains(&status))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FastAPI and Starlette (`detail`), SageMaker and AWS (`ErrorCode`, `message`), Baidu (`error_code`, `error_msg`),
    /// WeChat (`errcode`), Kong and API gateways (`message` with a status), Apigee (`fault`), older vLLM.
    #[test]
    fn an_error_has_one_of_many_forms() {
        for (json, words) in [
            (r#"{"detail":"Internal error"}"#, "Internal error"),
            (r#"{"detail":[{"loc":["body"],"msg":"field required"}]}"#, "field required"),
            (r#"{"errorCode":500,"errorMessage":"boom"}"#, "boom (code 500)"),
            (r#"{"error_code":336003,"error_msg":"the length"}"#, "the length (code 336003)"),
            (r#"{"errcode":40001}"#, "40001"),
            (r#"{"ErrorCode":"X","message":"boom"}"#, "boom (code X)"),
            (r#"{"err":"boom"}"#, "boom"),
            (r#"{"errors":["boom"]}"#, "boom"),
            (r#"{"fault":{"message":"boom"}}"#, "boom"),
            (r#"{"code":503,"message":"no instance"}"#, "no instance (code 503)"),
            (r#"{"status":"429","msg":"slow down"}"#, "slow down (code 429)"),
            (r#"{"object":"error","message":"too long","code":400}"#, "too long (code 400)"),
            (r#"{"type":"error","message":"too long"}"#, "too long"),
        ] {
            let error = foreign_error(json.as_bytes()).unwrap_or_else(|| panic!("{json}"));
            assert!(error.contains(words), "{json}: {error}");
        }
    }

    #[test]
    fn an_empty_error_and_other_data_are_none() {
        for json in [
            "{}",
            r#"{"detail":null}"#,
            r#"{"detail":""}"#,
            r#"{"errors":[]}"#,
            r#"{"error_code":0,"error_msg":"success"}"#,
            r#"{"errorCode":"0","errorMessage":"SUCCESS"}"#,
            r#"{"errcode":null,"errmsg":"ok"}"#,
            r#"{"code":200,"message":"ok"}"#,
            r#"{"code":"x","message":"hello"}"#,
            r#"{"message":"hello"}"#,
            r#"{"status":"in_progress"}"#,
            r#"{"type":"ping"}"#,
            "[1]",
            "no json",
        ] {
            assert_eq!(foreign_error(json.as_bytes()), None, "{json}");
        }
    }
}
