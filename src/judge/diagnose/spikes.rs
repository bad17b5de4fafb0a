//! Long gaps between tokens, and whether other requests' prompts make them.
//!
//! A step that computes a prompt keeps everybody else's tokens waiting, and ends with the prompt's first token. With every
//! request saved, a long gap is therefore put down to a prompt if it ends when another request's first token comes. Without,
//! seconds in which first tokens came are held against seconds in which none did.

use std::time::Duration;

use super::case::{Case, Fact, Judgement, Origin, Start, When};
use super::evidence::{Evidence, run_percentile};
use crate::core::metrics::Latency;
use crate::core::record::Record;
use crate::core::run::Run;
use crate::core::series::Series;
use crate::core::server::Level;
use crate::core::stats::percentile;
use crate::core::validity::Figure;

/// A gap so many times the median one is a spike ...
const SPIKE: u32 = 4;

/// ... if somebody could notice it.
const NOTICEABLE: Duration = Duration::from_millis(50);

/// Tokens of one step reach the client within this time of each other.
const TOGETHER: Duration = Duration::from_millis(5);

/// Spikes are other requests' doing if this part of them ends with a first token, and ...
const MOSTLY: f64 = 0.5;

/// ... this many times as large a part as of all other gaps.
const MORE_OFTEN: f64 = 2.0;

/// Seconds of each kind that make a comparison.
const FEWEST_SECONDS: usize = 3;

/// ITL has spikes while prompts are computed.
pub(super) fn spikes(evidence: &Evidence<'_>) -> Judgement {
    let mut case = Case::default();
    let figures = evidence.run.and_then(|run| {
        let at = |p| run_percentile(run, Latency::Itl, p);
        Some((run, at(50.0)?, at(99.0)?))
    });
    let Some((run, median, p99)) = figures else { return case.judgement() };
    let bound = NOTICEABLE.max(median * SPIKE);
    if p99 <= bound {
        case.looked();
        return case.judgement();
    }
    let fact = Fact::new(Origin::Result, "ITL P99").figure(Figure::Time(p99)).above(Figure::Time(bound));
    match by_records(run, bound).or_else(|| by_seconds(&run.series)) {
        Some(Cause { prompts: true, fact: why }) => {
            case.found(Level::Warn, fact.when(worst_second(&run.series)));
            case.tell(why);
        }
        Some(_) => case.looked(),
        // Nothing tells whether it is the prompts.
        None => {}
    }
    case.tell(Fact::new(Origin::Result, "ITL median").figure(Figure::Time(median)));
    case.judgement()
}

/// Whether prompts make spikes, and why that is thought.
struct Cause {
    prompts: bool,
    fact: Fact,
}

/// From every request's gaps; `None` if they were not saved, or there are no spikes in them.
fn by_records(run: &Run, bound: Duration) -> Option<Cause> {
    let records = run.records.as_ref()?;
    let mut firsts: Vec<(Duration, usize)> =
        records.iter().filter_map(|record| Some((record.times.first_token?, record.ordinal))).collect();
    firsts.sort_unstable();
    let (mut spikes, mut others) = (Share::default(), Share::default());
    for record in records {
        for (end, gap) in gaps(record) {
            let share = if gap > bound { &mut spikes } else { &mut others };
            share.add(ends_with_a_first_token(&firsts, end, record.ordinal));
        }
    }
    let (spikes, others) = (spikes.value()?, others.value().unwrap_or_default());
    let what = "share of the long gaps that end with another request's first token";
    let fact = Fact::new(Origin::Result, what).figure(Figure::Share(spikes)).above(Figure::Share(MOSTLY));
    Some(Cause { prompts: spikes >= MOSTLY && spikes >= MORE_OFTEN * others, fact })
}

/// The ends of a request's gaps, with their lengths.
fn gaps(record: &Record) -> impl Iterator<Item = (Duration, Duration)> {
    let mut at = record.times.first_token.unwrap_or_default();
    record.events.gaps.iter().flatten().map(move |gap| {
        at += *gap;
        (at, *gap)
    })
}

fn ends_with_a_first_token(firsts: &[(Duration, usize)], end: Duration, own: usize) -> bool {
    let from = firsts.partition_point(|(at, _)| *at + TOGETHER < end);
    let mut near = firsts[from..].iter().take_while(|(at, _)| *at <= end + TOGETHER);
    near.any(|(_, ordinal)| *ordinal != own)
}

#[derive(Default)]
struct Share {
    part: u64,
    all: u64,
}

impl Share {
    fn add(&mut self, is_part: bool) {
        self.part += u64::from(is_part);
        self.all += 1;
    }

    fn value(&self) -> Option<f64> {
        (self.all > 0).then(|| self.part as f64 / self.all as f64)
    }
}

/// From the seconds of a run; `None` with too few of either kind.
fn by_seconds(series: &Series) -> Option<Cause> {
    let itl = &series.itl.as_ref()?.p99_s;
    let (mut busy, mut quiet) = (Vec::new(), Vec::new());
    for (itl, ttft) in itl.iter().zip(&series.ttft.p50_s) {
        let seconds = if ttft.is_some() { &mut busy } else { &mut quiet };
        seconds.extend(itl.and_then(|itl| Duration::try_from_secs_f64(itl).ok()));
    }
    if busy.len() < FEWEST_SECONDS || quiet.len() < FEWEST_SECONDS {
        return None;
    }
    let median = |values: &mut Vec<Duration>| {
        values.sort_unstable();
        percentile(values, 50.0)
    };
    let (busy, quiet) = (median(&mut busy)?, median(&mut quiet)?);
    let what = "ITL P99 of seconds with first tokens, against those without";
    let fact = Fact::new(Origin::Result, what).figure(Figure::Time(busy)).above(Figure::Time(quiet));
    Some(Cause { prompts: busy >= quiet.mul_f64(MORE_OFTEN), fact })
}

/// When it was worst.
fn worst_second(series: &Series) -> Option<When> {
    let itl = series.itl.as_ref()?.p99_s.iter().enumerate();
    let worst = itl.filter_map(|(bucket, itl)| Some((bucket, (*itl)?))).max_by(|a, b| a.1.total_cmp(&b.1))?.0;
    let start = series.bucket * u32::try_from(worst).ok()?;
    Some(When { start: Start::Offset(start), lasted: series.bucket })
}
