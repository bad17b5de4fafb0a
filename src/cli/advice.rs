//! What to do about a server that does not answer as it should: from an error to the flag or the variable that helps.

use serde_json::Value;

use crate::core::record::{Failure, FailureClass};
use crate::core::spec::Target;
use crate::drive::client::control::ControlError;
use crate::drive::engine::WrongSetup;

/// The environment variable whose value is sent as bearer.
const KEY: &str = "OPENAI_API_KEY";

/// How much of a server's words is repeated.
const WORDS: usize = 200;

/// Why a run ended before it began to measure, in one line.
pub fn on_wrong_setup(setup: &WrongSetup, target: &Target) -> String {
    let WrongSetup { failure, count } = setup;
    let of = if *count == 1 { "the request".to_owned() } else { format!("all {count} requests so far") };
    let advice = on_failure(failure);
    let failure = Failure::new(failure.class, words(&failure.detail));
    format!("{of} to {} failed: {failure}; {advice}; --keep-going sends the rest all the same", target.url())
}

/// What to do about a request that failed.
pub fn on_failure(failure: &Failure) -> String {
    let advice = match failure.class {
        FailureClass::Status(status @ (401 | 403)) => return on_key(status),
        FailureClass::Status(404) if failure.detail.contains("model") => {
            "check --model (without it, the first model that the server lists is measured)"
        }
        FailureClass::Status(404 | 405 | 410 | 501) => "check --base-url, --endpoint and --backend",
        FailureClass::Status(300..=399) => "the server is elsewhere: give its own address as --base-url",
        FailureClass::Status(407) => "the proxy wants a password",
        FailureClass::Status(413) => "the prompts are too large for what is in front of the server",
        FailureClass::Status(_) => {
            "the server does not take such requests: check --backend, lengths and --extra-body"
        }
        FailureClass::Tls => {
            "--ca-cert FILE trusts another authority, --insecure any certificate, http:// uses no TLS"
        }
        FailureClass::BrokenStream => {
            "a port for https:// or for HTTP/2 alone answers like that: check --base-url"
        }
        FailureClass::Connect => "check the host and the port in --base-url",
        _ => "is the server running on this port? --ready-check-timeout-sec waits for one that is starting",
    };
    advice.to_owned()
}

/// What to do about a question that was not answered; `None` if its own words say all that is known.
pub fn on_question(error: &ControlError) -> Option<String> {
    match error {
        ControlError::Refused { status: status @ (401 | 403), .. } => Some(on_key(*status)),
        ControlError::Unreachable { .. } => {
            Some("is the server running there? --model skips the question".to_owned())
        }
        _ => None,
    }
}

/// What to do where a server wants to know who asks.
fn on_key(status: u16) -> String {
    let has_key = std::env::var_os(KEY).is_some_and(|key| !key.is_empty());
    match (status, has_key) {
        (401, false) => format!("the server needs an API key: set {KEY}"),
        (_, false) => format!("the server does not let everybody in; if it takes an API key, set {KEY}"),
        (_, true) => format!("the server does not accept the key in {KEY}"),
    }
}

/// What a server said, in one line: of OpenAI's error object the message.
fn words(detail: &str) -> String {
    let json: Option<Value> = serde_json::from_str(detail).ok();
    let said = json.as_ref().and_then(|json| {
        let error = json.get("error").unwrap_or(json);
        [error.get("message"), error.get("detail"), Some(error)].into_iter().flatten().find_map(Value::as_str)
    });
    let line = said.unwrap_or(detail).split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(WORDS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::run::sample;

    fn line(class: FailureClass, detail: &str) -> String {
        let setup = WrongSetup { failure: Failure::new(class, detail), count: 10 };
        on_wrong_setup(&setup, &sample::run(false).spec.target)
    }

    #[test]
    fn an_unknown_model_is_said_in_the_servers_words_with_the_url() {
        let body =
            r#"{"error":{"message":"The model `x` does not exist.","type":"NotFoundError","code":404}}"#;
        let line = line(FailureClass::Status(404), body);
        assert!(line.contains("HTTP 404: The model `x` does not exist.; check --model"), "{line}");
        assert!(line.contains("/v1/completions failed"), "{line}");
    }

    #[test]
    fn a_page_of_html_is_one_short_line() {
        let line = line(FailureClass::Status(301), &"<html>\r\n<head>\r\n".repeat(100));
        assert!(line.contains("<html> <head>") && !line.contains(char::is_control), "{line}");
        assert!(line.contains("--base-url") && line.len() < 600, "{line}");
    }

    #[test]
    fn each_class_names_what_helps() {
        for (class, helps) in [
            (FailureClass::Status(401), KEY),
            (FailureClass::Status(404), "--endpoint"),
            (FailureClass::Status(422), "--extra-body"),
            (FailureClass::Refused, "--ready-check-timeout-sec"),
            (FailureClass::Tls, "--insecure"),
        ] {
            let line = line(class, "");
            assert!(line.contains(helps) && line.contains("--keep-going"), "{line}");
        }
    }
}
