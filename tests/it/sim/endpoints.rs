//! Everything but answers.

use std::{collections::BTreeMap, io::ErrorKind};

use serde_json::{Value, json};
use servegauge::sim::{self, SimSpec};

use super::harness::*;

#[tokio::test]
async fn models_names_what_is_served_and_the_longest_sequence() {
    let names = vec!["one".to_owned(), "two".to_owned(), "*".to_owned()];
    let sim = Sim::start(SimSpec { served_names: names, ..tiny() }).await;
    let models: Value = serde_json::from_str(&sim.get("/v1/models").await.text().await.unwrap()).unwrap();
    let ids: Vec<_> = models["data"].as_array().unwrap().iter().map(|model| &model["id"]).collect();
    assert_eq!(ids, ["one", "two"]);
    assert_eq!(models["data"][0]["max_model_len"], 2048);
    assert_eq!(models["data"][0]["root"], "tiny");
    sim.stop().await;
}

#[tokio::test]
async fn a_star_among_the_names_accepts_any_model_and_repeats_its_name() {
    let sim = Sim::start(SimSpec { served_names: vec!["*".to_owned()], ..tiny() }).await;
    let name = "meta-llama/Llama-3-8B-Instruct";
    let answer = sim.answer("/v1/completions", &json!({ "model": name, "prompt": "x" })).await;
    assert_eq!(answer["model"], name);
    assert_eq!(answer["usage"]["completion_tokens"], 16, "the default of completions");
    sim.stop().await;
}

