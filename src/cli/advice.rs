//! Advice for a server that does not answer as expected: maps an error to the flag or variable that helps.

mod fields;
mod on_run;

use serde_json::Value;

use crate::client::admin::AdminError;
use crate::client::transport_error::BEFORE_ANY_BYTE;
use crate::loadgen::{SetupFailure, is_sign_of_setup};
use crate::model::record::{Failure, FailureClass};
use crate::model::run::Run;
use fields::on_refused_field;

pub(super) use on_run::{on_note, on_scrape_error, on_warning};

/// The environment variable that holds the bearer token.
const API_KEY_VARIABLE: &str = "OPENAI_API_KEY";

/// The longest quotation of a server's message in an error.
const MAX_QUOTED_CHARS: usize = 200;

/// Explains in one line why a run ended before it began to measure.
pub(super) fn on_setup_failure(setup: &SetupFailure, url: &str) -> String {
    let SetupFailure { failure, count } = setup;
    let of = if *count == 1 { "the request".to_owned() } else { format!("all {count} requests so far") };
    let advice = on_failure(failure);
    let failure = Failure::new(failure.class, server_message(&failure.detail));
    format!("{of} to {url} failed: {failure}; {advice}; --keep-going sends the rest anyway")
}

/// Adds advice to the failures of a run that went on although its set-up was wrong.
pub(super) fn add_to_failures(run: &mut Run) {
    let is_only = run.metrics.completed == 0 && run.metrics.failures.len() == 1;
    for group in &mut run.metrics.failures {
        let failure = Failure::new(group.class, group.example.as_str());
        let is_named = matches!(group.class, FailureClass::UnknownFinishReason | FailureClass::OverLimit);
        group.advice = (is_named || is_sign_of_setup(&failure)).then(|| on_failure(&failure));
        if is_only && may_need_tls(&failure, &run.spec.target.base_url) {
            group.advice = Some(NEEDS_TLS.to_owned());
        }
    }
}

/// Advice for a run in which the server closed every connection before it answered.
const NEEDS_TLS: &str = "the server closes each connection before it answers; if this port speaks TLS, write https:// \
                         in --base-url";

/// Whether a request without TLS failed in the way of servers that expect TLS: they close or reset the connection.
fn may_need_tls(failure: &Failure, base_url: &str) -> bool {
    failure.class == FailureClass::BrokenStream && is_closed_without_tls(base_url, &failure.detail)
}

/// Whether a request to this URL, without TLS, failed with a message that the connection closed before an answer.
fn is_closed_without_tls(url: &str, message: &str) -> bool {
    let signs = ["closed the connection without an answer", BEFORE_ANY_BYTE];
    url.starts_with("http://") && signs.iter().any(|words| message.contains(words))
}

/// Advice by a phrase in the failure's message: a protocol that the server does not speak, a certificate, a field.
/// The first match wins. Retrying does not help against the failures listed first.
const ADVICE_BY_MESSAGE: [(&str, &str); 14] = [
    ("only HTTP/2", "servegauge uses HTTP/1.1; set --base-url to a port or a proxy that supports it"),
    ("does not speak TLS", "use http:// in --base-url"),
    ("speaks TLS here", "use https:// in --base-url"),
    (
        "that is not trusted here",
        "use --ca-cert FILE to trust that CA, or --insecure to accept any certificate",
    ),
    ("self-signed", "use --ca-cert FILE to trust this certificate, or --insecure to accept any"),
    ("has expired", "renew the certificate, or use --insecure to accept any"),
    (
        "is not valid for `",
        "use a host name of the certificate in --base-url, or --insecure to accept any certificate",
    ),
    ("client certificate", "use --client-cert FILE and --client-key FILE"),
    ("version 1, which", "issue a certificate of version 3, or use --insecure to accept any"),
    ("plain HTTP request was sent to HTTPS", "use https:// in --base-url"),
    ("HTTP request to an HTTPS server", "use https:// in --base-url"),
    ("-encoded, though", "disable compression in the server or in the proxy in front of it"),
    ("x-request-id", "--no-request-id omits the header; also check --backend and --extra-body"),
    ("ignore_eos", "--no-ignore-eos omits the field"),
];

/// Finds the advice whose phrase occurs in a failure's message.
fn by_message(words: &str) -> Option<&'static str> {
    ADVICE_BY_MESSAGE.iter().find(|(in_words, _)| words.contains(in_words)).map(|(_, advice)| *advice)
}

