use serde_json::{Value, json};

use super::*;
use crate::model::run_spec::Backend;

fn template(backend: Backend, sampling: &Sampling) -> RequestTemplate {
    RequestTemplate::new(Protocol::for_backend(backend), "tiny", sampling)
}

fn of(backend: Backend, content: Content, sampling: &Sampling) -> Value {
    serde_json::from_slice(&template(backend, sampling).body(&Request::of(content, 3, 7))).unwrap()
}

fn body(backend: Backend, sampling: &Sampling) -> Value {
    of(backend, Content::Text("Hi \"you\"".into()), sampling)
}

fn texts<const N: usize>(texts: [&str; N]) -> std::sync::Arc<[std::sync::Arc<str>]> {
    texts.into_iter().map(Into::into).collect()
}

/// Sampling settings with a temperature of zero, a repetition penalty, log probabilities and `ignore_eos`.
fn sampling() -> Sampling {
    Sampling {
        ignore_eos: true,
        temperature: Some(0.0),
        top_k: Some(-1),
        repetition_penalty: Some(1.5),
        logprobs: Some(2),
        ..Sampling::default()
    }
}

#[test]
fn a_completions_body_asks_for_a_stream_with_usage() {
    let expected = json!({
        "model": "tiny", "prompt": "Hi \"you\"", "max_tokens": 7, "stream": true,
        "stream_options": { "include_usage": true },
    });
    for backend in [Backend::Openai, Backend::Vllm] {
        assert_eq!(body(backend, &Sampling::default()), expected);
    }
}

#[test]
fn every_backend_has_its_own_names_for_the_same() {
    let prompt = "Hi \"you\"";
    let message = json!([{ "role": "user", "content": prompt }]);
    let cases = [
        (
            Backend::OpenaiChat,
            json!({ "model": "tiny", "messages": message, "max_completion_tokens": 7, "max_tokens": 7, "stream": true,
                "stream_options": { "include_usage": true } }),
        ),
        (
            Backend::OpenaiResponses,
            json!({ "model": "tiny", "input": prompt, "max_output_tokens": 7, "stream": true, "store": false }),
        ),
        (
            Backend::OpenaiEmbeddings,
            json!({ "model": "tiny", "input": prompt, "truncate_prompt_tokens": -1 }),
        ),
        (
            Backend::OpenaiEmbeddingsChat,
            json!({ "model": "tiny", "messages": message, "truncate_prompt_tokens": -1 }),
        ),
        (Backend::VllmPooling, json!({ "model": "tiny", "input": prompt, "truncate_prompt_tokens": -1 })),
        (Backend::InfinityEmbeddings, json!({ "model": "tiny", "input": prompt })),
        (
            Backend::Sglang,
            json!({ "text": prompt, "sampling_params": { "max_new_tokens": 7 }, "stream": true }),
        ),
        (Backend::Tgi, json!({ "inputs": prompt, "parameters": { "max_new_tokens": 7, "details": true } })),
        (Backend::TensorrtLlm, json!({ "text_input": prompt, "max_tokens": 7, "stream": true })),
        (Backend::LlamaCpp, json!({ "prompt": prompt, "n_predict": 7, "stream": true })),
        (
            Backend::Ollama,
            json!({ "model": "tiny", "prompt": prompt, "options": { "num_predict": 7 }, "stream": true }),
        ),
    ];
    for (backend, expected) in cases {
        assert_eq!(body(backend, &Sampling::default()), expected, "{}", backend.name());
    }
}