#[tokio::test]
async fn health_version_load_and_the_switches_answer() {
    let sim = Sim::start(SimSpec { profiler: true, ..tiny() }).await;
    for path in ["/health", "/ping"] {
        let response = sim.get(path).await;
        assert_eq!((response.status().as_u16(), response.text().await.unwrap().as_str()), (200, ""));
    }
    assert_eq!(sim.get("/version").await.text().await.unwrap(), r#"{"version":"0.32.0+servegauge-sim"}"#);
    assert_eq!(sim.get("/load").await.text().await.unwrap(), r#"{"server_load":0}"#);
    for path in ["/reset_prefix_cache", "/start_profile", "/stop_profile"] {
        assert_eq!(sim.client.post(sim.url(path)).send().await.unwrap().status(), 200, "{path}");
    }
    sim.stop().await;
}

#[tokio::test]
async fn a_profiler_is_there_only_if_it_was_asked_for() {
    let sim = Sim::start(tiny()).await;
    for path in ["/start_profile", "/stop_profile"] {
        assert_eq!(sim.client.post(sim.url(path)).send().await.unwrap().status(), 404, "{path}");
    }
    sim.stop().await;
}

#[tokio::test]
async fn unknown_paths_and_methods_answer_as_fastapi_does() {
    let sim = Sim::start(tiny()).await;
    let response = sim.get("/v1/nothing").await;
    assert_eq!(response.status(), 404);
    assert_eq!(response.text().await.unwrap(), r#"{"detail":"Not Found"}"#);
    let response = sim.get("/v1/completions").await;
    assert_eq!((response.status().as_u16(), response.headers()["allow"].to_str().unwrap()), (405, "POST"));
    assert_eq!(response.text().await.unwrap(), r#"{"detail":"Method Not Allowed"}"#);
    sim.stop().await;
}

#[tokio::test]
async fn without_a_tokenizer_tokens_are_four_bytes_and_turn_back_into_text() {
    let sim = Sim::start(tiny()).await;
    let request = json!({ "model": "tiny", "prompt": "The quick brown fox" });
    let answer = sim.answer("/tokenize", &request).await;
    assert_eq!((&answer["count"], &answer["max_model_len"]), (&json!(5), &json!(2048)));
    let back = sim.answer("/detokenize", &json!({ "model": "tiny", "tokens": answer["tokens"] })).await;
    assert_eq!(back, json!({ "prompt": "The quick brown fox" }));
    let messages = json!([{ "role": "user", "content": [{ "type": "text", "text": "Hi" }] }]);
    let answer = sim.answer("/tokenize", &json!({ "model": "tiny", "messages": messages })).await;
    assert_eq!(answer["count"], 5, "`user: Hi`, a line end and `assistant:` are 19 bytes");
    assert_eq!(sim.post("/tokenize", &json!({ "model": "nope", "prompt": "x" })).await.status(), 404);
    sim.stop().await;
}

/// A byte-level BPE with single letters and two words.
fn small_tokenizer() -> Vec<u8> {
    let merges = ["Ġ t", "h e", "Ġt he", "Ġ c", "a t", "Ġc at"];
    let letters = ('a'..='z').chain('A'..='Z').chain(" .:".chars().filter(|c| *c != ' ')).chain(['Ġ', 'Ċ']);
    let words = merges.map(|merge| merge.replace(' ', ""));
    let vocab: BTreeMap<String, usize> =
        letters.map(String::from).chain(words).enumerate().map(|(id, token)| (token, id)).collect();
    let bytes =
        json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": bytes, "post_processor": null, "decoder": bytes,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": vocab, "merges": merges,
        },
    });
    serde_json::to_vec(&tokenizer).unwrap()
}

#[tokio::test]
async fn with_a_tokenizer_prompts_are_counted_and_answers_count_the_same_again() {
    let spec = SimSpec { tokenizer_json: Some(small_tokenizer().into()), ..tiny() };
    let sim = Sim::start(spec).await;
    let answer = sim
        .answer(
            "/v1/completions",
            &json!({
                "model": "tiny", "prompt": "see the cat", "max_tokens": 100, "ignore_eos": true,
            }),
        )
        .await;
    assert_eq!(answer["usage"]["prompt_tokens"], 5, "s, e, e, ` the`, ` cat`");
    let text = &answer["choices"][0]["text"];
    assert!(text.as_str().unwrap().split_whitespace().all(|word| ["the", "cat"].contains(&word)), "{text}");
    let again =
        sim.answer("/tokenize", &json!({ "model": "tiny", "prompt": text, "return_token_strs": true })).await;
    assert_eq!(again["count"], 100);
    assert!(["Ġthe", "Ġcat"].contains(&again["token_strs"][0].as_str().unwrap()));
    sim.stop().await;
}

#[tokio::test]
async fn a_token_id_out_of_the_vocabulary_is_an_error_inside_the_stream() {
    let sim = Sim::start(SimSpec { tokenizer_json: Some(small_tokenizer().into()), ..tiny() }).await;
    let mut request = json!({ "model": "tiny", "prompt": [1, 2, 999_999], "max_tokens": 4, "stream": true });
    let error = json!({ "error": {
        "message": "Token id 999999 is out of vocabulary", "type": "BadRequestError", "param": null, "code": 400,
    }});
    let events = sim.events("/v1/completions", &request).await;
    assert_eq!(serde_json::from_str::<Value>(&events[0]).unwrap(), error);
    assert_eq!(events[1..], ["[DONE]"]);
    request["stream"] = false.into();
    assert_eq!(sim.post("/v1/completions", &request).await.status(), 400);
    sim.stop().await;
}

#[tokio::test]
async fn prompts_may_be_one_string_in_a_list_or_token_ids_but_only_one() {
    let sim = Sim::start(tiny()).await;
    for (prompt, tokens) in [(json!(["abcdefgh"]), 2), (json!([5, 6, 7]), 3), (json!([[5, 6, 7, 8]]), 4)] {
        let answer = sim.answer("/v1/completions", &json!({ "model": "tiny", "prompt": prompt })).await;
        assert_eq!(answer["usage"]["prompt_tokens"], tokens, "{prompt}");
    }
    for (key, value) in [("prompt", json!(["a", "b"])), ("n", json!(2)), ("prompt", json!({ "a": 1 }))] {
        let mut request = json!({ "model": "tiny", "prompt": "x" });
        request[key] = value;
        assert_eq!(sim.post("/v1/completions", &request).await.status(), 400, "{request}");
    }
    sim.stop().await;
}

/// A family of the metrics page: its type and its series.
#[derive(Default)]
struct Family {
    kind: String,
    series: Vec<(String, f64)>,
}

/// Reads a metrics page and checks each line's form.
fn families(page: &str) -> BTreeMap<String, Family> {
    let mut families = BTreeMap::<String, Family>::new();
    let mut current = String::new();
    for line in page.lines() {
        if let Some(head) = line.strip_prefix("# TYPE ") {
            let (name, kind) = head.split_once(' ').expect(line);
            let family = Family { kind: kind.to_owned(), ..Family::default() };
            assert!(families.insert(name.to_owned(), family).is_none(), "{name} is there twice");
            current = name.to_owned();
        } else if line.starts_with("process_") {
            // Of the process, not of an engine.
            let (name, value) = line.split_once(' ').expect(line);
            assert_eq!(name, current, "{line}");
            families
                .get_mut(&current)
                .expect(line)
                .series
                .push((name.to_owned(), value.parse().expect(line)));
        } else if !line.starts_with("# HELP ") {
            let (series, value) = line.rsplit_once(' ').expect(line);
            let (name, labels) =
                series.strip_suffix('}').and_then(|series| series.split_once('{')).expect(line);
            assert!(labels.contains("engine=\"0\""), "{line}");
            let family = families.get_mut(&current).expect(line);
            let suffixes: &[&str] =
                if family.kind == "histogram" { &["_bucket", "_count", "_sum"] } else { &[""] };
            assert!(
                suffixes.iter().any(|suffix| *name == format!("{current}{suffix}")),
                "{line} under {current}"
            );
            family.series.push((series.to_owned(), value.parse().expect(line)));
        }
    }
    families
}

#[tokio::test]
async fn the_metrics_page_is_well_formed_and_has_every_family_of_the_real_one() {
    let sim = Sim::start(tiny()).await;
    sim.events("/v1/completions", &completion(5)).await;
    let response = sim.get("/metrics").await;
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    let ours = families(&response.text().await.unwrap());
    for line in fixture("metrics-types.txt").lines() {
        let (name, kind) = line.strip_prefix("# TYPE ").unwrap().split_once(' ').unwrap();
        assert_eq!(ours.get(name).map(|family| family.kind.as_str()), Some(kind), "{name}");
    }
    for name in [
        "vllm:gpu_cache_usage_perc",
        "vllm:cpu_cache_usage_perc",
        "vllm:num_requests_swapped",
        "vllm:gpu_prefix_cache_hit_rate",
        "vllm:gpu_prefix_cache_queries_total",
        "vllm:time_per_output_token_seconds",
        "vllm:avg_generation_throughput_toks_per_s",
    ] {
        assert!(ours.contains_key(name), "{name}");
    }
    for (name, family) in ours.iter().filter(|(_, family)| family.kind == "histogram") {
        let values: Vec<_> = family.series.iter().map(|(_, value)| *value).collect();
        let [buckets @ .., count, _sum] = values.as_slice() else { panic!("{name}") };
        assert!(buckets.is_sorted(), "{name} is cumulative");
        assert_eq!(buckets.last(), Some(count), "{name} ends with all");
    }
    sim.stop().await;
}

#[tokio::test]
async fn a_spec_no_server_can_be_made_of_is_refused() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let spec = SimSpec { num_gpu_blocks: 10, ..tiny() };
    let error = sim::serve(listener, spec, std::future::pending()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("raise num_gpu_blocks"), "{error}");
}

#[tokio::test]
async fn options_is_answered_and_openapi_names_paths_that_exist() {
    let sim = Sim::start(tiny()).await;
    let options = |path: &str| sim.client.request(reqwest::Method::OPTIONS, sim.url(path)).send();
    for path in ["/v1/models", "/v1/completions", "/v1/chat/completions"] {
        let response = options(path).await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(response.headers()["access-control-allow-origin"], "*");
        assert!(response.headers()["allow"].to_str().unwrap().contains("POST"));
    }
    assert_eq!(options("/v1/nothing").await.unwrap().status(), 404);
    let document: Value =
        serde_json::from_str(&sim.get("/openapi.json").await.text().await.unwrap()).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3."), "{document}");
    let paths = document["paths"].as_object().unwrap();
    assert!(paths["/v1/chat/completions"]["post"]["requestBody"].is_object());
    for (path, item) in paths {
        let response = match item.get("get") {
            Some(_) => sim.get(path).await,
            None => sim.post(path, &json!({})).await,
        };
        assert!(![404, 405].contains(&response.status().as_u16()), "{path}: {}", response.status());
    }
    sim.stop().await;
}
