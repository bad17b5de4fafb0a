//! The latencies as one table: a row for each latency, a column for each statistic, each cell with its 95 % interval.

use std::io::{self, Write};
use std::time::Duration;

use super::section;
use crate::model::metric_id::Statistic;
use crate::model::metrics::{Latency, Metrics, TABLE_PERCENTS};
use crate::report::format::{NOT_AVAILABLE, bare_milliseconds, interval_text, percentile_name};
use crate::report::table::Table;
use crate::stats::{Distribution, DurationInterval, Percent, Percentile};

/// The fewest values for which the mean has an interval.
const FEWEST_FOR_MEAN: u64 = 10;

/// The text of a cell that has neither a value nor an interval to show.
const NOTHING: &str = "-";

/// The table of latencies.
pub(super) struct Latencies<'a> {
    /// The measured values.
    pub metrics: &'a Metrics,
    /// The rows.
    pub rows: &'a [Latency],
    /// The percentiles that the user requested.
    pub asked: &'a [Percent],
    /// The rows whose mean, median and requested percentiles are printed above the table: their cells have intervals
    /// only.
    pub printed: &'a [Latency],
}

/// The size of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    /// Requests.
    Requests(u64),
    /// Effective sample size, since neighboring requests are correlated.
    Independent(u64),
}

struct Cell {
    value: Duration,
    interval: Option<DurationInterval>,
    size: Size,
    /// Requests that the statistic needs for an interval; `None` if no number is enough.
    needs: Option<u64>,
}

impl Latencies<'_> {
    /// Writes the section: the table, then why some cells have no interval.
    pub(super) fn render(&self, to: &mut impl Write) -> io::Result<()> {
        section("Latencies, ms", to)?;
        self.table(to)
    }

    /// Writes the table without a title.
    pub(super) fn table(&self, to: &mut impl Write) -> io::Result<()> {
        let mut columns: Vec<Vec<String>> =
            self.statistics().map(|statistic| self.column(statistic)).collect();
        columns.insert(0, self.column_of("", |latency, _| latency.symbol().to_owned()));
        columns.push(self.column_of("n", samples));
        let lines = (0..=self.rows.len()).map(|at| columns.iter().map(|column| column[at].clone()).collect());
        Table::left(lines.collect()).write(to)?;
        self.reasons().iter().try_for_each(|reason| writeln!(to, "No interval: {reason}"))
    }

    fn statistics(&self) -> impl Iterator<Item = Statistic> {
        let mut percents = [&TABLE_PERCENTS[..], self.asked].concat();
        percents.sort_by(f64::total_cmp);
        percents.dedup();
        std::iter::once(Statistic::Mean).chain(percents.into_iter().map(Statistic::Percentile))
    }

    fn column_of(&self, head: &str, cell: fn(Latency, Option<&Distribution>) -> String) -> Vec<String> {
        let cells = self.rows.iter().map(|latency| cell(*latency, self.metrics.latencies.get(latency)));
        std::iter::once(head.to_owned()).chain(cells).collect()
    }

    /// Aligns the values at their right edge and the intervals at their left edge.
    fn column(&self, statistic: Statistic) -> Vec<String> {
        let cell = |latency: &Latency| {
            let Some(cell) = self.cell(*latency, statistic) else {
                return [NOT_AVAILABLE.to_owned(), String::new()];
            };
            let value = match self.is_printed(*latency, statistic) {
                true if cell.interval.is_none() => NOTHING.to_owned(),
                true => String::new(),
                false => bare_milliseconds(cell.value),
            };
            [value, cell.interval.map(interval_text).unwrap_or_default()]
        };
        let cells: Vec<[String; 2]> = self.rows.iter().map(cell).collect();
        let width = cells.iter().map(|[value, _]| value.len()).max().unwrap_or_default();
        let blank = if width == 0 { "" } else { " " };
        let lines = cells.iter().map(|[value, interval]| format!("{value:>width$}{blank}{interval}"));
        std::iter::once(name(statistic).to_lowercase()).chain(lines).collect()
    }

    fn cell(&self, latency: Latency, statistic: Statistic) -> Option<Cell> {
        let found = self.metrics.latencies.get(&latency)?;
        let listed = |p: Percent| found.percentiles.iter().find(|listed| listed.p == p);
        let size = |effective_n: u64, needs: Option<u64>| match latency {
            // The values are gaps, and the gaps of one request are correlated.
            Latency::Itl => Size::Independent(effective_n),
            _ if needs.is_none_or(|needs| found.n < needs) => Size::Requests(found.n),
            _ => Size::Independent(effective_n),
        };
        Some(match statistic {
            Statistic::Mean => {
                let (needs, worth) =
                    (Some(FEWEST_FOR_MEAN), listed(50.0).map_or(0, |median| median.effective_n));
                Cell { value: found.mean, interval: found.mean_interval, size: size(worth, needs), needs }
            }
            Statistic::Percentile(p) => {
                let Percentile { value, interval, effective_n, needs, .. } = *listed(p)?;
                Cell { value, interval, size: size(effective_n, needs), needs }
            }
        })
    }

    fn is_printed(&self, latency: Latency, statistic: Statistic) -> bool {
        self.printed.contains(&latency)
            && match statistic {
                Statistic::Mean => true,
                Statistic::Percentile(p) => p == 50.0 || self.asked.contains(&p),
            }
    }

    /// Explains why cells have no interval. Cells with the same reason share a line.
    fn reasons(&self) -> Vec<String> {
        let mut all: Vec<Reason> = Vec::new();
        for statistic in self.statistics() {
            let cells =
                self.rows.iter().filter_map(|latency| Some((*latency, self.cell(*latency, statistic)?)));
            let lacking = cells.filter(|(_, cell)| cell.interval.is_none());
            let (plain, independent): (Vec<_>, Vec<_>) =
                lacking.partition(|(_, cell)| matches!(cell.size, Size::Requests(_)));
            for cells in [plain, independent].into_iter().filter(|cells| !cells.is_empty()) {
                let needs = cells[0].1.needs;
                let sizes: Vec<(Latency, Size)> =
                    cells.iter().map(|(latency, cell)| (*latency, cell.size)).collect();
                let is_same = |known: &&mut Reason| {
                    known.sizes == sizes && known.needs.iter().all(|known| known.is_some() == needs.is_some())
                };
                match all.iter_mut().find(is_same) {
                    Some(known) => {
                        known.statistics.push(name(statistic));
                        known.needs.push(needs);
                    }
                    None => all.push(Reason { statistics: vec![name(statistic)], needs: vec![needs], sizes }),
                }
            }
        }
        all.iter().map(Reason::text).collect()
    }
}

