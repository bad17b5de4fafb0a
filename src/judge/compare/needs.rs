//! How large a sample would settle a row that nobody can call.

use serde::Serialize;

use super::Row;
use super::sample::{Method, Sample};
use crate::core::figure::{Figure, Statistic};
use crate::core::stats::{RateInterval, least_p, needed, student_quantile};

/// A search for a number of runs ends here.
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
    /// Starts of the server.
    Starts,
}

impl Counted {
    /// More of these are not worth the time: beyond 10,000 requests what differs from run to run outweighs what is left of
    /// the chance within one, and beyond 100 runs or starts the difference drowns in how much those differ.
    pub fn most_practical(self) -> u64 {
        match self {
            Self::Requests => 10_000,
            Self::Runs | Self::Starts => 100,
        }
    }

    /// What the spread of these is seen in.
    pub(in crate::judge) fn by<'a>(sides: impl Iterator<Item = &'a Sample> + Clone) -> Self {
        match sides.clone().any(|side| side.method == Some(Method::Starts)) {
            true => Self::Starts,
            false if sides.clone().any(|side| side.runs.len() > 1) => Self::Runs,
            false => Self::Requests,
        }
    }

    /// How many of them a side has.
    pub(in crate::judge) fn count(self, side: &Sample) -> u64 {
        match self {
            Self::Requests => side.requests,
            Self::Runs => side.runs.len() as u64,
            Self::Starts => side.starts.len() as u64,
        }
    }
}

impl Needs {
    /// Whether anybody would collect that many.
    pub fn is_practical(self) -> bool {
        self.count <= self.of.most_practical()
    }

    /// What settles a row if the difference is as large as it looks now: the interval at `alpha` fits into the tolerance, or
    /// the one at the row's `level` in its table leaves out zero. `None` where nothing is known of the spread.
    pub(super) fn of(row: &Row, alpha: f64, level: f64) -> Option<Self> {
        let half = |alpha: f64| row.difference.interval_at(alpha).map(half_width);
        let alone = half(alpha)?;
        let sides = || [&row.base, &row.candidate].into_iter();
        let of = Counted::by(sides());
        let by_runs = of != Counted::Requests;
        let now = sides().map(|side| of.count(side)).min()? as f64;
        let distance = row.difference.absolute.abs();
        let goals = [(alpha, row.tolerance - distance), (level, distance)];
        let count = match alone.is_finite() {
            true if by_runs => runs_for(now.max(2.0), alone, alpha, goals),
            true => {
                // Where the sample bounds nothing at the table's level, twice the width stands in: the normal law's for some
                // hundred rows.
                let widths = goals.map(|(at, width)| {
                    let half = half(at).filter(|half| half.is_finite()).unwrap_or(2.0 * alone);
                    if width > 0.0 { (half / width).powi(2) } else { f64::INFINITY }
                });
                (now * widths[0].min(widths[1])).ceil()
            }
            false => (now * scarcity(row)?).ceil(),
        };
        let least = if by_runs { runs_that_ranks_need(alpha) } else { 0 };
        // What is at hand was not enough, or the row would have a verdict.
        let count = if count < u64::MAX as f64 { count as u64 } else { u64::MAX };
        Some(Self { count: count.max(now as u64 + 1).max(least), of })
    }
}

/// The least number of runs at which the half width at one of the levels is below what goes with it. Half widths shrink with
/// the root of the number, and Student's quantiles with the degrees of freedom, which for two or three runs is most of it.
fn runs_for(now: f64, half: f64, alpha: f64, goals: [(f64, f64); 2]) -> f64 {
    let quantile = |level: f64, runs: f64| student_quantile(1.0 - level / 2.0, 2.0 * (runs - 1.0));
    let error = half / quantile(alpha, now);
    let fits = |runs: f64| {
        goals.iter().any(|&(level, width)| error * (now / runs).sqrt() * quantile(level, runs) <= width)
    };
    let (mut few, mut enough) = (now, 2.0 * now);
    while !fits(enough) {
        if enough > MOST {
            return f64::INFINITY;
        }
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
        let runs = runs_for(3.0, half, 0.05, [(0.05, 0.0), (0.05, 0.5)]);
        assert_eq!(runs, 48.0, "3 (1.96 / 0.5)², and a little for the tails, not 3 (2.78 / 0.5)² = 93");
        let in_table = runs_for(3.0, half, 0.05, [(0.05, 0.0), (0.05 / 30.0, 0.5)]);
        assert!(in_table > runs, "a table asks for more");
        assert!(runs_for(3.0, half, 0.05, [(0.05, 0.0), (0.05, 0.0)]).is_infinite(), "no number is enough");
    }

    #[test]
    fn more_than_anybody_would_collect_is_not_practical() {
        let needs = |count, of| Needs { count, of };
        assert!(needs(10_000, Counted::Requests).is_practical() && needs(100, Counted::Runs).is_practical());
        assert!(
            !needs(10_001, Counted::Requests).is_practical() && !needs(101, Counted::Runs).is_practical()
        );
    }
}
