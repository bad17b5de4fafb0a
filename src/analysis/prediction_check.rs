//! A prediction against what was measured.

use serde::Serialize;

use super::compare::{MetricSource, all_metrics};
use crate::model::metric_id::MetricId;
use crate::model::metrics::Latency;
use crate::model::prediction::{PredictedValue, Prediction};

/// The comparison of a prediction with a measurement, metric by metric.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct PredictionCheck {
    /// The measurement.
    pub measured: String,
    /// The metrics that both have.
    pub rows: Vec<CheckedMetric>,
    /// Why metrics that both have are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
}

/// The tokens per event above which an event is not a step: events of one token now and then arrive together.
const SEVERAL_TOKENS: f64 = 1.05;

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
        let several = tokens_per_event(measured).filter(|tokens| *tokens > SEVERAL_TOKENS);
        let is_compared =
            |metric: &MetricId| several.is_none() || !matches!(metric, MetricId::Latency(Latency::Itl, _));
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
        let rows = all_metrics().into_iter().filter(is_compared).filter_map(row).collect();
        let left_out = several.map(|tokens| {
            format!(
                "ITL is not compared: a measured event has {tokens:.1} tokens on average, and a predicted one a single token"
            )
        });
        Self { measured: measured.info().name, rows, left_out }
    }

    /// The number of measured values within their intervals.
    pub(crate) fn inside_count(&self) -> usize {
        self.rows.iter().filter(|row| row.is_inside).count()
    }
}

/// The mean number of tokens of a measured event; `None` if it is not known.
fn tokens_per_event(measured: &dyn MetricSource) -> Option<f64> {
    let runs = measured.runs();
    if !runs.is_empty() {
        let of_runs = runs.iter().filter_map(|run| run.metrics.tokens_per_event.as_ref());
        return of_runs.map(|tokens| tokens.mean).reduce(f64::max);
    }
    let requests = measured.stated()?.requests?;
    let streamed = requests.iter().filter(|request| !request.failed && !request.itl_ms.is_empty());
    let (tokens, gaps) = streamed.fold((0, 0), |(tokens, gaps), request| {
        let after_first = request.output_tokens.unwrap_or_default().saturating_sub(1);
        (tokens + after_first, gaps + request.itl_ms.len() as u64)
    });
    (gaps > 0).then(|| tokens as f64 / gaps as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::compare::{ComparisonSide, StatedSide};
    use crate::model::stated::{StatedRequest, StatedResult, Tool};
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

    #[test]
    fn itl_is_left_out_where_events_have_several_tokens() {
        let mut prediction = predictions::run().prediction.unwrap();
        let gap = PredictedValue { low: 9.0, point: 10.0, high: 11.0 };
        prediction.metrics.insert("itl.mean".to_owned(), gap);
        let check = |itl_ms: Vec<f64>| {
            let request = StatedRequest { itl_ms, output_tokens: Some(5), ..StatedRequest::default() };
            let result = StatedResult { requests: Some(vec![request]), ..StatedResult::new(Tool::VllmBench) };
            PredictionCheck::compute(&prediction, &StatedSide { name: "m.json".into(), result })
        };
        let one_each = check(vec![10.0; 4]);
        assert!(one_each.left_out.is_none());
        assert!(one_each.rows.iter().any(|row| row.metric.to_string() == "itl.mean"), "{one_each:?}");
        let all_at_once = check(vec![40.0]);
        assert_eq!(all_at_once.rows, []);
        assert!(all_at_once.left_out.unwrap().contains("has 4.0 tokens on average"));
    }
}
