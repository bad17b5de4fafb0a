//! Compares the server's count of an answer's tokens with the answer's text.
//!
//! A token is at least one byte of text, with these exceptions, which the comparison allows for: tokens that an event
//! brings without text (each silent event counts as one), reasoning that the server counts and reports, and a few
//! special tokens ([`TextClaims::SLACK`]). An answer with output that is not text is not compared, nor is one whose
//! count is not above the number of its events.

use crate::client::request_timer::RequestSummary;
use crate::model::record::FinishReason;
use crate::model::validity::TextClaims;
use crate::tokenizer::Tokenizer;

/// The number of answers whose text is tokenized, and the length limit of those texts in bytes: the load is running.
const MAX_TOKENIZED: usize = 100;
const MAX_TEXT_BYTES: usize = 64 << 10;

/// Adds an answer to the comparison.
pub(super) fn compare_text(claims: &mut TextClaims, answer: &RequestSummary, tokenizer: &Tokenizer) {
    let usage = answer.usage.and_then(|usage| Some((usage.completion_tokens?, usage.reasoning_tokens)));
    let (Some((count, reasoning)), Some(size), Ok(finish)) = (usage, answer.text_size, &answer.outcome)
    else {
        return;
    };
    // Streamed reasoning is part of the text as well, which only makes the bound looser.
    let claimed = count - reasoning.filter(|reasoning| *reasoning < count).unwrap_or_default();
    let silent = size.silent_events;
    if claimed <= answer.events.count {
        return;
    }
    let bytes = u32::try_from(size.bytes).unwrap_or(u32::MAX).saturating_add(silent);
    claims.by_bytes.add(claimed, bytes);
    if claimed > bytes.saturating_add(TextClaims::SLACK) {
        let beyond = if *finish == FinishReason::Length { &mut claims.at_limit } else { &mut claims.beyond };
        beyond.add(claimed, bytes);
    }
    let text = answer.text.as_deref().filter(|text| text.len() <= MAX_TEXT_BYTES);
    let (Some(text), Tokenizer::Local(_)) = (text, tokenizer) else { return };
    if claims.by_tokenizer.answers < MAX_TOKENIZED
        && let Ok(tokens) = tokenizer.count_plain(text)
    {
        let tokens = tokens.saturating_add(silent);
        claims.by_tokenizer.add(claimed, tokens);
        let is_beyond = claimed > tokens.saturating_mul(2).saturating_add(TextClaims::SLACK);
        if is_beyond && *finish != FinishReason::Length {
            claims.beyond_tokenizer.add(claimed, tokens);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::time::Duration;

    use super::*;
    use crate::client::clock::RunClock;
    use crate::client::request_timer::{Capture, CaptureGaps, CaptureText, RequestTimer};

    /// The comparison of one stream: these deltas, this finish reason, and this usage.
    fn claims(deltas: &[String], reason: &str, usage: &str) -> TextClaims {
        let keep = Capture { text: CaptureText::UntilUsage, gaps: CaptureGaps::Never };
        let mut timer = RequestTimer::new(RunClock::start(), Duration::ZERO, keep, Rc::default());
        let event = |delta: &str, reason: &str| {
            format!("data: {{\"choices\":[{{\"delta\":{delta},\"finish_reason\":{reason}}}]}}\n\n")
        };
        let stream: String = deltas.iter().map(|delta| event(delta, "null")).collect();
        let usage = format!("data: {{\"choices\":[],\"usage\":{usage}}}\n\ndata: [DONE]\n\n");
        let stream = stream + &event("{}", reason) + &usage;
        timer.on_bytes(Duration::from_millis(5), stream.as_bytes());
        let mut claims = TextClaims::default();
        compare_text(&mut claims, &timer.finish(Ok(())), &Tokenizer::Estimate);
        claims
    }

    fn texts(count: usize, field: &str, text: &str) -> Vec<String> {
        (0..count).map(|at| format!("{{\"{field}\":\"{text}{}\"}}", at % 10)).collect()
    }

    /// The numbers of answers beyond the text, and at the limit.
    fn found(deltas: &[String], reason: &str, usage: &str) -> [usize; 2] {
        let claims = claims(deltas, reason, usage);
        [claims.beyond.answers, claims.at_limit.answers]
    }

    #[test]
    fn a_token_is_a_byte_of_text_or_an_event_without_text() {
        let words = texts(16, "content", " w");
        let counted = |tokens: u32| format!("{{\"completion_tokens\":{tokens}}}");
        for (tokens, expected) in [(16, 0), (50, 0), (110, 0), (200, 1), (u32::MAX, 1)] {
            assert_eq!(found(&words, "\"stop\"", &counted(tokens)), [expected, 0], "{tokens}");
        }
        assert_eq!(found(&words, "\"length\"", &counted(256)), [0, 1]);
        // Reasoning is text as well, and so are the arguments of a tool call.
        let reasoning = [texts(40, "reasoning", " think"), words.clone()].concat();
        assert_eq!(found(&reasoning, "\"stop\"", &counted(200)), [0, 0]);
        let call = "{\"tool_calls\":[{\"function\":{\"arguments\":\"{'a': 1234567890}\"}}]}".to_owned();
        assert_eq!(found(&vec![call; 16], "\"tool_calls\"", &counted(200)), [0, 0]);
        // Events without text, as for tokens after the end.
        let silent = [words.clone(), vec!["{\"content\":\"\"}".to_owned(); 150]].concat();
        assert_eq!(found(&silent, "\"stop\"", &counted(200)), [0, 0]);
        // Sound has tokens of its own.
        let sound = [words.clone(), vec!["{\"audio\":{\"data\":\"AAAA\"}}".to_owned()]].concat();
        assert_eq!(claims(&sound, "\"stop\"", &counted(900)), TextClaims::default());
    }

    #[test]
    fn reported_reasoning_is_not_claimed_to_be_text() {
        let usage = |total: u32, reasoning: u32| {
            format!(
                "{{\"completion_tokens\":{total},\"completion_tokens_details\":{{\"reasoning_tokens\":{reasoning}}}}}"
            )
        };
        let words = texts(16, "content", " w");
        assert_eq!(found(&words, "\"stop\"", &usage(4000, 3980)), [0, 0]);
        assert_eq!(found(&words, "\"stop\"", &usage(4000, 100)), [1, 0]);
        // A count of the answer alone, with the reasoning beside it.
        assert_eq!(found(&words, "\"stop\"", &usage(16, 3980)), [0, 0]);
    }

    #[test]
    fn a_text_that_is_repeated_with_every_event_is_not_longer_for_that() {
        let so_far: Vec<String> =
            (1..=40).map(|at| format!("{{\"content\":\"{}\"}}", "ab ".repeat(at))).collect();
        assert_eq!(found(&so_far, "\"stop\"", "{\"completion_tokens\":150}"), [0, 0]);
        assert_eq!(found(&so_far, "\"stop\"", "{\"completion_tokens\":900}"), [1, 0]);
    }
}
