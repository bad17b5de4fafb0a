//! A simulator on a free port of this machine, and what tests need to talk to it.

use std::{io, path::PathBuf, sync::Once, time::Duration};

use futures_util::StreamExt;
use serde_json::{Value, json};
use servegauge::sim::{self, SimSpec, Speed};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

/// Far more than anything here takes; a test that waits this long has failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Sim {
    base: String,
    pub client: reqwest::Client,
    stop: oneshot::Sender<()>,
    served: JoinHandle<io::Result<()>>,
}

/// A simulator without delays that answers as the recorded server's model `tiny`.
pub(super) fn tiny() -> SimSpec {
    SimSpec {
        model: "tiny".to_owned(),
        max_model_len: 2048,
        timing: Speed::Instant.step_time(),
        ..SimSpec::default()
    }
}

impl Sim {
    pub(super) async fn start(spec: SimSpec) -> Self {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| {
            let _ = rustls::crypto::ring::default_provider().install_default();
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(sim::serve(listener, spec, async {
            let _ = stopped.await;
        }));
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        Self { base, client, stop, served }
    }

    /// Shuts down and waits until everything is written.
    pub(super) async fn stop(self) {
        let _ = self.stop.send(());
        tokio::time::timeout(PATIENCE, self.served).await.expect("the server ends").unwrap().unwrap();
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> reqwest::Response {
        self.client.post(self.url(path)).json(body).send().await.unwrap()
    }

    pub(super) async fn get(&self, path: &str) -> reqwest::Response {
        self.client.get(self.url(path)).send().await.unwrap()
    }

    pub(super) async fn answer(&self, path: &str, body: &Value) -> Value {
        let response = self.post(path, body).await;
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    /// The data of each event of a stream that ends cleanly.
    pub(super) async fn events(&self, path: &str, body: &Value) -> Vec<String> {
        let response = self.post(path, body).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream; charset=utf-8");
        event_data(&response.text().await.unwrap())
    }

    /// The value of a metric's only series, or of the one with `label`.
    pub(super) async fn metric(&self, name: &str, label: &str) -> f64 {
        let page = self.get("/metrics").await.text().await.unwrap();
        let line = page.lines().find(|line| line.starts_with(&format!("{name}{{")) && line.contains(label));
        line.unwrap_or_else(|| panic!("no {name} with {label}")).rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// Waits until the metric has this value.
    pub(super) async fn wait_for(&self, name: &str, label: &str, value: f64) {
        let reached = async {
            while self.metric(name, label).await != value {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let name = format!("{name} should become {value}");
        tokio::time::timeout(PATIENCE, reached).await.expect(&name);
    }
}

/// A streamed completion of `tokens` tokens.
pub(super) fn completion(tokens: usize) -> Value {
    json!({
        "model": "tiny", "prompt": "The quick brown fox", "max_tokens": tokens, "ignore_eos": true, "stream": true,
        "stream_options": {"include_usage": true},
    })
}

/// A streamed chat of `tokens` tokens.
pub(super) fn chat(tokens: usize) -> Value {
    json!({
        "model": "tiny", "messages": [{"role": "user", "content": "Say something about threads."}],
        "max_tokens": tokens, "ignore_eos": true, "stream": true, "stream_options": {"include_usage": true},
    })
}

/// The `data` of each event of a stream with `\n` line ends.
pub(super) fn event_data(body: &str) -> Vec<String> {
    let events = body.split("\n\n").filter(|event| !event.trim().is_empty());
    events.map(|event| event.strip_prefix("data: ").expect(event).to_owned()).collect()
}

/// The output text of a chunk of a completion.
pub(super) fn text(event: &str) -> Option<String> {
    let chunk: Value = serde_json::from_str(event).ok()?;
    chunk["choices"][0]["text"].as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Reads a stream as far as it goes; the events, and whether it ended cleanly.
pub(super) async fn read_out(response: reqwest::Response) -> (Vec<String>, bool) {
    let (mut body, mut clean) = (Vec::new(), true);
    let mut frames = response.bytes_stream();
    while let Some(frame) = frames.next().await {
        match frame {
            Ok(bytes) => body.extend_from_slice(&bytes),
            Err(_) => clean = false,
        }
    }
    (event_data(&String::from_utf8(body).unwrap()), clean)
}

pub(super) fn fixture(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sim").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
