//! The requests that a server receives, by their lengths.

use serde::Serialize;

use super::PlanError;
use crate::model::length_counts::LengthSummary;
use crate::model::record::Record;
use crate::model::run::Run;

/// The lengths of one request in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestLengths {
    /// The prompt's tokens.
    pub prompt: u32,
    /// The output's tokens.
    pub output: u32,
}

/// A mix of requests, each with equal probability.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RequestMix {
    shapes: Vec<RequestLengths>,
    origin: String,
}

/// A summary of a mix.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct MixSummary {
    /// The source of the lengths.
    pub origin: String,
    /// The lengths of prompts.
    pub prompt_tokens: LengthSummary,
    /// The lengths of outputs.
    pub output_tokens: LengthSummary,
    /// The lengths of prompt and output together.
    pub total_tokens: LengthSummary,
}

impl RequestMix {
    /// Makes a mix of these requests, without those that have no tokens; `origin` names the source.
    ///
    /// # Errors
    ///
    /// [`PlanError::NoRequests`] if no request is left.
    pub(crate) fn from_lengths(
        shapes: impl IntoIterator<Item = RequestLengths>,
        origin: impl Into<String>,
    ) -> Result<Self, PlanError> {
        let with_tokens = |shape: &RequestLengths| shape.prompt > 0 || shape.output > 0;
        let (shapes, origin): (Vec<_>, _) = (shapes.into_iter().filter(with_tokens).collect(), origin.into());
        if shapes.is_empty() { Err(PlanError::NoRequests { origin }) } else { Ok(Self { shapes, origin }) }
    }

    /// Makes a mix of the completed requests of a run; only their mean if the run did not keep its records.
    ///
    /// # Errors
    ///
    /// [`PlanError::NoRequests`] if no request completed.
    pub(crate) fn from_run(run: &Run, origin: &str) -> Result<Self, PlanError> {
        let shape = |record: &Record| RequestLengths {
            prompt: record.prompt_tokens.count,
            output: record.output_tokens.count,
        };
        if let Some(records) = &run.records {
            return Self::from_lengths(
                records.iter().filter(|record| record.is_success()).map(shape),
                origin,
            );
        }
        let metrics = &run.metrics;
        let mean = |total: u64| (total as f64 / metrics.completed as f64).round() as u32;
        let mean = RequestLengths {
            prompt: mean(metrics.input_tokens.total),
            output: mean(metrics.output_tokens.total),
        };
        Self::from_lengths(
            (metrics.completed > 0).then_some(mean),
            format!("{origin}, means only: no `options.detail`"),
        )
    }

    /// Makes a mix of the requests of several results.
    ///
    /// # Errors
    ///
    /// [`PlanError::NoRequests`] if no request of a result completed.
    pub(crate) fn from_runs(runs: &[Run], origin: &str) -> Result<Self, PlanError> {
        let mixes = runs.iter().map(|run| Self::from_run(run, origin)).collect::<Result<Vec<_>, _>>()?;
        let joined = mixes.into_iter().reduce(|mut all, mix| {
            all.shapes.extend(mix.shapes);
            all
        });
        joined.ok_or_else(|| PlanError::NoRequests { origin: origin.to_owned() })
    }

    /// The lengths of the requests.
    pub(crate) fn lengths(&self) -> &[RequestLengths] {
        &self.shapes
    }

    /// The mean of a value over the requests.
    pub(crate) fn mean(&self, value: impl Fn(&RequestLengths) -> f64) -> f64 {
        self.shapes.iter().map(value).sum::<f64>() / self.shapes.len() as f64
    }

    /// Summarizes the mix.
    pub(crate) fn summary(&self) -> MixSummary {
        let of = |length: fn(&RequestLengths) -> u32| {
            LengthSummary::from_lengths(self.shapes.iter().map(length))
                .expect("a mix has at least one request")
        };
        MixSummary {
            origin: self.origin.clone(),
            prompt_tokens: of(|shape| shape.prompt),
            output_tokens: of(|shape| shape.output),
            total_tokens: of(|shape| shape.prompt.saturating_add(shape.output)),
        }
    }
}
