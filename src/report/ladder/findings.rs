//! What the steps of a ladder show together: where throughput stops rising, and why steps are INVALID.

use std::io::{self, Write};

use super::{LadderReport, StepReport, StepVerdict};
use crate::model::metric_id::MetricId;
use crate::model::plain_text::one_line;
use crate::model::step_load::StepLoad;
use crate::model::validity::{Check, CheckName, CheckOutcome};
use crate::stats::RateInterval;

/// A rise of throughput below this share is none.
const RISE: f64 = 0.1;

/// A step's load and the interval of its throughput, if the step is VALID and has one.
type Level = (StepLoad, Option<RateInterval>);

/// Writes where throughput stops rising, if the intervals show it. A step that is not VALID shows nothing.
pub(super) fn throughput(ladder: &LadderReport<'_>, to: &mut impl Write) -> io::Result<()> {
    let Some(id) = MetricId::scalar("output_throughput") else { return Ok(()) };
    let interval = |step: &StepReport<'_>| {
        let run = step.run().filter(|_| step.verdict() == StepVerdict::Valid)?;
        id.interval(run)
    };
    let mut levels: Vec<Level> = ladder.steps.iter().map(|step| (step.load, interval(step))).collect();
    levels.sort_by(|a, b| a.0.value().total_cmp(&b.0.value()));
    match (plateau(&levels), rising(&levels)) {
        (Some(load), _) => writeln!(
            to,
            "Beyond {load}, output throughput rises by less than {:.0} % (95 % intervals)",
            100.0 * RISE
        ),
        (None, Some(load)) => {
            writeln!(to, "Output throughput still rises at {load}: a higher load may give more")
        }
        (None, None) => Ok(()),
    }
}

/// The first load beyond which the throughput rises by less than [`RISE`], wherever it is in its intervals.
fn plateau(levels: &[Level]) -> Option<StepLoad> {
    let is_flat = |at: usize| {
        let Some(base) = levels[at].1 else { return false };
        let is_no_rise = |later: RateInterval| later.high < (1.0 + RISE) * base.low;
        let beyond = &levels[at + 1..];
        !beyond.is_empty() && beyond.iter().all(|(_, later)| later.is_some_and(is_no_rise))
    };
    (0..levels.len()).find(|at| is_flat(*at)).map(|at| levels[at].0)
}

/// The highest load, if its throughput is above that of every other by more than [`RISE`].
fn rising(levels: &[Level]) -> Option<StepLoad> {
    let ((load, last), others) = levels.split_last()?;
    let last = (*last)?;
    let is_above = |other: RateInterval| last.low > (1.0 + RISE) * other.high;
    let are_below = others.iter().all(|(_, other)| other.is_some_and(is_above));
    (!others.is_empty() && are_below).then_some(*load)
}

/// Writes why steps are INVALID, each reason once with the steps that it is about, and why steps failed.
pub(super) fn reasons(ladder: &LadderReport<'_>, to: &mut impl Write) -> io::Result<()> {
    let mut known: Vec<CheckName> = Vec::new();
    for check in ladder.steps.iter().flat_map(invalid_checks) {
        if !known.contains(&check.name) {
            known.push(check.name);
            reason(check, ladder, to)?;
        }
    }
    for step in &ladder.steps {
        if let (StepVerdict::Failed, Some(why)) = (step.verdict(), step.reason()) {
            writeln!(to, "Failed at {}: {}", step.load, one_line(&why))?;
        }
    }
    Ok(())
}

/// The checks that make a step INVALID.
fn invalid_checks<'a>(step: &'a StepReport<'_>) -> impl Iterator<Item = &'a Check> {
    let run = step.run().filter(|_| step.verdict() == StepVerdict::Invalid);
    run.into_iter().flat_map(|run| run.validity.checks_with(CheckOutcome::Invalid))
}

/// Writes a reason with the values of all steps that it is about, and the advice.
fn reason(first: &Check, ladder: &LadderReport<'_>, to: &mut impl Write) -> io::Result<()> {
    let same = |step: &StepReport<'_>| {
        let check = invalid_checks(step).find(|check| check.name == first.name)?;
        let value = check.figure.map(|figure| format!(" ({figure})")).unwrap_or_default();
        Some(format!("{}{value}", step.load))
    };
    let steps: Vec<String> = ladder.steps.iter().filter_map(same).collect();
    let limit = first.bound.map(|bound| format!(", limit {bound}")).unwrap_or_default();
    writeln!(to, "INVALID: {}{limit}: at {}", first.name.label(), steps.join(", "))?;
    writeln!(to, "  {}", first.advice)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;

    fn levels(throughputs: &[(f64, f64)]) -> Vec<Level> {
        let load = |at: usize| StepLoad::Concurrency(NonZeroUsize::new(1 << at).unwrap());
        throughputs
            .iter()
            .enumerate()
            .map(|(at, &(low, high))| (load(at), Some(RateInterval { low, high })))
            .collect()
    }

    fn name(load: Option<StepLoad>) -> Option<String> {
        load.map(|load| load.to_string())
    }

    #[test]
    fn a_plateau_is_where_no_interval_allows_a_rise() {
        let found = levels(&[(95.0, 105.0), (190.0, 210.0), (390.0, 400.0), (395.0, 420.0), (392.0, 405.0)]);
        assert_eq!(name(plateau(&found)).as_deref(), Some("concurrency 4"));
        assert_eq!(rising(&found), None);
    }

    #[test]
    fn wide_intervals_show_nothing() {
        let found = levels(&[(50.0, 150.0), (80.0, 220.0), (100.0, 300.0)]);
        assert_eq!((plateau(&found), rising(&found)), (None, None));
        let endless = levels(&[(50.0, f64::INFINITY), (80.0, f64::INFINITY)]);
        assert_eq!((plateau(&endless), rising(&endless)), (None, None));
    }

    #[test]
    fn a_rise_up_to_the_last_step_is_said() {
        let found = levels(&[(95.0, 105.0), (190.0, 210.0)]);
        assert_eq!((plateau(&found), name(rising(&found)).as_deref()), (None, Some("concurrency 2")));
        assert_eq!(rising(&[found[0], found[1], (found[1].0, None)]), None, "the highest load shows nothing");
        assert_eq!(plateau(&[found[0], (found[1].0, None), found[0]]), None);
        assert_eq!((plateau(&found[..1]), rising(&found[..1])), (None, None), "one step shows no rise");
    }
}
