//! A dashboard for a server under test: what Prometheus scrapes, when it alerts, and a Grafana board.
//!
//! Whatever a version of vLLM calls its signals is in its [`Names`]; the files are the same otherwise.

use serde_json::Value;

pub mod alerts;
pub mod board;
mod client;
pub mod names;

pub use names::Names;

/// One file of a dashboard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Its name in the folder.
    pub name: &'static str,
    /// Its content.
    pub text: String,
}

/// The names of the files, in the order of [`pages`].
pub const FILES: [&str; 3] = ["prometheus.yml", "alerts.yml", "grafana.json"];

/// Where a client on Prometheus' own machine is scraped.
const CLIENT: &str = "localhost:9400";

/// The files for a server at `target` (`host:port`) with these names.
pub fn pages(names: &Names, target: &str) -> [Page; 3] {
    let texts = [scrape(target), alerts::rules(names), pretty(&board::board(names))];
    let mut texts = FILES.into_iter().zip(texts).map(|(name, text)| Page { name, text });
    std::array::from_fn(|_| texts.next().expect("there are as many texts as names"))
}

fn scrape(target: &str) -> String {
    format!(
        "# Scrapes a vLLM server, and the client while it runs with --metrics-listen :9400. Several replicas: more targets.\n\
         global:\n  scrape_interval: 5s\n  evaluation_interval: 5s\n\
         rule_files:\n  - {alerts}\n\
         scrape_configs:\n  - job_name: vllm\n    metrics_path: /metrics\n    static_configs:\n      - targets: [{target}]\n\
         \x20 - job_name: servebench\n    scrape_interval: 1s\n    static_configs:\n      - targets: [{client}]\n",
        alerts = FILES[1],
        // A JSON string is a YAML string.
        target = Value::from(target),
        client = Value::from(CLIENT),
    )
}

fn pretty(value: &Value) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("a value is JSON");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests;
