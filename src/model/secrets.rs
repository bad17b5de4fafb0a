//! Masks secrets: text that must not leave the process is displayed as `***`.
//!
//! All stored and printed text passes through this module: URLs, bodies, headers, command lines. As a second line of
//! defense, the process remembers every secret that it masked, and [scrubs](scrub) it from everything printed or quoted
//! later, also from a server's own messages.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use serde_json::{Map, Value};

use super::units::Secret;

const MASK: &str = Secret::MASK;

/// Shorter secrets are not scrubbed from our own texts: they would match numbers and words.
const MIN_SECRET_LEN: usize = 8;

/// Shorter secrets are not scrubbed from a server's messages either.
const SHORTEST: usize = 4;

/// A key that contains one of these anywhere is secret.
const SECRET_PARTS: [&str; 12] = [
    "apikey",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "authorization",
    "credential",
    "privatekey",
    "accesskey",
    "signature",
    "bearer",
    "cookie",
];

/// A key that contains one of these as a separate word is secret.
const SECRET_WORDS: [&str; 7] = ["token", "auth", "pwd", "pass", "sig", "jwt", "pat"];

/// Together with `token` or `key`, these words mark a value as not secret.
const PLAIN_QUALIFIERS: [&str; 16] = [
    "eos", "bos", "pad", "mask", "stop", "unk", "sep", "cls", "special", "id", "ids", "count", "limit",
    "budget", "cache", "type",
];

/// The suffix of a flag of ours that names a file.
const FILE_SUFFIX: &str = "client-key";

/// The parameters of a URL's query whose values are shown. Any other may be an access key to the server.
const PUBLIC_PARAMETERS: [&str; 17] = [
    "api-version",
    "api_version",
    "version",
    "model",
    "deployment",
    "region",
    "format",
    "stream",
    "beta",
    "timeout",
    "match[]",
    "collect[]",
    "name[]",
    "job",
    "instance",
    "target",
    "module",
];

/// Returns whether the value with this name is secret: a key of JSON, a header, a flag, an environment variable.
pub(crate) fn is_secret_key(key: &str) -> bool {
    if key == FILE_SUFFIX {
        return false;
    }
    let words = key_words(key);
    let joined = words.concat();
    let has = |word: &str| words.iter().any(|own| own == word);
    let is_plain = PLAIN_QUALIFIERS.iter().any(|plain| has(plain));
    let is_key = words.last().is_some_and(|last| last == "key");
    SECRET_PARTS.iter().any(|part| joined.contains(part))
        || ((SECRET_WORDS.iter().any(|word| has(word)) || is_key) && !is_plain)
}

