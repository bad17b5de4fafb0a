//! Embeddings and scores.

use serde_json::{Value, json};
use servegauge::sim::{FaultInjection, FaultKind, OutputSpec, SimSpec};

use super::harness::*;

fn embeddings(answer: &Value) -> Vec<&Vec<Value>> {
    answer["data"].as_array().unwrap().iter().map(|one| one["embedding"].as_array().unwrap()).collect()
}

#[tokio::test]
async fn every_form_of_input_gets_an_embedding_for_each_of_its_prompts() {
    let sim = Sim::start(tiny()).await;
    for (input, prompts, tokens) in [
        (json!("abcdefgh"), 1, 2),
        (json!(["abcdefgh", "abcd", "x"]), 3, 4),
        (json!([5, 6, 7]), 1, 3),
        (json!([[5, 6, 7], [8]]), 2, 4),
    ] {
        for path in ["/v1/embeddings", "/embeddings"] {
            let answer = sim.answer(path, &json!({ "model": "tiny", "input": input })).await;
            let embeddings = embeddings(&answer);
            assert_eq!(embeddings.len(), prompts, "{input}");
            assert!(embeddings.iter().all(|embedding| embedding.len() == 1024));
            assert_eq!(
                (&answer["object"], &answer["usage"]["prompt_tokens"]),
                (&json!("list"), &json!(tokens))
            );
        }
    }
    let messages = json!([{ "role": "user", "content": "Hi" }]);
    let answer = sim.answer("/v1/embeddings", &json!({ "model": "tiny", "messages": messages })).await;
    assert_eq!(answer["usage"]["prompt_tokens"], 5);
    sim.stop().await;
}

#[tokio::test]
async fn embeddings_are_unit_vectors_that_depend_on_the_text_only() {
    let output = OutputSpec { embedding_size: 64, ..OutputSpec::default() };
    let sim = Sim::start(SimSpec { output, ..tiny() }).await;
    let answer = sim.answer("/v1/embeddings", &json!({ "input": ["same", "other", "same"] })).await;
    let embeddings = embeddings(&answer);
    assert_eq!(embeddings[0], embeddings[2]);
    assert_ne!(embeddings[0], embeddings[1]);
    let length: f64 = embeddings[0].iter().map(|number| number.as_f64().unwrap().powi(2)).sum();
    assert_eq!(embeddings[0].len(), 64);
    assert!((length - 1.0).abs() < 1e-5, "{length}");
    sim.stop().await;
}

#[tokio::test]
async fn dimensions_base64_and_truncation_are_obeyed() {
    let sim = Sim::start(tiny()).await;
    let short = sim.answer("/v1/embeddings", &json!({ "input": "x", "dimensions": 16 })).await;
    assert_eq!(embeddings(&short)[0].len(), 16);
    let coded = sim.answer("/v1/embeddings", &json!({ "input": "x", "encoding_format": "base64" })).await;
    assert_eq!(coded["data"][0]["embedding"].as_str().unwrap().len(), (1024 * 4_usize).div_ceil(3) * 4);
    let long = "abcd".repeat(5000);
    assert_eq!(sim.post("/v1/embeddings", &json!({ "input": long })).await.status(), 400);
    for (truncate, tokens) in [(-1, 2048), (10, 10)] {
        let request = json!({ "input": long, "truncate_prompt_tokens": truncate });
        assert_eq!(sim.answer("/v1/embeddings", &request).await["usage"]["prompt_tokens"], tokens);
    }
    sim.stop().await;
}

#[tokio::test]
async fn pooling_answers_with_data() {
    let sim = Sim::start(tiny()).await;
    let answer = sim.answer("/pooling", &json!({ "model": "tiny", "input": ["abcd", "efgh"] })).await;
    assert_eq!(answer["data"][1]["object"], "pooling");
    assert_eq!(answer["data"][1]["data"].as_array().unwrap().len(), 1024);
    assert_eq!(answer["usage"]["prompt_tokens"], 2);
    sim.stop().await;
}

