//! The secrets that this process knows, and their removal from text.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use super::MASK;

/// Shorter secrets are not scrubbed from our own texts, nor from generated text: they would match numbers and words.
const MIN_SECRET_LEN: usize = 8;

/// Shorter secrets are not scrubbed from a server's messages either.
const SHORTEST: usize = 4;

/// A text that the process must not repeat.
struct KnownSecret {
    text: String,
    /// Whether our own texts may have it, because it may be an ordinary word: a user name, the value of a header whose
    /// name is not a secret's.
    is_only_quoted: bool,
}

/// The secrets that were masked so far.
static KNOWN_SECRETS: RwLock<Vec<KnownSecret>> = RwLock::new(Vec::new());
static HAS_SECRETS: AtomicBool = AtomicBool::new(false);

/// Remembers a secret, and its form without the escapes of a URL.
pub(crate) fn remember(secret: &str) {
    remember_as(secret, false);
}

/// Remembers a text that is removed from a server's texts only.
pub(super) fn remember_quoted(text: &str) {
    remember_as(text, true);
}

fn remember_as(text: &str, is_only_quoted: bool) {
    add(text, is_only_quoted);
    if let Some(plain) = without_escapes(text) {
        add(&plain, is_only_quoted);
    }
}

fn add(text: &str, is_only_quoted: bool) {
    if text.len() < SHORTEST || text == MASK {
        return;
    }
    let mut known = KNOWN_SECRETS.write().unwrap_or_else(PoisonError::into_inner);
    match known.iter_mut().find(|other| other.text == text) {
        Some(other) => other.is_only_quoted &= is_only_quoted,
        None => {
            let secret = KnownSecret { text: text.to_owned(), is_only_quoted };
            // Longer secrets come first: a secret may be a part of another.
            let at = known.partition_point(|other| other.text.len() >= text.len());
            known.insert(at, secret);
            HAS_SECRETS.store(true, Ordering::Release);
        }
    }
}

/// Decodes `%2F` and the like; `None` if there is nothing to decode.
pub(super) fn without_escapes(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    let mut has_escape = false;
    for part in parts {
        match part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                has_escape = true;
                bytes.push(byte);
                bytes.extend_from_slice(&part.as_bytes()[2..]);
            }
            None => {
                bytes.push(b'%');
                bytes.extend_from_slice(part.as_bytes());
            }
        }
    }
    String::from_utf8(bytes).ok().filter(|_| has_escape)
}

/// Removes known secrets from a text of ours, if they are long enough not to match ordinary words.
pub(crate) fn scrub(text: &str) -> Cow<'_, str> {
    without_known(
        text,
        |text, secret| {
            if secret.is_only_quoted { None } else { without_anywhere(text, &secret.text) }
        },
    )
}

/// Removes known secrets from the output of a model, if they are long enough not to match ordinary words.
pub(crate) fn scrub_generated(text: &str) -> Cow<'_, str> {
    without_known(text, |text, secret| without_anywhere(text, &secret.text))
}

/// Removes known secrets from a server's text. A server may repeat the key that it received; a short key is scrubbed
/// where it is a whole word.
pub(crate) fn scrub_quoted(words: &str) -> Cow<'_, str> {
    without_known(words, |text, secret| match secret.text.len() < MIN_SECRET_LEN {
        true => without_words(text, &secret.text),
        false => without_anywhere(text, &secret.text),
    })
}

/// Removes known secrets from a text that is not copied if it has none.
pub(crate) fn scrubbed(text: String, scrub: fn(&str) -> Cow<'_, str>) -> String {
    let without = match scrub(&text) {
        Cow::Owned(without) => Some(without),
        Cow::Borrowed(_) => None,
    };
    without.unwrap_or(text)
}

fn without_anywhere(text: &str, secret: &str) -> Option<String> {
    if secret.len() < MIN_SECRET_LEN {
        return None;
    }
    memchr::memmem::find(text.as_bytes(), secret.as_bytes()).map(|_| text.replace(secret, MASK))
}

fn without_words(text: &str, secret: &str) -> Option<String> {
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
}

/// Replaces each known secret in a text; `replace` returns `None` for a secret that the text does not contain.
fn without_known(text: &str, replace: impl Fn(&str, &KnownSecret) -> Option<String>) -> Cow<'_, str> {
    if !HAS_SECRETS.load(Ordering::Acquire) {
        return text.into();
    }
    let known = KNOWN_SECRETS.read().unwrap_or_else(PoisonError::into_inner);
    let mut text = Cow::Borrowed(text);
    for secret in known.iter() {
        if let Some(without) = replace(&text, secret) {
            text = without.into();
        }
    }
    text
}
