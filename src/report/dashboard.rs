//! A dashboard for a server under test: what Prometheus scrapes, when it alerts, and a Grafana board.
//!
//! Whatever a version of vLLM calls its signals is in one table ([`names`]); the files are the same otherwise.

use serde_json::Value;

pub mod alerts;
pub mod board;
pub mod names;

pub use names::NameSet;

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

/// The files for a server at `target` (`host:port`) with these names.
pub fn pages(names: NameSet, target: &str) -> [Page; 3] {
    let texts = [scrape(target), alerts::rules(names), pretty(&board::board(names))];
    let mut texts = FILES.into_iter().zip(texts).map(|(name, text)| Page { name, text });
    std::array::from_fn(|_| texts.next().expect("there are as many texts as names"))
}

fn scrape(target: &str) -> String {
    format!(
        "# Scrapes a vLLM server. Several replicas: more targets.\n\
         global:\n  scrape_interval: 5s\n  evaluation_interval: 5s\n\
         rule_files:\n  - {alerts}\n\
         scrape_configs:\n  - job_name: vllm\n    metrics_path: /metrics\n    static_configs:\n      - targets: [{target}]\n",
        alerts = FILES[1],
        // A JSON string is a YAML string.
        target = Value::from(target),
    )
}

fn pretty(value: &Value) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("a value is JSON");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests;
