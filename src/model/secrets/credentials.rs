//! The forms in which a server may repeat credentials: a user with its password, plain and in Base64, and the values
//! of headers.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use super::known::{remember, remember_quoted, without_escapes};
use super::{is_secret_key, mask_url};

/// Headers whose values are not secret: they say what is sent and how, and servers repeat them in ordinary messages.
const PUBLIC_HEADERS: [&str; 17] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "anthropic-version",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "openai-beta",
    "origin",
    "priority",
    "traceparent",
    "user-agent",
    "x-correlation-id",
    "x-request-id",
];

/// Shorter values without a secret's name are ordinary words: `prod`, `canary`.
const MIN_VALUE_LEN: usize = 8;

/// The schemes of an authorization, before the secret.
const AUTH_SCHEMES: [&str; 7] = ["basic", "bearer", "token", "apikey", "api-key", "key", "negotiate"];

/// Remembers the secret in the value of a header. Any header may hold one: `X-Team: 5c1b…` is a key to a gateway.
pub(crate) fn remember_header(name: &str, value: &str) {
    let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
    let scheme = value
        .split_once(char::is_whitespace)
        .filter(|(scheme, _)| AUTH_SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known)));
    match scheme {
        Some((scheme, secret)) => {
            remember(secret.trim());
            if scheme.eq_ignore_ascii_case("basic") {
                remember_encoded_pair(secret.trim());
            }
        }
        None if name == "cookie" => {
            remember(value);
            for (_, part) in value.split(';').filter_map(|part| part.split_once('=')) {
                remember(part.trim());
            }
        }
        None if is_secret_key(&name) => remember(value),
        None if PUBLIC_HEADERS.contains(&&*name) => {}
        None => remember_value(value),
    }
}

/// Remembers a value whose name does not say that it is secret, unless it is short.
pub(super) fn remember_value(value: &str) {
    if value.len() >= MIN_VALUE_LEN {
        remember_quoted(value);
    }
}

/// Remembers the secrets in a URL.
pub(crate) fn remember_url(url: &str) {
    mask_url(url);
}

/// Remembers `user:password` or `password` of a URL, in the forms in which it is sent.
pub(super) fn remember_user_info(info: &str) {
    let Some((user, password)) = info.split_once(':') else { return remember(info) };
    remember_pair(user, password);
    let plain = |text: &str| without_escapes(text).unwrap_or_else(|| text.to_owned());
    remember_pair(&plain(user), &plain(password));
}

fn remember_pair(user: &str, password: &str) {
    let pair = format!("{user}:{password}");
    remember(&STANDARD.encode(&pair));
    remember(&pair);
    remember(password);
    remember_quoted(user);
}

/// Remembers the user and password that a `Basic` authorization holds.
fn remember_encoded_pair(encoded: &str) {
    let bytes = STANDARD.decode(encoded).or_else(|_| STANDARD_NO_PAD.decode(encoded));
    if let Some((user, password)) = bytes
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .as_deref()
        .and_then(|pair| pair.split_once(':'))
    {
        remember_pair(user, password);
    }
}
