//! LoRA adapters.

use futures_util::StreamExt;
use serde_json::Value;
use servegauge::sim::{SimSpec, StepTime};
use std::time::Duration;

use super::harness::*;

fn two_adapters() -> SimSpec {
    SimSpec { lora_modules: vec!["one".to_owned(), "two".to_owned()], ..tiny() }
}

async fn gauge(sim: &Sim) -> String {
    let page = sim.get("/metrics").await.text().await.unwrap();
    page.lines().find(|line| line.starts_with("vllm:lora_requests_info{")).unwrap().to_owned()
}

#[tokio::test]
async fn adapters_are_served_models_with_a_parent() {
    let sim = Sim::start(two_adapters()).await;
    let models: Value = serde_json::from_str(&sim.get("/v1/models").await.text().await.unwrap()).unwrap();
    let listed: Vec<_> =
        models["data"].as_array().unwrap().iter().map(|model| (&model["id"], &model["parent"])).collect();
    let name = Value::from("tiny");
    assert_eq!(listed, [(&name, &Value::Null), (&"one".into(), &name), (&"two".into(), &name)]);
    let mut request = completion(2);
    request["model"] = "two".into();
    assert!(sim.events("/v1/completions", &request).await[0].contains("\"model\":\"two\""));
    sim.stop().await;
}

#[tokio::test]
async fn an_adapter_shares_no_prefixes_with_others() {
    let sim = Sim::start(two_adapters()).await;
    let mut hits = Vec::new();
    for model in ["tiny", "one", "one", "two", "tiny"] {
        let mut request = completion(1);
        request["prompt"] = "abcd".repeat(33).into();
        request["model"] = model.into();
        sim.events("/v1/completions", &request).await;
        hits.push(sim.metric("vllm:prefix_cache_hits_total", "").await);
    }
    assert_eq!(hits, [0.0, 0.0, 32.0, 32.0, 64.0]);
    sim.stop().await;
}

#[tokio::test]
async fn the_metrics_name_the_adapters_that_run_and_those_that_wait() {
    let step = Duration::from_millis(2);
    let zero = Duration::ZERO;
    let timing = StepTime {
        base: step,
        per_prefill_token: zero,
        per_decode_seq: zero,
        per_kv_token: zero,
        jitter: 0.0,
    };
    let sim = Sim::start(SimSpec { timing, max_num_seqs: 1, ..two_adapters() }).await;
    assert!(
        gauge(&sim).await.contains(r#"{max_lora="2",running_lora_adapters="",waiting_lora_adapters=""}"#)
    );
    let mut request = completion(2000);
    request["model"] = "one".into();
    let mut first = sim.post("/v1/completions", &request).await.bytes_stream();
    first.next().await.unwrap().unwrap();
    request["model"] = "two".into();
    let second = sim.post("/v1/completions", &request).await;
    sim.wait_for("vllm:num_requests_waiting", "", 1.0).await;
    let line = gauge(&sim).await;
    assert!(line.contains(r#"running_lora_adapters="one",waiting_lora_adapters="two""#), "{line}");
    drop((first, second));
    sim.wait_for("vllm:request_success_total", "abort", 2.0).await;
    let line = gauge(&sim).await;
    assert!(line.contains(r#"running_lora_adapters="",waiting_lora_adapters="""#), "{line}");
    sim.stop().await;
}
