//! Better, worse, the same, or cannot tell: one or several runs against a baseline.
//!
//! Every figure that both sides have makes a row. Its [`Call`] follows from two questions:
//!
//! 1. Does the difference's own interval lie within the margin on both sides of zero? Then the figures are the **same**, as
//!    far as the margin goes. A real difference may be in there: it is one that the reader said does not matter.
//! 2. If not, is there a difference at all, with the whole table looked at? Holm's adjustment (1979) of the rows' p-values
//!    keeps the chance that even one row of equal servers is called better or worse below `alpha`.
//!
//! Otherwise nobody **can tell**, and the row says how large a sample would answer one of the two questions if the difference
//! is as large as it looks now (widths shrink with the root of the sample).
//!
//! A row shows the interval that its verdict rests on: at Holm's level for it, or at `alpha` where the figures are the same.
//!
//! With one run a side the spread is that of the requests within a run; with several, only the spread between them counts.
//! What differs from one start of a server to the next is in neither unless the runs are from several starts: [`Scope`] says
//! whether the calls are about the servers, or only about the starts that were measured.

use std::time::Duration;

use serde::Serialize;

use crate::core::figure::{Figure, Statistic, Unit};
use crate::core::metrics::{Direction, Latency, SCALARS};
use crate::core::run::Run;
use crate::core::stats::RateInterval;
use crate::core::units::seconds;
pub use difference::Difference;
pub(in crate::judge) use holm::adjusted as holm;
pub use likeness::Unlike;
pub use needs::{Counted, Needs};
pub use sample::{Method, Sample};
pub use starts::Scope;

mod difference;
pub(in crate::judge) mod holm;
mod likeness;
mod needs;
mod pairs;
mod sample;
pub mod starts;
#[cfg(test)]
mod study;
#[cfg(test)]
mod tests;

/// What is compared, and how strictly.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    /// The share of the baseline's value below which a difference does not matter.
    pub margin: f64,
    /// The same in time, for latencies so small that a share of them is nothing.
    #[serde(rename = "floor_s", with = "seconds")]
    pub floor: Duration,
    /// The same for failure rate and goodput ratio, which are shares themselves: 0.01 is one percentage point.
    pub points: f64,
    /// The chance that a table of equal servers calls any row better or worse.
    pub alpha: f64,
}

impl Default for Settings {
    /// 5 %, 0.1 ms, one percentage point; 5 %.
    fn default() -> Self {
        Self { margin: 0.05, floor: Duration::from_micros(100), points: 0.01, alpha: 0.05 }
    }
}

impl Settings {
    /// The largest difference from this value that does not matter, in the figure's unit.
    pub fn tolerance(&self, figure: Figure, base: f64) -> f64 {
        let relative = self.margin * base.abs();
        match figure.unit() {
            Unit::Share => self.points,
            Unit::Milliseconds => relative.max(self.floor.as_secs_f64() * 1e3),
            Unit::Plain(_) => relative,
        }
    }
}

/// Runs that are one side of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct Side {
    /// What reports call it.
    pub name: String,
    /// One, or repeats.
    pub runs: Vec<Run>,
}

/// Candidates against a baseline.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// How strictly.
    pub settings: Settings,
    /// What they are compared with.
    pub base: Party,
    /// In the order given.
    pub candidates: Vec<Candidate>,
    /// What speaks against comparing them at all; whoever compares anyway puts it here.
    pub caveats: Vec<String>,
    /// Over how many rows the p-values are adjusted: all that have one, of all candidates.
    pub family: usize,
}

/// A side, as reports name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Party {
    /// Its name.
    pub name: String,
    /// How many runs.
    pub runs: usize,
    /// From how many starts of the server they are; `None` if a run does not tell.
    pub starts: Option<usize>,
    /// How many requests in them.
    pub requests: u64,
}

/// A candidate's rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Candidate {
    /// Who.
    #[serde(flatten)]
    pub party: Party,
    /// What its calls are about.
    pub scope: Scope,
    /// One for each figure that it and the baseline have, in the order of [`figures`].
    pub rows: Vec<Row>,
}

/// One figure of a candidate and the baseline.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Which.
    pub figure: Figure,
    /// Its tolerance: see [`Settings::tolerance`].
    pub tolerance: f64,
    /// The baseline.
    pub base: Sample,
    /// The candidate.
    pub candidate: Sample,
    /// Candidate less baseline.
    pub difference: Difference,
    /// The p-value, adjusted for the table (Holm).
    pub adjusted_p: Option<f64>,
    /// The interval of the difference that the verdict rests on: see [`Row::verdict_alpha`].
    pub verdict_interval: Option<RateInterval>,
    /// The chance with which `verdict_interval` misses the true difference: Holm's share of the table's `alpha`, or all of
    /// `alpha` where the verdict is that the figures are the same.
    pub verdict_alpha: f64,
    /// What follows.
    #[serde(flatten)]
    pub call: Call,
}

/// What a comparison says of one figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "call", rename_all = "snake_case")]
pub enum Call {
    /// The candidate is better.
    Better,
    /// The candidate is worse.
    Worse,
    /// No difference that matters.
    Same,
    /// The samples are too small.
    CannotTell {
        /// What would settle it; `None` if that is not known either.
        needs: Option<Needs>,
    },
}

