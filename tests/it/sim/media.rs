//! Chats that are more than text.

use base64::Engine as _;
use serde_json::{Value, json};

use super::{audio::wav, harness::*};

fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// The beginning of a PNG of this size, which is all that is looked at.
fn png(width: u32, height: u32) -> String {
    let head =
        [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".as_slice(), &width.to_be_bytes(), &height.to_be_bytes()].concat();
    format!("data:image/png;base64,{}", base64(&head))
}

async fn prompt_tokens(sim: &Sim, content: Value) -> u64 {
    let messages = json!([{ "role": "user", "content": content }]);
    let request = json!({ "model": "tiny", "messages": messages, "max_tokens": 1 });
    sim.answer("/v1/chat/completions", &request).await["usage"]["prompt_tokens"].as_u64().unwrap()
}

#[tokio::test]
async fn images_sound_and_video_add_their_fixed_price_to_the_prompt() {
    let sim = Sim::start(servegauge::sim::SimSpec { max_model_len: 8192, ..tiny() }).await;
    let text = json!({ "type": "text", "text": "what?" });
    let alone = prompt_tokens(&sim, json!([text])).await;
    for (part, price) in [
        (json!({ "type": "image_url", "image_url": { "url": png(280, 56) } }), 20),
        (json!({ "type": "image_url", "image_url": { "url": "http://example.org/a.png" } }), 576),
        (json!({ "type": "input_audio", "input_audio": { "data": base64(&wav(2)), "format": "wav" } }), 200),
        (json!({ "type": "video_url", "video_url": { "url": "http://example.org/a.mp4" } }), 4608),
    ] {
        // After the text, what follows it is encoded apart from it.
        let with = prompt_tokens(&sim, json!([text, part])).await;
        assert!((with - alone).abs_diff(price) <= 1, "{part}: {with} tokens, and {alone} without");
    }
    sim.stop().await;
}

#[tokio::test]
async fn the_same_image_is_found_in_the_prefix_cache_and_another_is_not() {
    let sim = Sim::start(tiny()).await;
    let mut hits = Vec::new();
    for size in [280, 280, 281] {
        let image = json!({ "type": "image_url", "image_url": { "url": png(280, size) } });
        prompt_tokens(&sim, json!([image, { "type": "text", "text": "what?" }])).await;
        hits.push(sim.metric("vllm:prefix_cache_hits_total", "").await);
    }
    assert_eq!(hits[0], 0.0);
    assert!(hits[1] > 90.0, "a hundred patches: {hits:?}");
    assert_eq!(hits[1], hits[2]);
    sim.stop().await;
}

#[tokio::test]
async fn tools_and_template_arguments_are_taken_and_tools_cost_tokens() {
    let sim = Sim::start(tiny()).await;
    let mut request = chat(2);
    for key in ["stream", "stream_options"] {
        request.as_object_mut().unwrap().remove(key);
    }
    let before = sim.answer("/v1/chat/completions", &request).await["usage"]["prompt_tokens"].as_u64();
    request["chat_template_kwargs"] = json!({ "enable_thinking": false });
    request["tools"] = json!([{ "type": "function", "function": { "name": "look", "parameters": {} } }]);
    request["tool_choice"] = "auto".into();
    let after = sim.answer("/v1/chat/completions", &request).await["usage"]["prompt_tokens"].as_u64();
    assert!(after > before, "{after:?} and {before:?}");
    sim.stop().await;
}

#[tokio::test]
async fn an_image_that_is_not_base64_is_refused() {
    let sim = Sim::start(tiny()).await;
    let image = json!({ "type": "image_url", "image_url": { "url": "data:image/png;base64,?" } });
    let request = json!({ "messages": [{ "role": "user", "content": [image] }] });
    assert_eq!(sim.post("/v1/chat/completions", &request).await.status(), 400);
    sim.stop().await;
}
