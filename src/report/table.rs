//! Tables as text: each column is as wide as its widest cell.

use std::io::{self, Write};

/// The alignment and spacing of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Column {
    is_right: bool,
    least: usize,
    gap: usize,
}

impl Column {
    /// A column whose cells align left.
    pub(crate) const LEFT: Self = Self { is_right: false, least: 0, gap: 2 };
    /// A column whose cells align right, for numbers.
    pub(crate) const RIGHT: Self = Self { is_right: true, least: 0, gap: 2 };

    /// Returns the column with a minimum width in characters.
    pub(crate) const fn at_least(self, width: usize) -> Self {
        Self { least: width, ..self }
    }

    /// Returns the column with `gap` blanks before it, instead of two.
    pub(crate) const fn after(self, gap: usize) -> Self {
        Self { gap, ..self }
    }
}

/// A table: rows of cells, the header included.
#[derive(Debug)]
pub(crate) struct Table {
    columns: &'static [Column],
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Creates a table of these rows. The last column's format applies to all further columns.
    pub(crate) fn new(columns: &'static [Column], rows: Vec<Vec<String>>) -> Self {
        Self { columns, rows }
    }

    /// Creates a table whose cells all align left.
    pub(crate) fn left(rows: Vec<Vec<String>>) -> Self {
        Self::new(&[Column::LEFT], rows)
    }

    /// Writes the table as text, without blanks at the end of a line.
    pub(crate) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let count = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let widths: Vec<usize> = (0..count).map(|at| self.width(at)).collect();
        self.rows.iter().try_for_each(|row| {
            let mut line = String::new();
            for (at, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                let Column { is_right, gap, .. } = self.column(at);
                line += &" ".repeat(if at == 0 { 0 } else { gap });
                line += &if is_right { format!("{cell:>width$}") } else { format!("{cell:<width$}") };
            }
            writeln!(to, "{}", line.trim_end())
        })
    }

    /// Writes the table as Markdown; the first row is the header. The cells must be Markdown already.
    pub(crate) fn write_markdown(&self, to: &mut impl Write) -> io::Result<()> {
        for (at, row) in self.rows.iter().enumerate() {
            writeln!(to, "| {} |", row.join(" | "))?;
            if at == 0 {
                writeln!(to, "|{}", "---|".repeat(row.len()))?;
            }
        }
        Ok(())
    }

    fn column(&self, at: usize) -> Column {
        self.columns.get(at).or(self.columns.last()).copied().unwrap_or(Column::LEFT)
    }

    fn width(&self, at: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count());
        cells.max().unwrap_or_default().max(self.column(at).least)
    }
}

/// Converts the cells of a row.
pub(crate) fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(ToOwned::to_owned).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Vec<String>> {
        vec![row(["", "mean", "n"]), row(["µ", "9", "1000"]), row(["TTFT", "120 ms", ""])]
    }

    fn text(table: &Table) -> String {
        let mut text = Vec::new();
        table.write(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        assert_eq!(text(&Table::left(rows())), "      mean    n\nµ     9       1000\nTTFT  120 ms\n");
    }

    #[test]
    fn numbers_end_at_the_right_and_the_last_column_is_the_pattern_of_more() {
        const COLUMNS: [Column; 2] = [Column::LEFT.at_least(6), Column::RIGHT];
        let expected = "          mean     n\nµ            9  1000\nTTFT    120 ms\n";
        assert_eq!(text(&Table::new(&COLUMNS, rows())), expected);
    }

    #[test]
    fn markdown_has_a_rule_below_the_head() {
        let mut text = Vec::new();
        Table::left(rows()).write_markdown(&mut text).unwrap();
        let expected = "|  | mean | n |\n|---|---|---|\n| µ | 9 | 1000 |\n| TTFT | 120 ms |  |\n";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }
}
