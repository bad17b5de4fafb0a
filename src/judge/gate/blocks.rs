//! Blocks of one candidate, one after the other: one long run.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::core::metrics::{self, Metrics};
use crate::core::record::{Record, Times};
use crate::core::run::Run;
use crate::core::stats::{Percent, Tally};

/// One run of consecutive ones that have their requests; `None` if one has not.
///
/// Where a single run is the baseline this is what it is compared with: between blocks on one server there is no more to be
/// seen of how *servers* vary from start to start than within one run, and what the blocks share a long run shares too.
pub fn joined(blocks: &[Run], percents: &[Percent]) -> Option<Run> {
    let first = blocks.first()?;
    let mut records = Vec::new();
    let mut start = Duration::ZERO;
    let mut sessions = 0;
    for block in blocks {
        let of_block = block.records.as_deref()?;
        records.extend(of_block.iter().map(|record| later(record, start, sessions)));
        let last = of_block.iter().filter_map(|record| record.facets.as_ref()?.session).max();
        sessions += last.map_or(0, |last| last + 1);
        start += block.metrics.duration;
    }
    let mut wanted = first.selection.percents.clone();
    wanted.extend(percents.iter().copied().filter(|p| !first.selection.percents.contains(p)));
    let itl: Tally = metrics::gaps(&records).collect();
    let invalid = blocks.iter().find(|block| !block.validity.valid);
    Some(Run {
        metrics: Metrics::of(&records, &itl, &first.spec.slo, &wanted),
        histograms: BTreeMap::new(),
        validity: invalid.unwrap_or(first).validity.clone(),
        interrupted: blocks.iter().any(|block| block.interrupted),
        always: Vec::new(),
        records: Some(records),
        ..first.clone()
    })
}

/// The same request, so much later, in a session after those of earlier blocks.
fn later(record: &Record, by: Duration, sessions: u32) -> Record {
    let mut record = record.clone();
    if let Some(session) = record.facets.as_mut().and_then(|facets| facets.session.as_mut()) {
        *session += sessions;
    }
    let times = &mut record.times;
    times.due += by;
    let Times {
        due: _,
        released,
        sent,
        resolved,
        connected,
        secured,
        written,
        headers,
        first_chunk,
        first_token,
        last_token,
        done,
    } = times;
    for time in [
        released,
        sent,
        resolved,
        connected,
        secured,
        written,
        headers,
        first_chunk,
        first_token,
        last_token,
        done,
    ] {
        *time = time.map(|time| time + by);
    }
    for (second, _) in &mut record.events.by_second {
        *second += by.as_secs_f64().round() as u32;
    }
    record
}
