//! What is asked of a server: requests by their lengths.

use serde::Serialize;

use super::PlanError;
use crate::core::dataset::LengthSummary;
use crate::core::record::Record;
use crate::core::run::Run;

/// The lengths of one request in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Of the prompt.
    pub prompt: u32,
    /// Of the output.
    pub output: u32,
}

/// Requests as they come; each as likely as the others.
#[derive(Debug, Clone, PartialEq)]
pub struct Mix {
    shapes: Vec<Shape>,
    origin: String,
}

/// What a mix is like.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MixSummary {
    /// Where the lengths are from.
    pub origin: String,
    /// Of prompts.
    pub prompt_tokens: LengthSummary,
    /// Of outputs.
    pub output_tokens: LengthSummary,
    /// Of both together.
    pub total_tokens: LengthSummary,
}

impl Mix {
    /// Of these requests, leaving out those without a token; `origin` says where they are from.
    ///
    /// # Errors
    /// [`PlanError::NoRequests`] if none is left.
    pub fn of(shapes: impl IntoIterator<Item = Shape>, origin: impl Into<String>) -> Result<Self, PlanError> {
        let with_tokens = |shape: &Shape| shape.prompt > 0 || shape.output > 0;
        let (shapes, origin): (Vec<_>, _) = (shapes.into_iter().filter(with_tokens).collect(), origin.into());
        if shapes.is_empty() { Err(PlanError::NoRequests { origin }) } else { Ok(Self { shapes, origin }) }
    }

    /// The completed requests of a run; only their mean where the run did not keep its records.
    ///
    /// # Errors
    /// [`PlanError::NoRequests`] if none completed.
    pub fn of_run(run: &Run, origin: &str) -> Result<Self, PlanError> {
        let shape = |record: &Record| Shape {
            prompt: record.prompt_tokens.count,
            output: record.output_tokens.count,
        };
        if let Some(records) = &run.records {
            return Self::of(records.iter().filter(|record| record.succeeded()).map(shape), origin);
        }
        let metrics = &run.metrics;
        let mean = |total: u64| (total as f64 / metrics.completed as f64).round() as u32;
        let mean =
            Shape { prompt: mean(metrics.input_tokens.total), output: mean(metrics.output_tokens.total) };
        Self::of((metrics.completed > 0).then_some(mean), format!("{origin}, means only: no --save-detailed"))
    }

    /// The requests of several results together.
    ///
    /// # Errors
    /// [`PlanError::NoRequests`] if none of a result completed.
    pub fn of_runs(runs: &[Run], origin: &str) -> Result<Self, PlanError> {
        let mixes = runs.iter().map(|run| Self::of_run(run, origin)).collect::<Result<Vec<_>, _>>()?;
        let joined = mixes.into_iter().reduce(|mut all, mix| {
            all.shapes.extend(mix.shapes);
            all
        });
        joined.ok_or_else(|| PlanError::NoRequests { origin: origin.to_owned() })
    }

    /// The requests.
    pub fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    /// The mean of a value over the requests.
    pub fn mean(&self, value: impl Fn(&Shape) -> f64) -> f64 {
        self.shapes.iter().map(value).sum::<f64>() / self.shapes.len() as f64
    }

    /// What it is like.
    pub fn summary(&self) -> MixSummary {
        let of = |length: fn(&Shape) -> u32| {
            LengthSummary::of(self.shapes.iter().map(length)).expect("a mix has at least one request")
        };
        MixSummary {
            origin: self.origin.clone(),
            prompt_tokens: of(|shape| shape.prompt),
            output_tokens: of(|shape| shape.output),
            total_tokens: of(|shape| shape.prompt.saturating_add(shape.output)),
        }
    }
}
