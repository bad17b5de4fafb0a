//! Throughput per GPU against speed per user: which points no other beats in both.

use serde::Serialize;

use super::{Point, throughput};
use crate::core::figure::Figure;
use crate::judge::compare::Sample;

/// A point as the two who pay see it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Efficiency {
    /// The set.
    pub set: String,
    /// The load.
    pub load: String,
    /// Output tokens per second and GPU: what the operator pays for.
    pub per_gpu: f64,
    /// 1 / mean TPOT, tokens per second: what one user sees.
    pub per_user: f64,
    /// Whether no point has more of one and no less of the other (Pareto); by the means, which are as sure as the table's.
    pub on_front: bool,
}

/// Of all points that have both, the fastest for a user first.
pub fn of(points: &[&Point]) -> Vec<Efficiency> {
    let figure = throughput(points);
    let tpot: Figure = "tpot.mean".parse().expect("there is such a figure");
    let efficiency = |point: &&Point| {
        let value = |figure| Sample::of(&point.runs, figure).map(|sample| sample.value);
        let (throughput, tpot) = (value(figure)?, value(tpot).filter(|tpot| *tpot > 0.0)?);
        Some(Efficiency {
            set: point.set.clone(),
            load: point.load.clone(),
            per_gpu: throughput / point.gpus,
            per_user: 1e3 / tpot,
            on_front: false,
        })
    };
    let mut all: Vec<Efficiency> = points.iter().filter_map(efficiency).collect();
    all.sort_by(|a, b| b.per_user.total_cmp(&a.per_user).then(b.per_gpu.total_cmp(&a.per_gpu)));
    let mut most = f64::NEG_INFINITY;
    for point in &mut all {
        // Whoever comes later is slower for a user, and must give the operator more than all before.
        point.on_front = point.per_gpu > most;
        most = most.max(point.per_gpu);
    }
    all
}
