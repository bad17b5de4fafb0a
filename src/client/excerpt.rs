//! The excerpt of a server's text that a failure keeps: one line; for an HTML page, its title; for JSON that is too
//! long, its message.

use serde_json::Value;

use crate::model::record::Failure;
use crate::model::secrets;

/// How many bytes of a body are examined: the title of a page is near its beginning, and a JSON error is shorter.
pub(super) const MAX_SCANNED_BYTES: usize = 8 << 10;

/// The first [`Failure::BODY_LIMIT`] bytes as one line, cut between characters. Invalid UTF-8 appears as `�`.
pub(super) fn excerpt(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(whole_characters(bytes));
    // A server may repeat the API key that it received.
    let text = secrets::scrub_quoted(&text);
    let line = match is_html(&text) {
        true => page_title(&text).unwrap_or_else(|| one_line(&text)),
        false => one_line(&text),
    };
    let line = match line.len() > Failure::BODY_LIMIT {
        true => json_message(&text).unwrap_or(line),
        false => line,
    };
    let end = (0..=line.len().min(Failure::BODY_LIMIT)).rev().find(|&end| line.is_char_boundary(end));
    line[..end.unwrap_or(0)].to_owned()
}

/// The first [`MAX_SCANNED_BYTES`] bytes. If this cut splits a character, the incomplete character is dropped.
fn whole_characters(bytes: &[u8]) -> &[u8] {
    let head = &bytes[..bytes.len().min(MAX_SCANNED_BYTES)];
    match std::str::from_utf8(head) {
        Err(cut) if cut.error_len().is_none() && head.len() < bytes.len() => &head[..cut.valid_up_to()],
        _ => head,
    }
}

/// The message in a JSON error, in one of the shapes of OpenAI's, vLLM's and FastAPI's servers.
fn json_message(body: &str) -> Option<String> {
    let body: Value = serde_json::from_str(body).ok()?;
    let error = body.get("error").unwrap_or(&body);
    let fields = [error.get("message"), error.get("detail"), body.get("message"), Some(error)];
    let message = fields.into_iter().flatten().find_map(Value::as_str)?;
    Some(one_line(message)).filter(|message| !message.is_empty())
}

fn is_html(text: &str) -> bool {
    let begins = |with: &str| {
        text.trim_start_matches('\u{FEFF}')
            .trim_start()
            .get(..with.len())
            .is_some_and(|it| it.eq_ignore_ascii_case(with))
    };
    ["<!doctype html", "<html", "<head", "<title", "<h1", "<center", "<body"].into_iter().any(begins)
}

/// The title of a page, if it has one. If the title only repeats the status, the first paragraph follows, which may
/// give the reason.
fn page_title(page: &str) -> Option<String> {
    let title = element(page, "title").or_else(|| element(page, "h1")).unwrap_or_default();
    let is_bare =
        title.is_empty() || title == "Error" || title.starts_with(|first: char| first.is_ascii_digit());
    let paragraph = element(page, "pre").or_else(|| element(page, "p")).filter(|_| is_bare);
    let words = [Some(title), paragraph].into_iter().flatten().filter(|words| !words.is_empty());
    let words = words.collect::<Vec<_>>().join(": ");
    Some(words).filter(|words| !words.is_empty())
}

/// The text of the first element with this name; `None` if there is none.
fn element(page: &str, name: &str) -> Option<String> {
    let lower = page.to_ascii_lowercase();
    let is_opening = |&at: &usize| lower[at + 1 + name.len()..].starts_with(['>', ' ', '\t', '\r', '\n']);
    let start = lower.match_indices(&format!("<{name}")).map(|(at, _)| at).find(is_opening)?;
    let start = start + page[start..].find('>')? + 1;
    let end = lower[start..].find(&format!("</{name}")).map_or(page.len(), |length| start + length);
    Some(one_line(&without_tags(&page[start..end]))).filter(|text| !text.is_empty())
}

