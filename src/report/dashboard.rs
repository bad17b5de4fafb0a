//! A dashboard for a server under test: Prometheus' scrape configuration, alert rules, and a Grafana dashboard.
//!
//! [`MetricNames`] holds the names that differ between vLLM's versions. The rest of the files is the same for all of
//! them.

use serde_json::Value;

pub(crate) mod alerts;
mod client_panels;
pub(crate) mod grafana;
pub(crate) mod metric_names;
mod panel;

pub(crate) use crate::report::dashboard::metric_names::MetricNames;

/// One file of a dashboard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DashboardFile {
    /// The file name.
    pub name: &'static str,
    /// The file's content.
    pub text: String,
}

/// The names of the files, in the order of [`dashboard_files`].
pub(crate) const FILE_NAMES: [&str; 3] = ["prometheus.yml", "alerts.yml", "grafana.json"];

/// The address at which Prometheus scrapes a client on its own machine. Prometheus' list of default ports has no free
/// one from 9100 to 9999 (9400 is NVIDIA's dcgm-exporter, which runs on GPU machines). 19400 is beyond that range, and
/// below the ports that Linux gives to outgoing connections.
const CLIENT_TARGET: &str = "localhost:19400";

/// Renders the files for a server at `target` (`host:port`) with these metric names.
pub(crate) fn dashboard_files(names: &MetricNames, target: &str) -> [DashboardFile; 3] {
    let texts = [scrape(target), alerts::alert_rules(names), pretty(&grafana::grafana_board(names))];
    let mut texts = FILE_NAMES.into_iter().zip(texts).map(|(name, text)| DashboardFile { name, text });
    std::array::from_fn(|_| texts.next().expect("there are as many texts as names"))
}

fn scrape(target: &str) -> String {
    format!(
        "# Scrapes a vLLM server, and the client while it runs with `publish.metrics_listen` :19400. Several replicas: more targets.\n\
         global:\n  scrape_interval: 5s\n  evaluation_interval: 5s\n\
         rule_files:\n  - {alerts}\n\
         scrape_configs:\n  - job_name: vllm\n    metrics_path: /metrics\n    static_configs:\n      - targets: [{target}]\n\
         \x20 - job_name: servegauge\n    scrape_interval: 1s\n    static_configs:\n      - targets: [{client}]\n",
        alerts = FILE_NAMES[1],
        // A JSON string is a valid YAML string.
        target = Value::from(target),
        client = Value::from(CLIENT_TARGET),
    )
}

fn pretty(value: &Value) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("a value is JSON");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests;
