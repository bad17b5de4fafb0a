//! The cumulative distributions of the latencies, with their 95 % bands.

use std::time::Duration;

use super::axis::Axis;
use super::chart::{Chart, DotLabel, Layer, LegendKey};
use super::page::Section;
use super::table::{optional_number, short_number};
use crate::model::metrics::{Latency, samples};
use crate::model::run::Run;
use crate::report::run_metrics;
use crate::stats::{
    Bucket, Distribution, DurationHistogram, DurationInterval, Percent, enclosing_shares, min_sample_size,
};

/// The rows of a chart's table.
const TABLE: [Percent; 17] =
    [0.0, 1.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0, 99.0, 99.5, 99.9, 100.0];

/// The percentiles that are marked.
const MARKED: [Percent; 3] = [50.0, 95.0, 99.0];

/// The section of the distributions.
pub(super) fn section(run: &Run) -> Section {
    let mut section = Section::new("distributions", "Distributions");
    for latency in Latency::SELECTABLE {
        let Some(found) = run.metrics.latencies.get(&latency) else {
            if run.metrics.completed > 0 {
                section.notes.push(format!("{}: the run has no value of it.", latency.symbol()));
            }
            continue;
        };
        let Some(values) = LatencyValues::from_run(run, latency) else {
            section.notes.push(format!("{}: the file has no histogram of it.", latency.symbol()));
            continue;
        };
        match found.n {
            0 | 1 => section.notes.push(format!(
                "{}: one value, {} ms; a distribution needs two.",
                latency.symbol(),
                short_number(milliseconds(found.mean))
            )),
            _ => section.charts.push(chart(run, latency, found, &values)),
        }
    }
    if section.charts.is_empty() && section.notes.is_empty() {
        section.notes.push("No request was answered, so there is no distribution.".into());
    }
    section
}

/// The values of a latency: the percentiles that the run lists, and a histogram for all others.
pub(super) struct LatencyValues<'a> {
    found: &'a Distribution,
    histogram: DurationHistogram,
}

impl<'a> LatencyValues<'a> {
    /// Reads the values of a latency; `None` if the run has none.
    pub(super) fn from_run(run: &'a Run, latency: Latency) -> Option<Self> {
        let found = run.metrics.latencies.get(&latency)?;
        let histogram = run.histograms.get(&latency).and_then(|text| DurationHistogram::decode(text))?;
        (!histogram.is_empty()).then_some(Self { found, histogram })
    }

    /// The percentile in milliseconds: the run's own where it lists it, else within 0.1 %.
    pub(super) fn percentile(&self, p: Percent) -> f64 {
        let listed = self.found.percentiles.iter().find(|listed| listed.p == p);
        let value = listed.map(|listed| listed.value).or_else(|| self.histogram.percentile(p));
        milliseconds(value.unwrap_or_default())
    }

    /// The 95 % interval of a percentile in milliseconds; `None` where there are too few values.
    fn interval(&self, p: Percent) -> Option<(f64, f64)> {
        if let Some(listed) = self.found.percentiles.iter().find(|listed| listed.p == p) {
            return listed
                .interval
                .map(|DurationInterval { low, high }| (milliseconds(low), milliseconds(high)));
        }
        let n = self.effective_n(p)?;
        let (low, high) =
            enclosing_shares(n, p).filter(|_| min_sample_size(p).is_some_and(|least| n >= least))?;
        let end = |share| self.histogram.quantile(share).map(milliseconds);
        Some((end(low)?, end(high)?))
    }

    /// The number of independent values for a percentile, between those of the listed percentiles beside it.
    fn effective_n(&self, p: Percent) -> Option<u64> {
        let mut listed: Vec<(Percent, u64)> =
            self.found.percentiles.iter().map(|listed| (listed.p, listed.effective_n)).collect();
        listed.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let after = listed.iter().position(|(at, _)| *at >= p);
        match after {
            None => listed.last().map(|(_, n)| *n),
            Some(0) => listed.first().map(|(_, n)| *n),
            Some(at) => {
                let ((from, few), (to, many)) = (listed[at - 1], listed[at]);
                let share = (p - from) / (to - from);
                Some((few as f64 + share * (many as f64 - few as f64)) as u64)
            }
        }
    }

    /// The highest percentile that the sample is large enough for; `None` if it is too small for the median.
    fn highest_supported(&self) -> Option<Percent> {
        let is_supported = |p: &Percent| {
            let needs = min_sample_size(*p);
            self.effective_n(*p).zip(needs).is_some_and(|(n, needs)| n >= needs)
        };
        let steps = (500..1000).map(|step| f64::from(step) / 10.0).chain([99.95, 99.99, 99.999]);
        steps.take_while(is_supported).last()
    }

    /// The line: more points in the tail than elsewhere.
    pub(super) fn curve(&self) -> Vec<Option<(f64, f64)>> {
        curve_percents(self.found.n).map(|p| Some((self.percentile(p), p))).collect()
    }
}

/// The percentiles that a line of `n` values goes through, ascending.
fn curve_percents(n: u64) -> impl Iterator<Item = Percent> {
    let tail = [99.25, 99.5, 99.75, 99.9, 99.95, 99.99];
    let count = (n - 1).clamp(1, 99);
    let body = (0..=count).map(move |i| 99.0 * i as f64 / count as f64);
    let tail = tail.into_iter().filter(move |_| n > 100);
    body.chain(tail).chain([100.0])
}

