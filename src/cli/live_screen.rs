//! Lines of a terminal that are replaced in place, at the end of what it shows.
//!
//! The cursor stays visible, input is echoed, and there is no alternate screen: whatever ends the program, the terminal
//! needs no restoring.

use std::fmt::Write as _;
use std::io;

use console::{Term, measure_text_width, truncate_str};

/// A terminal, and the lines that were drawn last.
pub(super) struct LiveScreen {
    term: Term,
    /// The width of each line that is shown.
    shown: Vec<usize>,
}

impl LiveScreen {
    /// A terminal on which nothing is drawn. The terminal should be buffered, so that it shows whole frames.
    pub(super) fn new(term: Term) -> Self {
        Self { term, shown: Vec::new() }
    }

    /// The rows and the columns of the terminal, which the user may resize at any time.
    pub(super) fn size(&self) -> (usize, usize) {
        let (rows, columns) = self.term.size();
        (rows.into(), columns.into())
    }

    /// Replaces what is shown by these lines. Lines are cut at the right edge, and after all but one row: the cursor
    /// takes the last one.
    pub(super) fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        let (rows, columns) = self.size();
        let lines: Vec<_> =
            lines.iter().take(rows.saturating_sub(1)).map(|line| truncate_str(line, columns, "…")).collect();
        self.term.write_str(&frame(&lines, rows_of(&self.shown, columns)))?;
        self.shown = lines.iter().map(|line| measure_text_width(line)).collect();
        self.term.flush()
    }

    /// Removes what is shown.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.draw(&[])
    }

    /// Whether the terminal shows colors, and the user wants them.
    pub(super) fn is_colored(&self) -> bool {
        self.term.features().colors_supported()
    }
}

/// The rows that lines of these widths take. A terminal that became narrower has wrapped them.
fn rows_of(widths: &[usize], columns: usize) -> usize {
    widths.iter().map(|width| width.div_ceil(columns.max(1)).max(1)).sum()
}

/// The characters that replace the last rows by these lines, without ever showing an empty row in between.
fn frame<S: AsRef<str>>(lines: &[S], rows: usize) -> String {
    let mut frame = String::from("\r");
    if rows > 0 {
        let _ = write!(frame, "\u{1b}[{rows}A");
    }
    for line in lines {
        frame.push_str(line.as_ref());
        frame.push_str("\u{1b}[K\n");
    }
    frame.push_str("\u{1b}[J");
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_replaces_the_rows_of_the_last_one() {
        assert_eq!(frame(&["a", "b"], 0), "\ra\u{1b}[K\nb\u{1b}[K\n\u{1b}[J");
        assert_eq!(frame(&["c"], 2), "\r\u{1b}[2Ac\u{1b}[K\n\u{1b}[J");
        assert_eq!(frame::<&str>(&[], 1), "\r\u{1b}[1A\u{1b}[J");
    }

    #[test]
    fn lines_that_a_narrower_terminal_wrapped_take_more_rows() {
        assert_eq!(rows_of(&[80, 0, 81], 80), 4);
        assert_eq!(rows_of(&[80, 40], 30), 5);
        assert_eq!(rows_of(&[3], 0), 3);
        assert_eq!(rows_of(&[], 80), 0);
    }

    /// A frame never hides the cursor, switches the screen, or turns wrapping off: nothing needs restoring.
    #[test]
    fn a_frame_leaves_the_terminal_as_it_was() {
        assert!(!frame(&["line"], 3).contains("\u{1b}[?"));
    }
}
