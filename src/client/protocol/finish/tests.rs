use super::*;
use crate::model::record::FailureClass;

fn ending<'a>(reason: &'a str, native: &'a str) -> Option<FinishSignal<'a>> {
    let text = |json: &'a str| serde_json::from_str::<Option<Text<'a>>>(json).unwrap();
    FinishSignal::parse(text(reason), text(native))
}

/// The name of the success, or the class of the failure, for a reason in JSON.
fn judged(reason: &str, native: &str, accepted: &[&str]) -> Option<Result<String, FailureClass>> {
    let accepted: Vec<String> = accepted.iter().map(|word| (*word).to_owned()).collect();
    let judged = ending(reason, native)?.to_outcome(&accepted);
    Some(judged.map(|finish| finish.name().to_owned()).map_err(|failure| failure.class))
}

/// The words come from the code or the documentation of a server that sends each (docs/answers.md has the table of
/// sources): openai-python `types/chat/chat_completion_chunk.py` (stop to content_filter); vLLM `v1/engine/__init__.py`
/// (`FINISH_REASON_STRINGS`: stop, length, abort, error, repetition); sgl-project/sglang
/// `srt/managers/schedule_batch.py` (`{"type": "abort", "message": …}`); InternLM/lmdeploy `serve/openai/protocol.py`
/// (stop, length, tool_calls, error, abort); NVIDIA/TensorRT-LLM `executor/result.py` (timeout, cancelled);
/// ai-dynamo/dynamo `lib/llm/src/protocols/common.rs` (eos, cancelled, `error: …`); TGI (eos_token, stop_sequence);
/// llama.cpp `tools/server/server-task.cpp`, `stop_type_to_str` (eos, word, limit, none); BerriAI/litellm
/// `litellm_core_utils/core_helpers.py`, `_FINISH_REASON_MAP` (Anthropic's, Cohere's, Gemini's, Zhipu's and Bedrock's
/// words: end_turn, tool_use, refusal, compaction, COMPLETE, ERROR_TOXIC, MAX_TOKENS, CONTINUATION, SAFETY to
/// ESCALATION, MALFORMED_RESPONSE, network_error, sensitive, guardrail_intervened); mistralai/client-python
/// `models/completionresponsestreamchoice.py` (stop, length, error, tool_calls), Mistral's OpenAPI (model_length);
/// DeepSeek's API reference (insufficient_system_resource); opencode #18814 (model_context_window_exceeded).
#[test]
fn every_servers_reasons_mean_what_its_code_says() {
    use FailureClass::{Aborted, ErrorEvent, ServerOverloaded, ServerTimeout, UnknownFinishReason};
    let successes = [
        ("stop", "stop eos eos_token stop_sequence end_turn word COMPLETE completed STOP FinishReason.STOP"),
        (
            "length",
            "length max_tokens MAX_TOKENS max_output_tokens limit model_length model_context_window_exceeded compaction \
             CONTINUATION",
        ),
        ("tool_calls", "tool_calls tool-calls TOOL_CALL tool_use"),
        ("function_call", "function_call"),
        (
            "content_filter",
            "content_filter content-filter content_filtered guardrail_intervened sensitive SAFETY RECITATION BLOCKLIST \
             PROHIBITED_CONTENT SPII IMAGE_SAFETY IMAGE_PROHIBITED_CONTENT IMAGE_RECITATION IMAGE_OTHER NO_IMAGE LANGUAGE ESCALATION \
             ERROR_TOXIC refusal",
        ),
        ("repetition", "repetition"),
        ("pause_turn", "pause_turn"),
    ];
    for (name, words) in successes {
        for word in words.split_whitespace() {
            assert_eq!(judged(&format!("{word:?}"), "null", &[]), Some(Ok(name.to_owned())), "{word}");
        }
    }
    let failures = [
        (Aborted, "abort aborted cancelled canceled USER_CANCEL connection_closed"),
        (
            ErrorEvent,
            "error ERROR failed ERROR_LIMIT not_finished network_error MALFORMED_FUNCTION_CALL UNEXPECTED_TOOL_CALL \
             MALFORMED_RESPONSE TOO_MANY_TOOL_CALLS MISSING_THOUGHT_SIGNATURE",
        ),
        (ServerTimeout, "timeout TIMEOUT timed_out"),
        (ServerOverloaded, "insufficient_system_resource"),
        (UnknownFinishReason, "something_new OTHER load unload"),
    ];
    for (class, words) in failures {
        for word in words.split_whitespace() {
            assert_eq!(judged(&format!("{word:?}"), "null", &[]), Some(Err(class)), "{word}");
        }
    }
    assert_eq!(judged("\"error: out of memory\"", "null", &[]), Some(Err(ErrorEvent)), "Dynamo");
    assert_eq!(judged("7", "null", &[]), Some(Err(UnknownFinishReason)), "a number is no word");
}