fn milliseconds(value: Duration) -> f64 {
    value.as_secs_f64() * 1e3
}

fn chart(run: &Run, latency: Latency, found: &Distribution, values: &LatencyValues<'_>) -> Chart {
    let curve = values.curve();
    let due = from_due(run, latency);
    let band: Vec<Option<(Percent, (f64, f64))>> = curve_percents(found.n)
        .filter(|p| *p > 0.0 && *p < 100.0)
        .map(|p| values.interval(p).map(|interval| (p, interval)))
        .collect();
    let ends = band.iter().flatten().flat_map(|(_, (low, high))| [*low, *high]);
    let all = curve.iter().chain(due.iter().flatten()).flatten().map(|(x, _)| *x);
    let x = Axis::log(format!("{}, ms", latency.symbol()), all.chain(ends));
    let y = Axis::exact("share of values at or below, %", (0.0, 100.0), 20.0);
    let mut chart = Chart::new(format!("{} ({})", latency.title(), latency.symbol()), x, y);
    let supported = values.highest_supported();
    let from = supported.unwrap_or(0.0);
    if from < 99.99 {
        chart.layers.push(Layer::Zone { class: "few", from, to: 100.0 });
        chart.legend.push((LegendKey::Class("few"), "too few independent values".into()));
    }
    if band.iter().any(Option::is_some) {
        chart.layers.push(outline(&band));
        chart.legend.push((LegendKey::Band(0), "95 % band".into()));
    }
    chart.layers.push(Layer::Line { color: 0, points: curve });
    chart.legend.push((LegendKey::Line(0), latency.symbol().into()));
    if let Some(points) = due {
        chart.layers.push(Layer::Line { color: 1, points });
        chart.legend.push((LegendKey::Line(1), "from due (waiting in the client included)".into()));
    }
    for p in MARKED {
        let value = values.percentile(p);
        if let Some((from, to)) = values.interval(p) {
            chart.layers.push(Layer::Interval { color: 0, y: p, from, to });
        }
        let label = if p == 99.0 {
            DotLabel::None
        } else {
            DotLabel::Below(format!("P{p} {} ms", short_number(value)))
        };
        chart.layers.push(Layer::Dot { color: 0, x: value, y: p, radius: 3.5, label });
    }
    chart.note = Some(note(latency, found, supported));
    fill_table(&mut chart, run, latency, values);
    chart
}

/// The outline between the ends of the intervals: up along the low ends, down along the high ends.
fn outline(band: &[Option<(Percent, (f64, f64))>]) -> Layer {
    let parts = band.split(Option::is_none).filter(|part| part.len() > 1);
    let parts = parts.map(|part| {
        let low = part.iter().flatten().map(|(p, (low, _))| (*low, *p));
        let high = part.iter().rev().flatten().map(|(p, (_, high))| (*high, *p));
        low.chain(high).collect()
    });
    Layer::Outline { color: 0, parts: parts.collect() }
}

/// The distribution from due, where the run has every request and waiting in the client changed it.
fn from_due(run: &Run, latency: Latency) -> Option<Vec<Option<(f64, f64)>>> {
    let late = match latency {
        Latency::Ttft => Latency::TtftFromDue,
        Latency::E2e => Latency::E2eFromDue,
        _ => return None,
    };
    let (sent, due) = (run.metrics.latencies.get(&latency)?, run.metrics.latencies.get(&late)?);
    if due.mean < sent.mean.mul_f64(1.02) {
        return None;
    }
    let mut histogram = DurationHistogram::default();
    samples(run.records.as_deref()?, late).for_each(|value| histogram.add(Bucket::from_duration(value), 1));
    let values = LatencyValues { found: due, histogram };
    (due.n > 1).then(|| values.curve())
}

fn note(latency: Latency, found: &Distribution, supported: Option<Percent>) -> String {
    let kind = if latency == Latency::Itl { "gaps between output events" } else { "requests" };
    let worth = found.percentiles.iter().map(|listed| listed.effective_n).min();
    let worth = worth.filter(|worth| *worth < found.n);
    let worth = worth.map(|n| format!(", worth {n} independent ones or more")).unwrap_or_default();
    let end = match supported {
        Some(p) => format!("up to P{p} they are enough"),
        None => "too few even for the median".to_owned(),
    };
    format!("{} {kind}{worth}: {end}. Curves are within 0.1 %.", found.n)
}

fn fill_table(chart: &mut Chart, run: &Run, latency: Latency, values: &LatencyValues<'_>) {
    let mut percents = [&TABLE[..], &run_metrics::table_percents(run)].concat();
    percents.sort_unstable_by(f64::total_cmp);
    percents.dedup();
    let symbol = latency.symbol();
    chart.table.head =
        ["percentile".to_owned(), format!("{symbol}, ms"), "low".into(), "high".into()].to_vec();
    for p in percents {
        let interval = values.interval(p);
        let value = values.percentile(p);
        let cells = vec![
            format!("P{p}"),
            short_number(value),
            optional_number(interval.map(|interval| interval.0)),
            optional_number(interval.map(|interval| interval.1)),
        ];
        chart.table.push_at(value, cells);
    }
}
