//! What a server's finish reason means. The table of reasons is defined only here, and `docs/answers.md` prints it.
//!
//! An answer is a success only if its reason is known to be one. A reason that is not in the table is a failure,
//! because a new word may mean that the answer was cut off.

use std::borrow::Cow;

use super::object::object;
use super::text::Text;
use crate::model::record::{Failure, FailureClass, FinishReason};

/// How a server reports the end of an answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct FinishSignal<'a> {
    /// The finish reason; empty if the server sent none.
    pub reason: Cow<'a, str>,
    /// The finish reason of the server behind a gateway, in that server's words; empty if there is none.
    pub native: Cow<'a, str>,
    /// The message that the server sends with the reason.
    pub message: Option<String>,
}

/// The meaning of a finish reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FinishMeaning {
    /// The model stopped on its own, or at a stop sequence.
    Stop,
    /// The answer reached the token limit or the end of the context.
    Length,
    /// A success that is counted under this name.
    Success(&'static str),
    /// A failure of this class.
    Failure(FailureClass),
}

/// Finish reasons with the same meaning, and the servers that send them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FinishReasonRow {
    /// The reasons as servers write them, in lower case and with `_`.
    pub reasons: &'static [&'static str],
    /// The meaning that the reasons share.
    pub meaning: FinishMeaning,
    /// The servers that send these reasons, for the documentation.
    #[cfg_attr(not(test), expect(dead_code, reason = "a test compares docs/answers.md with it"))]
    pub servers: &'static str,
}

/// All known finish reasons.
pub(crate) const FINISH_REASONS: [FinishReasonRow; 14] = [
    FinishReasonRow {
        reasons: &["stop", "eos", "eos_token", "stop_sequence", "end_turn", "word", "complete", "completed"],
        meaning: FinishMeaning::Stop,
        servers: "OpenAI and compatible servers; eos: Together, Dynamo, llama.cpp; eos_token, stop_sequence: TGI; \
                  end_turn, stop_sequence: Anthropic, Bedrock; word: llama.cpp; complete: Cohere; completed: OpenAI's responses",
    },
    FinishReasonRow {
        reasons: &[
            "length",
            "max_tokens",
            "max_output_tokens",
            "limit",
            "model_length",
            "model_context_window_exceeded",
            "compaction",
            "continuation",
        ],
        meaning: FinishMeaning::Length,
        servers: "OpenAI and compatible servers; max_tokens: Anthropic, Bedrock, Gemini, Cohere; max_output_tokens: OpenAI's \
                  responses; limit: llama.cpp; model_length: Mistral; model_context_window_exceeded: \
                  Anthropic, Zhipu; compaction: Anthropic; continuation: Gemini",
    },
    FinishReasonRow {
        reasons: &["tool_calls", "tool_call", "tool_use"],
        meaning: FinishMeaning::Success("tool_calls"),
        servers: "OpenAI and compatible servers; tool_call: Cohere; tool_use: Anthropic, Bedrock",
    },
    FinishReasonRow {
        reasons: &["function_call"],
        meaning: FinishMeaning::Success("function_call"),
        servers: "OpenAI's older name of tool_calls, Together, Groq",
    },
    FinishReasonRow {
        reasons: &[
            "content_filter",
            "content_filtered",
            "guardrail_intervened",
            "sensitive",
            "safety",
            "recitation",
            "blocklist",
            "prohibited_content",
            "spii",
            "image_safety",
            "image_prohibited_content",
            "image_recitation",
            "image_other",
            "no_image",
            "language",
            "escalation",
            "error_toxic",
            "refusal",
        ],
        meaning: FinishMeaning::Success("content_filter"),
        servers: "OpenAI, Azure, DeepSeek, Moonshot; content_filtered, guardrail_intervened: Bedrock; sensitive: Zhipu; safety to \
                  escalation: Gemini; error_toxic: Cohere; refusal: Anthropic",
    },
    FinishReasonRow {
        reasons: &["repetition"],
        meaning: FinishMeaning::Success("repetition"),
        servers: "vLLM",
    },
    FinishReasonRow {
        reasons: &["pause_turn"],
        meaning: FinishMeaning::Success("pause_turn"),
        servers: "Anthropic",
    },
    FinishReasonRow {
        reasons: &["abort", "aborted"],
        meaning: FinishMeaning::Failure(FailureClass::Aborted),
        servers: "vLLM, SGLang, LMDeploy",
    },
    FinishReasonRow {
        reasons: &["cancelled", "canceled", "user_cancel", "connection_closed"],
        meaning: FinishMeaning::Failure(FailureClass::Aborted),
        servers: "TensorRT-LLM, Dynamo, OpenAI's responses; user_cancel: Cohere; connection_closed: derivatives of Ollama",
    },
    FinishReasonRow {
        reasons: &["error", "failed", "error_limit", "not_finished"],
        meaning: FinishMeaning::Failure(FailureClass::ErrorEvent),
        servers: "vLLM, LMDeploy, Dynamo, OpenRouter, Mistral, Cohere; failed: OpenAI's responses; error_limit: Cohere; \
                  not_finished: TensorRT-LLM",
    },
    FinishReasonRow {
        reasons: &["network_error"],
        meaning: FinishMeaning::Failure(FailureClass::ErrorEvent),
        servers: "Zhipu, also through OpenRouter",
    },
    FinishReasonRow {
        reasons: &[
            "malformed_function_call",
            "unexpected_tool_call",
            "malformed_response",
            "too_many_tool_calls",
            "missing_thought_signature",
        ],
        meaning: FinishMeaning::Failure(FailureClass::ErrorEvent),
        servers: "Gemini, also through OpenRouter",
    },
    FinishReasonRow {
        reasons: &["timeout", "timed_out"],
        meaning: FinishMeaning::Failure(FailureClass::ServerTimeout),
        servers: "TensorRT-LLM, Cohere",
    },
    FinishReasonRow {
        reasons: &["insufficient_system_resource"],
        meaning: FinishMeaning::Failure(FailureClass::ServerOverloaded),
        servers: "DeepSeek",
    },
];

