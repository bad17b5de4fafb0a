//! Which ends of a stream are successes, and which are failures, with their classes.

use super::*;

/// K8. vLLM #57082 (abort, then [DONE]); ollama #4357 and SGLang #3912 (`""` on each chunk); KoboldCpp in AIShell #350
/// (`"null"`); hax PR #15 and local-operator PR #223 (error with a native reason); DeepSeek's reference; vaadin
/// flow-components PR #9195 (LM Studio ends without a reason when the context is full); llama-cpp-python's
/// `interrupt_requests`.
#[test]
fn only_a_known_finish_reason_makes_a_success() {
    let words = say("one") + &say(" two");
    let each =
        |reason: &str| delta("{\"content\":\" a\"}", &format!(",\"finish_reason\":{reason}")).repeat(4);
    let native = |reason: &str, native: &str| {
        delta("{\"content\":\"\"}", &format!(",\"finish_reason\":{reason},\"native_finish_reason\":{native}"))
    };
    let counted = usage(r#"{"prompt_tokens":9,"completion_tokens":2}"#);
    let cases = [
        (words.clone() + &finish("\"abort\"") + &counted + DONE, Some(Aborted)),
        (words.clone() + &finish("\"cancelled\"") + DONE, Some(Aborted)),
        (words.clone() + &finish("\"insufficient_system_resource\"") + DONE, Some(ServerOverloaded)),
        (words.clone() + &finish("\"something_new\"") + DONE, Some(UnknownFinishReason)),
        (words.clone() + &native("\"error\"", "\"network_error\"") + DONE, Some(ErrorEvent)),
        (native("\"stop\"", "\"network_error\"") + &counted + DONE, Some(ErrorEvent)),
        (each("\"\""), Some(BrokenStream)),
        (each("\"null\""), Some(BrokenStream)),
        (each("false"), Some(BrokenStream)),
        (each("\"\"") + DONE, Some(BrokenStream)),
        (each("\"\"") + &finish("\"stop\"") + &counted + DONE, None),
        (words.clone() + DONE, Some(BrokenStream)),
        (words.clone() + &finish("\"length\""), None),
        (words.clone() + &finish("\"content_filter\"") + DONE, None),
        (words + &finish("\"tool_calls\"") + DONE, None),
        (DONE.to_owned(), Some(EmptyStream)),
    ];
    for (stream, expected) in cases {
        assert_eq!(class(&stream), expected, "{stream}");
    }
    let (class, detail) = failure(&(say("a") + &native("\"error\"", "\"network_error\"") + DONE));
    assert_eq!((class, detail.as_str()), (ErrorEvent, "finish reason `error` (native: `network_error`)"));
    let whole = r#"{"choices":[{"message":{"content":"a"},"finish_reason":"abort"}]}"#;
    let mut timer = timer(ALL_KEPT);
    timer.set_response_format(
        Protocol::for_backend(Backend::OpenaiChat).response_format(true),
        &Arc::default(),
    );
    timer.on_bytes(ms(1), whole.as_bytes());
    assert_eq!(summary_of(timer, Ok(())).outcome.unwrap_err().class, Aborted, "without a stream");
}

/// Without a stream, an answer needs a choice and a finish reason as well.
#[test]
fn a_whole_answer_without_a_choice_or_a_reason_is_a_failure() {
    let whole = |backend, accepted: &[&str], document: &str| {
        let mut timer = timer(ALL_KEPT);
        let accepted: Vec<String> = accepted.iter().map(|word| (*word).to_owned()).collect();
        timer.set_response_format(Protocol::for_backend(backend).response_format(true), &accepted.into());
        timer.on_bytes(ms(1), document.as_bytes());
        summary_of(timer, Ok(())).outcome.map_err(|failure| (failure.class, failure.detail))
    };
    let counts = r#""usage":{"prompt_tokens":9,"completion_tokens":4}"#;
    let chat = |choices: &str| format!("{{\"choices\":{choices},{counts}}}");
    let said = |reason: &str| chat(&format!("[{{\"message\":{{\"content\":\"a\"}}{reason}}}]"));
    for none in ["null", "[]", "{}", "\"\"", "[{}]", "[{\"message\":null}]"] {
        for accepted in [&[][..], &["none"]] {
            let (class, detail) = whole(Backend::OpenaiChat, accepted, &chat(none)).unwrap_err();
            assert_eq!(class, BrokenStream, "{none}");
            assert!(detail.contains("neither a choice with text nor a finish reason"), "{none}: {detail}");
        }
    }
    for reason in ["", ",\"finish_reason\":null", ",\"finish_reason\":\"\"", ",\"finish_reason\":\"none\""] {
        let (class, detail) = whole(Backend::OpenaiChat, &[], &said(reason)).unwrap_err();
        assert_eq!((class, &*detail), (BrokenStream, "the answer has no finish reason: it may be cut"));
        assert_eq!(whole(Backend::OpenaiChat, &["none"], &said(reason)), Ok(FinishReason::Unsaid));
    }
    assert_eq!(whole(Backend::OpenaiChat, &[], &said(",\"finish_reason\":\"stop\"")), Ok(FinishReason::Stop));
    // Tokens without text.
    let silent = chat(r#"[{"message":{"content":""},"finish_reason":"length"}]"#);
    assert_eq!(whole(Backend::OpenaiChat, &[], &silent), Ok(FinishReason::Length));
    // The protocols that have no reason.
    assert_eq!(whole(Backend::TensorrtLlm, &[], r#"{"text_output":"a"}"#), Ok(FinishReason::Unsaid));
    assert_eq!(whole(Backend::Ollama, &[], r#"{"response":"a","done":true}"#), Ok(FinishReason::Unsaid));
    assert_eq!(whole(Backend::OpenaiAudio, &[], r#"{"text":"a"}"#), Ok(FinishReason::Unsaid));
    // A response that is queued or has no status is not complete.
    let output = r#""output":[{"type":"message","content":[{"type":"output_text","text":"a"}]}]"#;
    let response = |status: &str| whole(Backend::OpenaiResponses, &[], &format!("{{{status}{output}}}"));
    assert_eq!(response("\"status\":\"completed\","), Ok(FinishReason::Stop));
    assert_eq!(response("\"status\":\"in_progress\",").unwrap_err().0, UnknownFinishReason);
    assert_eq!(response("").unwrap_err().0, BrokenStream);
}

#[test]
fn who_accepts_a_reason_has_a_success() {
    let accepting = |reason: &str, stream: &str| {
        let mut timer = timer(ALL_KEPT);
        timer.set_response_format(
            Protocol::for_backend(Backend::OpenaiChat).response_format(false),
            &[reason.to_owned()].into(),
        );
        timer.on_bytes(ms(1), stream.as_bytes());
        summary_of(timer, Ok(())).outcome
    };
    let odd = say("a") + &finish("\"odd\"") + DONE;
    assert_eq!(accepting("odd", &odd), Ok(FinishReason::Other("odd".into())));
    assert_eq!(accepting("none", &odd).unwrap_err().class, UnknownFinishReason);
    assert_eq!(accepting("none", &(say("a") + DONE)), Ok(FinishReason::Unsaid));
    assert_eq!(accepting("none", &say("a")).unwrap_err().class, BrokenStream, "broken off");
}

/// K8. OpenRouter's documentation and vLLM PR #57519 (in the middle), older vLLM (`object: error`), Anthropic's form
/// through gateways (`type: error`), Groq (`x_groq.error`), MiniMax (`base_resp`), lemonade #2826 (without `data:`).
#[test]
fn an_error_is_found_wherever_a_server_puts_it() {
    let cases = [
        (data(r#"{"error":{"message":"EngineCore died","code":500}}"#), "EngineCore died (code 500)"),
        (data(r#"{"error":"boom"}"#), "boom"),
        (
            data(r#"{"object":"error","message":"boom","type":"BadRequestError","param":null,"code":400}"#),
            "boom (code 400)",
        ),
        (data(r#"{"type":"error","message":"boom"}"#), "boom"),
        (data(r#"{"type":"error","error":{"type":"overloaded_error","message":"busy"}}"#), "busy"),
        (
            delta("{}", r#","error":{"message":"Provider gone","code":502},"finish_reason":"error""#),
            "Provider gone (code 502)",
        ),
        (data(r#"{"choices":[],"x_groq":{"error":"over capacity"}}"#), "over capacity"),
        (
            data(r#"{"choices":null,"base_resp":{"status_code":1002,"status_msg":"rate limit"}}"#),
            "rate limit (code 1002)",
        ),
        ("event: error\ndata: {\"code\":500}\n\n".to_owned(), "{\"code\":500}"),
        ("{\"error\":{\"message\":\"context is full\"}}\n\n".to_owned(), "context is full"),
        ("{\n  \"error\": {\n    \"message\": \"many lines\"\n  }\n}\n".to_owned() + "\n", ""),
    ];
    for (event, words) in cases {
        let (class, detail) = failure(&(say("one") + &event + DONE));
        let expected = if words.is_empty() { "many lines" } else { words };
        assert_eq!((class, detail.as_str()), (ErrorEvent, expected), "{event}");
    }
}

/// K8, the opposite case: one-api and its forks send such fields with every chunk.
#[test]
fn an_empty_error_is_none() {
    let errors = [
        "null",
        "\"\"",
        "{}",
        "[]",
        "false",
        "0",
        r#"{"message":"","code":null}"#,
        r#"{"message":"","type":"","code":0}"#,
    ];
    for error in errors {
        let top = data(&format!("{{\"error\":{error},\"choices\":[{{\"delta\":{{\"content\":\" x\"}}}}]}}"));
        let inner = delta("{\"content\":\" x\"}", &format!(",\"error\":{error}"));
        for event in [top, inner] {
            let story = story(&around(&event));
            assert_eq!(
                (story.outcome, story.text.as_deref()),
                (Ok(FinishReason::Stop), Some("one two x")),
                "{event}"
            );
        }
    }
    let base =
        data(r#"{"choices":[{"delta":{"content":" x"}}],"base_resp":{"status_code":0,"status_msg":""}}"#);
    assert_eq!(class(&around(&base)), None);
}

/// K13. transformers serve ignores `max_completion_tokens`; llama.cpp #13700, llama-cpp-python #1907.
#[test]
fn an_answer_without_end_is_not_read_to_it() {
    let answer = |limit: Option<u32>, events: u64, end: &str| {
        let mut timer = timer(ALL_KEPT).with_token_limit(limit);
        let mut read = 0;
        for at in 0..events {
            // The stream has a hundred events a second.
            timer.on_bytes(ms(10 * at), text_event("a").as_bytes());
            read += u32::from(!timer.is_outcome_known());
        }
        timer.on_bytes(ms(10 * events), end.as_bytes());
        (summary_of(timer, Ok(())).outcome, read)
    };
    let (outcome, read) = answer(Some(16), 100_000, END);
    let failure = outcome.unwrap_err();
    assert_eq!(
        failure.to_string(),
        "answer beyond its limit: 193 output events although at most 16 tokens were requested"
    );
    assert_eq!(read, 192, "it is read until the limit and the slack are passed");
    assert_eq!(
        answer(Some(16), 40, END).0,
        Ok(FinishReason::Stop),
        "too long, but it ends: the verdict says so"
    );
    assert_eq!(
        answer(Some(16), 193, END).0.unwrap_err().class,
        OverLimit,
        "also where the second is not over"
    );
    assert_eq!(answer(Some(16), 192, END).0, Ok(FinishReason::Stop));
    assert_eq!(answer(None, 5_000, END).0, Ok(FinishReason::Stop), "no limit is known");
}

/// K14. lemonade #2826; Envoy's error text; FastAPI's `detail`; llama.cpp PR #16109.
#[test]
fn what_a_server_said_beside_its_events_is_in_the_failure() {
    let cases = [
        (
            "upstream connect error or disconnect/reset before headers\n\n",
            "upstream connect error or disconnect/reset",
        ),
        ("<html>\n<h1>502 Bad Gateway</h1>\n</html>\n", "502 Bad Gateway"),
        ("data: {\"message\":\"quota exceeded\"}\n\n", "quota exceeded"),
    ];
    for (words, shown) in cases {
        for before in [String::new(), say("one")] {
            let (class, detail) = failure(&(before + words));
            assert_eq!(class, BrokenStream, "{words}");
            assert!(detail.contains(shown), "{words}: {detail}");
        }
    }
    for words in
        [r#"{"detail":"model is loading"}"#, r#"{"errorCode":500,"errorMessage":"model is loading"}"#]
    {
        for words in [words.to_owned() + "\n\n", data(words)] {
            let (class, detail) = failure(&around(&words));
            assert!(class == ErrorEvent && detail.starts_with("model is loading"), "{words}: {detail}");
        }
    }
    assert_eq!(
        class(&(say("one") + "upstream trouble\n\n" + &finish("\"stop\""))),
        None,
        "an answer that is whole is whole"
    );
}
