//! Transcriptions and translations.

use serde_json::Value;

use super::harness::*;

const BOUNDARY: &str = "----a-boundary";

/// A WAV file of 16-bit mono at 16 kHz.
pub(super) fn wav(seconds: usize) -> Vec<u8> {
    let size = 32_000 * seconds;
    let mut bytes = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
    bytes.extend(16_000_u32.to_le_bytes());
    bytes.extend(32_000_u32.to_le_bytes());
    bytes.extend(b"\x02\0\x10\0data");
    bytes.extend((size as u32).to_le_bytes());
    bytes.resize(bytes.len() + size, 0);
    bytes
}

fn form(file: Option<&[u8]>, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in fields {
        body.extend(
            format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
                .bytes(),
        );
    }
    if let Some(file) = file {
        let head =
            "Content-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav";
        body.extend(format!("--{BOUNDARY}\r\n{head}\r\n\r\n").bytes());
        body.extend(file);
        body.extend(b"\r\n");
    }
    body.extend(format!("--{BOUNDARY}--\r\n").bytes());
    body
}

async fn post(sim: &Sim, path: &str, body: Vec<u8>) -> reqwest::Response {
    let media_type = format!("multipart/form-data; boundary={BOUNDARY}");
    sim.client.post(sim.url(path)).header("content-type", media_type).body(body).send().await.unwrap()
}

const STREAM: [(&str, &str); 6] = [
    ("model", "tiny"),
    ("max_completion_tokens", "8"),
    ("stream", "True"),
    ("stream_include_usage", "True"),
    ("ignore_eos", "true"),
    ("language", "en"),
];

#[tokio::test]
async fn sound_is_streamed_as_chunks_with_usage_that_counts_its_seconds_as_prompt() {
    let sim = Sim::start(tiny()).await;
    for (path, object) in
        [("/v1/audio/transcriptions", "transcription.chunk"), ("/v1/audio/translations", "translation.chunk")]
    {
        let response = post(&sim, path, form(Some(&wav(2)), &STREAM)).await;
        let events = event_data(&response.text().await.unwrap());
        let [chunks @ .., usage, done] = events.as_slice() else { panic!("{events:?}") };
        assert_eq!(done, "[DONE]");
        let chunks: Vec<Value> = chunks.iter().map(|chunk| serde_json::from_str(chunk).unwrap()).collect();
        let words = chunks.iter().filter(|chunk| chunk["choices"][0]["delta"]["content"] != "");
        assert_eq!(words.count(), 8);
        assert!(chunks.iter().all(|chunk| chunk["object"] == object && chunk.get("usage").is_none()));
        assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "length");
        let usage: Value = serde_json::from_str(usage).unwrap();
        assert_eq!(usage["usage"]["prompt_tokens"], 200, "two seconds of a hundred");
        assert_eq!(
            (&usage["usage"]["completion_tokens"], &usage["choices"]),
            (&8.into(), &Value::Array(vec![]))
        );
    }
    sim.stop().await;
}

#[tokio::test]
async fn continuous_usage_is_in_every_chunk() {
    let sim = Sim::start(tiny()).await;
    let fields = [&STREAM[..], &[("stream_continuous_usage_stats", "True")]].concat();
    let response = post(&sim, "/v1/audio/transcriptions", form(Some(&wav(1)), &fields)).await;
    let events = event_data(&response.text().await.unwrap());
    let counts: Vec<_> = events[..8]
        .iter()
        .map(|event| {
            serde_json::from_str::<Value>(event).unwrap()["usage"]["completion_tokens"].as_u64().unwrap()
        })
        .collect();
    assert_eq!(counts, [1, 2, 3, 4, 5, 6, 7, 8]);
    sim.stop().await;
}

#[tokio::test]
async fn a_transcript_in_one_piece_tells_the_seconds() {
    let sim = Sim::start(tiny()).await;
    let body = form(Some(&wav(3)), &[("model", "tiny")]);
    let answer: Value =
        serde_json::from_str(&post(&sim, "/v1/audio/transcriptions", body).await.text().await.unwrap())
            .unwrap();
    assert!(answer["text"].as_str().is_some_and(|text| !text.is_empty()));
    assert_eq!((&answer["usage"]["type"], &answer["usage"]["seconds"]), (&"duration".into(), &3.into()));
    sim.stop().await;
}

#[tokio::test]
async fn malformed_forms_are_refused() {
    let sim = Sim::start(tiny()).await;
    let whole = form(Some(&wav(1)), &STREAM);
    let cut = whole[..whole.len() / 2].to_vec();
    let number = form(Some(&wav(1)), &[("max_completion_tokens", "many")]);
    for (name, body, status) in [
        ("no file", form(None, &STREAM), 400),
        ("cut off", cut, 400),
        ("empty", Vec::new(), 400),
        ("not a number", number, 400),
        ("another model", form(Some(&wav(1)), &[("model", "nope")]), 404),
    ] {
        let response = post(&sim, "/v1/audio/transcriptions", body).await;
        assert_eq!(response.status(), status, "{name}");
        let error: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        assert!(error["error"]["message"].is_string(), "{name}");
    }
    assert_eq!(sim.post("/v1/audio/transcriptions", &Value::Null).await.status(), 400, "no form at all");
    sim.stop().await;
}
