//! The summary of an answer in every protocol.

use proptest::prelude::*;

use super::*;
use crate::client::protocol::Protocol;
use crate::model::record::Milestone;
use crate::model::run_spec::{Backend, BackendTask};
use crate::testing::transcripts::PROTOCOLS;

/// The summary of an answer whose pieces all arrive at the same instant. A name that ends in `.json` selects a
/// document.
fn follow<'b>(backend: Backend, name: &str, pieces: impl IntoIterator<Item = &'b [u8]>) -> RequestSummary {
    let mut timer = timer(ALL_KEPT);
    timer.set_response_format(
        Protocol::for_backend(backend).response_format(name.ends_with(".json")),
        &Arc::default(),
    );
    pieces.into_iter().for_each(|piece| timer.on_bytes(ms(7), piece));
    summary_of(timer, Ok(()))
}

fn of(name: &str) -> RequestSummary {
    let (backend, name, answer) = PROTOCOLS.iter().find(|(_, it, _)| *it == name).unwrap();
    follow(*backend, name, [*answer])
}

/// The class and the detail of a failure.
fn failure(backend: Backend, name: &str, answer: &str) -> (FailureClass, String) {
    let failure = follow(backend, name, [answer.as_bytes()]).outcome.unwrap_err();
    (failure.class, failure.detail)
}

/// Where an HTTP status of success carries the error of another kind, its message is in the failure.
#[test]
fn an_error_in_a_document_is_quoted() {
    for backend in [
        Backend::OpenaiEmbeddings,
        Backend::VllmPooling,
        Backend::VllmRerank,
        Backend::OpenaiChat,
        Backend::Sglang,
        Backend::Tgi,
        Backend::TensorrtLlm,
        Backend::Ollama,
    ] {
        for document in [
            r#"{"object":"error","message":"too long","code":400}"#,
            r#"{"detail":"too long"}"#,
            r#"{"code":400,"message":"too long"}"#,
        ] {
            let (class, detail) = failure(backend, "x.json", document);
            assert_eq!(class, FailureClass::ErrorEvent, "{backend:?} {document}: {detail}");
            assert!(detail.starts_with("too long"), "{backend:?} {document}: {detail}");
        }
    }
}

#[test]
fn streams_have_their_text_tokens_and_end() {
    let stop = FinishReason::Stop;
    let expected = [
        ("responses.sse", "Two \"and\"\nSumFünf 🦀", 5, stop.clone(), (Some(9), Some(5))),
        ("responses-incomplete.sse", "{\"city\"One", 2, FinishReason::Length, (Some(9), Some(5))),
        ("audio.sse", "Grüß Gott", 2, stop.clone(), (Some(4), Some(3))),
        ("audio-openai.sse", "Grüß Gott", 2, stop.clone(), (Some(14), Some(5))),
        ("sglang.sse", "Der Käse \"ist\"", 4, FinishReason::Length, (Some(6), Some(6))),
        ("sglang-uncounted.sse", "Der Käse", 2, stop.clone(), (None, None)),
        ("tgi.sse", "Ein Bär", 2, stop.clone(), (Some(8), Some(3))),
        ("tgi-limit.sse", "Ein Bär", 2, FinishReason::Length, (None, Some(2))),
        ("triton.sse", "Ja \"so\" ñ", 3, FinishReason::Unsaid, (None, None)),
        ("llama-cpp.sse", "Die Tür", 2, FinishReason::Length, (Some(5), Some(3))),
        ("llama-cpp-old.sse", "Die Tür", 2, stop.clone(), (Some(5), Some(2))),
        ("ollama.ndjson", "HmÖl \"1\"\n", 3, stop, (Some(11), Some(4))),
        (
            "ollama-chat.ndjson",
            "HmÖl{\"function\":{\"name\":\"f\",\"arguments\":{\"a\":1}}}",
            3,
            FinishReason::Length,
            (None, Some(4)),
        ),
    ];
    for (name, text, count, finish, usage) in &expected {
        let story = of(name);
        assert_eq!(story.text.as_deref(), Some(*text), "{name}");
        assert_eq!((story.events.count, story.outcome), (*count, Ok(finish.clone())), "{name}");
        let told = story.usage.unwrap_or_default();
        assert_eq!((told.prompt_tokens, told.completion_tokens), *usage, "{name}");
        assert_eq!(story.times.first_token(), Some(ms(7)), "{name}");
    }
    let streams = PROTOCOLS.iter().filter(|(_, name, _)| !name.ends_with(".json")).count();
    assert_eq!(streams, expected.len(), "none is left out");
}