/// Statistics that lack an interval for the same latencies.
struct Reason {
    statistics: Vec<String>,
    needs: Vec<Option<u64>>,
    sizes: Vec<(Latency, Size)>,
}

impl Reason {
    /// Formats `P99 of TTFT, E2E: 132 independent requests, 662 are needed`, or a number for each latency.
    fn text(&self) -> String {
        let symbols: Vec<&str> = self.sizes.iter().map(|(latency, _)| latency.symbol()).collect();
        let what = format!("{} of {}", self.statistics.join(", "), symbols.join(", "));
        let needs: Option<Vec<String>> = self.needs.iter().map(|needs| Some((*needs)?.to_string())).collect();
        let Some(needs) = needs else {
            return format!("{what}: a minimum or maximum has no interval, whatever the sample size");
        };
        let mut numbers: Vec<u64> = Vec::new();
        let mut word = "request";
        for (_, size) in &self.sizes {
            match size {
                Size::Requests(n) => numbers.push(*n),
                Size::Independent(n) => {
                    numbers.push(*n);
                    word = "independent request";
                }
            }
        }
        if numbers.iter().all(|number| *number == numbers[0]) {
            numbers.truncate(1);
        }
        let plural = if numbers == [1] { "" } else { "s" };
        let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
        format!("{what}: {} {word}{plural}, {} are needed", numbers.join(", "), needs.join(", "))
    }
}

fn name(statistic: Statistic) -> String {
    match statistic {
        Statistic::Mean => "mean".to_owned(),
        Statistic::Percentile(p) => percentile_name(p),
    }
}

