//! Tables of the page.

use serde::Serialize;

/// A table: the words above its columns, and its rows.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Table {
    /// The words above the columns.
    pub head: Vec<String>,
    /// The rows.
    pub rows: Vec<Row>,
}

/// A row of a table.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Row {
    /// The row's place on the x axis of the chart beside the table, for the cursor.
    pub x: Option<String>,
    /// The class of the row: `bad`, `warn` or nothing.
    pub class: &'static str,
    /// The cells.
    pub cells: Vec<Cell>,
}

/// A cell of a table.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Cell {
    /// The text.
    pub text: String,
    /// The number behind the text, as exact as the result's.
    pub value: Option<String>,
    /// The metric that the number is: `ttft.p95`.
    pub metric: Option<String>,
    /// A second line, such as an interval.
    pub detail: Option<String>,
}

impl Table {
    /// A table without rows.
    pub(super) fn new<const N: usize>(head: [&str; N]) -> Self {
        Self { head: head.map(ToOwned::to_owned).to_vec(), rows: Vec::new() }
    }

    /// Adds a row of text.
    pub(super) fn push<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(Row { cells: cells.map(Cell::from).to_vec(), ..Row::default() });
    }

    /// Adds a row of text at a place on the chart's x axis.
    pub(super) fn push_at(&mut self, x: f64, cells: Vec<String>) {
        let cells = cells.into_iter().map(Cell::from).collect();
        self.rows.push(Row { x: Some(number(x)), cells, ..Row::default() });
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, ..Self::default() }
    }
}

/// Writes a number with at most six digits after the point, and without zeros at its end.
pub(super) fn number(value: f64) -> String {
    let text = format!("{value:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Writes a number with four significant digits, enough for a table beside a chart.
pub(super) fn short_number(value: f64) -> String {
    let digits = if value == 0.0 { 0.0 } else { (3.0 - value.abs().log10().floor()).clamp(0.0, 6.0) };
    let text = format!("{value:.*}", digits as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Writes a number, or nothing where there is none.
pub(super) fn optional_number(value: Option<f64>) -> String {
    value.map(short_number).unwrap_or_default()
}
