//! Panels of the Grafana dashboard, and the curves in them.

use serde_json::{Value, json};

/// The window of rates: Grafana derives it from scrape interval and zoom.
pub(super) const WINDOW: &str = "$__rate_interval";

pub(super) struct Curve {
    pub expr: String,
    pub legend: String,
    /// Draws the curve as bars on a second axis.
    pub bars: bool,
}

pub(super) struct Panel {
    pub title: &'static str,
    pub unit: &'static str,
    pub stacked: bool,
    pub curves: Vec<Curve>,
}

impl Panel {
    pub(super) fn lines(title: &'static str, unit: &'static str, curves: Vec<Curve>) -> Self {
        Self { title, unit, stacked: false, curves }
    }
}

pub(super) fn curve(expr: String, legend: impl Into<String>) -> Curve {
    Curve { expr, legend: legend.into(), bars: false }
}

/// Quantile curves of a histogram with these buckets, under the first name that a server has; `name` is that of the
/// legend.
pub(super) fn quantiles(buckets: &[String], name: &str) -> [Curve; 3] {
    [(0.5, "p50"), (0.95, "p95"), (0.99, "p99")].map(|(q, label)| {
        let quantile =
            |buckets: &String| format!("histogram_quantile({q}, sum by (le) (rate({buckets}[{WINDOW}])))");
        let expr = buckets.iter().map(quantile).collect::<Vec<_>>().join(" or ");
        curve(expr, format!("{name} {label}"))
    })
}

/// Panels in a row.
const ROW: usize = 2;
const HEIGHT: usize = 8;
const WIDTH: usize = 12;

/// Renders a panel as Grafana's JSON; `at` is its position on the dashboard.
pub(super) fn drawn(panel: &Panel, at: usize) -> Value {
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

/// Draws a count as bars on its own axis, beside curves of shares.
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