#[test]
fn sampling_is_said_in_the_words_of_each_backend() {
    let openai = json!({ "ignore_eos": true, "temperature": 0.0, "top_k": -1, "repetition_penalty": 1.5,
        "logprobs": 2 });
    let fields = |backend, expected: Value| {
        let body = body(backend, &sampling());
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&body[name], value, "{}: {name} in {body}", backend.name());
        }
    };
    fields(Backend::Openai, openai);
    fields(Backend::OpenaiChat, json!({ "temperature": 0.0, "logprobs": true, "top_logprobs": 2 }));
    fields(Backend::OpenaiResponses, json!({ "temperature": 0.0, "top_logprobs": 2 }));
    fields(
        Backend::Sglang,
        json!({ "return_logprob": true, "top_logprobs_num": 2, "sampling_params": {
            "ignore_eos": true, "temperature": 0.0, "top_k": -1, "repetition_penalty": 1.5, "max_new_tokens": 7,
        } }),
    );
    fields(
        Backend::Tgi,
        json!({ "parameters": { "ignore_eos_token": true, "do_sample": false, "top_k": -1, "top_n_tokens": 2,
            "repetition_penalty": 1.5, "max_new_tokens": 7, "details": true } }),
    );
    fields(Backend::TensorrtLlm, json!({ "min_length": 7, "ignore_eos": null, "repetition_penalty": 1.5 }));
    fields(Backend::LlamaCpp, json!({ "ignore_eos": true, "repeat_penalty": 1.5, "n_probs": 2 }));
    let options = json!({ "temperature": 0.0, "top_k": -1, "repeat_penalty": 1.5, "num_predict": 7 });
    let found = body(Backend::Ollama, &sampling());
    for (name, value) in options.as_object().unwrap() {
        assert_eq!(&found["options"][name], value, "{name}");
    }
}

#[test]
fn what_pools_is_told_nothing_of_sampling() {
    let plain = body(Backend::VllmPooling, &Sampling::default());
    assert_eq!(body(Backend::VllmPooling, &sampling()), plain);
}

#[test]
fn sampling_is_sent_only_where_set() {
    let body = body(Backend::Openai, &sampling());
    assert_eq!((body.get("top_p"), body.get("use_beam_search")), (None, None));
    let beams = Sampling { use_beam_search: true, ..Sampling::default() };
    assert_eq!(self::body(Backend::Openai, &beams)["use_beam_search"], true);
}

#[test]
fn an_answer_in_one_piece_is_asked_for_without_a_stream() {
    let whole = Sampling { whole: true, ..Sampling::default() };
    for backend in Backend::ALL.into_iter().filter(|backend| backend.task() == BackendTask::Generation) {
        if backend != Backend::OpenaiAudio {
            assert_ne!(body(backend, &whole)["stream"], true, "{}", backend.name());
        }
    }
    assert_eq!(body(Backend::OpenaiChat, &whole).get("stream_options"), None);
    assert_eq!(Protocol::for_backend(Backend::Tgi).path(true), "/generate");
}

#[test]
fn every_content_goes_where_it_is_understood() {
    let no_sampling = Sampling::default();
    let ids = || Content::TokenIds([1, 2].as_slice().into());
    let batch = || Content::Batch(texts(["a", "b"]));
    let messages = || Content::Messages([json!({ "role": "system", "content": "s" })].as_slice().into());
    let cases = [
        (Backend::Openai, ids(), "prompt", json!([1, 2])),
        (Backend::LlamaCpp, ids(), "prompt", json!([1, 2])),
        (Backend::Sglang, ids(), "input_ids", json!([1, 2])),
        (Backend::OpenaiEmbeddings, ids(), "input", json!([1, 2])),
        (Backend::OpenaiEmbeddings, batch(), "input", json!(["a", "b"])),
        (Backend::InfinityEmbeddings, batch(), "input", json!(["a", "b"])),
        (Backend::VllmPooling, batch(), "input", json!(["a", "b"])),
        (Backend::VllmPooling, messages(), "messages", json!([{ "role": "system", "content": "s" }])),
        (Backend::OpenaiResponses, messages(), "input", json!([{ "role": "system", "content": "s" }])),
        (Backend::Ollama, messages(), "messages", json!([{ "role": "system", "content": "s" }])),
    ];
    for (backend, content, field, expected) in cases {
        assert_eq!(of(backend, content, &no_sampling)[field], expected, "{}", backend.name());
    }
    let rerank = Content::Rerank { query: "q".into(), documents: texts(["a", "b"]) };
    let body = of(Backend::VllmRerank, rerank.clone(), &no_sampling);
    assert_eq!((&body["query"], &body["documents"]), (&json!("q"), &json!(["a", "b"])));
    for backend in Backend::ALL.into_iter().filter(|backend| *backend != Backend::VllmRerank) {
        let what = Protocol::for_backend(backend).unsupported_feature(&Request::of(rerank.clone(), 1, 1));
        assert_eq!(what, Some("queries with documents"), "{}", backend.name());
    }
}

