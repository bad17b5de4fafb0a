//! Concatenates consecutive blocks of one candidate into one long run.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::metrics::{self, Metrics};
use crate::model::record::Record;
use crate::model::run::Run;
use crate::stats::{DurationSketch, Percent};

/// Makes one run of consecutive runs that have their request records; `None` if a run lacks them.
///
/// Where the baseline is a single run, it is compared with this run. Blocks on one server show no more about how
/// *servers* vary from start to start than a single run does, and a long run shares what the blocks share.
pub(crate) fn concatenate(blocks: &[Run], percents: &[Percent]) -> Option<Run> {
    let first = blocks.first()?;
    let mut records = Vec::new();
    let mut start = Duration::ZERO;
    let mut sessions = 0;
    for block in blocks {
        let of_block = block.records.as_deref()?;
        records.extend(of_block.iter().map(|record| shift_record(record, start, sessions)));
        let last = of_block.iter().filter_map(|record| record.facets.as_ref()?.session).max();
        sessions += last.map_or(0, |last| last + 1);
        start += block.metrics.duration;
    }
    let mut wanted = first.selection.percents.clone();
    wanted.extend(percents.iter().copied().filter(|p| !first.selection.percents.contains(p)));
    let itl: DurationSketch = metrics::gaps(&records).collect();
    let invalid = blocks.iter().find(|block| !block.validity.valid);
    Some(Run {
        metrics: Metrics::compute(&records, &itl, &first.spec.slo, &wanted),
        histograms: BTreeMap::new(),
        validity: invalid.unwrap_or(first).validity.clone(),
        interrupted: blocks.iter().any(|block| block.interrupted),
        always: Vec::new(),
        records: Some(records),
        ..first.clone()
    })
}

/// Returns the request shifted by `by`, in a session numbered after those of earlier blocks.
fn shift_record(record: &Record, by: Duration, sessions: u32) -> Record {
    let mut record = record.clone();
    if let Some(session) = record.facets.as_mut().and_then(|facets| facets.session.as_mut()) {
        *session += sessions;
    }
    record.shift(by);
    record
}
