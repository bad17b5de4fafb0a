//! A gate's result as text.

use std::io::{self, Write};

use super::table::{Column, Table};
use super::text::section;
use crate::analysis::compare::{ClaimScope, RequiredSample, SideInfo, SpreadMethod, server_starts};
use crate::analysis::gate::{
    GateReport, GateVerdict, LimitMargin, OnUndecided, RuleAnswer, RuleFinding, RuleSeverity, RuleStatus,
    Undecided,
};
use crate::model::metric_id::{MetricId, MetricUnit};
use crate::model::plain_text::one_line;
use crate::report::compare::row_cells::round_up;
use crate::report::format::{NOT_AVAILABLE, bounds_text};
use crate::stats::RateInterval;

pub(crate) mod github;
pub(crate) mod junit;
pub(crate) mod markdown;
pub(crate) mod rules_text;
#[cfg(test)]
mod tests;

/// The widths of the columns: the first fits the longest result (`UNDECIDED`), the second is the rule.
const COLUMNS: [Column; 2] = [Column::LEFT.at_least(9), Column::LEFT];

/// Writes the table and, as the last line, the gate's result.
pub(crate) fn render(ruling: &GateReport, to: &mut impl Write) -> io::Result<()> {
    section("Gate", to)?;
    if let Some(baseline) = &ruling.baseline {
        writeln!(to, "Baseline: {}", side_name(baseline))?;
    }
    writeln!(to, "Candidate: {}", side_name(&ruling.candidate))?;
    let lines = ruling.findings.iter().flat_map(|finding| {
        let rule = [answer_word(finding.answer).to_owned(), finding.rule.rule.to_string()];
        [rule.to_vec(), vec![status_mark(ruling, finding).to_owned(), measured_text(finding)]]
    });
    Table::new(&COLUMNS, lines.collect()).write(to)?;
    notes(ruling).iter().try_for_each(|note| writeln!(to, "Note: {note}"))?;
    writeln!(to, "{}", conclusion_line(ruling))
}

fn side_name(party: &SideInfo) -> String {
    let runs = plural(party.runs, "run");
    let starts = party.starts.map(|starts| format!(" on {}", plural(starts, "server start")));
    let requests = plural(party.requests as usize, "request");
    format!("{} ({runs}{}, {requests})", one_line(&party.name), starts.unwrap_or_default())
}

pub(super) fn answer_word(answer: RuleAnswer) -> &'static str {
    match answer {
        RuleAnswer::Pass => "PASS",
        RuleAnswer::Fail => "FAIL",
        RuleAnswer::CannotTell { .. } => "UNDECIDED",
    }
}

/// Marks a finding whose result does not decide the gate as usual: a failed rule that only warns, or an undecided
/// one.
fn status_mark(ruling: &GateReport, finding: &RuleFinding) -> &'static str {
    match (finding.answer, ruling.rule_status(finding)) {
        (RuleAnswer::Fail, RuleStatus::Warning) | (RuleAnswer::CannotTell { .. }, RuleStatus::Warning) => {
            "(warning)"
        }
        (RuleAnswer::CannotTell { .. }, RuleStatus::Failure) => "(failure)",
        _ => "",
    }
}

/// `TPOT mean 22.00 ms, baseline 20.00 ms, limit 21.00 ms, difference from it 1.000 [0.981, 1.017] ms`. Without a
/// baseline, the candidate's own interval stands in for the interval of the difference.
pub(super) fn measured_text(finding: &RuleFinding) -> String {
    let figure = finding.rule.rule.figure;
    let mut parts = vec![format!("{} {}", figure.label(), candidate_text(finding))];
    if finding.rule.rule.needs_baseline() {
        let baseline = finding.baseline.as_ref();
        let known = baseline.map_or(NOT_AVAILABLE.to_owned(), |sample| with_unit(figure, sample.value));
        parts.push(format!("baseline {known}"));
    }
    parts.extend(limit_text(finding));
    if let RuleAnswer::CannotTell { why } = finding.answer {
        parts.push(undecided_text(why));
    }
    parts.join(", ")
}

