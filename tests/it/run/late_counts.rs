//! Tokens that only the server can count are counted when nothing is measured any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::stream;
use serde_json::{Value, json};

use crate::support::{Ended, Port, Program, Server, until};

/// Each answer has three events of two words: six tokens by this server's count.
const EVENTS: usize = 3;

const WORDS: &str = "--dataset-name random --random-input-len 4 --random-output-len 9 --no-server-metrics \
                     --result-filename r.json";

/// What the server saw.
#[derive(Default)]
struct Seen {
    in_flight: AtomicUsize,
    answers: AtomicUsize,
    /// The number of other requests while an answer was running. Each cuts the running answers.
    interruptions: AtomicUsize,
}

/// An answer that is running.
struct Answer {
    seen: Arc<Seen>,
    interruptions_before: usize,
    events: usize,
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.seen.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A server like llama-cpp-python's (`get_llama_proxy` in `llama_cpp/server/app.py`): it sends no usage, and ends a
/// running answer with `[DONE]` alone when another request comes.
fn server() -> (Server, Arc<Seen>) {
    let seen = Arc::<Seen>::default();
    let router = Router::new()
        .route("/v1/completions", post(complete))
        .route("/tokenize", post(tokenize))
        .fallback(get(interrupt))
        .with_state(Arc::clone(&seen));
    let server = Server::start(Port::take(), |listener, over| async move {
        tokio::select! {
            ended = async { axum::serve(listener, router).await } => ended,
            _ = over => Ok(()),
        }
    });
    (server, seen)
}

async fn interrupt(State(seen): State<Arc<Seen>>) -> Response {
    if seen.in_flight.load(Ordering::SeqCst) > 0 {
        seen.interruptions.fetch_add(1, Ordering::SeqCst);
    }
    axum::http::StatusCode::NOT_FOUND.into_response()
}

async fn tokenize(state: State<Arc<Seen>>, Json(body): Json<Value>) -> Json<Value> {
    interrupt(state).await;
    Json(json!({"count": body["prompt"].as_str().unwrap_or_default().split_whitespace().count()}))
}

async fn complete(State(seen): State<Arc<Seen>>) -> Response {
    seen.in_flight.fetch_add(1, Ordering::SeqCst);
    seen.answers.fetch_add(1, Ordering::SeqCst);
    let interruptions_before = seen.interruptions.load(Ordering::SeqCst);
    let answer = Answer { seen, interruptions_before, events: 0 };
    let body = stream::unfold(Some(answer), async |answer| {
        let mut answer = answer?;
        tokio::time::sleep(Duration::from_millis(10)).await;
        answer.events += 1;
        let is_cut = answer.seen.interruptions.load(Ordering::SeqCst) > answer.interruptions_before;
        let (event, rest) = match answer.events {
            _ if is_cut => ("data: [DONE]\n\n".to_owned(), None),
            events if events < EVENTS => (event("null"), Some(answer)),
            _ => (event("\"length\"") + "data: [DONE]\n\n", None),
        };
        Some((Ok::<_, std::io::Error>(Bytes::from(event)), rest))
    });
    ([("content-type", "text/event-stream")], Body::from_stream(body)).into_response()
}

fn event(finish: &str) -> String {
    format!("data: {{\"choices\":[{{\"index\":0,\"text\":\" two words\",\"finish_reason\":{finish}}}]}}\n\n")
}

/// Asserts that all answers of a run are whole and counted by the server.
fn assert_counted(ended: &Ended) {
    let result = ended.result();
    let completed = result["completed"].as_u64().unwrap();
    assert_eq!((&result["failed"], completed > 0), (&json!(0), true), "{}", ended.stdout);
    assert_eq!(result["total_output_tokens"], json!(2 * EVENTS as u64 * completed));
    let sources = &result["servegauge"]["metrics"]["output_tokens"]["requests_by_source"];
    assert_eq!(sources, &json!({"tokenizer": completed}));
}

#[test]
fn the_server_is_asked_nothing_while_an_answer_runs() {
    for words in [
        "--max-concurrency 1",
        "--max-concurrency 3 --num-warmups 3",
        "--request-rate 50 --num-warmups 2",
        "--request-rate 50 --probe-request-rate 20",
        "--max-concurrency 2 --save-detailed --ready-check-timeout-sec 5",
    ] {
        let (server, seen) = server();
        let ended = Program::run_against(&server.base_url(), WORDS)
            .words(words)
            .words("--num-prompts 6")
            .end()
            .well();
        assert_eq!(seen.interruptions.load(Ordering::SeqCst), 0, "{words}");
        assert_counted(&ended);
    }
}

#[test]
fn the_record_log_has_the_late_counts_too() {
    let (server, _) = server();
    let words = "--num-prompts 6 --max-concurrency 2 --save-detailed --record-log all.reclog";
    let ended = Program::run_against(&server.base_url(), WORDS).words(words).end().well();
    assert_counted(&ended);
    let recovered =
        Program::new("run --recover all.reclog --save-detailed --result-filename r.json --allow-invalid")
            .file("all.reclog", ended.bytes("all.reclog"))
            .end()
            .well();
    assert_counted(&recovered);
    for key in ["output_lens", "generated_texts", "mean_tpot_ms"] {
        assert_eq!(ended.result()[key], recovered.result()[key], "{key}");
    }
}

#[test]
fn an_interrupt_costs_no_counts() {
    let (server, seen) = server();
    let words = "--max-concurrency 2 --num-prompts 5000";
    let running = Program::run_against(&server.base_url(), WORDS).words(words).start();
    until("some answers", || seen.answers.load(Ordering::SeqCst) > 10);
    running.interrupt();
    let ended = running.end().with_code(130);
    assert_eq!(seen.interruptions.load(Ordering::SeqCst), 0);
    assert_counted(&ended);
}