/// Returns advice about a request that failed.
pub(super) fn on_failure(failure: &Failure) -> String {
    let refused_field = on_refused_field(&failure.detail);
    let by_words = by_message(&failure.detail);
    let advice = match failure.class {
        FailureClass::Status(status @ (401 | 403)) => return on_missing_key(status),
        FailureClass::Status(400 | 422) if refused_field.is_some() => refused_field.unwrap_or_default(),
        _ if by_words.is_some() => by_words.unwrap_or_default(),
        FailureClass::Status(204 | 205) => "check --endpoint and --backend",
        FailureClass::Status(404) if failure.detail.contains("model") => {
            "check --model (without it, the first model that the server lists is measured)"
        }
        FailureClass::Status(404 | 405 | 410 | 501) => "check --base-url, --endpoint and --backend",
        FailureClass::Status(300..=399) => "the server redirects; set --base-url to the final address",
        FailureClass::Status(407) => "the proxy requires authentication",
        FailureClass::Status(413) => {
            "the prompts exceed the body limit of the server or of a proxy in front of it"
        }
        FailureClass::Status(_) => {
            "the server does not accept these requests; check --backend, lengths and --extra-body"
        }
        FailureClass::Tls => {
            "use --ca-cert FILE to trust another CA, --insecure to accept any certificate, or http:// if the port has no TLS"
        }
        FailureClass::BrokenStream => {
            "the server may have broken off, or the port takes only TLS or HTTP/2: check its log and --base-url"
        }
        FailureClass::UnknownFinishReason => {
            "docs/answers.md lists the known reasons; --accept-finish-reason NAME counts another one as a success"
        }
        FailureClass::OverLimit => {
            "the server ignores the token limit as it is sent; some servers need another field name: --extra-body '{\"max_tokens\": N}'"
        }
        FailureClass::ErrorEvent
        | FailureClass::Aborted
        | FailureClass::ServerTimeout
        | FailureClass::ServerOverloaded
        | FailureClass::EmptyStream => "see the server's log",
        FailureClass::Connect => "check the host and the port in --base-url",
        _ => "is the server running on this port? --ready-check-timeout-sec waits for one that is starting",
    };
    advice.to_owned()
}

/// Returns advice about an unmeasured request that failed; `None` if the error's own message says all that is known.
pub(super) fn on_admin_error(error: &AdminError) -> Option<String> {
    match error {
        AdminError::Refused { status: status @ (401 | 403), .. } => Some(on_missing_key(*status)),
        AdminError::Refused { status: 400 | 422, body, .. } if on_refused_field(body).is_some() => {
            on_refused_field(body).map(str::to_owned)
        }
        AdminError::Unreachable { cause: words, .. } | AdminError::Refused { body: words, .. }
            if by_message(words).is_some() =>
        {
            by_message(words).map(str::to_owned)
        }
        AdminError::Refused { status: 300..=399, .. } => {
            Some("the server redirects; set --base-url to the final address".to_owned())
        }
        AdminError::Unreachable { url, cause } if is_closed_without_tls(url, cause) => {
            Some(NEEDS_TLS.to_owned())
        }
        AdminError::Unreachable { .. } => {
            Some("is the server running there? with --model NAME, its model list is not requested".to_owned())
        }
        _ => None,
    }
}

/// Returns advice for a server that requires an API key.
fn on_missing_key(status: u16) -> String {
    let has_key = std::env::var_os(API_KEY_VARIABLE).is_some_and(|key| !key.is_empty());
    match (status, has_key) {
        (401, false) => format!("the server needs an API key: set {API_KEY_VARIABLE}"),
        (_, false) => {
            format!("the server denied access; if it needs an API key, set {API_KEY_VARIABLE}")
        }
        (401, true) => format!("the server rejected the key in {API_KEY_VARIABLE}"),
        (_, true) => format!("the server denied access with the key in {API_KEY_VARIABLE}"),
    }
}