/// The candidate's value. Without a baseline, the interval that the result rests on follows it.
pub(super) fn candidate_text(finding: &RuleFinding) -> String {
    let figure = finding.rule.rule.figure;
    let Some(sample) = &finding.candidate else { return NOT_AVAILABLE.to_owned() };
    if finding.rule.rule.needs_baseline() {
        return with_unit(figure, sample.value);
    }
    let interval = match (&finding.margin, finding.limit) {
        (Some(LimitMargin { interval, .. }), Some(limit)) => {
            Some(RateInterval { low: interval.low + limit, high: interval.high + limit })
        }
        _ => sample.interval,
    };
    with_interval(figure, sample.value, interval)
}

/// The limit and the candidate's distance from it. With several limits, the one that decides counts, else the
/// loosest.
pub(super) fn limit_text(finding: &RuleFinding) -> Option<String> {
    let figure = finding.rule.rule.figure;
    let margin = finding.margin.filter(|_| finding.rule.rule.needs_baseline());
    Some(match (margin, &finding.candidate) {
        (Some(LimitMargin { value, interval }), Some(candidate)) => {
            let limit = with_unit(figure, candidate.value - value);
            format!("limit {limit}, difference from it {}", with_interval(figure, value, Some(interval)))
        }
        _ => format!("limit {}", with_unit(figure, finding.limit?)),
    })
}

/// States why a rule is undecided, and what would decide it.
pub(super) fn undecided_text(why: Undecided) -> String {
    match why {
        Undecided::TooFew { needs: Some(needs) } => needed(needs),
        Undecided::TooFew { needs: None } => "the sample is too small; the required size is unknown".into(),
        Undecided::TooFewStarts { baseline, candidate } => format!(
            "{} in the baseline and {candidate} in the candidate cannot distinguish a difference between servers from one \
             between starts: measure the baseline on at least {} server starts",
            plural(baseline, "server start"),
            server_starts::MIN_STARTS,
        ),
        Undecided::NoInterval => "no interval is known: save the runs with `options.detail`".into(),
        Undecided::Predicted => "the limit is within the interval of the prediction".into(),
        Undecided::Absent => "it was not measured".into(),
    }
}

fn needed(needs: RequiredSample) -> String {
    format!("needs about {} {} on each side", round_up(needs.count), needs.of.unit_word())
}

/// Formats a metric's value with its interval and unit.
fn with_interval(figure: MetricId, value: f64, interval: Option<RateInterval>) -> String {
    let interval = interval.map_or("[n/a]".to_owned(), |ends| bounds_text(ends, |end| bare(figure, end)));
    format!("{} {interval} {}", bare(figure, value), unit(figure)).trim_end().to_owned()
}

/// Formats a metric's value with its unit.
pub(super) fn with_unit(figure: MetricId, value: f64) -> String {
    format!("{} {}", bare(figure, value), unit(figure)).trim_end().to_owned()
}

/// Formats four significant digits: limits are often only a few percent away.
fn bare(figure: MetricId, value: f64) -> String {
    let value = if figure.unit() == MetricUnit::Share { value * 100.0 } else { value };
    let decimals = match value.abs() {
        1000.0.. => 0,
        100.0.. => 1,
        10.0.. => 2,
        1.0.. => 3,
        _ => 4,
    };
    match value {
        0.0 => "0".to_owned(),
        _ => format!("{value:.decimals$}"),
    }
}

fn unit(figure: MetricId) -> &'static str {
    match figure.unit() {
        MetricUnit::Milliseconds => "ms",
        MetricUnit::Share => "%",
        MetricUnit::Plain(unit) => unit,
    }
}

/// Notes on how the results came about.
pub(super) fn notes(ruling: &GateReport) -> Vec<String> {
    let is_by_figure = |finding: &RuleFinding| finding.answer.is_settled() && finding.margin.is_none();
    let mut notes = Vec::new();
    // A figure without an interval has no error probability.
    if !ruling.findings.iter().any(is_by_figure) {
        notes.push(false_failure_note(ruling));
    }
    notes.extend(scope_note(ruling).map(ToOwned::to_owned));
    let methods = ruling.findings.iter().flat_map(|finding| [&finding.candidate, &finding.baseline]);
    if methods.flatten().filter_map(|sample| sample.method).min() == Some(SpreadMethod::Stated) {
        notes.push(
            "a run was saved without its requests, so its saved intervals are used; save it with `options.detail`".into(),
        );
    }
    notes.extend(required_samples_note(ruling));
    notes.extend(ruling.caveats.iter().map(|caveat| one_line(caveat)));
    notes
}

