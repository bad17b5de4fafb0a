//! Colors of finished reports and messages, for a terminal: only problems have a color.

use console::Style;

/// The beginnings of lines that report a problem, and the severity of each.
const MARKS: [(&str, Severity); 12] = [
    ("INVALID", Severity::Bad),
    ("Failed requests: ", Severity::Bad),
    ("Probe requests failed: ", Severity::Bad),
    ("RESTARTED: ", Severity::Bad),
    ("Profiler error: ", Severity::Bad),
    ("error: ", Severity::Bad),
    ("NOT BELIEVABLE", Severity::Bad),
    ("IMPOSSIBLE ", Severity::Bad),
    ("UNBELIEVABLE ", Severity::Bad),
    ("DOUBTFUL ", Severity::Doubtful),
    ("Warning: ", Severity::Doubtful),
    ("warning: ", Severity::Doubtful),
];

#[derive(Clone, Copy)]
enum Severity {
    Doubtful,
    Bad,
}

/// Returns a report, or a message, with failures in red and warnings in yellow. Its text must be safe for a terminal
/// already.
pub(crate) fn colored(report: &str) -> String {
    report.split_inclusive('\n').map(line).collect()
}

fn line(line: &str) -> String {
    let mark = MARKS.iter().find(|(start, _)| line.starts_with(start));
    let Some((_, severity)) = mark.filter(|_| line != "Probe requests failed: 0\n") else {
        return line.to_owned();
    };
    let style = match severity {
        Severity::Doubtful => Style::new().yellow(),
        Severity::Bad => Style::new().red().bold(),
    };
    let text = line.trim_end_matches('\n');
    format!("{}{}", style.force_styling(true).apply_to(text), &line[text.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_bad_is_colored() {
        let good = "VALID: 18 of 18 checks passed\nSuccessful requests: 4\nProbe requests failed: 0\n";
        assert_eq!(colored(good), good);
        let bad = "INVALID TTFT: bursts\nMean TTFT: 5 ms\nWarning: late\n  do this\nFailed requests: 2 of 4\n\
            error: no file\nwarning: slow\nnote: kept";
        let text = colored(bad);
        let marked: Vec<bool> = text.lines().map(|line| line.contains('\u{1b}')).collect();
        assert_eq!(marked, [true, false, true, false, true, true, true, false]);
        assert_eq!(console::strip_ansi_codes(&text), bad);
    }
}