#[test]
fn answers_in_one_piece_have_their_text_and_no_first_token() {
    let stop = FinishReason::Stop;
    let none = FinishReason::Unsaid;
    let expected = [
        ("completions.json", "Ein “Wort”", FinishReason::Length, (Some(10), Some(3))),
        ("chat.json", "Hm. Ein Wort", stop.clone(), (Some(10), Some(3))),
        ("responses.json", "Sum. Fünf 🦀{}", stop.clone(), (Some(9), Some(5))),
        ("audio.json", "Grüß Gott", none.clone(), (None, None)),
        ("sglang.json", "Der Käse", stop.clone(), (Some(6), Some(3))),
        ("tgi.json", "Ein Bär", stop.clone(), (None, Some(3))),
        ("triton.json", "Ja ñ", none.clone(), (None, None)),
        ("llama-cpp.json", "Die Tür", stop.clone(), (Some(5), Some(3))),
        ("ollama.json", "Öl", stop, (Some(11), Some(4))),
        ("embeddings.json", "", none.clone(), (Some(21), None)),
        ("pooling.json", "", none.clone(), (Some(12), None)),
        ("rerank.json", "", none.clone(), (Some(56), None)),
        ("infinity.json", "", none, (Some(30), None)),
    ];
    for (name, text, finish, usage) in &expected {
        let story = of(name);
        assert_eq!(story.text.as_deref(), Some(*text), "{name}");
        assert_eq!(story.outcome, Ok(finish.clone()), "{name}");
        let told = story.usage.unwrap_or_default();
        assert_eq!((told.prompt_tokens, told.completion_tokens), *usage, "{name}");
        assert_eq!((story.times.first_token(), story.times.last_token()), (None, Some(ms(7))), "{name}");
        assert_eq!(story.events.count, 0, "{name}");
    }
    let documents = PROTOCOLS.iter().filter(|(_, name, _)| name.ends_with(".json")).count();
    assert_eq!(documents, expected.len(), "none is left out");
}

#[test]
fn answers_cut_at_every_byte_tell_the_same_story() {
    for (backend, name, answer) in PROTOCOLS {
        let whole = follow(*backend, name, [*answer]);
        for place in 0..=answer.len() {
            assert_eq!(follow(*backend, name, cut(answer, &[place])), whole, "{name} cut at {place}");
        }
        assert_eq!(follow(*backend, name, answer.chunks(1)), whole, "{name} byte by byte");
    }
}

#[test]
fn an_answer_without_its_end_is_broken() {
    for (backend, name, answer) in PROTOCOLS {
        let half = &answer[..answer.len() / 2];
        let outcome = follow(*backend, name, [half]).outcome;
        // A protocol without an end marker cannot miss it. The transport reports a body that breaks off.
        let unmarked = *backend == Backend::TensorrtLlm && !name.ends_with(".json");
        let class = outcome.map_err(|failure| failure.class);
        assert!(unmarked || class == Err(FailureClass::BrokenStream), "{name}: {class:?}");
    }
}

#[test]
fn the_end_of_a_document_is_when_its_last_byte_was_there() {
    let (backend, name, answer) = PROTOCOLS.iter().find(|(_, name, _)| *name == "embeddings.json").unwrap();
    let mut timer = timer(ALL_KEPT);
    timer.set_response_format(
        Protocol::for_backend(*backend).response_format(name.ends_with(".json")),
        &Arc::default(),
    );
    timer.mark_sent(ms(1));
    timer.on_head(ms(2));
    assert_eq!(timer.phase(), TimeoutPhase::Stream);
    for (at, piece) in (10..).zip(answer.chunks(answer.len() / 5 + 1)) {
        timer.on_bytes(ms(at), piece);
    }
    let times = summary_of(timer, Ok(())).times;
    assert_eq!(
        (times.get(Milestone::FirstChunk), times.first_token(), times.last_token()),
        (Some(ms(10)), None, Some(ms(14)))
    );
}

#[test]
fn an_event_that_repeats_the_text_is_output_only_where_it_grew() {
    let event = |text: &str, tokens: u32| {
        format!("data: {{\"text\":\"{text}\",\"meta_info\":{{\"completion_tokens\":{tokens}}}}}\n\n")
    };
    let count = |stream: String| follow(Backend::Sglang, "", [stream.as_bytes()]).events.count;
    assert_eq!(count(event("", 1) + &event("", 2)), 0, "no text is no output");
    assert_eq!(count(event("a", 1) + &event("ab", 2) + &event("ab", 2)), 2);
    assert_eq!(count(event("a", 1) + &event("a", 2)), 2, "tokens whose text is held back");
    assert_eq!(count(event("a", 1) + &event("b", 2)), 2, "a server that sends only what is new");
}