/// ollama #4357 and SGLang #3912 (`""`), KoboldCpp in PowerShell/AIShell #350 (`"null"`), and the absent reasons that
/// other JSON types express.
#[test]
fn no_reason_is_written_in_many_ways() {
    for reason in
        ["null", "\"\"", "\"null\"", "\"None\"", "\"none\"", "false", "\"false\"", "{}", "[]", "\" \""]
    {
        assert_eq!(judged(reason, "null", &[]), None, "{reason}");
    }
    // Google's enums as numbers: 0 is `FINISH_REASON_UNSPECIFIED`, and no other number is the same everywhere.
    for reason in ["0", "0.0", "\"0\"", "{\"type\":0}", "{\"type\":null}"] {
        assert_eq!(judged(reason, "0", &[]), None, "{reason}");
    }
    for (reason, words) in
        [("1", "finish reason `1`"), ("-1", "finish reason `-1`"), ("true", "finish reason `true`")]
    {
        let failure = ending(reason, "0").unwrap().to_outcome(&[]).unwrap_err();
        assert_eq!((failure.class, failure.detail.as_str()), (FailureClass::UnknownFinishReason, words));
    }
    assert_eq!(judged("1", "null", &["1"]), Some(Ok("1".to_owned())), "accepted");
}

/// OpenRouter (hax PR #15, OmniRoute PR #8210): the native reason of the server behind it is more precise.
#[test]
fn a_native_reason_counts_where_it_is_a_failure() {
    let cases = [
        ("\"stop\"", "\"network_error\"", Some(Err(FailureClass::ErrorEvent))),
        ("null", "\"abort\"", Some(Err(FailureClass::Aborted))),
        ("\"stop\"", "\"something_new\"", Some(Ok("stop".to_owned()))),
        ("\"stop\"", "\"STOP\"", Some(Ok("stop".to_owned()))),
        ("\"tool_calls\"", "\"completed\"", Some(Ok("tool_calls".to_owned()))),
        ("null", "\"stop\"", None),
        ("null", "null", None),
    ];
    for (reason, native, expected) in cases {
        assert_eq!(judged(reason, native, &[]), expected, "{reason} {native}");
    }
    let words = ending("\"error\"", "\"network_error\"").unwrap().to_outcome(&[]).unwrap_err().detail;
    assert_eq!(words, "finish reason `error` (native: `network_error`)");
}

#[test]
fn an_accepted_reason_is_a_success_whatever_the_table_says() {
    for word in ["something_new", "abort", "error"] {
        assert!(judged(&format!("{word:?}"), "null", &[]).unwrap().is_err());
        assert_eq!(judged(&format!("{word:?}"), "null", &["x", word]), Some(Ok(word.to_owned())));
    }
    assert_eq!(judged("\"stop\"", "\"network_error\"", &["network_error"]), Some(Ok("stop".to_owned())));
}

#[test]
fn a_reason_may_be_an_object_with_a_message() {
    let ending =
        ending("{\"type\":\"abort\",\"message\":\"no memory\",\"status_code\":503}", "null").unwrap();
    let failure = ending.to_outcome(&[]).unwrap_err();
    assert_eq!(failure.to_string(), "aborted by the server: finish reason `abort`: no memory");
    assert_eq!(judged("{\"type\":\"stop\",\"matched\":151645}", "null", &[]), Some(Ok("stop".to_owned())));
}

#[test]
fn no_reason_is_in_two_rows_and_the_documentation_has_every_one() {
    let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/answers.md"));
    let mut seen: Vec<&str> = Vec::new();
    for row in &FINISH_REASONS {
        for reason in row.reasons {
            assert!(!seen.contains(reason), "{reason} is there twice");
            assert_eq!(normalize(reason), *reason);
            assert!(page.contains(&format!("`{reason}`")), "docs/answers.md lacks {reason}");
            seen.push(reason);
        }
        assert!(page.contains(row.servers), "docs/answers.md lacks: {}", row.servers);
    }
}
