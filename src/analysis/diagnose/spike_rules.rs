//! Rules about long gaps between tokens, and whether other requests' prompts cause them.
//!
//! A step that computes a prompt delays the tokens of all other requests, and ends with the prompt's first token. If
//! every request was saved, a long gap is attributed to a prompt if the gap ends when another request's first token
//! arrives. Otherwise, seconds with first tokens are compared with seconds without.

use std::time::Duration;

use super::evidence::{DiagnosisEvidence, run_percentile};
use crate::analysis::diagnose::rule_evaluation::{
    EvidenceSource, FactTime, ObservedFact, RuleEvaluation, RuleJudgment, TimeRange,
};
use crate::model::metrics::Latency;
use crate::model::record::Record;
use crate::model::run::Run;
use crate::model::series::RunSeries;
use crate::model::server::Severity;
use crate::model::validity::Quantity;
use crate::stats::percentile;

/// A gap of at least this multiple of the median gap is a spike ...
const SPIKE_FACTOR: u32 = 4;

/// ... if it is long enough to be noticed.
const MIN_SPIKE: Duration = Duration::from_millis(50);

/// Tokens of one step reach the client within this time of each other.
const SAME_STEP_WINDOW: Duration = Duration::from_millis(5);

/// Other requests cause the spikes if at least this share of the spikes ends with a first token, and ...
const MIN_PREFILL_SHARE: f64 = 0.5;

/// ... this share is at least this multiple of the share among all other gaps.
const MIN_SHARE_RATIO: f64 = 2.0;

/// The number of seconds of each kind that a comparison needs.
const MIN_SECONDS: usize = 3;

/// ITL has spikes while prompts are computed.
pub(super) fn itl_spikes(evidence: &DiagnosisEvidence<'_>) -> RuleJudgment {
    let mut case = RuleEvaluation::default();
    let figures = evidence.run.and_then(|run| {
        let at = |p| run_percentile(run, Latency::Itl, p);
        Some((run, at(50.0)?, at(99.0)?))
    });
    let Some((run, median, p99)) = figures else { return case.into_judgment() };
    let bound = MIN_SPIKE.max(median * SPIKE_FACTOR);
    if p99 <= bound {
        case.mark_checked();
        return case.into_judgment();
    }
    let fact = ObservedFact::new(EvidenceSource::Result, "ITL P99")
        .with_quantity(Quantity::Time(p99))
        .above(Quantity::Time(bound));
    match cause_from_records(run, bound).or_else(|| cause_from_seconds(&run.series)) {
        Some(SpikeCause { prompts: true, fact: why }) => {
            case.add_finding(Severity::Warn, fact.with_time(worst_second(&run.series)));
            case.add_note(why);
        }
        Some(_) => case.mark_checked(),
        // There is no evidence whether prompts cause the spikes.
        None => {}
    }
    case.add_note(
        ObservedFact::new(EvidenceSource::Result, "ITL median").with_quantity(Quantity::Time(median)),
    );
    case.into_judgment()
}

/// Whether prompts cause the spikes, with the evidence.
struct SpikeCause {
    prompts: bool,
    fact: ObservedFact,
}

/// Determines the cause from every request's gaps; `None` if they were not saved, or contain no spikes.
fn cause_from_records(run: &Run, bound: Duration) -> Option<SpikeCause> {
    let records = run.records.as_ref()?;
    let mut firsts: Vec<(Duration, usize)> =
        records.iter().filter_map(|record| Some((record.times.first_token()?, record.ordinal))).collect();
    firsts.sort_unstable();
    let (mut spikes, mut others) = (GapShare::default(), GapShare::default());
    for record in records {
        for (end, gap) in gap_ends(record) {
            let share = if gap > bound { &mut spikes } else { &mut others };
            share.add(ends_with_a_first_token(&firsts, end, record.ordinal));
        }
    }
    let (spikes, others) = (spikes.value()?, others.value().unwrap_or_default());
    let what = "share of the long gaps that end with another request's first token";
    let fact = ObservedFact::new(EvidenceSource::Result, what)
        .with_quantity(Quantity::Share(spikes))
        .above(Quantity::Share(MIN_PREFILL_SHARE));
    Some(SpikeCause { prompts: spikes >= MIN_PREFILL_SHARE && spikes >= MIN_SHARE_RATIO * others, fact })
}

/// The end and the length of each gap of a request.
fn gap_ends(record: &Record) -> impl Iterator<Item = (Duration, Duration)> {
    let mut at = record.times.first_token().unwrap_or_default();
    record.events.gaps.iter().flatten().map(move |gap| {
        at += gap;
        (at, gap)
    })
}

fn ends_with_a_first_token(firsts: &[(Duration, usize)], end: Duration, own: usize) -> bool {
    let from = firsts.partition_point(|(at, _)| *at + SAME_STEP_WINDOW < end);
    let mut near = firsts[from..].iter().take_while(|(at, _)| *at <= end + SAME_STEP_WINDOW);
    near.any(|(_, ordinal)| *ordinal != own)
}

#[derive(Default)]
struct GapShare {
    part: u64,
    all: u64,
}

impl GapShare {
    fn add(&mut self, is_part: bool) {
        self.part += u64::from(is_part);
        self.all += 1;
    }

    fn value(&self) -> Option<f64> {
        (self.all > 0).then(|| self.part as f64 / self.all as f64)
    }
}

/// Determines the cause from the seconds of a run; `None` with too few seconds of either kind.
fn cause_from_seconds(series: &RunSeries) -> Option<SpikeCause> {
    let itl = &series.itl.as_ref()?.p99_s;
    let (mut busy, mut quiet) = (Vec::new(), Vec::new());
    for (itl, ttft) in itl.iter().zip(&series.ttft.p50_s) {
        let seconds = if ttft.is_some() { &mut busy } else { &mut quiet };
        seconds.extend(itl.and_then(|itl| Duration::try_from_secs_f64(itl).ok()));
    }
    if busy.len() < MIN_SECONDS || quiet.len() < MIN_SECONDS {
        return None;
    }
    let median = |values: &mut Vec<Duration>| {
        values.sort_unstable();
        percentile(values, 50.0)
    };
    let (busy, quiet) = (median(&mut busy)?, median(&mut quiet)?);
    let what = "ITL P99 in seconds with a first token (limit: in seconds without one)";
    let fact = ObservedFact::new(EvidenceSource::Result, what)
        .with_quantity(Quantity::Time(busy))
        .above(Quantity::Time(quiet));
    Some(SpikeCause { prompts: busy >= quiet.mul_f64(MIN_SHARE_RATIO), fact })
}

/// The second with the highest P99 ITL.
fn worst_second(series: &RunSeries) -> Option<TimeRange> {
    let itl = series.itl.as_ref()?.p99_s.iter().enumerate();
    let worst = itl.filter_map(|(bucket, itl)| Some((bucket, (*itl)?))).max_by(|a, b| a.1.total_cmp(&b.1))?.0;
    let start = series.bucket * u32::try_from(worst).ok()?;
    Some(TimeRange { start: FactTime::Offset(start), lasted: series.bucket })
}