#[tokio::test]
async fn rerank_orders_documents_by_their_scores_and_counts_the_query_with_each() {
    let sim = Sim::start(tiny()).await;
    let mut request = json!({
        "model": "tiny", "query": "abcd", "documents": ["abcdefgh", { "text": "x" }, "another document"],
    });
    for path in ["/rerank", "/v1/rerank"] {
        let answer = sim.answer(path, &request).await;
        let results = answer["results"].as_array().unwrap();
        let scores: Vec<_> = results.iter().map(|one| one["relevance_score"].as_f64().unwrap()).collect();
        assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
        let mut indices: Vec<_> = results.iter().map(|one| one["index"].as_u64().unwrap()).collect();
        indices.sort_unstable();
        assert_eq!(indices, [0, 1, 2]);
        let first = results.iter().find(|one| one["index"] == 1).unwrap();
        assert_eq!(first["document"]["text"], "x");
        assert_eq!(answer["usage"]["prompt_tokens"], 10, "one for the query with each of 2, 1 and 4");
    }
    request["top_n"] = 1.into();
    assert_eq!(sim.answer("/rerank", &request).await["results"].as_array().unwrap().len(), 1);
    sim.stop().await;
}

#[tokio::test]
async fn what_is_pooled_is_prefilled_and_generates_nothing() {
    let sim = Sim::start(tiny()).await;
    sim.answer("/v1/embeddings", &json!({ "input": ["abcd".repeat(100), "x".to_owned()] })).await;
    assert_eq!(sim.metric("vllm:prompt_tokens_total", "").await, 101.0);
    assert_eq!(sim.metric("vllm:generation_tokens_total", "").await, 0.0);
    assert_eq!(sim.metric("vllm:request_success_total", "stop").await, 2.0);
    assert_eq!(sim.metric("vllm:time_to_first_token_seconds_count", "").await, 0.0);
    assert_eq!(sim.metric("vllm:kv_cache_usage_perc", "").await, 0.0);
    sim.stop().await;
}

#[tokio::test]
async fn malformed_inquiries_are_refused() {
    let sim = Sim::start(tiny()).await;
    for (path, body) in [
        ("/v1/embeddings", json!({})),
        ("/v1/embeddings", json!({ "input": "" })),
        ("/v1/embeddings", json!({ "input": { "a": 1 } })),
        ("/v1/embeddings", json!({ "input": ["x", ""] })),
        ("/v1/embeddings", json!({ "input": "x", "dimensions": 5000 })),
        ("/v1/embeddings", json!({ "input": "x", "encoding_format": "morse" })),
        ("/v1/embeddings", json!({ "input": "x", "truncate_prompt_tokens": -7 })),
        ("/v1/rerank", json!({ "query": "x" })),
        ("/v1/rerank", json!({ "query": "x", "documents": [] })),
        ("/v1/rerank", json!({ "documents": ["x"] })),
        ("/pooling", json!([])),
    ] {
        let response = sim.post(path, &body).await;
        assert_eq!(response.status(), 400, "{path}: {body}");
        let error: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        assert_eq!(error["error"]["code"], 400, "{path}: {body}");
    }
    sim.stop().await;
}

#[tokio::test]
async fn faults_strike_inquiries_too() {
    for (kind, status) in
        [(FaultKind::Error500, 500), (FaultKind::Error429, 429), (FaultKind::ErrorEvent, 500)]
    {
        let sim =
            Sim::start(SimSpec { faults: FaultInjection { rate: 1.0, kinds: vec![kind] }, ..tiny() }).await;
        assert_eq!(sim.post("/v1/embeddings", &json!({ "input": "x" })).await.status(), status);
        sim.stop().await;
    }
    let faults = FaultInjection { rate: 1.0, kinds: vec![FaultKind::Malformed] };
    let sim = Sim::start(SimSpec { faults, ..tiny() }).await;
    let body = sim.post("/v1/embeddings", &json!({ "input": "x" })).await.text().await.unwrap();
    assert!(serde_json::from_str::<Value>(&body).is_err());
    sim.stop().await;
}
