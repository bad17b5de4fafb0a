//! The protocols of other servers: whole exchanges, read the same way for all.

use serde_json::{Value, json};
use servegauge::sim::{FaultInjection, FaultKind, LineEnding, OutputSpec, SimSpec};

use super::harness::*;

/// Five tokens where a token is four bytes.
const PROMPT: &str = "The quick brown fox";

/// A protocol: how to ask for a number of tokens, and how to read its events.
struct Protocol {
    path: &'static str,
    ask: fn(usize) -> Value,
    /// Whether events begin with `data:`; else each is a line.
    events: bool,
    /// The new text of an event.
    text: fn(&Value) -> Option<&str>,
    /// Prompt tokens and output tokens of the last event; `None` where the protocol counts nothing.
    count: Option<fn(&Value) -> [u64; 2]>,
    /// Why it ended, in the last event.
    reason: Option<fn(&Value) -> &Value>,
    /// The reason that is the limit of tokens.
    limit: &'static str,
    /// The template's tokens around a prompt in a conversation.
    template: u64,
}

const PROTOCOLS: [Protocol; 6] = [
    Protocol {
        path: "/generate",
        ask: |n| json!({ "text": PROMPT, "sampling_params": { "max_new_tokens": n, "ignore_eos": true }, "stream": true }),
        events: true,
        text: |event| event["text"].as_str(),
        count: Some(|event| count(&event["meta_info"], ["prompt_tokens", "completion_tokens"])),
        reason: Some(|event| &event["meta_info"]["finish_reason"]["type"]),
        limit: "length",
        template: 0,
    },
    Protocol {
        path: "/generate_stream",
        ask: |n| json!({ "inputs": PROMPT, "parameters": { "max_new_tokens": n, "ignore_eos_token": true } }),
        events: true,
        text: |event| event["token"]["text"].as_str(),
        count: Some(|event| count(&event["details"], ["input_length", "generated_tokens"])),
        reason: Some(|event| &event["details"]["finish_reason"]),
        limit: "length",
        template: 0,
    },
    Protocol {
        path: "/v2/models/ensemble/generate_stream",
        ask: |n| json!({ "text_input": PROMPT, "max_tokens": n, "min_length": n, "stream": true }),
        events: true,
        text: |event| event["text_output"].as_str(),
        count: None,
        reason: None,
        limit: "",
        template: 0,
    },
    Protocol {
        path: "/completion",
        ask: |n| json!({ "prompt": PROMPT, "n_predict": n, "ignore_eos": true, "stream": true }),
        events: true,
        text: |event| event["content"].as_str(),
        count: Some(|event| count(event, ["tokens_evaluated", "tokens_predicted"])),
        reason: Some(|event| &event["stop_type"]),
        limit: "limit",
        template: 0,
    },
    Protocol {
        path: "/api/generate",
        ask: |n| json!({ "model": "tiny:latest", "prompt": PROMPT, "options": { "num_predict": n } }),
        events: false,
        text: |event| event["response"].as_str(),
        count: Some(|event| count(event, ["prompt_eval_count", "eval_count"])),
        reason: Some(|event| &event["done_reason"]),
        limit: "length",
        // `user: `, a line end and `assistant:`.
        template: 4,
    },
    Protocol {
        path: "/api/chat",
        ask: |n| {
            json!({
                "model": "tiny", "messages": [{ "role": "user", "content": PROMPT }], "options": { "num_predict": n },
            })
        },
        events: false,
        text: |event| event["message"]["content"].as_str(),
        count: Some(|event| count(event, ["prompt_eval_count", "eval_count"])),
        reason: Some(|event| &event["done_reason"]),
        limit: "length",
        template: 4,
    },
];

fn count(value: &Value, names: [&str; 2]) -> [u64; 2] {
    names.map(|name| value[name].as_u64().unwrap_or_else(|| panic!("no {name} in {value}")))
}

/// A server whose answers are as long as they may be.
fn endless() -> SimSpec {
    SimSpec { output: OutputSpec { eos_mean: None, ..OutputSpec::default() }, ..tiny() }
}

impl Protocol {
    async fn stream(&self, sim: &Sim, tokens: usize) -> Vec<Value> {
        let response = sim.post(self.path, &(self.ask)(tokens)).await;
        assert_eq!(response.status(), 200, "{}", self.path);
        let media_type = response.headers()["content-type"].to_str().unwrap().to_owned();
        let expected = if self.events { "text/event-stream" } else { "application/x-ndjson" };
        assert!(media_type.starts_with(expected), "{}: {media_type}", self.path);
        self.parse(&response.text().await.unwrap())
    }