/// Splits a key into words: `X-Api-Key`, `api_key` and `apiKey` become `api`, `key`.
fn key_words(key: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for c in key.chars() {
        let begins = !c.is_alphanumeric() || (c.is_uppercase() && before.is_lowercase());
        if begins {
            words.push(String::new());
        }
        if c.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
        before = c;
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Masks the user, the password and the query's values in a URL, or in a text that was given as one.
pub(crate) fn mask_url(text: &str) -> String {
    let (text, fragment) =
        text.split_once('#').map_or((text, None), |(text, fragment)| (text, Some(fragment)));
    let (place, query) = text.split_once('?').map_or((text, None), |(place, query)| (place, Some(query)));
    let mut shown = strip_user(place);
    if let Some(query) = query {
        let parameters: Vec<String> = query.split('&').map(mask_parameter).collect();
        shown += &format!("?{}", parameters.join("&"));
    }
    match fragment {
        None => shown,
        Some(fragment) if fragment.contains('=') => shown + "#" + mask_secret(fragment),
        Some(fragment) => shown + "#" + fragment,
    }
}

fn strip_user(place: &str) -> String {
    let scheme = place.find("://").map(|at| at + 3);
    let start = scheme.unwrap_or(0);
    let rest = &place[start..];
    let authority = &rest[..rest.find('/').unwrap_or(rest.len())];
    let port = authority.rsplit_once(':').map(|(_, port)| port);
    let is_odd =
        port.is_some_and(|port| !port.starts_with('{') && !port.bytes().all(|byte| byte.is_ascii_digit()));
    let end = match (scheme, authority.rfind('@')) {
        (Some(_), Some(at)) => Some(at),
        (None, Some(at)) => authority[..at].contains(':').then_some(at),
        // A password with a slash or a question mark in it ends the authority early; the part after the colon is then
        // not a port.
        (Some(_), None) if is_odd && !authority.starts_with('[') => {
            Some(rest.rfind('@').unwrap_or(rest.len()))
        }
        _ => None,
    };
    let Some(end) = end else { return place.to_owned() };
    let password = rest[..end].split_once(':').map_or(&rest[..end], |(_, password)| password);
    format!("{}{}{}", &place[..start], mask_secret(password), &rest[end..])
}

fn mask_parameter(pair: &str) -> String {
    let (key, value) = pair.split_once('=').map_or((pair, None), |(key, value)| (key, Some(value)));
    match value {
        _ if PUBLIC_PARAMETERS.contains(&key) => pair.to_owned(),
        None if key.is_empty() => String::new(),
        None => MASK.to_owned(),
        Some(value) => format!("{key}={}", if is_secret_key(key) { mask_secret(value) } else { MASK }),
    }
}

/// Masks the values of secret keys in JSON at any depth.
pub(crate) fn mask_json(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(mask_object(map)),
        Value::Array(items) => items.iter().map(mask_json).collect(),
        Value::String(text) if text.contains("://") && !text.contains(char::is_whitespace) => {
            mask_url(text).into()
        }
        other => other.clone(),
    }
}

/// Masks the values of secret keys in an object at any depth.
pub(crate) fn mask_object(map: &Map<String, Value>) -> Map<String, Value> {
    let shown = |key: &str, value: &Value| match value {
        Value::String(text) if is_secret_key(key) => mask_secret(text).into(),
        Value::Number(_) | Value::Array(_) | Value::Object(_) if is_secret_key(key) => MASK.into(),
        value => mask_json(value),
    };
    map.iter().map(|(key, value)| (key.clone(), shown(key, value))).collect()
}

/// Masks the value of a header, `KEY=VALUE` or `Key: value`.
pub(crate) fn mask_header(pair: &str) -> String {
    let at = pair.find(['=', ':']).map(|at| (&pair[..at], &pair[at..=at], &pair[at + 1..]));
    match at {
        None => mask_secret(pair).to_owned(),
        Some((key, sign, value)) => {
            let value = value.trim();
            let mask = if is_secret_key(key) { mask_secret(strip_auth_scheme(value)) } else { MASK };
            format!("{key}{sign}{mask}")
        }
    }
}

/// The secret in `Bearer x`.
fn strip_auth_scheme(value: &str) -> &str {
    value.split_once(' ').map_or(value, |(_, secret)| secret.trim())
}

/// Masks the secrets in a flag's value.
pub(crate) fn mask_flag_value(flag: &str, text: &str) -> String {
    match flag {
        "header" | "headers" | "H" => mask_header(text),
        _ if is_secret_key(flag) => mask_secret(text).to_owned(),
        _ => mask_arg(text),
    }
}

/// Masks the secrets in a command line.
pub(crate) fn mask_args(words: &[String]) -> Vec<String> {
    let mut flag = String::new();
    let shown = |word: &String| match word.strip_prefix('-').filter(|rest| !rest.is_empty()) {
        None => mask_flag_value(&flag, word),
        Some(_) => {
            let (name, value) =
                word.split_once('=').map_or((word.as_str(), None), |(name, value)| (name, Some(value)));
            name.trim_start_matches('-').clone_into(&mut flag);
            match value {
                None => word.clone(),
                Some(value) => {
                    let shown = format!("{name}={}", mask_flag_value(&flag, value));
                    flag.clear();
                    shown
                }
            }
        }
    };
    words.iter().map(shown).collect()
}

/// Masks a single argument: JSON, a URL, a path with a query, `NAME=VALUE`, or several words for a shell.
fn mask_arg(text: &str) -> String {
    if text.trim_start().starts_with(['{', '['])
        && let Ok(value) = serde_json::from_str::<Value>(text)
    {
        let shown = mask_json(&value);
        return if shown == value { text.to_owned() } else { shown.to_string() };
    }
    if text.contains(' ') {
        let parts: Vec<String> = text.split(' ').map(ToOwned::to_owned).collect();
        return mask_args(&parts).join(" ");
    }
    let name = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() && name(key) && is_secret_key(key) => {
            format!("{key}={}", mask_secret(value))
        }
        Some((key, value)) if !key.is_empty() && name(key) && value.contains("://") => {
            format!("{key}={}", mask_url(value))
        }
        _ if text.contains("://") || text.starts_with('/') || text.contains('@') => mask_url(text),
        _ => text.to_owned(),
    }
}

