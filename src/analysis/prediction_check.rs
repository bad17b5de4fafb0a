//! A prediction against what was measured.

use serde::Serialize;

use super::compare::{MetricSource, all_metrics};
use crate::model::metric_id::MetricId;
use crate::model::prediction::{PredictedValue, Prediction};

/// The comparison of a prediction with a measurement, metric by metric.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct PredictionCheck {
    /// The measurement.
    pub measured: String,
    /// The metrics that both have.
    pub rows: Vec<CheckedMetric>,
}

/// A metric that was predicted and measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct CheckedMetric {
    /// The metric.
    pub metric: MetricId,
    /// The measured value.
    pub measured: f64,
    /// The prediction.
    pub predicted: PredictedValue,
    /// The prediction minus the measurement, as a share of the measurement; `None` where that is zero.
    pub error: Option<f64>,
    /// Whether the measurement is within the interval of the prediction.
    pub is_inside: bool,
}

impl PredictionCheck {
    /// Compares a prediction with a measurement.
    pub(crate) fn compute(prediction: &Prediction, measured: &dyn MetricSource) -> Self {
        let row = |metric: MetricId| {
            let predicted = *prediction.metrics.get(&metric.to_string())?;
            let value = measured.sample(metric)?.value;
            Some(CheckedMetric {
                metric,
                measured: value,
                predicted,
                error: (value != 0.0).then(|| predicted.point / value - 1.0),
                is_inside: predicted.contains(value),
            })
        };
        let rows = all_metrics().into_iter().filter_map(row).collect();
        Self { measured: measured.info().name, rows }
    }

    /// The number of measured values within their intervals.
    pub(crate) fn inside_count(&self) -> usize {
        self.rows.iter().filter(|row| row.is_inside).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::compare::ComparisonSide;
    use crate::testing::{predictions, sample_run};

    #[test]
    fn a_measurement_is_inside_the_interval_or_not() {
        let prediction = predictions::run().prediction.unwrap();
        let measured = ComparisonSide { name: "m.json".into(), runs: vec![sample_run::run(true)] };
        let check = PredictionCheck::compute(&prediction, &measured);
        let row = |name: &str| check.rows.iter().find(|row| row.metric.to_string() == name).unwrap();
        let ttft = row("ttft.mean");
        assert_eq!((ttft.measured, ttft.is_inside), (100.0, true));
        assert!((ttft.error.unwrap() + 0.005).abs() < 1e-9);
        assert!(!row("tpot.mean").is_inside, "50 ms were measured");
        assert_eq!((check.rows.len(), check.inside_count()), (3, 1));
    }
}
