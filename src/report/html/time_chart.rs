//! Charts on the time axis of a run.

use super::axis::Axis;
use super::chart::{Chart, Layer, LegendKey};
use super::table::optional_number;
use super::time_points::TimePoints;
use crate::model::run::Run;

/// The charts over time share their cursor and their zoom.
pub(super) const GROUP: &str = "time";

/// A quantity at each point, with its name.
pub(super) type TimeColumn = (&'static str, Vec<Option<f64>>);

/// A chart on the time axis, with the steady window in the background.
pub(super) fn chart(title: &str, y: Axis, run: &Run, points: &TimePoints) -> Chart {
    let x =
        Axis::until(format!("time since the start, {}", points.unit.name), points.end / points.unit.seconds);
    let mut chart = Chart { group: GROUP, ..Chart::new(title, x, y) };
    if let Ok(steady) = &run.steady {
        let ends = [steady.window.start, steady.window.end];
        let [from, to] = ends.map(|at| at.as_secs_f64() / points.unit.seconds);
        chart.layers.push(Layer::Span { class: "steady", from, to });
        chart.legend.push((LegendKey::Class("steady"), "steady state".into()));
    }
    chart.table.head = vec![format!("time, {}", points.unit.name)];
    chart
}

/// Draws columns as lines, and writes them into the table.
pub(super) fn draw_columns(chart: &mut Chart, columns: &[TimeColumn], points: &TimePoints) {
    for (color, (name, values)) in columns.iter().enumerate() {
        chart.layers.push(Layer::Line { color, points: points.line(values) });
        chart.legend.push((LegendKey::Line(color), (*name).into()));
        chart.table.head.push((*name).into());
    }
    for at in 0..points.len() {
        let values = columns.iter().map(|(_, values)| optional_number(values[at]));
        chart
            .table
            .push_at(points.middle(at), std::iter::once(points.start_text(at)).chain(values).collect());
    }
}