#[test]
fn a_picture_is_an_input_of_its_own_modality() {
    let parts =
        json!([{ "type": "text", "text": "x" }, { "type": "image_url", "image_url": { "url": "data:i" } }]);
    let messages = Content::Messages([json!({ "role": "user", "content": parts })].as_slice().into());
    let body = of(Backend::InfinityEmbeddings, messages, &Sampling::default());
    assert_eq!(body, json!({ "model": "tiny", "input": "data:i", "modality": "image" }));
}

#[test]
fn a_recording_is_a_form_with_the_fields_beside_it() {
    let wav: std::sync::Arc<[u8]> = b"RIFF..".as_slice().into();
    let body = |prompt: &str| {
        let content = Content::Audio { wav: wav.clone(), prompt: prompt.into() };
        let sampling = Sampling { temperature: Some(0.5), ..Sampling::default() };
        let form = template(Backend::OpenaiAudio, &sampling).body(&Request::of(content, 0, 7));
        String::from_utf8(form.to_vec()).unwrap()
    };
    let form = body("names");
    let field = |name: &str, value: &str| format!("name=\"{name}\"\r\n\r\n{value}\r\n");
    for (name, value) in [
        ("model", "tiny"),
        ("language", "en"),
        ("stream", "true"),
        ("stream_include_usage", "true"),
        ("max_completion_tokens", "7"),
        ("temperature", "0.5"),
        ("prompt", "names"),
    ] {
        assert!(form.contains(&field(name, value)), "{name} in {form}");
    }
    assert!(form.contains("filename=\"audio.wav\"\r\nContent-Type: audio/wav\r\n\r\nRIFF..\r\n"), "{form}");
    assert!(!body("").contains("name=\"prompt\""));
}

#[test]
fn the_extra_body_wins_over_every_field() {
    let extra = json!({ "stream_options": null, "max_tokens": 1, "prompt": "other", "n": 2 });
    let Value::Object(extra_body) = extra.clone() else { unreachable!() };
    let body = body(Backend::Openai, &Sampling { extra_body, ..Sampling::default() });
    for (name, value) in extra.as_object().unwrap() {
        assert_eq!(&body[name], value, "{name}");
    }
}

#[test]
fn a_null_in_the_extra_body_takes_a_field_out() {
    let Value::Object(extra_body) = json!({ "max_tokens": null, "stop": null }) else { unreachable!() };
    let body = body(Backend::OpenaiChat, &Sampling { extra_body, ..Sampling::default() });
    assert_eq!((body.get("max_tokens"), &body["max_completion_tokens"]), (None, &json!(7)));
    assert_eq!(body.get("stop"), Some(&Value::Null), "one that is not there is sent as it is given");
}

#[test]
fn extra_sampling_fields_stand_beside_the_others() {
    let Value::Object(extra_body) = json!({ "sampling_params": { "temperature": 2, "seed": 5 } }) else {
        unreachable!()
    };
    let sampling = Sampling { temperature: Some(1.0), extra_body, ..Sampling::default() };
    let expected = json!({ "temperature": 2, "seed": 5, "max_new_tokens": 7 });
    assert_eq!(body(Backend::Sglang, &sampling)["sampling_params"], expected);
}

#[test]
fn what_is_a_requests_own_comes_last() {
    let Value::Object(extra_body) = json!({ "n": 2 }) else { unreachable!() };
    let sampling = Sampling { extra_body, ..Sampling::default() };
    let request = Request::text("Hi", 1, 1).with(|own| {
        own.model = Some("sql".into());
        own.body.insert("n".into(), 3.into());
    });
    let own =
        |backend| -> Value { serde_json::from_slice(&template(backend, &sampling).body(&request)).unwrap() };
    assert_eq!((&own(Backend::Openai)["model"], &own(Backend::Openai)["n"]), (&json!("sql"), &json!(3)));
    assert_eq!(
        (&own(Backend::Sglang)["lora_path"], own(Backend::Sglang).get("model")),
        (&json!("sql"), None)
    );
    assert_eq!(
        Protocol::for_backend(Backend::LlamaCpp).unsupported_feature(&request),
        Some("the name of an adapter")
    );
}
