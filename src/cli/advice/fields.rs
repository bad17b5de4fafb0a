//! Advice for a server that rejects a field of the request body.

/// Phrases in the message of a server that rejects a field, in lower case.
const REFUSALS: [&str; 14] = [
    "unsupported",
    "not supported",
    "does not support",
    "unrecognized",
    "unknown parameter",
    "unknown field",
    "unknown name",
    "unexpected field",
    "unexpected keyword",
    "extra_forbidden",
    "extra inputs",
    "additional propert",
    "not permitted",
    "not allowed",
];

/// Fields that a request has by default or through their own flag, and how to leave each out.
const FIELDS: [(&str, &str); 15] = [
    ("max_tokens", r#"--extra-body '{"max_tokens": null}' sends only the newer name, max_completion_tokens"#),
    (
        "max_completion_tokens",
        r#"--extra-body '{"max_completion_tokens": null}' sends only the older name, max_tokens"#,
    ),
    ("ignore_eos", "--no-ignore-eos omits the field"),
    (
        "stream_options",
        r#"--extra-body '{"stream_options": null}' omits the field; the tokenizer then counts the tokens"#,
    ),
    ("truncate_prompt_tokens", r#"--extra-body '{"truncate_prompt_tokens": null}' omits the field"#),
    ("store", r#"--extra-body '{"store": null}' omits the field"#),
    ("temperature", "omit --temperature"),
    ("top_p", "omit --top-p"),
    ("top_k", "omit --top-k"),
    ("min_p", "omit --min-p"),
    ("frequency_penalty", "omit --frequency-penalty"),
    ("presence_penalty", "omit --presence-penalty"),
    ("repetition_penalty", "omit --repetition-penalty"),
    ("top_logprobs", "omit --logprobs"),
    ("logprobs", "omit --logprobs"),
];

/// Returns how to leave out the field that a server rejects: the first known field in the message. A server that
/// names a second field recommends that one. `None` if the message rejects no field that we send, for example if it
/// objects to a value that is too large.
pub(super) fn on_refused_field(words: &str) -> Option<&'static str> {
    let lower = words.to_lowercase();
    if !REFUSALS.iter().any(|refusal| lower.contains(refusal)) {
        return None;
    }
    let named = FIELDS.iter().filter_map(|(field, advice)| Some((whole_word(&lower, field)?, *advice)));
    named.min_by_key(|(at, _)| *at).map(|(_, advice)| advice)
}

/// Finds a field's name where it stands as a separate word.
fn whole_word(text: &str, name: &str) -> Option<usize> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(name).map(|(at, _)| at).find(|at| {
        let (before, after) = (&text[..*at], &text[at + name.len()..]);
        !before.ends_with(is_part) && !after.starts_with(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The messages come from OpenAI (langgraph#5943 and openai-python#2048), Azure, Mistral (pydantic), Groq,
    /// Gemini's OpenAI endpoint, transformers serve and Volcengine (nanobot#2548).
    #[test]
    fn a_refused_field_names_the_flag_that_leaves_it_out() {
        for (words, flag) in [
            (
                "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
                r#"'{"max_tokens": null}'"#,
            ),
            (
                "Unsupported parameter: 'max_completion_tokens'. Use 'max_tokens' instead.",
                r#"'{"max_completion_tokens": null}'"#,
            ),
            (
                "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
                r#"'{"max_tokens": null}'"#,
            ),
            ("Unrecognized request argument supplied: max_completion_tokens", "max_completion_tokens"),
            ("Unrecognized request argument supplied: ignore_eos", "--no-ignore-eos"),
            ("Unsupported value: 'temperature' does not support 0.0 with this model.", "--temperature"),
            (r#"{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"]}]}"#, "stream_options"),
            ("property 'top_k' is unsupported", "--top-k"),
            (
                r#"Invalid JSON payload received. Unknown name "repetition_penalty": Cannot find field."#,
                "--repetition-penalty",
            ),
            ("Unexpected fields in the request: {'ignore_eos'}", "--no-ignore-eos"),
            ("`top_logprobs` is not supported", "--logprobs"),
        ] {
            assert!(on_refused_field(words).is_some_and(|advice| advice.contains(flag)), "{words}");
        }
    }

    /// The first and second messages are vLLM's about lengths; the third is OpenAI's about a length that is too
    /// large.
    #[test]
    fn a_value_that_is_refused_is_no_refused_field() {
        for words in [
            "'max_tokens' or 'max_completion_tokens' is too large: 5000. This model's maximum context length is 4096 tokens",
            "max_tokens must be at least 1, got 0.",
            "max_tokens is too large: 100000. This model supports at most 4096 completion tokens",
            "Unsupported parameter: 'seed' is not supported with this model.",
            "Images are not supported by this model's restore_eos.",
        ] {
            assert_eq!(on_refused_field(words), None, "{words}");
        }
    }
}
