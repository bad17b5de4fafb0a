//! The distributions of several runs, or of the sides of a comparison, over each other.

use super::axis::Axis;
use super::chart::{COLORS, Chart, DotLabel, Layer, LegendKey};
use super::foreign_text::{NAME, foreign_text};
use super::latency_values::LatencyValues;
use super::page::Section;
use super::table::{Cell, Row, short_number};
use crate::model::metrics::Latency;
use crate::model::run::Run;

/// The largest number of sides in one chart: a reader cannot distinguish more colors.
const MAX_SIDES: usize = COLORS;

/// The percentiles of the tables.
const PERCENTS: [f64; 7] = [10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0];

/// The latencies of one side: of all its runs together.
pub(crate) struct SideLatencies {
    name: String,
    values: Vec<(Latency, LatencyValues)>,
}

impl SideLatencies {
    /// Reads the latencies of a side's runs.
    pub(crate) fn from_runs<'a>(name: &str, runs: impl Iterator<Item = &'a Run> + Clone) -> Self {
        let values = Latency::SELECTABLE.into_iter().filter_map(|latency| {
            let values = LatencyValues::from_runs(runs.clone(), latency)?;
            (values.n > 1).then_some((latency, values))
        });
        Self { name: foreign_text(name, NAME), values: values.collect() }
    }

    fn values(&self, latency: Latency) -> Option<&LatencyValues> {
        self.values.iter().find(|(of, _)| *of == latency).map(|(_, values)| values)
    }
}

/// The section of the distributions.
pub(super) fn section(sides: &[SideLatencies]) -> Section {
    const TITLE: &str = "Distributions";
    if sides.len() > MAX_SIDES {
        let why = format!("Distributions are drawn over each other for up to {MAX_SIDES} runs.");
        return Section::absent("distributions", TITLE, why);
    }
    let mut section = Section::new("distributions", TITLE);
    section.charts.extend(Latency::SELECTABLE.into_iter().filter_map(|latency| chart(latency, sides)));
    if section.charts.is_empty() {
        section.notes.push("No run has two answers, so there is no distribution.".into());
    }
    section
}

/// The distributions of a latency; `None` if no side has it.
fn chart(latency: Latency, sides: &[SideLatencies]) -> Option<Chart> {
    let having: Vec<(usize, &SideLatencies, &LatencyValues)> = sides
        .iter()
        .enumerate()
        .filter_map(|(color, side)| Some((color, side, side.values(latency)?)))
        .collect();
    let curves: Vec<_> = having.iter().map(|(_, _, values)| values.curve()).collect();
    let all = curves.iter().flatten().flatten().map(|(x, _)| *x);
    let x = Axis::log(format!("{}, ms", latency.symbol()), all);
    let y = Axis::exact("share of values at or below, %", (0.0, 100.0), 20.0);
    let mut chart = Chart::new(format!("{} ({})", latency.title(), latency.symbol()), x, y);
    chart.table.head = vec!["percentile".into()];
    for ((color, side, values), points) in having.iter().zip(curves) {
        chart.layers.push(Layer::Line { color: *color, points });
        let median = values.percentile(50.0);
        if let Some((from, to)) = values.interval(50.0) {
            chart.layers.push(Layer::Interval { color: *color, y: 50.0, from, to });
        }
        chart.layers.push(Layer::Dot {
            color: *color,
            x: median,
            y: 50.0,
            radius: 3.0,
            label: DotLabel::None,
        });
        chart.legend.push((LegendKey::Line(*color), format!("{} (n = {})", side.name, values.n)));
        chart.table.head.push(format!("{}, ms", side.name));
    }
    for p in PERCENTS {
        let found = having.iter().map(|(_, _, values)| short_number(values.percentile(p)));
        let cells = std::iter::once(format!("P{p}")).chain(found);
        let cells = cells.map(Cell::from).collect();
        chart.table.rows.push(Row { cells, ..Row::default() });
    }
    (!having.is_empty()).then_some(chart)
}
