//! The best set within an SLO: the most throughput per GPU among the points that keep it.

use serde::Serialize;

use super::{Point, is_above, throughput};
use crate::core::figure::Figure;
use crate::core::rule::Rule;
use crate::core::run::Run;
use crate::judge::compare::{Sample, Settings};

/// Who serves most within rules.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Best {
    /// All of them are to be kept.
    pub rules: Vec<Rule>,
    /// What is served: tokens, or requests where nothing is generated.
    pub throughput: Figure,
    /// How each point keeps them.
    pub kept: Vec<Kept>,
    /// The point with the most throughput per GPU of those that keep them in every Run: its place in `kept`. `None`: no point
    /// does.
    pub best: Option<usize>,
    /// Sets that keep them too, of which nobody can tell that they serve less.
    pub as_good: Vec<String>,
}

/// How a point keeps rules.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Kept {
    /// The set.
    pub set: String,
    /// The load.
    pub load: String,
    /// In how many Runs all rules were kept.
    pub runs: usize,
    /// Of how many.
    pub of: usize,
    /// [`Best::throughput`] over the set's GPUs.
    pub per_gpu: Option<f64>,
}

impl Kept {
    /// In every Run.
    pub fn always(&self) -> bool {
        self.runs == self.of
    }
}

/// For each rule, and where there are several for all of them together.
pub fn best(points: &[&Point], slo: &[Rule]) -> Vec<Best> {
    let each = slo.iter().map(|rule| vec![rule.clone()]);
    let all = (slo.len() > 1).then(|| slo.to_vec());
    each.chain(all).map(|rules| within(points, rules)).collect()
}

fn within(points: &[&Point], rules: Vec<Rule>) -> Best {
    let figure = throughput(points);
    let sample = |point: &Point| Sample::of(&point.runs, figure);
    let kept: Vec<Kept> = points
        .iter()
        .map(|point| Kept {
            set: point.set.clone(),
            load: point.load.clone(),
            runs: point.runs.iter().filter(|run| keeps(run, &rules)).count(),
            of: point.runs.len(),
            per_gpu: sample(point).map(|sample| sample.value / point.gpus),
        })
        .collect();
    let able: Vec<usize> =
        (0..kept.len()).filter(|&at| kept[at].always() && kept[at].per_gpu.is_some()).collect();
    let best = able
        .iter()
        .copied()
        .max_by(|&a, &b| kept[a].per_gpu.unwrap_or_default().total_cmp(&kept[b].per_gpu.unwrap_or_default()));
    let rivals: Vec<usize> =
        able.iter().copied().filter(|&at| best.is_some_and(|best| kept[at].set != kept[best].set)).collect();
    let alpha = Settings::default().alpha / rivals.len().max(1) as f64;
    let may_be_as_good = |at: &usize| {
        let Some((ahead, behind)) = best.map(|best| points[best]).zip(points.get(*at)) else { return false };
        let Some((more, less)) = sample(ahead).zip(sample(behind)) else { return true };
        !is_above(&more, &less, ahead.gpus / behind.gpus, alpha)
    };
    let mut as_good: Vec<String> =
        rivals.iter().filter(|at| may_be_as_good(at)).map(|&at| kept[at].set.clone()).collect();
    as_good.dedup();
    Best { rules, throughput: figure, kept, best, as_good }
}

/// A figure that a run does not have keeps nothing.
fn keeps(run: &Run, rules: &[Rule]) -> bool {
    rules.iter().all(|rule| rule.figure.value(run).and_then(|value| rule.holds(value, None)) == Some(true))
}
