//! The Grafana dashboard: latency, throughput, the queue, the KV pool, the prefix cache, speculative decoding.

use serde_json::{Value, json};

use super::panel::{Curve, Panel, WINDOW, curve, drawn, quantiles};
use crate::model::server::ServerSignal;
use crate::report::dashboard::client_panels;
use crate::report::dashboard::metric_names::MetricNames;

/// The version of dashboards that Grafana 12 and 13 export. An older Grafana imports it too.
const GRAFANA_SCHEMA: u32 = 42;

/// Renders the dashboard for these metric names.
pub(crate) fn grafana_board(names: &MetricNames) -> Value {
    let server = [
        latency(names),
        token_times(names),
        throughput(names),
        queue(names),
        kv(names),
        prefix(names),
        speculation(names),
    ];
    let panels =
        server.into_iter().chain(client_panels::client_panels()).filter(|panel| !panel.curves.is_empty());
    let panels: Vec<Panel> = panels.collect();
    let panels: Vec<Value> = panels.iter().enumerate().map(|(at, panel)| drawn(panel, at)).collect();
    json!({
        "annotations": { "list": [] },
        "editable": true,
        "graphTooltip": 1,
        "panels": panels,
        "refresh": "5s",
        "schemaVersion": GRAFANA_SCHEMA,
        "tags": ["vllm", "servegauge"],
        "templating": { "list": variables(names) },
        "time": { "from": "now-30m", "to": "now" },
        "timezone": "browser",
        "title": format!("vLLM ({})", names.label),
        "uid": format!("servegauge-{}", names.label.replace('.', "-")),
        "version": 1,
    })
}

/// The variables above the panels. The client's metrics have no model, so they do not follow model and instance.
fn variables(names: &MetricNames) -> [Value; 3] {
    // Every version has it.
    let running = names.metric_name(ServerSignal::Running).unwrap_or("vllm:num_requests_running");
    let source =
        json!({ "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus" });
    let values = |name, label, query: String| {
        json!({
            "name": name, "label": label, "type": "query",
            "datasource": { "type": "prometheus", "uid": "${datasource}" },
            "definition": query, "query": { "qryType": 5, "query": query, "refId": "variable" },
            // When the time range changes, because a model may be served for a while only.
            "refresh": 2, "sort": 1, "multi": true, "includeAll": true, "allValue": ".*",
            "current": { "text": ["All"], "value": ["$__all"] },
        })
    };
    [
        source,
        values("model", "Model", format!("label_values({running}, model_name)")),
        values(
            "instance",
            "Instance",
            format!("label_values({running}{{model_name=~\"$model\"}}, instance)"),
        ),
    ]
}

fn latency(names: &MetricNames) -> Panel {
    let signals = [(ServerSignal::Ttft, "TTFT"), (ServerSignal::E2e, "E2E")];
    let curves = signals.into_iter().filter_map(|(signal, name)| Some((names.metric_name(signal)?, name)));
    Panel::lines(
        "Latency",
        "s",
        curves.flat_map(|(metric, name)| quantiles(&[MetricNames::chosen_buckets(metric)], name)).collect(),
    )
}

fn token_times(names: &MetricNames) -> Panel {
    let tpot: Vec<String> = names.tpot_names().into_iter().map(MetricNames::chosen_buckets).collect();
    let itl = names.itl_name().map(|metric| quantiles(&[MetricNames::chosen_buckets(metric)], "ITL"));
    Panel::lines(
        "Time per output token",
        "s",
        quantiles(&tpot, "TPOT").into_iter().chain(itl.into_iter().flatten()).collect(),
    )
}

fn throughput(names: &MetricNames) -> Panel {
    let signals = [(ServerSignal::PromptTokens, "prompt"), (ServerSignal::GenerationTokens, "output")];
    Panel::lines(
        "Token throughput",
        "short",
        sum_series(names, &signals, |metric| format!("rate({metric}[{WINDOW}])")),
    )
}

fn queue(names: &MetricNames) -> Panel {
    let signals = [
        (ServerSignal::Running, "running"),
        (ServerSignal::Waiting, "waiting"),
        (ServerSignal::Swapped, "swapped"),
    ];
    Panel { title: "Queue", unit: "short", stacked: true, curves: sum_series(names, &signals, str::to_owned) }
}

fn sum_series(
    names: &MetricNames,
    signals: &[(ServerSignal, &str)],
    of: impl Fn(&str) -> String,
) -> Vec<Curve> {
    let named = signals.iter().filter_map(|(signal, name)| Some((names.chosen_series(*signal)?, *name)));
    named.map(|(series, name)| curve(format!("sum({})", of(&series)), name)).collect()
}

fn kv(names: &MetricNames) -> Panel {
    let usage = names
        .chosen_series(ServerSignal::KvUsage)
        .map(|metric| curve(format!("max by (instance) ({metric})"), "KV {{instance}}"));
    let cpu = names
        .chosen_series(ServerSignal::CpuKvUsage)
        .map(|metric| curve(format!("max by (instance) ({metric})"), "CPU {{instance}}"));
    let preemptions = names.chosen_series(ServerSignal::Preemptions).map(|metric| Curve {
        bars: true,
        ..curve(format!("sum(increase({metric}[{WINDOW}]))"), "preemptions")
    });
    Panel::lines(
        "KV pool and preemptions",
        "percentunit",
        [usage, cpu, preemptions].into_iter().flatten().collect(),
    )
}

fn prefix(names: &MetricNames) -> Panel {
    let hits = names.prefix_hits(WINDOW).map(|hits| curve(hits, "hits {{instance}}"));
    Panel::lines("Prefix cache hits", "percentunit", hits.into_iter().collect())
}

fn speculation(names: &MetricNames) -> Panel {
    let accepted = names.draft_acceptance(WINDOW).map(|share| curve(share, "accepted {{instance}}"));
    let pays = names
        .draft_yield(WINDOW)
        .map(|(expr, what)| Curve { bars: true, ..curve(expr, format!("{what} {{{{instance}}}}")) });
    Panel::lines("Speculative decoding", "percentunit", accepted.into_iter().chain(pays).collect())
}
