//! The Grafana board: latency, throughput, the queue, the KV pool, the prefix cache, speculative decoding.

use serde_json::{Value, json};

use super::client;
use super::names::Names;
use crate::core::server::Signal;

/// Grafana's schema of boards, since its version 11.
const SCHEMA: u32 = 39;

/// Over what time rates are taken: Grafana's own choice, by scrape interval and zoom.
pub(super) const WINDOW: &str = "$__rate_interval";

/// One curve.
pub(super) struct Curve {
    pub expr: String,
    pub legend: String,
    /// Drawn as bars on a second axis.
    pub bars: bool,
}

/// One diagram.
pub(super) struct Panel {
    title: &'static str,
    unit: &'static str,
    stacked: bool,
    curves: Vec<Curve>,
}

impl Panel {
    pub fn lines(title: &'static str, unit: &'static str, curves: Vec<Curve>) -> Self {
        Self { title, unit, stacked: false, curves }
    }
}

pub(super) fn curve(expr: String, legend: impl Into<String>) -> Curve {
    Curve { expr, legend: legend.into(), bars: false }
}

/// The board for a version's names.
pub fn board(names: &Names) -> Value {
    let server =
        [latency(names), throughput(names), queue(names), kv(names), prefix(names), speculation(names)];
    let panels = server.into_iter().chain(client::panels()).filter(|panel| !panel.curves.is_empty());
    let panels: Vec<Panel> = panels.collect();
    let panels: Vec<Value> = panels.iter().enumerate().map(|(at, panel)| drawn(panel, at)).collect();
    json!({
        "annotations": { "list": [] },
        "editable": true,
        "graphTooltip": 1,
        "panels": panels,
        "refresh": "5s",
        "schemaVersion": SCHEMA,
        "tags": ["vllm", "servebench"],
        "templating": { "list": [{
            "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus",
        }] },
        "time": { "from": "now-30m", "to": "now" },
        "timezone": "browser",
        "title": format!("vLLM ({})", names.label),
        "uid": format!("servebench-{}", names.label.replace('.', "-")),
        "version": 1,
    })
}

fn latency(names: &Names) -> Panel {
    let signals = [(Signal::Ttft, "TTFT"), (Signal::Itl, "TPOT"), (Signal::E2e, "E2E")];
    let curves = signals.into_iter().filter_map(|(signal, name)| Some((names.of(signal)?, name)));
    Panel::lines("Latency", "s", curves.flat_map(quantiles).collect())
}

/// Of a histogram, by what it is called in the legend.
pub(super) fn quantiles((metric, name): (&str, &str)) -> [Curve; 3] {
    [(0.5, "p50"), (0.95, "p95"), (0.99, "p99")].map(|(q, label)| {
        let expr = format!("histogram_quantile({q}, sum by (le) (rate({metric}_bucket[{WINDOW}])))");
        curve(expr, format!("{name} {label}"))
    })
}

fn throughput(names: &Names) -> Panel {
    let signals = [(Signal::PromptTokens, "prompt"), (Signal::GenerationTokens, "output")];
    Panel::lines(
        "Token throughput",
        "short",
        sums(names, &signals, |metric| format!("rate({metric}[{WINDOW}])")),
    )
}

fn queue(names: &Names) -> Panel {
    let signals = [(Signal::Running, "running"), (Signal::Waiting, "waiting"), (Signal::Swapped, "swapped")];
    Panel { title: "Queue", unit: "short", stacked: true, curves: sums(names, &signals, str::to_owned) }
}

fn sums(names: &Names, signals: &[(Signal, &str)], of: impl Fn(&str) -> String) -> Vec<Curve> {
    let named = signals.iter().filter_map(|(signal, name)| Some((names.of(*signal)?, *name)));
    named.map(|(metric, name)| curve(format!("sum({})", of(metric)), name)).collect()
}

fn kv(names: &Names) -> Panel {
    let usage = names
        .of(Signal::KvUsage)
        .map(|metric| curve(format!("max by (instance) ({metric})"), "KV {{instance}}"));
    let cpu = names
        .of(Signal::CpuKvUsage)
        .map(|metric| curve(format!("max by (instance) ({metric})"), "CPU {{instance}}"));
    let preemptions = names.of(Signal::Preemptions).map(|metric| Curve {
        bars: true,
        ..curve(format!("sum(increase({metric}[{WINDOW}]))"), "preemptions")
    });
    Panel::lines(
        "KV pool and preemptions",
        "percentunit",
        [usage, cpu, preemptions].into_iter().flatten().collect(),
    )
}

fn prefix(names: &Names) -> Panel {
    let hits = names.prefix_hits(WINDOW).map(|hits| curve(hits, "hits {{instance}}"));
    Panel::lines("Prefix cache hits", "percentunit", hits.into_iter().collect())
}

fn speculation(names: &Names) -> Panel {
    let accepted = names.draft_acceptance(WINDOW).map(|share| curve(share, "accepted {{instance}}"));
    let pays = names
        .draft_yield(WINDOW)
        .map(|(expr, what)| Curve { bars: true, ..curve(expr, format!("{what} {{{{instance}}}}")) });
    Panel::lines("Speculative decoding", "percentunit", accepted.into_iter().chain(pays).collect())
}

/// Two panels in a row.
const ROW: usize = 2;
const HEIGHT: usize = 8;
const WIDTH: usize = 12;

fn drawn(panel: &Panel, at: usize) -> Value {
    let source = json!({ "type": "prometheus", "uid": "${datasource}" });
    let id = |curve: usize| char::from(b'A' + curve as u8).to_string();
    let targets = panel.curves.iter().enumerate().map(|(n, curve)| {
        json!({
            "datasource": source, "editorMode": "code", "expr": curve.expr, "legendFormat": curve.legend,
            "range": true, "refId": id(n),
        })
    });
    let targets: Vec<Value> = targets.collect();
    let bars = panel.curves.iter().enumerate().filter(|(_, curve)| curve.bars);
    let overrides: Vec<Value> = bars.map(|(n, _)| as_bars(&id(n))).collect();
    json!({
        "datasource": source,
        "fieldConfig": {
            "defaults": { "custom": style(panel.stacked), "min": 0, "unit": panel.unit },
            "overrides": overrides,
        },
        "gridPos": { "h": HEIGHT, "w": WIDTH, "x": at % ROW * WIDTH, "y": at / ROW * HEIGHT },
        "id": at + 1,
        "options": {
            "legend": { "calcs": ["mean", "max"], "displayMode": "table", "placement": "bottom", "showLegend": true },
            "tooltip": { "mode": "multi", "sort": "desc" },
        },
        "targets": targets,
        "title": panel.title,
        "type": "timeseries",
    })
}

fn style(stacked: bool) -> Value {
    let (mode, fill) = if stacked { ("normal", 40) } else { ("none", 0) };
    json!({
        "drawStyle": "line", "fillOpacity": fill, "lineWidth": 1, "showPoints": "never",
        "stacking": { "group": "A", "mode": mode },
    })
}

/// A count beside shares: bars, on an axis of their own.
fn as_bars(id: &str) -> Value {
    json!({
        "matcher": { "id": "byFrameRefID", "options": id },
        "properties": [
            { "id": "custom.drawStyle", "value": "bars" },
            { "id": "custom.fillOpacity", "value": 60 },
            { "id": "custom.axisPlacement", "value": "right" },
            { "id": "unit", "value": "short" },
        ],
    })
}