fn without_tags(html: &str) -> String {
    let mut text = String::new();
    for piece in html.split('<') {
        text.push_str(piece.split_once('>').map_or(piece, |(_, text)| text));
        text.push(' ');
    }
    let entities =
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&nbsp;", " "), ("&amp;", "&")];
    entities.into_iter().fold(text, |text, (entity, character)| text.replace(entity, character))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_300_bytes_cut_between_characters() {
        assert_eq!(excerpt(b"short"), "short");
        assert_eq!(excerpt("x".repeat(400).as_bytes()), "x".repeat(300));
        assert_eq!(excerpt(format!("{}🦀", "x".repeat(298)).as_bytes()), "x".repeat(298));
        assert_eq!(excerpt("é".repeat(3000).as_bytes()), "é".repeat(150));
        assert_eq!(excerpt(b"a\xFFb"), "a\u{FFFD}b");
    }

    #[test]
    fn the_message_of_a_long_json_error_is_taken_before_the_cut() {
        let message = "This model's maximum context length is 2048 tokens. However, you requested 9000 tokens \
                       (8872 in the messages, 128 in the completion). Please reduce the length of the messages.";
        let tail = "x".repeat(300);
        for body in [
            format!(
                "{{\"error\":{{\"message\":\"{message}\",\"type\":\"BadRequestError\",\"param\":\"{tail}\"}}}}"
            ),
            format!("{{\"object\":\"error\",\"message\":\"{message}\",\"param\":\"{tail}\"}}"),
            format!("{{\"detail\":\"{message}\",\"param\":\"{tail}\"}}"),
            format!("{{\"error\":\"{message}\",\"param\":\"{tail}\"}}"),
        ] {
            assert_eq!(excerpt(body.as_bytes()), message);
        }
        let other = format!("{{\"param\":\"{tail}\"}}");
        assert_eq!(excerpt(other.as_bytes()), other[..300]);
    }

    #[test]
    fn several_lines_become_one() {
        for (body, line) in [
            (
                "{\n  \"error\": {\n    \"message\": \"no\"\n  }\n}\n",
                "{ \"error\": { \"message\": \"no\" } }",
            ),
            ("upstream connect error\r\nor disconnect", "upstream connect error or disconnect"),
            ("\n\n", ""),
            ("a < b", "a < b"),
        ] {
            assert_eq!(excerpt(body.as_bytes()), line);
        }
    }

    /// The shapes of the pages that nginx, an AWS load balancer, HAProxy, Apache, Express, Flask (Werkzeug),
    /// Cloudflare, Tomcat, servers similar to Caddy, and Django send, with our own wording.
    #[test]
    fn a_page_becomes_its_title() {
        for (page, words) in [
            (
                "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n\
                 <hr><center>nginx/1.27</center>\r\n</body>\r\n</html>",
                "502 Bad Gateway",
            ),
            ("<HTML><HEAD><TITLE>503 Service\n Unavailable</TITLE></HEAD>", "503 Service Unavailable"),
            (
                "<html><body><h1>503 Service Unavailable</h1>\nNo server is available.\n</body></html>",
                "503 Service Unavailable",
            ),
            (
                "<!DOCTYPE HTML PUBLIC \"-//IETF//DTD HTML 2.0//EN\">\n<html><head>\n<title>400 Bad Request</title>\n</head><body>\n\
                 <h1>Bad Request</h1>\n<p>You&#39;re speaking plain HTTP<br />\nto a TLS port.</p>",
                "400 Bad Request: You're speaking plain HTTP to a TLS port.",
            ),
            (
                "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Error</title></head>\n<body>\n<pre>Cannot POST /v1</pre>",
                "Error: Cannot POST /v1",
            ),
            (
                "<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>\n<h1>Not Found</h1>\n<p>Not on this server.</p>",
                "404 Not Found: Not on this server.",
            ),
            (
                "\n<!DOCTYPE html>\n<!--[if lt IE 7]> x <![endif]-->\n<head>\n<title>example.org | 502: Bad gateway</title>",
                "example.org | 502: Bad gateway",
            ),
            (
                "\u{FEFF}<!doctype html><html><head><title>HTTP Status 404 – Not Found</title>",
                "HTTP Status 404 – Not Found",
            ),
            ("<html><head><title id=\"t\">Page &lt;v1&gt; not found</title>", "Page <v1> not found"),
            ("<html><body>It <b>broke</b></body></html>", "<html><body>It <b>broke</b></body></html>"),
            ("<html><head><title>", "<html><head><title>"),
        ] {
            assert_eq!(excerpt(page.as_bytes()), words);
        }
    }
}
