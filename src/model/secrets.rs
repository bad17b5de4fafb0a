//! Masks secrets: text that must not leave the process is displayed as `***`.
//!
//! All stored and printed text passes through this module: URLs, bodies, headers, command lines. As a second line of
//! defense, the process remembers every secret that it masked, and [scrubs](scrub()) it from everything printed or quoted
//! later, also from a server's own messages.

mod credentials;
mod known;

use serde_json::{Map, Value};

use super::units::Secret;
pub(crate) use credentials::{remember_header, remember_url};
pub(crate) use known::{remember, scrub, scrub_generated, scrub_quoted, scrubbed};

const MASK: &str = Secret::MASK;

/// Flags of ours whose value is a JSON object that may hold a key.
const JSON_FLAGS: [&str; 2] = ["extra-body", "chat-template-kwargs"];

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

/// The flags of ours that name where a secret is: a file, or an object of Kubernetes.
const PLACE_FLAGS: [&str; 3] = ["client-key", "rendezvous-key", "tls-secret"];

/// The command whose flag `--secret` names such an object too. Elsewhere, this flag of other programs has a secret.
const NAMES_SECRET: [&str; 2] = ["launch", "kubernetes"];

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
    if PLACE_FLAGS.contains(&key) {
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
    credentials::remember_user_info(&rest[..end]);
    format!("{}{MASK}{}", &place[..start], &rest[end..])
}

fn mask_parameter(pair: &str) -> String {
    let (key, value) = pair.split_once('=').map_or((pair, None), |(key, value)| (key, Some(value)));
    match value {
        _ if PUBLIC_PARAMETERS.contains(&key) => pair.to_owned(),
        None if key.is_empty() => String::new(),
        None => {
            credentials::remember_value(pair);
            MASK.to_owned()
        }
        Some(value) if is_secret_key(key) => format!("{key}={}", mask_secret(value)),
        Some(value) => {
            credentials::remember_value(value);
            format!("{key}={MASK}")
        }
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
            remember_header(key, value);
            format!("{key}{sign}{MASK}")
        }
    }
}

/// Masks the secrets in a flag's value.
pub(crate) fn mask_flag_value(flag: &str, text: &str) -> String {
    match flag {
        "header" | "headers" | "H" => mask_header(text),
        _ if JSON_FLAGS.contains(&flag) && serde_json::from_str::<Map<String, Value>>(text).is_err() => {
            mask_secret(text).to_owned()
        }
        _ if is_secret_key(flag) => mask_secret(text).to_owned(),
        _ => mask_arg(text),
    }
}

/// Masks the secrets in a command line.
pub(crate) fn mask_args(words: &[String]) -> Vec<String> {
    let mut flag = String::new();
    let names_secret = words.windows(2).any(|pair| pair == NAMES_SECRET);
    let mask = |flag: &str, value: &str| match names_secret && flag == "secret" {
        true => value.to_owned(),
        false => mask_flag_value(flag, value),
    };
    let shown = |word: &String| match word.strip_prefix('-').filter(|rest| !rest.is_empty()) {
        None => mask(&flag, word),
        Some(_) => {
            let (name, value) =
                word.split_once('=').map_or((word.as_str(), None), |(name, value)| (name, Some(value)));
            name.trim_start_matches('-').clone_into(&mut flag);
            match value {
                None => word.clone(),
                Some(value) => {
                    let shown = format!("{name}={}", mask(&flag, value));
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

/// Returns the mask and remembers the secret, so that it is [scrubbed](scrub()) from now on.
fn mask_secret(secret: &str) -> &'static str {
    remember(secret);
    MASK
}

#[cfg(test)]
mod tests;