#[test]
fn errors_of_every_protocol_are_told_in_words() {
    let sse = |json: &str| format!("data: {json}\n\n");
    let cases = [
        (
            Backend::OpenaiResponses,
            sse(r#"{"type":"error","code":"server_error","message":"no"}"#),
            "no (code server_error)",
        ),
        (
            Backend::OpenaiResponses,
            sse(r#"{"type":"error","error":{"message":"no","code":500}}"#),
            "no (code 500)",
        ),
        (
            Backend::OpenaiResponses,
            sse(
                r#"{"type":"response.failed","response":{"status":"failed","error":{"code":"x","message":"no"}}}"#,
            ),
            "no (code x)",
        ),
        (
            Backend::OpenaiResponses,
            sse(r#"{"type":"response.failed","response":{"status":"failed"}}"#),
            "the response is failed, without a reason",
        ),
        (Backend::OpenaiAudio, sse(r#"{"error":{"message":"no","code":400}}"#), "no (code 400)"),
        (Backend::Sglang, sse(r#"{"error":{"message":"no"}}"#), "no"),
        (Backend::Tgi, sse(r#"{"error":"no","error_type":"generation"}"#), "no"),
        (Backend::TensorrtLlm, sse(r#"{"error":"no"}"#), "no"),
        (
            Backend::LlamaCpp,
            sse(r#"{"error":{"code":500,"message":"no","type":"server_error"}}"#),
            "no (code 500)",
        ),
        (
            Backend::LlamaCpp,
            "error: {\"code\":500,\"message\":\"no\"}\n\n".into(),
            r#"{"code":500,"message":"no"}"#,
        ),
        (Backend::Ollama, "{\"error\":\"no\"}\n".into(), "no"),
    ];
    for (backend, answer, words) in cases {
        let expected = (FailureClass::ErrorEvent, words.to_owned());
        assert_eq!(failure(backend, "", &answer), expected, "{answer}");
    }
    let abort =
        sse(r#"{"text":"","meta_info":{"finish_reason":{"type":"abort","message":"no","status_code":500}}}"#);
    let aborted = (FailureClass::Aborted, "finish reason `abort`: no".to_owned());
    assert_eq!(failure(Backend::Sglang, "", &abort), aborted);
    for backend in Backend::ALL {
        let error = failure(backend, ".json", r#"{"error":{"message":"no","code":503}}"#);
        assert_eq!(error, (FailureClass::ErrorEvent, "no (code 503)".into()), "{}", backend.name());
    }
}

#[test]
fn what_is_not_of_the_protocol_is_shown() {
    for backend in Backend::ALL {
        let (class, detail) = failure(backend, ".json", "<html>busy</html>");
        assert_eq!(class, FailureClass::BrokenStream);
        assert!(detail.starts_with("answer is not the requested document"), "{detail}");
        assert!(detail.ends_with("<html>busy</html>"), "{detail}");
    }
    let (class, detail) = failure(Backend::Ollama, "", "{\"response\":\"a\"}\n{\"respon\n");
    assert_eq!(class, FailureClass::BrokenStream);
    assert!(detail.starts_with("line is not a chunk"), "{detail}");
    let (class, detail) = failure(Backend::Ollama, "", "{\"response\":\"a\"}\noops\n");
    assert_eq!(class, FailureClass::BrokenStream);
    assert!(detail.ends_with("it also sent: oops"), "{detail}");
}

#[test]
fn a_document_without_output_is_no_answer() {
    for backend in Backend::ALL {
        for body in ["{}", r#"{"data":[],"choices":[],"results":[],"text":"","output":[]}"#] {
            let (class, _) = failure(backend, ".json", body);
            assert_eq!(class, FailureClass::EmptyStream, "{}: {body}", backend.name());
        }
        assert_eq!(failure(backend, ".json", "").0, FailureClass::BrokenStream, "{}", backend.name());
    }
}

#[test]
fn backends_that_pool_read_documents_whatever_is_asked() {
    for backend in Backend::ALL.into_iter().filter(|backend| backend.task() == BackendTask::Pooling) {
        assert_eq!(Protocol::for_backend(backend).response_format(false).framing, StreamFraming::Document);
    }
}

proptest! {
    #[test]
    fn spoilt_answers_cut_anywhere_tell_the_same_story(
        which in 0..PROTOCOLS.len(),
        spoil in prop::collection::vec((any::<usize>(), any::<u8>()), 1..6),
        places in prop::collection::vec(any::<usize>(), 0..20),
    ) {
        let (backend, name, answer) = PROTOCOLS[which];
        let mut answer = answer.to_vec();
        for (place, byte) in spoil {
            let place = place % answer.len();
            answer[place] = byte;
        }
        let whole = follow(backend, name, [answer.as_slice()]);
        prop_assert_eq!(follow(backend, name, cut(&answer, &places)), whole);
    }
}
