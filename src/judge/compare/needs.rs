//! How large a sample would settle a row that nobody can call.

use serde::Serialize;

use super::Row;
use super::sample::Method;
use crate::core::figure::{Figure, Statistic};
use crate::core::stats::{RateInterval, least_p, needed, student_quantile};

/// Beyond this many nobody would go.
const MOST: f64 = 1e12;

/// A sample's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Needs {
    /// How many, on each side.
    pub count: u64,
    /// Of what.
    pub of: Counted,
}

/// What a sample is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Counted {
    /// Requests of one run.
    Requests,
    /// Runs.
    Runs,
}

impl Needs {
    /// What settles a row wherever the difference lies: a difference of `d` is settled where the half width for the margin
    /// is below `tolerance − |d|` or the half width for the table is below `|d|`, so it always is where the two halves
    /// together are below the tolerance. `None` where nothing is known of the spread, or no tolerance is given.
    pub(super) fn of(row: &Row, alpha: f64, family: usize) -> Option<Self> {
        let half = |alpha: f64| row.difference.interval_at(alpha).map(half_width);
        let alone = half(alpha)?;
        // Where the table's level asks for more than the sample bounds, twice the width stands in: the normal law's for some
        // hundred rows.
        let in_table =
            half(alpha / family.max(1) as f64).filter(|half| half.is_finite()).unwrap_or(2.0 * alone);
        let halves = alone + in_table;
        let runs = row.base.runs.len().min(row.candidate.runs.len());
        let by_runs = row.difference.method == Some(Method::Repeats)
            || row.base.runs.len().max(row.candidate.runs.len()) > 1;
        let (now, of) = match by_runs {
            true => (runs as f64, Counted::Runs),
            false => (row.base.requests.min(row.candidate.requests) as f64, Counted::Requests),
        };
        let count = match halves.is_finite() {
            true if by_runs => {
                runs_for(now.max(2.0), alone, [alpha, alpha / family.max(1) as f64], row.tolerance)
            }
            true => (now * (halves / row.tolerance).powi(2)).ceil(),
            false => (now * scarcity(row)?).ceil(),
        };
        let least = if by_runs { runs_that_ranks_need(alpha) } else { 0 };
        // What is at hand was not enough, or the row would have been called.
        (count.is_finite() && count < MOST)
            .then(|| Self { count: (count as u64).max(now as u64 + 1).max(least), of })
    }
}

/// The least number of runs at which the half widths for both levels fit into the tolerance. They shrink with the root of the
/// number, and Student's quantiles with the degrees of freedom, which for two or three runs is most of it.
fn runs_for(now: f64, half: f64, levels: [f64; 2], tolerance: f64) -> f64 {
    let quantile = |level: f64, runs: f64| student_quantile(1.0 - level / 2.0, 2.0 * (runs - 1.0));
    let error = half / quantile(levels[0], now);
    let fits = |runs: f64| {
        let halves = levels.map(|level| error * (now / runs).sqrt() * quantile(level, runs));
        halves.iter().sum::<f64>() <= tolerance
    };
    let (mut few, mut enough) = (now, 2.0 * now);
    while !fits(enough) && enough < MOST {
        (few, enough) = (enough, 2.0 * enough);
    }
    while enough - few > 1.0 {
        let middle = ((few + enough) / 2.0).floor();
        *(if fits(middle) { &mut enough } else { &mut few }) = middle;
    }
    enough
}

fn half_width(interval: RateInterval) -> f64 {
    (interval.high - interval.low) / 2.0
}

/// How many times as large a sample bounds the percentile at all.
fn scarcity(row: &Row) -> Option<f64> {
    let Figure::Latency(_, Statistic::Percentile(p)) = row.figure else { return None };
    let worth = row.base.effective_n?.min(row.candidate.effective_n?);
    Some(needed(p)? as f64 / worth.max(1) as f64)
}

fn runs_that_ranks_need(alpha: f64) -> u64 {
    let mut runs = 2;
    while least_p(runs, runs) > alpha && runs < 100 {
        runs += 1;
    }
    runs as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_runs_do_not_ask_for_as_many_as_if_students_tails_stayed() {
        let half = student_quantile(0.975, 4.0);
        let runs = runs_for(3.0, half, [0.05, 0.05], 1.0);
        assert_eq!(runs, 48.0, "3 (1.96 + 1.96)², and a little for the tails, not 3 (2.78 + 2.78)² = 93");
        assert!(runs_for(3.0, half, [0.05, 0.05 / 30.0], 1.0) > runs, "a table asks for more");
    }
}