/// The figures of a table by default, of those that both sides have: few, because each one more makes all others harder to
/// tell apart. Where both sides have an SLO, the share of good requests stands for the failures, which are never good.
pub fn headline_figures(sides: &[&[Run]]) -> Vec<Figure> {
    let good = Figure::scalar("goodput_ratio").expect("it is in the table of metrics");
    let has_slo = sides.iter().all(|runs| runs.iter().any(|run| good.value(run).is_some()));
    let outcome = if has_slo { "goodput_ratio" } else { "failure_rate" };
    let names = ["ttft.mean", "ttft.p95", "tpot.mean", "tpot.p95", "e2el.mean", "output_throughput", outcome];
    names.map(|name| name.parse().expect("only figures that there are stand in the list")).to_vec()
}

/// All figures that a table may have: mean, median, P90, P95 and P99 of TTFT, TPOT, E2E and ITL, and what a server is judged by beside
/// them. Input throughput is the client's doing, and request goodput follows from two others.
pub fn figures() -> Vec<Figure> {
    const PERCENTS: [f64; 4] = [50.0, 90.0, 95.0, 99.0];
    let statistics = || [Statistic::Mean].into_iter().chain(PERCENTS.map(Statistic::Percentile));
    let latencies = Latency::SELECTABLE
        .into_iter()
        .flat_map(|latency| statistics().map(move |statistic| Figure::Latency(latency, statistic)));
    let scalars = SCALARS.iter().filter(|row| !matches!(row.key, "input_throughput" | "request_goodput"));
    latencies.chain(scalars.filter_map(|row| Figure::scalar(row.key))).collect()
}

impl Comparison {
    /// Of those of these figures of which enough is known to tell them apart; of all that there are if that is none.
    pub fn of_known(base: &Side, candidates: &[Side], figures: &[Figure], settings: Settings) -> Self {
        let mut comparison = Self::of_figures(base, candidates, figures, settings);
        let is_known = |row: &Row| row.difference.p.is_some();
        if comparison.rows().any(is_known) {
            comparison.candidates.iter_mut().for_each(|candidate| candidate.rows.retain(is_known));
        }
        comparison
    }

    /// Of these figures, as far as a candidate and the baseline have them.
    pub fn of_figures(base: &Side, candidates: &[Side], figures: &[Figure], settings: Settings) -> Self {
        let bases: Vec<_> = figures.iter().map(|&figure| (figure, Sample::of(&base.runs, figure))).collect();
        let candidate = |side: &Side| {
            let rows = bases.iter().filter_map(|(figure, base)| {
                Some(Row::of(*figure, base.clone()?, Sample::of(&side.runs, *figure)?, &settings))
            });
            let scope = Scope::of(&base.runs, &side.runs);
            Candidate { party: Party::of(side), scope, rows: rows.collect() }
        };
        let mut candidates: Vec<Candidate> = candidates.iter().map(candidate).collect();
        let family = decide(candidates.iter_mut().flat_map(|candidate| &mut candidate.rows), settings.alpha);
        Self { base: Party::of(base), candidates, caveats: Vec::new(), family, settings }
    }

    /// All rows.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.candidates.iter().flat_map(|candidate| &candidate.rows)
    }
}

impl Party {
    /// Of a side.
    pub fn of(side: &Side) -> Self {
        let requests = side.runs.iter().map(|run| run.metrics.requests() as u64).sum();
        let starts = starts::known(&side.runs);
        Self { name: side.name.clone(), runs: side.runs.len(), starts, requests }
    }
}

impl Row {
    fn of(figure: Figure, base: Sample, candidate: Sample, settings: &Settings) -> Self {
        let difference = Difference::between(&base, &candidate);
        Self::with(figure, [base, candidate], difference, settings)
    }

    /// Before the table is looked at: nothing is called yet.
    fn with(
        figure: Figure,
        [base, candidate]: [Sample; 2],
        difference: Difference,
        settings: &Settings,
    ) -> Self {
        Self {
            figure,
            tolerance: settings.tolerance(figure, base.value),
            base,
            candidate,
            adjusted_p: None,
            verdict_interval: difference.interval,
            verdict_alpha: 0.05,
            call: Call::CannotTell { needs: None },
            difference,
        }
    }

    /// Decides the row at Holm's level for it, and keeps the interval that goes with the decision.
    fn decide(&mut self, alpha: f64, level: f64) {
        self.call = self.call(alpha, level);
        self.verdict_alpha = if self.call == Call::Same { alpha } else { level };
        self.verdict_interval = self.difference.interval_at(self.verdict_alpha);
    }

    fn call(&self, alpha: f64, level: f64) -> Call {
        let within = self
            .difference
            .interval_at(alpha)
            .is_some_and(|interval| -self.tolerance <= interval.low && interval.high <= self.tolerance);
        let differs = self.difference.p.is_some_and(|p| p <= level) && !self.difference.ranks_object(alpha);
        let lower = self.difference.absolute < 0.0;
        match (within, differs) {
            (true, _) => Call::Same,
            (false, true) if lower == (self.figure.direction() == Direction::Lower) => Call::Better,
            (false, true) => Call::Worse,
            (false, false) => Call::CannotTell { needs: Needs::of(self, alpha, level) },
        }
    }
}

/// Calls all rows of a table; returns how many had a p-value.
fn decide<'a>(rows: impl Iterator<Item = &'a mut Row>, alpha: f64) -> usize {
    let mut rows: Vec<&mut Row> = rows.collect();
    let p: Vec<Option<f64>> = rows.iter().map(|row| row.difference.p).collect();
    let (adjusted, levels) = (holm::adjusted(&p), holm::levels(&p, alpha));
    let family = adjusted.iter().flatten().count();
    for ((row, p), level) in rows.iter_mut().zip(adjusted).zip(levels) {
        row.adjusted_p = p;
        row.decide(alpha, level.unwrap_or(alpha));
    }
    family
}
