//! Which plain texts in a stream report an error.
//!
//! A gateway writes what it does into a stream (`switching to failover provider`), so that a word alone proves nothing.
//! A text is an error by its form, in whole words. `docs/answers.md` states the rule with the words below. A harmless
//! text that is taken for an error fails a good request; an error that is not recognized leaves a stream without a
//! finish reason, which fails anyway.

/// Words that begin an error. A word that ends in one of the first two does so as well (`RuntimeError`).
pub(crate) const ERROR_STARTS: [&str; 7] =
    ["error", "exception", "traceback", "panic", "fatal", "<html", "<!doctype"];

/// Words that end an error.
pub(crate) const ERROR_ENDS: [&str; 5] = ["error", "exception", "timeout", "time-out", "not found"];

/// Words and phrases that make an error anywhere in a text.
pub(crate) const ERROR_WORDS: [&str; 27] = [
    "failed",
    "failure",
    "cancelled",
    "canceled",
    "aborted",
    "timed out",
    "unavailable",
    "overloaded",
    "unauthorized",
    "forbidden",
    "denied",
    "refused",
    "exceeded",
    "panicked",
    "internal server error",
    "bad gateway",
    "gateway timeout",
    "gateway time-out",
    "too many requests",
    "rate limit reached",
    "insufficient quota",
    "out of memory",
    "no healthy upstream",
    "upstream connect error",
    "connection reset",
    "error:",
    "exception:",
];

/// Words directly before an error's word that negate it.
pub(crate) const NEGATIONS: [&str; 8] = ["no", "not", "never", "without", "if", "0", "zero", "non"];

/// Words by which a text says that the request goes on.
pub(crate) const GOING_ON: [&str; 9] = [
    "retrying",
    "retried",
    "switching",
    "forwarding",
    "failover",
    "fallback",
    "falling back",
    "rerouting",
    "continuing",
];

/// Whether a text reports an error.
pub(crate) fn is_error_text(text: &str) -> bool {
    let words = text.to_lowercase();
    let text = words.trim_start_matches(|char: char| !char.is_alphanumeric() && char != '<').trim_end();
    if begins_with_status(text) {
        return true;
    }
    if GOING_ON.iter().any(|phrase| find_phrase(text, phrase).next().is_some()) {
        return false;
    }
    let head = text.split(|char: char| char.is_whitespace() || "([{:,;>".contains(char)).next();
    let head = head.unwrap_or_default();
    let first = head.split('.').next().unwrap_or_default();
    let named = ERROR_STARTS[..2].iter().any(|word| head.ends_with(word));
    let affirmed = |phrase: &str| find_phrase(text, phrase).any(|at| !is_negated(&text[..at]));
    named
        || ERROR_STARTS.contains(&first)
        || ERROR_WORDS.iter().any(|phrase| affirmed(phrase))
        || ERROR_ENDS.iter().any(|phrase| is_end(text, phrase) && affirmed(phrase))
}

/// Whether a text begins with an HTTP status from 400 to 599, perhaps after words for it.
fn begins_with_status(text: &str) -> bool {
    let mut words = text.split_whitespace();
    let is_label = |word: &&str| {
        word.starts_with("http") || matches!(word.trim_end_matches(':'), "status" | "code" | "statuscode")
    };
    let first = words.find(|word| !is_label(word)).unwrap_or_default();
    let number = first.trim_end_matches(|char: char| ":,;.)]-".contains(char));
    let is_number = number.len() == 3 && number.bytes().all(|byte| byte.is_ascii_digit());
    let counts = words.next().is_some_and(|word| word.starts_with("token") || word.starts_with("ms"));
    is_number && number.starts_with(['4', '5']) && !counts
}

/// Where a phrase is in a text, in whole words.
fn find_phrase<'a>(text: &'a str, phrase: &'a str) -> impl Iterator<Item = usize> {
    let is_part = |char: Option<char>| char.is_some_and(char::is_alphanumeric);
    text.match_indices(phrase).map(|(at, _)| at).filter(move |&at| {
        let (before, after) = (text[..at].chars().next_back(), text[at + phrase.len()..].chars().next());
        !is_part(before) && (phrase.ends_with(':') || !is_part(after))
    })
}

/// Whether the word before a phrase negates it.
fn is_negated(before: &str) -> bool {
    let last = before.split(|char: char| !char.is_alphanumeric()).rfind(|word| !word.is_empty());
    last.is_some_and(|word| NEGATIONS.contains(&word))
}

/// Whether a text ends with this phrase, apart from punctuation.
fn is_end(text: &str, phrase: &str) -> bool {
    text.trim_end_matches(|char: char| !char.is_alphanumeric()).ends_with(phrase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_the_form_of_one() {
        for text in [
            "error",
            "Error: boom",
            "[ERROR] CUDA error: device-side assert",
            "CUDA error: out of memory",
            "RuntimeError('x')",
            "java.lang.NullPointerException: null",
            "Traceback (most recent call last):",
            "panic: runtime error",
            "thread 'main' panicked at src/main.rs",
            "<html><head><title>504 Gateway Time-out</title></head></html>",
            "<!DOCTYPE html><title>x</title>",
            "502 Bad Gateway",
            "HTTP 503",
            "HTTP/1.1 500 Internal Server Error",
            "status code: 429",
            "429 slow down",
            "Internal Server Error",
            "An unexpected error.",
            "Too Many Requests",
            "ping failed",
            "request cancelled",
            "The request was aborted",
            "connection refused",
            "upstream timeout",
            "no healthy upstream",
            "upstream connect error or disconnect/reset before headers",
            "model not found",
            "backend failure",
            "quota exceeded",
            "access denied",
            "server overloaded, please retry later",
        ] {
            assert!(is_error_text(text), "{text}");
        }
    }

    #[test]
    fn a_text_with_an_errors_word_in_it_is_none() {
        for text in [
            "switching to failover provider",
            "provider a failed, retrying on provider b",
            "not found in cache, forwarding",
            "no errors yet",
            "no error",
            "0 failed, 12 done",
            "this has not failed",
            "without failure",
            "waiting for the upstream",
            "gateway: request queued",
            "timeout is 30 s",
            "error-free",
            "4000 tokens so far",
            "512 tokens so far",
            "cancellable",
            "unfailing service",
            "rate limit: 30 a minute",
            "quota: 90 % left",
            "errors: 0",
        ] {
            assert!(!is_error_text(text), "{text}");
        }
    }

    #[test]
    fn the_words_are_those_of_the_documentation() {
        let docs = include_str!("../../../docs/answers.md").split_whitespace().collect::<Vec<_>>().join(" ");
        let quoted =
            |words: &[&str]| words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
        for words in [&ERROR_STARTS[..], &ERROR_ENDS, &ERROR_WORDS, &NEGATIONS, &GOING_ON] {
            assert!(docs.contains(&quoted(words)), "docs/answers.md lacks: {}", quoted(words));
        }
    }
}