    fn parse(&self, body: &str) -> Vec<Value> {
        let (cut, prefix) = if self.events { ("\n\n", "data:") } else { ("\n", "") };
        let events = body.split(cut).filter(|event| !event.is_empty());
        let data = events.map(|event| event.strip_prefix(prefix).expect(event).trim_start());
        data.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
    }

    /// The same request, for an answer in one piece.
    fn whole(&self) -> (String, Value) {
        let mut body = (self.ask)(8);
        body["stream"] = false.into();
        (self.path.replace("_stream", ""), body)
    }
}

#[tokio::test]
async fn every_protocol_streams_a_text_for_each_token_and_counts_them_at_the_end() {
    let sim = Sim::start(endless()).await;
    for protocol in &PROTOCOLS {
        let path = protocol.path;
        let events = protocol.stream(&sim, 8).await;
        let texts: Vec<_> = events
            .iter()
            .filter_map(|event| (protocol.text)(event))
            .filter(|text| !text.is_empty())
            .collect();
        assert_eq!(texts.len(), 8, "{path}: {events:?}");
        let last = events.last().unwrap();
        if let Some(count) = protocol.count {
            assert_eq!(count(last), [5 + protocol.template, 8], "{path}");
        }
        if let Some(reason) = protocol.reason {
            assert_eq!(reason(last), protocol.limit, "{path}");
        }
    }
    sim.stop().await;
}

#[tokio::test]
async fn every_protocol_gives_the_same_text_in_one_piece() {
    let sim = Sim::start(endless()).await;
    for protocol in &PROTOCOLS {
        let (path, body) = protocol.whole();
        let streamed = protocol.stream(&sim, 8).await;
        let mut texts = streamed.iter().filter_map(|event| (protocol.text)(event));
        // SGLang's events repeat all that came before.
        let streamed = if path == "/generate" && protocol.path == path {
            texts.next_back().unwrap().to_owned()
        } else {
            texts.collect::<String>()
        };
        let whole = sim.answer(&path, &body).await;
        let text = whole["generated_text"].as_str().or((protocol.text)(&whole)).unwrap();
        assert_eq!(text, streamed, "{path}");
        assert_eq!(text.split_whitespace().count(), 8, "{path}");
        if let Some(count) = protocol.count {
            assert_eq!(count(&whole), [5 + protocol.template, 8], "{path}: {whole}");
        }
    }
    sim.stop().await;
}

#[tokio::test]
async fn sglang_repeats_the_text_and_ends_with_done() {
    let sim = Sim::start(endless()).await;
    let request =
        json!({ "input_ids": [1, 2, 3], "sampling_params": { "max_new_tokens": 3 }, "stream": true });
    let events = sim.events("/generate", &request).await;
    let [first, second, third, done] = events.as_slice() else { panic!("{events:?}") };
    let texts: Vec<Value> = [first, second, third]
        .map(|event| serde_json::from_str::<Value>(event).unwrap()["text"].clone())
        .into();
    assert!(texts.windows(2).all(|pair| pair[1].as_str().unwrap().starts_with(pair[0].as_str().unwrap())));
    assert!(first.contains("\"finish_reason\":null") && first.contains("\"completion_tokens\":1"), "{first}");
    assert!(third.contains("\"prompt_tokens\":3"), "{third}");
    assert_eq!(done, "[DONE]");
    sim.stop().await;
}

#[tokio::test]
async fn tgi_tells_the_whole_text_at_the_end_and_the_end_of_the_sequence_as_a_special_token() {
    let sim =
        Sim::start(SimSpec { output: OutputSpec { eos_mean: Some(4.0), ..OutputSpec::default() }, ..tiny() })
            .await;
    let request = json!({ "inputs": PROMPT, "parameters": { "max_new_tokens": 1000 } });
    let body = sim.post("/generate_stream", &request).await.text().await.unwrap();
    assert!(body.starts_with("data:{"), "no space after the colon: {body}");
    let events = PROTOCOLS[1].parse(&body);
    let (last, before) = events.split_last().unwrap();
    let words: String = before.iter().map(|event| event["token"]["text"].as_str().unwrap()).collect();
    assert_eq!(last["generated_text"], words);
    assert_eq!(last["token"]["special"], true);
    assert_eq!(last["details"]["finish_reason"], "eos_token");
    assert_eq!(last["details"]["generated_tokens"], events.len());
    assert!(before.iter().all(|event| event["generated_text"].is_null() && event["details"].is_null()));
    sim.stop().await;
}

#[tokio::test]
async fn ollama_streams_unless_told_not_to_and_times_itself_in_nanoseconds() {
    let sim = Sim::start(endless()).await;
    let events = PROTOCOLS[4].stream(&sim, 3).await;
    let (last, before) = events.split_last().unwrap();
    assert!(before.iter().all(|event| event["done"] == false));
    assert_eq!((&last["done"], &last["response"]), (&json!(true), &json!("")));
    let number = |name: &str| last[name].as_u64().unwrap();
    assert_eq!(number("total_duration"), number("prompt_eval_duration") + number("eval_duration"));
    sim.stop().await;
}