/// The words that some servers write if there is no reason yet. 0 is the number of `FINISH_REASON_UNSPECIFIED` in
/// Google's protocol (googleapis/googleapis, `google/ai/generativelanguage/v1beta/generative_service.proto`).
const ABSENT_REASONS: [&str; 7] = ["", "null", "none", "false", "0", "0.0", "finish_reason_unspecified"];

/// The name under which the user accepts an answer without a finish reason.
pub(crate) const NO_REASON: &str = "none";

object! {
    /// A finish reason as an object, which SGLang sends.
    struct ReasonObject<'a> {
        kind: Option<Text<'a>> = "type",
        message: Option<Text<'a>> = "message",
    }
}

impl<'a> FinishSignal<'a> {
    /// Parses a finish reason of any JSON type; `None` if the value states that there is no reason.
    pub fn parse(reason: Option<Text<'a>>, native: Option<Text<'a>>) -> Option<Self> {
        let word = |text: Option<Text<'a>>| text.map(Text::decode).filter(|word| !is_absent(word));
        let native = word(native).unwrap_or_default();
        let reason = reason.filter(|reason| !reason.is_empty());
        if let Some(object) = reason.filter(|reason| reason.json().starts_with('{')) {
            let ReasonObject { kind, message, .. } = serde_json::from_str(object.json()).unwrap_or_default();
            let message =
                message.filter(|message| !message.is_empty()).map(|text| text.decode().into_owned());
            return word(kind).map(|reason| Self { reason, native, message });
        }
        let reason = word(reason).unwrap_or_default();
        // Before the end, gateways send a native reason that the server behind them has not sent yet. Without a finish
        // reason, only a native failure counts.
        let fails = matches!(meaning(&native), Some(FinishMeaning::Failure(_)));
        (!reason.is_empty() || fails).then_some(Self { reason, native, message: None })
    }

    /// Creates a signal from a word of the table.
    pub fn from_word(reason: &'a str) -> Self {
        Self { reason: reason.into(), ..Self::default() }
    }

    /// The outcome of the answer. The reasons in `accepted` are successes even if the table says otherwise.
    pub fn to_outcome(&self, accepted: &[String]) -> Result<FinishReason, Failure> {
        let is_accepted = |reason: &str| accepted.iter().any(|word| word.eq_ignore_ascii_case(reason));
        let fails = |reason: &str| match meaning(reason) {
            Some(FinishMeaning::Failure(class)) => Some(class).filter(|_| !is_accepted(reason)),
            _ => None,
        };
        let class = fails(&self.reason).or_else(|| fails(&self.native));
        if let Some(class) = class {
            return Err(Failure::new(class, self.describe()));
        }
        let reason = if self.reason.is_empty() { &self.native } else { &self.reason };
        match meaning(reason) {
            Some(FinishMeaning::Stop) => Ok(FinishReason::Stop),
            Some(FinishMeaning::Length) => Ok(FinishReason::Length),
            Some(FinishMeaning::Success(name)) => Ok(FinishReason::Other((*name).into())),
            _ if is_accepted(reason) => Ok(FinishReason::Other((&**reason).into())),
            _ => Err(Failure::new(FailureClass::UnknownFinishReason, self.describe())),
        }
    }

    /// Whether the reason is a failure according to the table.
    pub fn is_failure(&self) -> bool {
        self.to_outcome(&[]).is_err()
    }

    fn describe(&self) -> String {
        let Self { reason, native, message } = self;
        let native = if native.is_empty() || native == reason { "" } else { &**native };
        let mut words = match (reason.is_empty(), native.is_empty()) {
            (true, _) => format!("native finish reason `{native}`"),
            (false, true) => format!("finish reason `{reason}`"),
            (false, false) => format!("finish reason `{reason}` (native: `{native}`)"),
        };
        if let Some(message) = message {
            words.push_str(": ");
            words.push_str(message);
        }
        words
    }
}

/// The meaning of a reason according to the table.
fn meaning(reason: &str) -> Option<FinishMeaning> {
    let word = normalize(reason);
    let row = FINISH_REASONS.iter().find(|row| row.reasons.contains(&&*word))?;
    Some(row.meaning)
}

fn is_absent(reason: &str) -> bool {
    ABSENT_REASONS.contains(&&*normalize(reason))
}

/// Converts a reason to lower case with `_`, and removes an enum's name and a message: `FinishReason.MAX_TOKENS`
/// becomes `max_tokens`, and Dynamo's `error: out of memory` becomes `error`.
fn normalize(reason: &str) -> String {
    let word = reason.rsplit("FinishReason.").next().unwrap_or_default();
    let word = word.split(':').next().unwrap_or_default().trim();
    word.to_ascii_lowercase().replace('-', "_")
}

#[cfg(test)]
mod tests;