/// The number of values; for ITL, the values are gaps between events.
fn samples(latency: Latency, found: Option<&Distribution>) -> String {
    let n = found.map_or(0, |found| found.n);
    if latency == Latency::Itl { format!("{n} gaps") } else { n.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sample_run;

    fn latencies(n: u64, asked: &[Percent]) -> Distribution {
        let values = (0..n).map(|i| Duration::from_millis(100 + i * 37 % 100)).collect();
        Distribution::from_values(values, &[asked, &TABLE_PERCENTS].concat()).unwrap()
    }

    fn text(sizes: &[(Latency, u64)], asked: &[Percent], printed: &[Latency]) -> String {
        let of = sizes.iter().map(|(latency, n)| (*latency, latencies(*n, asked)));
        rendered(of.collect(), asked, printed)
    }

    fn rendered(of: Vec<(Latency, Distribution)>, asked: &[Percent], printed: &[Latency]) -> String {
        let mut metrics = sample_run::run(false).metrics;
        let rows: Vec<Latency> = of.iter().map(|(latency, _)| *latency).collect();
        metrics.latencies = of.into_iter().collect();
        let mut text = Vec::new();
        Latencies { metrics: &metrics, rows: &rows, asked, printed }.render(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn every_value_stands_beside_its_interval() {
        let text = text(&[(Latency::Ttft, 2000)], &[99.0], &[]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "─── Latencies, ms ─────────────────────");
        let heads: Vec<_> = lines[1].split_whitespace().collect();
        assert_eq!(heads, ["mean", "p50", "p90", "p95", "p99", "n"]);
        assert!(lines[2].starts_with("TTFT  150 [1") && lines[2].ends_with("]  2000"), "{text}");
        assert_eq!(lines[2].matches('[').count(), 5, "{text}");
        assert_eq!(lines.len(), 3, "{text}");
    }

    #[test]
    fn what_is_printed_above_has_its_interval_only() {
        let sizes = [(Latency::Ttft, 2000), (Latency::E2e, 2000)];
        let text = text(&sizes, &[90.0], &[Latency::Ttft]);
        let (ttft, e2e) = (text.lines().nth(2).unwrap(), text.lines().nth(3).unwrap());
        assert!(ttft.starts_with("TTFT      [1") && e2e.starts_with("E2E   150 [1"), "{text}");
        let values = |line: &str| {
            let words = line.split_whitespace().skip(1).filter(|word| word.parse::<u64>().is_ok());
            words.count()
        };
        assert_eq!((values(ttft), values(e2e)), (3, 6), "p95, p99 and n; all five and n:\n{text}");
    }

    #[test]
    fn a_percentile_that_was_asked_for_has_a_column() {
        let text = text(&[(Latency::Ttft, 2000)], &[25.0, 99.9], &[]);
        let heads: Vec<_> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(heads, ["mean", "p25", "p50", "p90", "p95", "p99", "p99.9", "n"]);
    }

    #[test]
    fn what_has_no_interval_says_why_once() {
        let sizes = [(Latency::Ttft, 132), (Latency::E2e, 132), (Latency::Lag, 2000)];
        let text = text(&sizes, &[99.0], &[Latency::Ttft]);
        let reasons: Vec<_> = text.lines().skip(5).collect();
        assert_eq!(reasons, ["No interval: P99 of TTFT, E2E: 132 requests, 662 are needed"]);
        let ttft: Vec<_> = text.lines().nth(2).unwrap().split_whitespace().collect();
        assert_eq!(ttft[ttft.len() - 2..], ["-", "132"], "{text}");
    }

    #[test]
    fn latencies_of_different_size_have_a_number_each() {
        let sizes = [(Latency::Ttft, 132), (Latency::Tpot, 132), (Latency::E2e, 140)];
        let text = text(&sizes, &[99.0], &[]);
        let expected = "No interval: P99 of TTFT, TPOT, E2E: 132, 132, 140 requests, 662 are needed\n";
        assert!(text.ends_with(expected), "{text}");
    }

    #[test]
    fn neighbors_that_are_alike_are_counted_as_the_independent_requests_that_they_are_worth() {
        let mut alike = latencies(1000, &[]);
        let p99 = alike.percentiles[3];
        alike.percentiles[3] = Percentile { interval: None, effective_n: 132, ..p99 };
        let text = rendered(vec![(Latency::Ttft, alike)], &[99.0], &[]);
        let expected = "No interval: P99 of TTFT: 132 independent requests, 662 are needed\n";
        assert!(p99.p == 99.0 && text.ends_with(expected), "{text}");
    }

    #[test]
    fn few_requests_have_one_line_of_reasons() {
        let text = text(&[(Latency::Ttft, 4), (Latency::E2e, 4)], &[100.0], &[]);
        let reasons: Vec<_> = text.lines().skip(4).collect();
        let expected = [
            "No interval: mean, P50, P90, P95, P99 of TTFT, E2E: 4 requests, 10, 11, 64, 130, 662 are needed",
            "No interval: P100 of TTFT, E2E: a minimum or maximum has no interval, whatever the sample size",
        ];
        assert_eq!(reasons, expected, "{text}");
    }
}
