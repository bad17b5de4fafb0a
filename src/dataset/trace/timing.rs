//! Checks the times of a trace for a wrong unit.
//!
//! Replays of the public traces stay far within the limits: Azure's and Mooncake's have several requests a second, and
//! BurstGPT's one in four seconds over two months. A wrong unit is off by a factor of a thousand at least.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::replay_duration;
use super::row::TraceRow;
use super::rows::TraceRows;
use crate::model::run_spec::{Trace, TraceKind};

/// The longest mean gap between two requests of a replay. Nobody waits for a trace with longer gaps.
const MAX_MEAN_GAP: Duration = Duration::from_secs(24 * 3600);

/// The longest mean gap that is not questioned.
const USUAL_MEAN_GAP: Duration = Duration::from_secs(60);

/// The units of Unix times, in seconds.
const UNIX_UNITS: [(&str, f64, &str); 4] = [
    ("seconds", 1.0, "1"),
    ("milliseconds", 1e-3, "0.001"),
    ("microseconds", 1e-6, "0.000001"),
    ("nanoseconds", 1e-9, "0.000000001"),
];

/// Unix times from 2001 to 2036, in seconds.
const UNIX_TIMES: std::ops::Range<f64> = 1e9..2.1e9;

/// What is wrong with the times of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TimingFault {
    /// The replay would take years.
    Endless { line: usize, why: String },
    /// The replay is possible, but hardly meant.
    Odd(String),
}

/// Checks the times of the rows, which are in order.
pub(super) fn find_fault(trace: &Trace, rows: &TraceRows) -> Option<TimingFault> {
    let mut first_rows = rows.iter();
    let (first, second) = (first_rows.next()?, first_rows.next()?);
    let last = first_rows.last().unwrap_or_else(|| second.clone());
    let gap = |one: &TraceRow, next: &TraceRow| replay_duration(next.at.saturating_sub(one.at), trace.speed);
    let mean = gap(&first, &last) / u32::try_from(rows.len() - 1).unwrap_or(u32::MAX);
    let other_unit = unix_unit(first.at, trace.unit_s);
    // Azure's and BurstGPT's files have one unit, and quiet hours: BurstGPT begins with a request in five minutes.
    let has_one_unit = matches!(trace.kind, TraceKind::Azure | TraceKind::Burstgpt) && trace.unit_s == 1.0;
    let usual = if has_one_unit { MAX_MEAN_GAP } else { USUAL_MEAN_GAP };
    if mean <= usual && other_unit.is_none() {
        return None;
    }
    let (longest, line) = longest_gap(rows.iter().map(|row| (row.at, row.line)), trace.speed)?;
    let why = format!(
        "`{}` is {} and {} in the first two rows, so the {} requests are sent {} apart on average, {} at most (line {}); {}",
        trace.columns.timestamp,
        shown(trace, first.at),
        shown(trace, second.at),
        rows.len(),
        approximate(mean),
        approximate(longest),
        line,
        remedy(other_unit)
    );
    Some(if mean > MAX_MEAN_GAP { TimingFault::Endless { line, why } } else { TimingFault::Odd(why) })
}

/// The longest gap between two rows, and the line of the later row. Of gaps of one length, it is the first.
fn longest_gap(
    mut rows: impl Iterator<Item = (SignedDuration, usize)>,
    speed: f64,
) -> Option<(Duration, usize)> {
    let (mut before, _) = rows.next()?;
    let gaps = rows.map(|(at, line)| {
        let gap = at.saturating_sub(std::mem::replace(&mut before, at));
        (replay_duration(gap, speed), line)
    });
    gaps.reduce(|longest, next| if next.0 > longest.0 { next } else { longest })
}

fn remedy(other_unit: Option<(&str, &str)>) -> String {
    match other_unit {
        Some((name, factor)) => format!(
            "these look like Unix times in {name}, which `timed_trace.sec_multiplier` {factor} reads"
        ),
        None => "`timed_trace.sec_multiplier` sets the unit (0.001 for milliseconds), `trace.speed` replays faster, and \
                 `trace.window` takes a part"
            .to_owned(),
    }
}

/// The name and the factor of the unit in which the time is a Unix time; `None` if it is none, or if the unit is as
/// set.
fn unix_unit(at: SignedDuration, unit_s: f64) -> Option<(&'static str, &'static str)> {
    if UNIX_TIMES.contains(&at.as_secs_f64()) {
        return None;
    }
    let raw = at.as_secs_f64() / unit_s;
    let (name, _, factor) = UNIX_UNITS.iter().find(|(_, unit, _)| UNIX_TIMES.contains(&(raw * unit)))?;
    Some((name, factor))
}