/// Returns the server's message in one line; for an OpenAI error object, its `message`.
fn server_message(detail: &str) -> String {
    let json: Option<Value> = serde_json::from_str(detail).ok();
    let said = json.as_ref().and_then(|json| {
        let error = json.get("error").unwrap_or(json);
        [error.get("message"), error.get("detail"), Some(error)].into_iter().flatten().find_map(Value::as_str)
    });
    let line = said.unwrap_or(detail).split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_QUOTED_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::PERMANENT;
    use crate::testing::sample_run;

    fn line(class: FailureClass, detail: &str) -> String {
        let setup = SetupFailure { failure: Failure::new(class, detail), count: 10 };
        on_setup_failure(&setup, &sample_run::run(false).spec.target.display_url())
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
    fn what_waiting_does_not_help_against_has_advice() {
        for part in PERMANENT {
            assert!(ADVICE_BY_MESSAGE.iter().any(|(words, _)| words == &part), "{part}");
        }
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
            (FailureClass::Status(401), API_KEY_VARIABLE),
            (FailureClass::Status(404), "--endpoint"),
            (FailureClass::Status(422), "--extra-body"),
            (FailureClass::Refused, "--ready-check-timeout-sec"),
            (FailureClass::Tls, "--insecure"),
            (FailureClass::Status(204), "--endpoint"),
        ] {
            let line = line(class, "");
            assert!(line.contains(helps) && line.contains("--keep-going"), "{line}");
        }
    }

    /// The messages come from the client itself, nginx, Go net/http, transformers serve, langgraph#5943 (OpenAI),
    /// nanobot#2548 (Volcengine) and void#128 (vLLM with strict fields).
    #[test]
    fn words_name_what_helps() {
        for (class, detail, helps) in [
            (
                FailureClass::BrokenStream,
                "not an HTTP/1.1 response (the server speaks only HTTP/2 here)",
                "HTTP/1.1",
            ),
            (FailureClass::BrokenStream, "not an HTTP/1.1 response (the server speaks TLS here)", "https://"),
            (FailureClass::Tls, "the server does not speak TLS on this port", "http://"),
            (FailureClass::Tls, "the server's certificate is self-signed (CA:TRUE)", "--ca-cert"),
            (FailureClass::Tls, "the server's certificate has expired", "--insecure"),
            (
                FailureClass::Tls,
                "the server's certificate is not valid for `a`: it is valid for b",
                "--base-url",
            ),
            (FailureClass::Tls, "the server requires a client certificate", "--client-key"),
            (FailureClass::Status(400), "400 The plain HTTP request was sent to HTTPS port", "https://"),
            (FailureClass::Status(400), "Client sent an HTTP request to an HTTPS server.", "https://"),
            (
                FailureClass::BrokenStream,
                "the answer is gzip-encoded, though it was requested without compression",
                "compression",
            ),
            (
                FailureClass::Status(400),
                "no text; some servers answer like this to an x-request-id that is not a UUID",
                "--no-request-id",
            ),
            (
                FailureClass::Status(422),
                "Unexpected fields in the request: {'ignore_eos'}",
                "--no-ignore-eos",
            ),
            (
                FailureClass::Status(400),
                "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
                "--extra-body",
            ),
            (
                FailureClass::Status(422),
                "{'type': 'extra_forbidden', 'loc': ('body', 'max_completion_tokens')}",
                "--extra-body",
            ),
        ] {
            let line = line(class, detail);
            assert!(line.contains(helps), "{line}");
            let question = on_admin_error(&AdminError::Unreachable { url: "u".into(), cause: detail.into() });
            assert_eq!(
                question.unwrap().contains("is the server running"),
                helps == "--extra-body",
                "{detail}"
            );
        }
    }

    #[test]
    fn a_port_that_closes_every_connection_may_speak_tls() {
        let advice = |url: &str, detail: &str, completed| {
            let mut run = crate::testing::sample_run::run(false);
            run.spec.target.base_url = url.into();
            run.metrics.completed = completed;
            run.metrics.failures.truncate(1);
            let group = run.metrics.failures.first_mut().unwrap();
            (group.class, group.example) = (FailureClass::BrokenStream, detail.into());
            add_to_failures(&mut run);
            run.metrics.failures.remove(0).advice.unwrap_or_default()
        };
        let (closed, reset) = (
            "the server closed the connection without an answer",
            "connection reset by peer before any byte of an answer",
        );
        assert!(advice("http://h", closed, 0).contains("https://"));
        assert!(advice("http://h", reset, 0).contains("https://"));
        assert_eq!(advice("http://h", "connection reset by peer", 0), "", "in the middle of a stream");
        assert_eq!(advice("http://h", closed, 3), "", "others were answered");
        assert_eq!(advice("https://h", closed, 0), "");
    }

    #[test]
    fn a_model_list_from_a_port_that_closes_the_connection_may_need_tls() {
        let advice = |url: &str, cause: &str| {
            on_admin_error(&AdminError::Unreachable { url: url.into(), cause: cause.into() }).unwrap()
        };
        let closed = "the server closed the connection without an answer";
        assert!(advice("http://h/v1/models", closed).contains("https://"));
        assert!(advice("http://h/v1/models", BEFORE_ANY_BYTE).contains("https://"));
        assert!(advice("http://h/v1/models", "connection refused").contains("is the server running"));
        assert!(!advice("https://h/v1/models", closed).contains("write https://"));
    }
}