/// The secrets that were masked so far.
static KNOWN_SECRETS: Mutex<Vec<String>> = Mutex::new(Vec::new());
static HAS_SECRETS: AtomicBool = AtomicBool::new(false);

/// Returns the mask and remembers the secret, so that it is [scrubbed](scrub) from now on.
fn mask_secret(secret: &str) -> &'static str {
    remember(secret);
    MASK
}

/// Remembers a secret.
pub(crate) fn remember(secret: &str) {
    if secret.len() < SHORTEST {
        return;
    }
    let mut known = KNOWN_SECRETS.lock().unwrap_or_else(PoisonError::into_inner);
    if !known.iter().any(|other| other == secret) {
        known.push(secret.to_owned());
        HAS_SECRETS.store(true, Ordering::Release);
    }
}

/// Removes known secrets from a text of ours, if they are long enough not to match ordinary words.
pub(crate) fn scrub(text: &str) -> Cow<'_, str> {
    without_known(text, |text, secret| match secret.len() < MIN_SECRET_LEN {
        true => None,
        false => memchr::memmem::find(text.as_bytes(), secret.as_bytes()).map(|_| text.replace(secret, MASK)),
    })
}

/// Removes known secrets from a server's text. A server may repeat the key that it received; a short key is scrubbed
/// where it is a whole word.
pub(crate) fn scrub_quoted(words: &str) -> Cow<'_, str> {
    without_known(words, |text, secret| {
        if secret.len() >= MIN_SECRET_LEN {
            return text.contains(secret).then(|| text.replace(secret, MASK));
        }
        let is_part = |c: char| c.is_alphanumeric();
        let (mut shown, mut rest) = (String::new(), 0);
        for (at, _) in text.match_indices(secret) {
            let end = at + secret.len();
            if !text[..at].ends_with(is_part) && !text[end..].starts_with(is_part) {
                shown += &text[rest..at];
                shown += MASK;
                rest = end;
            }
        }
        (rest > 0).then(|| shown + &text[rest..])
    })
}

