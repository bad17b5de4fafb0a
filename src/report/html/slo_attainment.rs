//! How many requests would meet looser and stricter limits.

use std::time::Duration;

use super::axis::Axis;
use super::chart::{Chart, Layer, LegendKey};
use super::page::Section;
use super::table::number;
use crate::model::metrics::{SloCounts, meets_slo};
use crate::model::record::Record;
use crate::model::run::Run;
use crate::model::run_spec::Slo;
use crate::report::format::percent;

const TITLE: &str = "SLO attainment";

/// The factors on the limits.
const FACTORS: [f64; 25] = [
    0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0,
    2.5, 3.0, 4.0, 6.0, 10.0,
];

/// The section of the SLO; `None` for a run without one.
pub(super) fn section(run: &Run) -> Option<Section> {
    let slo = &run.spec.slo;
    let SloCounts { requests, good, .. } = run.metrics.slo_counts().filter(|_| slo.is_set())?;
    let mut section = Section::new("slo", TITLE);
    section.notes.push(format!(
        "{good} of {requests} requests ({}) met every limit; a failed request never does.",
        percent(good, requests)
    ));
    match run.records.as_deref() {
        Some(records) if requests > 0 => section.charts.push(chart(slo, records)),
        Some(_) => {}
        None => section
            .notes
            .push("The file has no record of each request, so other limits cannot be tried.".into()),
    }
    Some(section)
}

/// The same limits, each multiplied.
fn scaled(slo: &Slo, factor: f64) -> Slo {
    let scale = |limit: Option<Duration>| {
        limit.map(|limit| Duration::try_from_secs_f64(limit.as_secs_f64() * factor).unwrap_or(Duration::MAX))
    };
    Slo {
        ttft: scale(slo.ttft),
        tpot: scale(slo.tpot),
        e2e: scale(slo.e2e),
        from: slo.from,
        classes: slo.classes.iter().map(|(class, slo)| (class.clone(), scaled(slo, factor))).collect(),
    }
}

/// Only one of the limits.
fn only(slo: &Slo, limit: usize) -> Slo {
    let keep = |at: usize, value: Option<Duration>| value.filter(|_| at == limit);
    Slo {
        ttft: keep(0, slo.ttft),
        tpot: keep(1, slo.tpot),
        e2e: keep(2, slo.e2e),
        from: slo.from,
        classes: slo.classes.iter().map(|(class, slo)| (class.clone(), only(slo, limit))).collect(),
    }
}

fn chart(slo: &Slo, records: &[Record]) -> Chart {
    let judged: Vec<&Record> = records.iter().filter(|record| !record.has_early_cancel()).collect();
    let share = |slo: &Slo, factor: f64| {
        let slo = scaled(slo, factor);
        let good = judged.iter().filter(|record| meets_slo(record, &slo)).count();
        100.0 * good as f64 / judged.len().max(1) as f64
    };
    let each = ["TTFT", "TPOT", "E2E"].into_iter().enumerate().map(|(at, name)| (name, only(slo, at)));
    let each: Vec<(&str, Slo)> = each.filter(|(_, slo)| slo.is_set()).collect();
    let mut curves = vec![("all limits", slo.clone())];
    if each.len() > 1 {
        curves.extend(each);
    }
    let x = Axis::log("limits multiplied by", FACTORS.into_iter());
    let mut chart = Chart::new(
        "Share of requests within multiples of the limits",
        x,
        Axis::exact("requests, %", (0.0, 100.0), 20.0),
    );
    chart.layers.push(Layer::Rule { class: "limit", x: 1.0, label: "the SLO".into() });
    let values: Vec<Vec<f64>> =
        curves.iter().map(|(_, slo)| FACTORS.iter().map(|factor| share(slo, *factor)).collect()).collect();
    chart.table.head = vec!["limits times".into()];
    for (color, ((name, _), values)) in curves.iter().zip(&values).enumerate() {
        let points = FACTORS.iter().zip(values).map(|(factor, share)| Some((*factor, *share)));
        chart.layers.push(Layer::Line { color, points: points.collect() });
        chart.legend.push((LegendKey::Line(color), (*name).into()));
        chart.table.head.push(format!("{name}, %"));
    }
    for (at, factor) in FACTORS.iter().enumerate() {
        let shares = values.iter().map(|values| format!("{:.1}", values[at]));
        chart.table.push_at(*factor, std::iter::once(number(*factor)).chain(shares).collect());
    }
    if curves.len() > 2 {
        let at_one = FACTORS.iter().position(|factor| *factor == 1.0).unwrap_or_default();
        let binding = curves.iter().zip(&values).skip(1).min_by(|a, b| a.1[at_one].total_cmp(&b.1[at_one]));
        chart.note = binding.map(|((name, _), values)| {
            format!(
                "The limit that binds is that of {name}: {:.1} % of the requests meet it.",
                values[at_one]
            )
        });
    }
    chart
}
