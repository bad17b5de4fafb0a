use super::*;
use crate::model::run_spec::Target;
use crate::testing::scripted_server::{Script, ScriptedServer, json, serve};

const TEXT: &str = "The quick brown fox";

fn control(stage: &ScriptedServer, backend: Backend) -> (AdminClient, Target) {
    let target = Target { backend, ..stage.target() };
    (AdminClient::new(&target).unwrap(), target)
}

/// The path and the body of each request.
fn asked(stage: &ScriptedServer) -> Vec<(String, Value)> {
    let parts = |request: String| {
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        let path = head.split(' ').nth(1).unwrap().to_owned();
        (path, serde_json::from_str(body).unwrap())
    };
    stage.requests().into_iter().map(parts).collect()
}

/// One server's behavior: the chosen backend, the responses in order (`None` is a 404), the path that returns the
/// count, the body sent to that path for `TEXT`, and the count with and without special tokens.
type Case = (Backend, Vec<Option<&'static str>>, &'static str, Value, (u32, u32));

/// Responses of a server that knows none of the first `unknown` paths.
fn after(unknown: usize, answers: &[&'static str]) -> Vec<Option<&'static str>> {
    let not_found = std::iter::repeat_n(None, unknown);
    not_found.chain(answers.iter().copied().map(Some)).collect()
}

/// The requests and responses that each project documents (checked November 2026): vLLM
/// `docs/serving/openai_compatible_server` and SGLang `entrypoints/openai/serving_tokenize.py` (count, tokens,
/// max_model_len); llama.cpp `tools/server/README.md` (tokens, plain or with pieces); TGI `docs/openapi.json`
/// `SimpleToken`; TEI `router/src/http/types.rs` `TokenizeResponse(Vec<Vec<SimpleToken>>)`; llama-cpp-python
/// `llama_cpp/server/app.py` `/extras/tokenize/count`; LMDeploy `serve/openai/protocol.py` `EncodeResponse`; TabbyAPI
/// `/v1/token/encode`; text-generation-webui `/v1/internal/token-count`; KoboldCpp `/api/extra/tokencount`.
fn cases() -> Vec<Case> {
    [at_tokenize(), elsewhere(), uncommon()].concat()
}

/// The servers whose path is `/tokenize`.
fn at_tokenize() -> Vec<Case> {
    let none = || None;
    vec![
        (
            Backend::Vllm,
            vec![Some(r#"{"count":5,"max_model_len":2048,"tokens":[1027,1,2,3,4]}"#)],
            "/tokenize",
            json!({ "model": "tiny", "prompt": TEXT, "add_special_tokens": false }),
            (5, 5),
        ),
        (
            Backend::LlamaCpp,
            vec![Some(r#"{"tokens":[1,22172,3186]}"#)],
            "/tokenize",
            json!({ "content": TEXT, "add_special": false }),
            (3, 3),
        ),
        // llama.cpp also answers vLLM's request, with a count of zero.
        (
            Backend::Openai,
            vec![
                Some(r#"{"tokens":[]}"#),
                Some(r#"{"tokens":[{"id":1,"piece":"The"},{"id":2,"piece":" q"}]}"#),
            ],
            "/tokenize",
            json!({ "content": TEXT, "add_special": false }),
            (2, 2),
        ),
        // An older TGI always adds <s>, which the empty text shows.
        (
            Backend::Tgi,
            vec![
                Some(
                    r#"[{"id":1,"text":"<s>","start":0,"stop":0},{"id":22172,"text":" hello","start":0,"stop":5}]"#,
                ),
                Some(r#"[{"id":1,"text":"<s>","start":0,"stop":0}]"#),
                Some(r#"[{"id":1,"text":"<s>"},{"id":5,"text":"The"},{"id":6,"text":" quick"}]"#),
            ],
            "/tokenize",
            json!({ "inputs": TEXT, "add_special_tokens": false }),
            (3, 2),
        ),
        // TEI returns one list per text, and rejects the empty text.
        (
            Backend::OpenaiEmbeddings,
            vec![
                none(),
                none(),
                Some(
                    r#"[[{"id":101,"text":"[CLS]","special":true},{"id":7592,"text":"hello","special":false}]]"#,
                ),
                none(),
                Some(r#"[[{"id":101},{"id":7592},{"id":7593}]]"#),
            ],
            "/tokenize",
            json!({ "inputs": TEXT, "add_special_tokens": false }),
            (3, 3),
        ),
    ]
}

/// The servers that have a path of their own.
fn elsewhere() -> Vec<Case> {
    vec![
        (
            Backend::Sglang,
            after(3, &[r#"{"tokens":[[1,2]],"count":[2],"max_model_len":-1}"#]),
            "/v1/tokenize",
            json!({ "model": "tiny", "prompt": TEXT, "add_special_tokens": false }),
            (2, 2),
        ),
        (
            Backend::Openai,
            after(4, &[r#"{"count":4}"#, r#"{"count":1}"#, r#"{"count":6}"#]),
            "/extras/tokenize/count",
            json!({ "model": "tiny", "input": TEXT }),
            (6, 5),
        ),
        (
            Backend::OpenaiChat,
            after(5, &[r#"{"input_ids":[1,2,3],"length":3}"#]),
            "/v1/encode",
            json!({ "input": TEXT, "do_preprocess": false, "add_bos": false }),
            (3, 3),
        ),
    ]
}

/// The servers that are made for a single user.
fn uncommon() -> Vec<Case> {
    vec![
        (
            Backend::Openai,
            after(6, &[r#"{"tokens":[1,2],"length":2}"#]),
            "/v1/token/encode",
            json!({ "text": TEXT, "add_bos_token": false }),
            (2, 2),
        ),
        (
            Backend::Openai,
            after(7, &[r#"{"length":9}"#, r#"{"length":0}"#, r#"{"length":9}"#]),
            "/v1/internal/token-count",
            json!({ "text": TEXT }),
            (9, 9),
        ),
        (
            Backend::Openai,
            after(8, &[r#"{"value":7,"ids":[1,2]}"#, r#"{"value":1,"ids":[1]}"#, r#"{"value":8}"#]),
            "/api/extra/tokencount",
            json!({ "prompt": TEXT, "special": false }),
            (8, 7),
        ),
    ]
}

#[tokio::test]
async fn every_servers_way_to_count_is_found() {
    for (backend, answers, path, body, (with, without)) in cases() {
        let answer = |answer: &Option<&str>| match answer {
            Some(body) => json("200 OK", body),
            None => json("404 Not Found", r#"{"detail":"Not Found"}"#),
        };
        // The server repeats the last response for every request about the text.
        let again = answer(answers.last().unwrap());
        let answers = answers.iter().map(answer).chain([again.clone(), again]).collect();
        let stage = serve(vec![Script::Answers(answers)]);
        let (control, target) = control(&stage, backend);
        let counter = control.token_counter(backend, target.model_field()).await.unwrap();
        assert_eq!(counter.path(), path);
        assert_eq!(control.count_tokens(&counter, TEXT, false).await.unwrap(), without, "{path}");
        assert_eq!(control.count_tokens(&counter, TEXT, true).await.unwrap(), with, "{path}");
        let asked = asked(&stage);
        assert!(asked.contains(&(path.to_owned(), body)), "{asked:?}");
    }
}

#[tokio::test]
async fn a_server_without_a_tokenizer_is_asked_in_every_way_once() {
    let not_found = json("404 Not Found", r#"{"detail":"Not Found"}"#);
    let stage = serve(vec![Script::Answers(vec![not_found; TOKENIZE_APIS.len()])]);
    let (control, target) = control(&stage, Backend::Ollama);
    let error = control.token_counter(Backend::Ollama, target.model_field()).await.unwrap_err();
    assert!(error.contains("/tokenize: HTTP 404") && error.contains("/extras/tokenize/count"), "{error}");
    assert_eq!(stage.requests().len(), TOKENIZE_APIS.len());
}

#[test]
fn what_counts_nothing_is_no_count() {
    for (answer, expected) in [
        (json!({ "count": 3 }), Some(3)),
        (json!([1, 2]), Some(2)),
        (json!([[1, 2, 3]]), Some(3)),
        (json!(12), Some(12)),
        (json!({ "tokens": [1] }), Some(1)),
        (json!({ "error": "no" }), None),
        (json!({ "tokens": "3" }), None),
        (json!({ "count": -1 }), None),
        (json!({ "count": "x" }), None),
        (json!("x"), None),
        (json!(null), None),
    ] {
        assert_eq!(parse_count(&answer), expected, "{answer}");
    }
}