/// A time as the trace has it.
fn shown(trace: &Trace, at: SignedDuration) -> String {
    match trace.kind {
        TraceKind::Azure => {
            Timestamp::from_duration(at).map_or_else(|_| format!("{at}"), |at| at.to_string())
        }
        _ => format!("{}", at.as_secs_f64() / trace.unit_s),
    }
}

/// A duration in its largest unit.
fn approximate(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        172_800.0.. => format!("{:.0} days", seconds / 86_400.0),
        7200.0.. => format!("{:.1} hours", seconds / 3600.0),
        120.0.. => format!("{:.1} minutes", seconds / 60.0),
        _ => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::datasets;

    fn rows(times: &[f64], unit_s: f64) -> TraceRows {
        let row = |(at, line): (&f64, usize)| TraceRow {
            at: SignedDuration::from_secs_f64(at * unit_s),
            line,
            input: 5,
            output: 5,
            hashes: Box::default(),
            session: None,
            text: None,
            duration: Duration::ZERO,
        };
        times.iter().zip(1..).map(row).collect::<Vec<_>>().into()
    }

    fn fault(times: &[f64], unit_s: f64, speed: f64) -> Option<TimingFault> {
        let trace = Trace { unit_s, speed, ..datasets::trace(TraceKind::TimedTrace, "t.jsonl") };
        find_fault(&trace, &rows(times, unit_s))
    }

    #[test]
    fn a_replay_of_years_is_refused_with_the_unit_that_fits() {
        for (unit, factor) in [(1e-9, "0.000000001"), (1e-6, "0.000001")] {
            let times: Vec<f64> = (0..30).map(|row| (1.7e9 + 3600.0 * f64::from(row)) / unit).collect();
            let Some(TimingFault::Endless { line, why }) = fault(&times, 1.0, 1.0) else {
                panic!("{unit}: {:?}", fault(&times, 1.0, 1.0))
            };
            assert_eq!(line, 2);
            assert!(why.starts_with(&format!("`timestamp` is {} and ", times[0])), "{why}");
            assert!(why.ends_with(&format!("which `timed_trace.sec_multiplier` {factor} reads")), "{why}");
            assert_eq!(fault(&times, unit, 1000.0), None);
        }
    }

    #[test]
    fn a_unit_that_is_hardly_meant_is_questioned() {
        // Mooncake's milliseconds as seconds: a request in 150 s.
        let mooncake: Vec<f64> = (0..100).map(|row| 150.0 * f64::from(row)).collect();
        let Some(TimingFault::Odd(why)) = fault(&mooncake, 1.0, 1.0) else { panic!("not questioned") };
        assert!(why.contains("2.5 minutes apart on average") && why.contains("`trace.speed`"), "{why}");
        assert_eq!((fault(&mooncake, 0.001, 1.0), fault(&mooncake, 1.0, 10.0)), (None, None));
        // Unix seconds as milliseconds: rows 10 s apart are sent 10 ms apart.
        let Some(TimingFault::Odd(why)) = fault(&[1.7e9, 1.7e9 + 10.0], 0.001, 1.0) else {
            panic!("not questioned")
        };
        assert!(why.contains("0.01 s apart") && why.contains("Unix times in seconds"), "{why}");
    }

    #[test]
    fn the_rates_of_public_traces_pass() {
        // BurstGPT: a request in four seconds over two months, with a pause of a night.
        let mut burst: Vec<f64> = (0..2000).map(|row| 4.0 * f64::from(row)).collect();
        burst[1000..].iter_mut().for_each(|at| *at += 36_000.0);
        for times in [&burst[..], &[0.0, 0.0, 3.0], &[1.7e9, 1.7e9 + 0.2], &[5.0], &[]] {
            assert_eq!(fault(times, 1.0, 1.0), None, "{:?}", &times[..times.len().min(3)]);
        }
        // The first hundred rows of BurstGPT take eight hours.
        let quiet: Vec<f64> = (0..95).map(|row| 300.0 * f64::from(row)).collect();
        let burstgpt = datasets::trace(TraceKind::Burstgpt, "b.csv");
        assert_eq!(find_fault(&burstgpt, &rows(&quiet, 1.0)), None);
    }
}
