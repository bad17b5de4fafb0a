//! Throughput per GPU against speed per user: the Pareto front of the points.

use serde::Serialize;

use super::{SweepPoint, throughput_metric};
use crate::analysis::compare::MetricSample;
use crate::model::metric_id::MetricId;

/// A point's efficiency for the operator and for the user.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct PointEfficiency {
    /// The set's name.
    pub set: String,
    /// The load's name.
    pub load: String,
    /// Output tokens per second and GPU: the operator's cost.
    pub per_gpu: f64,
    /// 1 / mean TPOT in tokens per second: the speed that one user sees.
    pub per_user: f64,
    /// Whether no other point has more of one value and at least as much of the other (Pareto front). The values are
    /// means, with the uncertainty that the table shows.
    pub on_front: bool,
}

/// Computes the efficiency of all points that have both values, in descending order of speed per user.
pub(super) fn pareto_front(points: &[&SweepPoint]) -> Vec<PointEfficiency> {
    let figure = throughput_metric(points);
    let tpot: MetricId = "tpot.mean".parse().expect("there is such a figure");
    let efficiency = |point: &&SweepPoint| {
        let value = |figure| MetricSample::from_runs(&point.runs, figure).map(|sample| sample.value);
        let (throughput, tpot) = (value(figure)?, value(tpot).filter(|tpot| *tpot > 0.0)?);
        Some(PointEfficiency {
            set: point.set.clone(),
            load: point.load.clone(),
            per_gpu: throughput / point.gpus,
            per_user: 1e3 / tpot,
            on_front: false,
        })
    };
    let mut all: Vec<PointEfficiency> = points.iter().filter_map(efficiency).collect();
    all.sort_by(|a, b| b.per_user.total_cmp(&a.per_user).then(b.per_gpu.total_cmp(&a.per_gpu)));
    let mut most = f64::NEG_INFINITY;
    for point in &mut all {
        // Later points are slower for the user, so a point on the front exceeds the throughput of all earlier points.
        point.on_front = point.per_gpu > most;
        most = most.max(point.per_gpu);
    }
    all
}
