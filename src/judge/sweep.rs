//! What a sweep says: which set is ahead where, which points nobody beats, which set is best within an SLO.

use serde::Serialize;

use super::compare::{Comparison, Difference, Sample, Scope, Settings, Side, holm};
use crate::core::figure::Figure;
use crate::core::metrics::Direction;
use crate::core::rule::Rule;
use crate::core::run::Run;

pub mod capacity;
mod front;
mod service;
#[cfg(test)]
mod tests;

pub use super::compare::Call;
pub use front::Efficiency;
pub use service::{Best, Kept};

/// What sets are held against each other by, where they have it.
const FIGURES: [&str; 7] = [
    "output_throughput",
    "request_throughput",
    "ttft.mean",
    "ttft.p95",
    "tpot.mean",
    "e2el.mean",
    "e2el.p95",
];

/// A set under a load.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// The set's name.
    pub set: String,
    /// The load's.
    pub load: String,
    /// Over how many GPUs the set's throughput is shared.
    pub gpus: f64,
    /// The Runs that are to be believed.
    pub runs: Vec<Run>,
}

/// All that a sweep says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ranking {
    /// Each point's figures, in the order of the loads.
    pub standings: Vec<Standing>,
    /// Who is ahead, for each load and figure.
    pub leads: Vec<Lead>,
    /// Throughput per GPU against speed per user; empty where no text was generated.
    pub efficiencies: Vec<Efficiency>,
    /// For each rule of the SLO, and where there are several for all of them together.
    pub best: Vec<Best>,
}

/// The figures of a point.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Standing {
    /// The set.
    pub set: String,
    /// The load.
    pub load: String,
    /// How many Runs.
    pub runs: usize,
    /// In the order of the table.
    pub figures: Vec<Known>,
}

/// What is known of a figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Known {
    /// Which.
    pub figure: Figure,
    /// What of it.
    #[serde(flatten)]
    pub sample: Sample,
}

/// Which set is ahead under a load in one figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Lead {
    /// The load.
    pub load: String,
    /// The figure.
    pub figure: Figure,
    /// The set with the best value.
    pub set: String,
    /// The others, each as seen from the leader: `Worse` is behind it.
    pub rivals: Vec<Rival>,
    /// That of the rival which is the hardest to tell from the leader: who wins must beat all of them.
    pub p: Option<f64>,
    /// The same with all leads of the sweep looked at (Holm): the chance that any lead of equal sets is called won is below 5 %.
    pub adjusted_p: Option<f64>,
    /// What the lead is about; of several rivals the narrowest, `None` without any.
    pub scope: Option<Scope>,
}

/// A set that is not ahead.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rival {
    /// Its name.
    pub set: String,
    /// What it is compared with the leader alone.
    #[serde(flatten)]
    pub call: Call,
}

impl Lead {
    /// Whether the leader wins: there are others, and it is better than every one of them for certain.
    pub fn is_won(&self) -> bool {
        let certain = self.adjusted_p.is_some_and(|p| p <= Settings::default().alpha);
        certain && !self.rivals.is_empty() && self.as_good().next().is_none()
    }

    /// Those that may be as good.
    pub fn as_good(&self) -> impl Iterator<Item = &Rival> {
        self.rivals.iter().filter(|rival| rival.call != Call::Worse)
    }
}

impl Ranking {
    /// Of points, those of a load together and in the order of the loads. Points without Runs say nothing.
    pub fn of(points: &[Point], slo: &[Rule]) -> Self {
        let points: Vec<&Point> = points.iter().filter(|point| !point.runs.is_empty()).collect();
        let by_load: Vec<&[&Point]> = points.chunk_by(|a, b| a.load == b.load).collect();
        let leads = |points: &&[&Point]| {
            let lead = |figure| lead(points, figure);
            figures_of(points).filter_map(lead).collect::<Vec<_>>()
        };
        let mut leads: Vec<Lead> = by_load.iter().flat_map(leads).collect();
        let adjusted = holm(&leads.iter().map(|lead| lead.p).collect::<Vec<_>>());
        leads.iter_mut().zip(adjusted).for_each(|(lead, p)| lead.adjusted_p = p);
        Self {
            standings: points.iter().map(|point| Standing::of(point)).collect(),
            leads,
            efficiencies: front::of(&points),
            best: service::best(&points, slo),
        }
    }
}

impl Standing {
    fn of(point: &Point) -> Self {
        let known = |figure| Some(Known { figure, sample: Sample::of(&point.runs, figure)? });
        Self {
            set: point.set.clone(),
            load: point.load.clone(),
            runs: point.runs.len(),
            figures: figures().filter_map(known).collect(),
        }
    }
}

fn figures() -> impl Iterator<Item = Figure> {
    FIGURES.into_iter().map(|name| name.parse().expect("only figures that there are stand in the list"))
}

/// Those that at least one point has. Where text is generated, requests per second add nothing to tokens per second.
fn figures_of(points: &[&Point]) -> impl Iterator<Item = Figure> {
    let has =
        |figure: Figure| points.iter().any(|point| point.runs.iter().any(|run| figure.value(run).is_some()));
    let throughput = throughput(points);
    let scalar = |figure: &Figure| matches!(figure, Figure::Scalar(_));
    figures().filter(move |figure| has(*figure) && (!scalar(figure) || *figure == throughput))
}

/// Tokens out per second; requests where nothing is generated.
fn throughput(points: &[&Point]) -> Figure {
    let [tokens, requests] = ["output_throughput", "request_throughput"]
        .map(|key| Figure::scalar(key).expect("both are in the table of metrics"));
    let generates = points.iter().any(|point| point.runs.iter().any(|run| tokens.value(run).is_some()));
    if generates { tokens } else { requests }
}

/// Who is ahead in a figure; the others are compared with it.
fn lead(points: &[&Point], figure: Figure) -> Option<Lead> {
    let mean = |point: &Point| Sample::of(&point.runs, figure).map(|sample| sample.value);
    let having: Vec<(&Point, f64)> = points.iter().filter_map(|point| Some((*point, mean(point)?))).collect();
    let better = |a: &f64, b: &f64| match figure.direction() {
        Direction::Lower => a.total_cmp(b),
        Direction::Higher => b.total_cmp(a),
    };
    let (leader, _) = having.iter().min_by(|a, b| better(&a.1, &b.1))?;
    let side = |point: &Point| Side { name: point.set.clone(), runs: point.runs.clone() };
    let others: Vec<Side> =
        having.iter().filter(|(point, _)| point.set != leader.set).map(|(point, _)| side(point)).collect();
    let compared = Comparison::of_figures(&side(leader), &others, &[figure], Settings::default());
    let p = compared.rows().map(|row| row.difference.p).try_fold(0.0_f64, |most, p| Some(most.max(p?)));
    let scope = compared.candidates.iter().map(|candidate| candidate.scope).max();
    let rivals = compared.candidates.into_iter().filter_map(|candidate| {
        Some(Rival { set: candidate.party.name, call: candidate.rows.first()?.call })
    });
    Some(Lead {
        load: leader.load.clone(),
        figure,
        set: leader.set.clone(),
        rivals: rivals.collect(),
        p: p.filter(|_| !others.is_empty()),
        adjusted_p: None,
        scope,
    })
}

/// Whether a sample is above a multiple of another for certain: two-sided, at this level.
fn is_above(candidate: &Sample, base: &Sample, factor: f64, alpha: f64) -> bool {
    let difference = Difference::from_multiple(base, candidate, factor);
    difference.absolute > 0.0 && difference.p.is_some_and(|p| p <= alpha) && !difference.ranks_object(alpha)
}