/// States what would decide rules whose samples are too small.
fn required_samples_note(ruling: &GateReport) -> Option<String> {
    let is_small = |finding: &RuleFinding| {
        matches!(finding.answer, RuleAnswer::CannotTell { why: Undecided::TooFew { .. } })
    };
    let small: Vec<&RuleFinding> = ruling.findings.iter().filter(|finding| is_small(finding)).collect();
    let baseline =
        ruling.baseline.as_ref().filter(|_| small.iter().any(|finding| finding.rule.rule.needs_baseline()));
    let first = "to decide an undecided rule, measure the candidate for longer (`gate.extend` 10m lets the gate do it)";
    (!small.is_empty()).then(|| match baseline {
        None => first.to_owned(),
        Some(baseline) => format!(
            "{first}, and the baseline too where the rule depends on it: it has {}",
            plural(baseline.requests as usize, "request")
        ),
    })
}

/// States the probability of a false failure, where it is known.
fn false_failure_note(ruling: &GateReport) -> String {
    let over = format!(
        "over {} and {}; each interval is from the analysis that decided its rule",
        plural(ruling.findings.len(), "rule"),
        match ruling.looks[1] {
            1 => "1 planned analysis".to_owned(),
            count => format!("{count} planned analyses"),
        },
    );
    match ruling.scope == Some(ClaimScope::Servers) && !knows_starts(ruling) {
        true => format!("false-alarm rate: unknown {over}"),
        false => {
            let percent = 100.0 * ruling.alpha;
            format!("false-alarm rate: at most {percent} % {over}")
        }
    }
}

/// States which population the findings apply to.
fn scope_note(ruling: &GateReport) -> Option<&'static str> {
    if is_predicted(ruling) {
        return Some(
            "a side is predicted: its intervals are those of the prediction, so the results hold only if the model does",
        );
    }
    match ruling.scope? {
        ClaimScope::Servers if knows_starts(ruling) => None,
        ClaimScope::Servers => Some(
            "the runs do not record their server starts: each run counts as a separate start, and if some share one, \
             candidates fail too often",
        ),
        ClaimScope::OneStart => Some(
            "baseline and candidate share one server start: results of rules against the baseline apply to that start only",
        ),
        ClaimScope::TheseStarts => Some(
            "server starts differ from each other: rules against the baseline need at least 3 starts of one side, or 2 of each; \
             if the server was not restarted between the sides, `gate.same_start` limits the results to that start",
        ),
    }
}

/// Whether a model predicted a side.
fn is_predicted(ruling: &GateReport) -> bool {
    ruling.candidate.predicted || ruling.baseline.as_ref().is_some_and(|baseline| baseline.predicted)
}

fn knows_starts(ruling: &GateReport) -> bool {
    let sides = ruling.baseline.iter().chain([&ruling.candidate]);
    sides.into_iter().all(|party| party.starts.is_some())
}

fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

pub(super) fn conclusion_line(ruling: &GateReport) -> String {
    let [passed, failed, undecided] = ruling.answer_counts();
    let named: Vec<String> = ruling
        .findings
        .iter()
        .filter(|finding| !finding.answer.is_settled())
        .map(|finding| finding.rule.rule.figure.to_string())
        .collect();
    let names = if named.is_empty() { String::new() } else { format!(" ({})", named.join(", ")) };
    let counts = format!("{passed} passed, {failed} failed, {undecided} undecided{names}");
    let predicted = if is_predicted(ruling) { " (predicted, not measured)" } else { "" };
    match ruling.outcome {
        GateVerdict::Pass => format!("GATE PASSED{predicted}: {counts}"),
        GateVerdict::Warn => format!("GATE PASSED with warnings{predicted}: {counts}"),
        GateVerdict::Fail => format!("GATE FAILED{predicted}: {counts}"),
        GateVerdict::Invalid => {
            format!("GATE INVALID: {}", ruling.invalid.as_deref().unwrap_or("the run is INVALID"))
        }
    }
}

/// A severity as text.
pub(super) fn severity_word(finding: &RuleFinding) -> &'static str {
    match finding.rule.severity {
        RuleSeverity::Fail => "fail",
        RuleSeverity::Warn => "warn",
    }
}

/// States how undecided rules affect the gate.
pub(super) fn undecided_policy(on_unsettled: OnUndecided) -> &'static str {
    match on_unsettled {
        OnUndecided::Pass => "pass",
        OnUndecided::Warn => "warn",
        OnUndecided::Fail => "fail",
    }
}