#[tokio::test]
async fn usage_can_be_kept_back_in_every_protocol() {
    let output = OutputSpec { eos_mean: None, usage: false, ..OutputSpec::default() };
    let sim = Sim::start(SimSpec { output, ..tiny() }).await;
    for protocol in &PROTOCOLS {
        let (path, body) = protocol.whole();
        for text in [
            format!("{:?}", protocol.stream(&sim, 3).await),
            sim.post(&path, &body).await.text().await.unwrap(),
        ] {
            for name in ["completion_tokens", "generated_tokens", "tokens_predicted", "eval_count"] {
                assert!(!text.contains(name), "{path}: {text}");
            }
        }
    }
    sim.stop().await;
}

#[tokio::test]
async fn crlf_is_kept_to_in_every_event_stream() {
    let output = OutputSpec { line_ending: LineEnding::Crlf, ..OutputSpec::default() };
    let sim = Sim::start(SimSpec { output, ..tiny() }).await;
    for protocol in PROTOCOLS.iter().filter(|protocol| protocol.events) {
        let body = sim.post(protocol.path, &(protocol.ask)(3)).await.text().await.unwrap();
        assert_eq!(body.matches("\r\n").count(), body.matches('\n').count(), "{}", protocol.path);
    }
    sim.stop().await;
}

/// Whether an error has the form it should have.
type Fits = fn(&Value) -> bool;

#[tokio::test]
async fn malformed_requests_are_refused_in_each_protocols_own_words() {
    let sim = Sim::start(tiny()).await;
    let flat: Fits = |error| error["error"].is_string();
    let within: Fits = |error| error["error"]["message"].is_string();
    let cases: [(&str, u16, Fits); 7] = [
        ("/generate", 400, within),
        ("/generate_stream", 422, |error| error["error_type"] == "validation"),
        ("/v2/models/ensemble/generate_stream", 400, flat),
        ("/completion", 400, |error| error["error"]["type"] == "invalid_request_error"),
        ("/api/generate", 400, flat),
        ("/api/chat", 400, flat),
        ("/v1/responses", 400, |error| error["error"]["code"] == 400),
    ];
    for (path, status, fits) in cases {
        let wrong = [
            "",
            "[]",
            "{",
            "{}",
            "nonsense",
            r#"{"model":"tiny","prompt":7,"text":7,"inputs":7,"text_input":7,"messages":7,"input":7}"#,
            r#"{"model":"tiny","prompt":"","text":"","inputs":"","text_input":"","messages":[],"input":[]}"#,
        ];
        for body in wrong {
            let sent = sim.client.post(sim.url(path)).header("content-type", "application/json").body(body);
            let response = sent.send().await.unwrap();
            assert_eq!(response.status(), status, "{path}: {body}");
            let error: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
            assert!(fits(&error), "{path}: {error}");
        }
    }
    sim.stop().await;
}

#[tokio::test]
async fn models_that_are_not_served_are_refused_in_each_protocols_own_way() {
    let sim = Sim::start(tiny()).await;
    for (path, body, status) in [
        ("/v1/responses", json!({ "model": "nope", "input": "x" }), 404),
        ("/api/generate", json!({ "model": "nope", "prompt": "x" }), 404),
        ("/v2/models/nope/generate", json!({ "text_input": "x" }), 400),
        ("/v1/embeddings", json!({ "model": "nope", "input": "x" }), 404),
    ] {
        assert_eq!(sim.post(path, &body).await.status(), status, "{path}");
    }
    sim.stop().await;
}

#[tokio::test]
async fn faults_strike_in_every_protocol() {
    for protocol in &PROTOCOLS {
        let path = protocol.path;
        let faulty = async |kind| {
            let sim =
                Sim::start(SimSpec { faults: FaultInjection { rate: 1.0, kinds: vec![kind] }, ..endless() })
                    .await;
            let body = sim.post(path, &(protocol.ask)(8)).await.text().await;
            sim.stop().await;
            body
        };
        assert!(faulty(FaultKind::Disconnect).await.is_err(), "{path}");
        assert!(faulty(FaultKind::ErrorEvent).await.unwrap().contains("\"error\":"), "{path}");
        let events = protocol.parse(&faulty(FaultKind::Empty).await.unwrap());
        let texts = events.iter().filter_map(|event| (protocol.text)(event));
        assert_eq!(texts.collect::<String>(), "", "{path}");
        let events = protocol.parse(&faulty(FaultKind::NoTerminal).await.unwrap());
        assert_eq!(events.len(), 4, "{path}: half of the tokens");
    }
}
