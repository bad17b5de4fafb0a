//! Which URL is asked, and that it is said where it fails.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use crate::support::{Ended, Port, Program, Server};

const SMALL: &str = "--backend openai-chat --num-prompts 1 --random-input-len 4 --random-output-len 2 --skip-tokenizer-init \
                     --allow-invalid";

const ANSWER: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":\"length\"}]}\n\ndata: [DONE]\n\n";

/// The paths that were requested, in order.
type Asked = Arc<Mutex<Vec<String>>>;

/// A server that answers under every path, and records the paths.
fn server() -> (Server, Asked) {
    let asked = Asked::default();
    let router = Router::new().fallback(answer).with_state(Arc::clone(&asked));
    let server = Server::start(Port::take(), |listener, over| async move {
        tokio::select! {
            ended = async { axum::serve(listener, router).await } => ended,
            _ = over => Ok(()),
        }
    });
    (server, asked)
}

async fn answer(State(asked): State<Asked>, method: Method, uri: Uri) -> Response {
    asked.lock().unwrap().push(format!("{method} {uri}"));
    match (method, uri.path()) {
        (_, path) if path.ends_with("/models") => r#"{"data":[{"id":"m"}]}"#.into_response(),
        (Method::POST, path) if path.contains("missing") => {
            (StatusCode::NOT_FOUND, "<html><head><title>404 Not Found</title></head>").into_response()
        }
        (Method::POST, _) => ([("content-type", "text/event-stream")], ANSWER).into_response(),
        (_, "/metrics" | "/page") => "vllm:num_requests_running 0\n".into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

fn run(base_url: &str, words: &str) -> Ended {
    Program::new("run").words(SMALL).arg("--base-url").arg(base_url).words(words).end()
}

#[test]
fn every_part_of_the_api_is_asked_where_it_is() {
    for (path, endpoint, models) in [
        ("", "/v1/chat/completions", "/v1/models"),
        ("/v1", "/v1/chat/completions", "/v1/models"),
        ("/api/paas/v4", "/api/paas/v4/chat/completions", "/api/paas/v4/models"),
        ("/v1beta/openai", "/v1beta/openai/chat/completions", "/v1beta/openai/models"),
        ("/openai", "/openai/chat/completions", "/openai/models"),
        ("/v1/chat/completions", "/v1/chat/completions", "/v1/models"),
        ("/v1?api-version=2024", "/v1/chat/completions?api-version=2024", "/v1/models?api-version=2024"),
    ] {
        let (server, asked) = server();
        run(&format!("{}{path}", server.base_url()), "").well();
        let asked = asked.lock().unwrap().clone();
        let has = |line: String| assert!(asked.contains(&line), "{line} in {asked:?}");
        has(format!("POST {endpoint}"));
        has(format!("GET {models}"));
        has("GET /metrics".to_owned());
        let answered = asked.iter().filter(|line| **line == format!("POST {endpoint}"));
        assert_eq!(answered.count(), 1, "{asked:?}");
    }
}

#[test]
fn a_page_with_a_query_is_asked_as_it_is_given() {
    let (server, asked) = server();
    let page = format!("{}/page?token=T", server.base_url());
    run(&server.base_url(), &format!("--metrics-url {page}")).well();
    Program::new("watch --once --interval 10ms").arg(&page).end();
    let asked = asked.lock().unwrap();
    assert!(asked.iter().filter(|line| *line == "GET /page?token=T").count() >= 3, "{asked:?}");
    assert!(
        !asked.iter().any(|line| line.contains("page/metrics") || line.contains("T/metrics")),
        "{asked:?}"
    );
}

#[test]
fn a_failure_names_the_url_without_its_secrets() {
    let (server, _) = server();
    let url = format!("{}/missing/v4?api-version=1&key=hush", server.base_url());
    let shown = format!("{}/missing/v4/chat/completions?api-version=1&key=***", server.base_url());
    for words in ["--model m", "--model m --keep-going", "--model m --ready-check-timeout-sec 1"] {
        let ended = run(&url, words).with_code(1);
        assert!(ended.stderr.contains(&shown), "{words}: {}", ended.stderr);
        assert!(ended.stderr.contains("404 Not Found") && !ended.stderr.contains('<'), "{}", ended.stderr);
        assert!(!ended.stderr.contains("hush") && !ended.stdout.contains("hush"), "{}", ended.stderr);
    }
    let ended = run(&url, "--model m --keep-going").with_code(1);
    assert_eq!(ended.line("Asked"), format!("POST {shown}"));
}

#[test]
fn an_endpoint_of_another_backend_is_a_usage_error() {
    let ended = run("http://127.0.0.1:9/v1/completions", "").with_code(2);
    assert!(ended.stderr.contains("--base-url") && ended.stderr.contains("--backend"), "{}", ended.stderr);
}