/// Replaces each known secret in a text; `replace` returns `None` for a secret that the text does not contain.
fn without_known(text: &str, replace: impl Fn(&str, &str) -> Option<String>) -> Cow<'_, str> {
    if !HAS_SECRETS.load(Ordering::Acquire) {
        return text.into();
    }
    let known = KNOWN_SECRETS.lock().unwrap_or_else(PoisonError::into_inner);
    let mut text = Cow::Borrowed(text);
    for secret in known.iter() {
        if let Some(without) = replace(&text, secret) {
            text = without.into();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_secret_by_their_words() {
        // Secrets of OpenAI, Azure (api-key, Ocp-Apim-Subscription-Key, SAS `sig`), AWS (X-Amz-*), Google (key), vLLM,
        // the hub.
        let secret = [
            "api_key",
            "apiKey",
            "X-API-Key",
            "apikey",
            "key",
            "Authorization",
            "Proxy-Authorization",
            "token",
            "access_token",
            "accessToken",
            "HF_TOKEN",
            "client_secret",
            "password",
            "Ocp-Apim-Subscription-Key",
            "sig",
            "X-Amz-Signature",
            "X-Amz-Credential",
            "X-Amz-Security-Token",
            "OPENAI_API_KEY",
            "AWS_SECRET_ACCESS_KEY",
            "Cookie",
            "aws_bearer_token",
            "private_key",
            "auth",
            "session-token",
        ];
        for key in secret {
            assert!(is_secret_key(key), "{key}");
        }
        let plain = [
            "max_tokens",
            "max_completion_tokens",
            "stop_token_ids",
            "eos_token_id",
            "tokenizer",
            "eos_token",
            "bos_token",
            "prompt_cache_key",
            "client-key",
            "token_type",
            "keyboard",
            "author",
            "monkey",
            "model",
            "temperature",
            "TOKENIZERS_PARALLELISM",
            "min_tokens",
            "ignore_eos",
            "content-type",
            "x-request-id",
            "thinking_token_budget",
        ];
        for key in plain {
            assert!(!is_secret_key(key), "{key}");
        }
    }

    #[test]
    fn urls_keep_their_place_only() {
        let cases = [
            ("http://localhost:8000/v1", "http://localhost:8000/v1"),
            ("http://u:PW@h/metrics?token=T", "http://***@h/metrics?token=***"),
            ("http://PW@h", "http://***@h"),
            ("/v1/completions?api_key=E", "/v1/completions?api_key=***"),
            (
                "https://h/openai?api-version=2024-02-01&code=C&flag",
                "https://h/openai?api-version=2024-02-01&code=***&***",
            ),
            ("http://[::1]:8000/a", "http://[::1]:8000/a"),
            ("http://h:{port}/", "http://h:{port}/"),
            ("http://u:p/w@h:1/x", "http://***@h:1/x"),
            ("http://u:p?w@h/x", "http://***?***"),
            ("u:PW@h:8000", "***@h:8000"),
            ("htp://u:PW@h", "htp://***@h"),
            ("http://h/a#access_token=T", "http://h/a#***"),
            ("org/name@revision", "org/name@revision"),
        ];
        for (text, shown) in cases {
            assert_eq!(mask_url(text), shown, "{text}");
        }
    }

    #[test]
    fn bodies_are_masked_however_deep() {
        let body = json!({
            "api_key": "B", "user": {"accessToken": "B", "n": 1}, "list": [{"password": 5}], "max_tokens": 3,
            "image": "https://h/i.png?X-Amz-Signature=B", "stop": null, "token": null,
        });
        let shown = json!({
            "api_key": "***", "user": {"accessToken": "***", "n": 1}, "list": [{"password": "***"}], "max_tokens": 3,
            "image": "https://h/i.png?X-Amz-Signature=***", "stop": null, "token": null,
        });
        assert_eq!(mask_json(&body), shown);
    }

    #[test]
    fn command_lines_are_masked_however_they_are_written() {
        let cases = [
            (
                "run --header a=1 b=2=3 --seed 7 --header=c=4 x",
                "run --header a=*** b=*** --seed 7 --header=c=*** x",
            ),
            (
                "serve m --api-key S k2 --hf-token=S --max-num-batched-tokens 9",
                "serve m --api-key *** *** --hf-token=*** --max-num-batched-tokens 9",
            ),
            (
                "--metrics-url http://u:S@h/m --push-metrics=http://h/p?tok=S",
                "--metrics-url http://***@h/m --push-metrics=http://h/p?tok=***",
            ),
            (
                "--endpoint /v1?api_key=S --client-key key.pem",
                "--endpoint /v1?api_key=*** --client-key key.pem",
            ),
            (r#"--extra-body {"api_key":"S"}"#, r#"--extra-body {"api_key":"***"}"#),
            (
                "env OPENAI_API_KEY=S N=1 vllm serve org/m@rev",
                "env OPENAI_API_KEY=*** N=1 vllm serve org/m@rev",
            ),
            (
                "--base-url http://h:8000 --num-prompts 3 -- -1",
                "--base-url http://h:8000 --num-prompts 3 -- -1",
            ),
        ];
        for (line, shown) in cases {
            let line: Vec<String> = line.split(' ').map(ToOwned::to_owned).collect();
            assert_eq!(mask_args(&line).join(" "), shown);
        }
        let shell = ["sh", "-c", "A=1 vllm serve m --api-key S --port 1"].map(ToOwned::to_owned);
        assert_eq!(mask_args(&shell)[2], "A=1 vllm serve m --api-key *** --port 1");
        let curl = ["-H", "Authorization: Bearer S"].map(ToOwned::to_owned);
        assert_eq!(mask_args(&curl)[1], "Authorization:***");
    }

    #[test]
    fn what_was_masked_once_is_scrubbed_from_texts() {
        mask_url("http://user:planted-in-a-test@h");
        mask_header("x-api-key=Bearer planted-too-here");
        let text = scrub("no access for planted-in-a-test (planted-too-here)");
        assert_eq!(text, "no access for *** (***)");
        mask_header("x-api-key=Q7-x");
        let echoed = "bad key `Q7-x`, not Q7-xy or aQ7-x; key=Q7-x";
        assert_eq!(scrub_quoted(echoed), "bad key `***`, not Q7-xy or aQ7-x; key=***", "whole words alone");
        assert_eq!(scrub(echoed), echoed, "a short one stays in our own words");
    }
}
