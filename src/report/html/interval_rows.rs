//! Charts of one row a name: a value and its interval on a common axis.

use super::axis::Axis;
use super::chart::{Chart, DotLabel, LETTER, Layer};
use super::foreign_text::label;
use crate::stats::RateInterval;

/// The height of a row.
const ROW: f64 = 24.0;

/// The height of a chart of few rows.
const LEAST_HEIGHT: f64 = 48.0;

/// The longest name that fits.
const MAX_NAME: usize = 36;

/// A row: a name, its value, and how uncertain the value is.
pub(super) struct IntervalRow {
    /// The name of the row.
    pub name: String,
    /// The color of the value.
    pub color: usize,
    /// The value.
    pub value: f64,
    /// The interval; an end that is not bounded is infinite.
    pub interval: Option<RateInterval>,
    /// Differences from zero that do not matter.
    pub margin: Option<f64>,
}

/// Draws rows from top to bottom, on an axis that has zero. The caller fills the table.
pub(super) fn chart(title: impl Into<String>, x_label: impl Into<String>, rows: &[IntervalRow]) -> Chart {
    let ends = |row: &IntervalRow| {
        let interval = row.interval.map(|RateInterval { low, high }| [low, high]);
        let margin = row.margin.map(|margin| [-margin, margin]);
        [Some([row.value, 0.0]), interval, margin].into_iter().flatten().flatten()
    };
    let x = Axis::spanning(x_label, rows.iter().flat_map(ends));
    let count = rows.len() as f64;
    let mut chart = Chart::new(title, x, Axis::exact("", (0.0, count.max(1.0)), 1.0));
    let names: Vec<String> = rows.iter().map(|row| label(&row.name, MAX_NAME)).collect();
    let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or_default();
    chart.left = chart.left.max(14.0 + LETTER * longest as f64);
    chart.inner_height = Some((count * ROW).max(LEAST_HEIGHT));
    if chart.x.low < 0.0 {
        chart.layers.push(Layer::Rule { class: "marker", x: 0.0, label: String::new() });
    }
    for (at, (row, text)) in rows.iter().zip(names).enumerate() {
        let y = count - at as f64 - 0.5;
        chart.layers.push(Layer::RowLabel { y, text });
        if let Some(margin) = row.margin {
            chart.layers.push(Layer::Block {
                class: "few".into(),
                x: (-margin, margin),
                y: (y - 0.4, y + 0.4),
            });
        }
        if let Some(RateInterval { low, high }) = row.interval {
            chart.layers.push(Layer::Interval { color: row.color, y, from: low, to: high });
        }
        let (color, x) = (row.color, row.value);
        chart.layers.push(Layer::Dot { color, x, y, radius: 3.5, label: DotLabel::None });
    }
    chart
}
