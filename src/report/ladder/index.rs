//! The index of a ladder: its steps with their files and headline metrics, as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{LadderEnd, LadderReport, StepReport, StepValue, StepVerdict, columns};
use crate::model::step_load::StepLoad;

/// The version of the index. It changes when a field is removed or changes its meaning.
const SCHEMA: u32 = 1;

/// The index of a ladder.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LadderIndex {
    /// The version of the index. Its key tells an index from other JSON.
    servegauge_ladder: u32,
    /// The program's version.
    version: String,
    /// Why no more steps were measured.
    pub end: LadderEnd,
    /// The steps that were measured, in order.
    pub steps: Vec<IndexedStep>,
    /// The loads that were not measured.
    pub open: Vec<StepLoad>,
}

/// A step in the index.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct IndexedStep {
    /// The load.
    pub load: StepLoad,
    /// The name of the result's file, in the folder of the index; `None` if the result is not saved.
    pub file: Option<String>,
    verdict: StepVerdict,
    /// Why the step is INVALID or failed.
    pub reason: Option<String>,
    seed: Option<u64>,
    completed: Option<usize>,
    failed: Option<usize>,
    duration_s: Option<f64>,
    /// The values of the table, by the names of metrics. Latencies are in milliseconds.
    metrics: BTreeMap<String, f64>,
}

impl LadderIndex {
    /// Builds the index of a ladder.
    pub(crate) fn new(ladder: &LadderReport<'_>) -> Self {
        Self {
            servegauge_ladder: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            end: ladder.end.clone(),
            steps: ladder.steps.iter().map(|step| IndexedStep::new(step, ladder)).collect(),
            open: ladder.open.clone(),
        }
    }

    /// Reads an index; `None` if the text is something else.
    ///
    /// # Errors
    /// The text is an index, and its version is unknown or a field is wrong.
    pub(crate) fn parse(text: &[u8]) -> Result<Option<Self>, String> {
        #[derive(Deserialize)]
        struct Head {
            servegauge_ladder: Option<u32>,
        }
        let Ok(Head { servegauge_ladder: Some(schema) }) = serde_json::from_slice(text) else {
            return Ok(None);
        };
        if schema != SCHEMA {
            return Err(format!(
                "is the index of a ladder of version {schema}, and this program reads {SCHEMA}"
            ));
        }
        serde_json::from_slice(text)
            .map(Some)
            .map_err(|error| format!("is not a whole index of a ladder: {error}"))
    }
}

impl IndexedStep {
    fn new(step: &StepReport<'_>, ladder: &LadderReport<'_>) -> Self {
        let run = step.run();
        let value = |value: StepValue| Some((value.key(), value.value(run?)?));
        Self {
            load: step.load,
            file: step.file.clone(),
            verdict: step.verdict(),
            reason: step.reason(),
            seed: run.map(|run| run.spec.seed),
            completed: run.map(|run| run.metrics.completed),
            failed: run.map(|run| run.metrics.failed),
            duration_s: run.map(|run| run.metrics.duration.as_secs_f64()),
            metrics: columns(step.load, ladder.percents)
                .iter()
                .filter_map(|column| value(column.value))
                .collect(),
        }
    }
}
