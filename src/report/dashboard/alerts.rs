//! Prometheus' alert rules.

use std::fmt::Write as _;

use serde_json::Value;

use crate::model::server::ServerSignal;
use crate::report::dashboard::metric_names::MetricNames;

/// The window of rates.
const WINDOW: &str = "5m";

struct PrometheusAlert {
    name: &'static str,
    expr: String,
    /// How long the expression must hold before the alert fires: Prometheus' `for`.
    lasting: &'static str,
    severity: &'static str,
    summary: &'static str,
}

/// Renders the rules file. Thresholds are the defaults of docs/operators-guide.md; edit them as needed.
pub(crate) fn alert_rules(names: &MetricNames) -> String {
    let mut text = format!(
        "# Alerts for a vLLM server with the names of {}. Thresholds are defaults: edit them.\ngroups:\n  - name: vllm\n    rules:\n",
        names.label
    );
    for alert in alerts(names) {
        // A JSON string is a valid YAML string.
        let [expr, summary] = [alert.expr.as_str(), alert.summary].map(Value::from);
        let PrometheusAlert { name, lasting, severity, .. } = alert;
        write!(
            text,
            "      - alert: {name}\n        expr: {expr}\n        for: {lasting}\n        labels:\n          severity: {severity}\n\
             \x20       annotations:\n          summary: {summary}\n"
        )
        .expect("a String takes all");
    }
    text
}

fn alerts(names: &MetricNames) -> Vec<PrometheusAlert> {
    let alert =
        |name, expr, lasting, severity, summary| PrometheusAlert { name, expr, lasting, severity, summary };
    let mut alerts = vec![alert(
        "VllmDown",
        "up{job=\"vllm\"} == 0".into(),
        "1m",
        "critical",
        "The server does not answer a scrape.",
    )];
    let tpot: Vec<String> = names.tpot_names().into_iter().map(p95).collect();
    alerts.push(alert(
        "VllmTpotHigh",
        // The older name counts only where the server lacks the newer one.
        format!("({}) > 0.03", tpot.join(" or ")),
        "5m",
        "warning",
        "p95 time per output token is above 30 ms. Lower --max-num-seqs, or keep KV in FP8.",
    ));
    let mut above = |name, signal, how: fn(&str) -> String, lasting, summary| {
        if let Some(metric) = names.metric_name(signal) {
            alerts.push(alert(name, how(metric), lasting, "warning", summary));
        }
    };
    above(
        "VllmTtftHigh",
        ServerSignal::Ttft,
        |m| format!("{} > 0.5", p95(m)),
        "5m",
        "p95 TTFT is above 500 ms. With a queue: chunked prefill, a lower --max-model-len, then more GPUs.",
    );
    above(
        "VllmQueueLong",
        ServerSignal::Waiting,
        |m| format!("sum by (instance) ({m}) > 10"),
        "5m",
        "More than 10 requests wait: TTFT is about to grow. Add capacity.",
    );
    above(
        "VllmSwapping",
        ServerSignal::Swapped,
        |m| format!("sum by (instance) ({m}) > 0"),
        "5m",
        "Requests are swapped out: the KV pool is too small. More GPUs, or less concurrency.",
    );
    above(
        "VllmPreempting",
        ServerSignal::Preemptions,
        |m| format!("sum by (instance) (rate({m}[{WINDOW}])) > 0.1"),
        "5m",
        "Requests are preempted, more than one in ten seconds. More GPUs, or less concurrency.",
    );
    above(
        "VllmKvNearlyFull",
        ServerSignal::KvUsage,
        |m| format!("max by (instance) ({m}) > 0.9"),
        "5m",
        "The KV pool is more than 90 % full. Expand it.",
    );
    above(
        "VllmKvSpilling",
        ServerSignal::CpuKvUsage,
        |m| format!("max by (instance) ({m}) > 0"),
        "5m",
        "Keys and values spill to the CPU.",
    );
    alerts
}

/// The P95 of a histogram for each server.
fn p95(histogram: &str) -> String {
    format!("histogram_quantile(0.95, sum by (instance, le) (rate({histogram}_bucket[{WINDOW}])))")
}
