//! A gate that was held, for people.

use std::io::{self, Write};

use super::compare::cells::rounded;
use super::figures::NOT_AVAILABLE;
use super::text::section;
use crate::core::figure::{Figure, Unit};
use crate::core::stats::RateInterval;
use crate::judge::compare::{Method, Needs, Party, Scope, starts};
use crate::judge::gate::{Answer, Doubt, Finding, Margin, OnUnsettled, Outcome, Ruling, Severity, Standing};

pub mod github;
pub mod junit;
pub mod markdown;
#[cfg(test)]
mod tests;

/// Writes the table and, as the last line, what it comes to.
pub fn render(ruling: &Ruling, to: &mut impl Write) -> io::Result<()> {
    section("Gate", to)?;
    if let Some(baseline) = &ruling.baseline {
        writeln!(to, "Baseline: {}", party(baseline))?;
    }
    writeln!(to, "Candidate: {}", party(&ruling.candidate))?;
    for finding in &ruling.findings {
        writeln!(to, "{:<12} {}", word(finding.answer), finding.rule.rule)?;
        writeln!(to, "{:<12} {}", mark(ruling, finding), measured(finding))?;
    }
    notes(ruling).iter().try_for_each(|note| writeln!(to, "Note: {note}"))?;
    writeln!(to, "{}", conclusion(ruling))
}

fn party(party: &Party) -> String {
    let runs = counted(party.runs, "run");
    let starts = party.starts.map(|starts| format!(" on {} of the server", counted(starts, "start")));
    let requests = counted(party.requests as usize, "request");
    format!("{} ({runs}{}, {requests})", party.name, starts.unwrap_or_default())
}

/// The answer in words.
pub(super) fn word(answer: Answer) -> &'static str {
    match answer {
        Answer::Pass => "PASS",
        Answer::Fail => "FAIL",
        Answer::CannotTell { .. } => "CANNOT TELL",
    }
}

/// Beside a finding that does not do what its word says.
fn mark(ruling: &Ruling, finding: &Finding) -> &'static str {
    match (finding.answer, ruling.standing(finding)) {
        (Answer::Fail, Standing::Warning) | (Answer::CannotTell { .. }, Standing::Warning) => "(warning)",
        (Answer::CannotTell { .. }, Standing::Failure) => "(failure)",
        _ => "",
    }
}

/// `TPOT mean 22.00 ms, baseline 20.00 ms, limit 21.00 ms, difference from it 1.000 [0.981, 1.017] ms`. Where only the candidate is
/// uncertain its own interval says the same.
pub(super) fn measured(finding: &Finding) -> String {
    let figure = finding.rule.rule.figure;
    let mut parts = vec![format!("{} {}", figure.label(), candidate(finding))];
    if finding.rule.rule.needs_baseline() {
        let baseline = finding.baseline.as_ref();
        let known = baseline.map_or(NOT_AVAILABLE.to_owned(), |sample| amount(figure, sample.value));
        parts.push(format!("baseline {known}"));
    }
    parts.extend(limit(finding));
    if let Answer::CannotTell { why } = finding.answer {
        parts.push(doubt(why));
    }
    parts.join(", ")
}

/// What was measured of the candidate, with the interval that the answer rests on where no baseline is in it.
pub(super) fn candidate(finding: &Finding) -> String {
    let figure = finding.rule.rule.figure;
    let Some(sample) = &finding.candidate else { return NOT_AVAILABLE.to_owned() };
    if finding.rule.rule.needs_baseline() {
        return amount(figure, sample.value);
    }
    let interval = match (&finding.margin, finding.limit) {
        (Some(Margin { interval, .. }), Some(limit)) => {
            Some(RateInterval { low: interval.low + limit, high: interval.high + limit })
        }
        _ => sample.interval,
    };
    within(figure, sample.value, interval)
}

/// The limit, and how far from it the candidate is: the one that decides, else the loosest.
pub(super) fn limit(finding: &Finding) -> Option<String> {
    let figure = finding.rule.rule.figure;
    let margin = finding.margin.filter(|_| finding.rule.rule.needs_baseline());
    Some(match (margin, &finding.candidate) {
        (Some(Margin { value, interval }), Some(candidate)) => {
            let limit = amount(figure, candidate.value - value);
            format!("limit {limit}, difference from it {}", within(figure, value, Some(interval)))
        }
        _ => format!("limit {}", amount(figure, finding.limit?)),
    })
}

/// Why there is no answer, and what would give one.
pub(super) fn doubt(why: Doubt) -> String {
    match why {
        Doubt::TooFew { needs: Some(needs) } => needed(needs),
        Doubt::TooFew { needs: None } => "the sample is too small, by how much cannot be said".into(),
        Doubt::TooFewStarts { baseline, candidate } => format!(
            "{} of the server in the baseline and {candidate} in the candidate do not tell a difference between servers from \
             one between starts: measure the baseline on {} starts or more",
            counted(baseline, "start"),
            starts::ENOUGH,
        ),
        Doubt::NoInterval => "no interval is known: save the runs with --save-detailed".into(),
        Doubt::Absent => "it was not measured".into(),
    }
}

fn needed(needs: Needs) -> String {
    format!("needs about {} {} on each side", rounded(needs.count), needs.of.word())
}

/// A value with an interval and its unit.
fn within(figure: Figure, value: f64, interval: Option<RateInterval>) -> String {
    let interval = interval.map_or("[n/a]".to_owned(), |RateInterval { low, high }| {
        format!("[{}, {}]", end(figure, low), end(figure, high))
    });
    format!("{} {interval} {}", bare(figure, value), unit(figure)).trim_end().to_owned()
}

/// An amount with its unit.
pub(super) fn amount(figure: Figure, value: f64) -> String {
    format!("{} {}", bare(figure, value), unit(figure)).trim_end().to_owned()
}

fn end(figure: Figure, value: f64) -> String {
    match value {
        f64::INFINITY => "∞".to_owned(),
        f64::NEG_INFINITY => "-∞".to_owned(),
        value => bare(figure, value),
    }
}

/// Four significant digits: limits are often a few percent away.
fn bare(figure: Figure, value: f64) -> String {
    let value = if figure.unit() == Unit::Share { value * 100.0 } else { value };
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

fn unit(figure: Figure) -> &'static str {
    match figure.unit() {
        Unit::Milliseconds => "ms",
        Unit::Share => "%",
        Unit::Plain(unit) => unit,
    }
}

/// What a reader must know of how the answers were found.
pub(super) fn notes(ruling: &Ruling) -> Vec<String> {
    let mut notes = vec![chance(ruling)];
    notes.extend(about(ruling).map(ToOwned::to_owned));
    let methods = ruling.findings.iter().flat_map(|finding| [&finding.candidate, &finding.baseline]);
    if methods.flatten().filter_map(|sample| sample.method).min() == Some(Method::Stated) {
        notes.push(
            "a run was saved without its requests: its stated intervals are used; save it with --save-detailed".into(),
        );
    }
    notes.extend(settling(ruling));
    notes
}

/// What would settle rules whose samples are too small.
fn settling(ruling: &Ruling) -> Option<String> {
    let is_small =
        |finding: &Finding| matches!(finding.answer, Answer::CannotTell { why: Doubt::TooFew { .. } });
    let small: Vec<&Finding> = ruling.findings.iter().filter(|finding| is_small(finding)).collect();
    let baseline =
        ruling.baseline.as_ref().filter(|_| small.iter().any(|finding| finding.rule.rule.needs_baseline()));
    let first = "to settle a rule without an answer measure the candidate for longer (--extend 10m lets the gate do it)";
    (!small.is_empty()).then(|| match baseline {
        None => first.to_owned(),
        Some(baseline) => format!(
            "{first}, and the baseline too where the rule depends on it: it has {}",
            counted(baseline.requests as usize, "request")
        ),
    })
}

/// The chance of a false failure, where it is known.
fn chance(ruling: &Ruling) -> String {
    let over = format!(
        "over {} and {}; each interval is the one that its answer rests on",
        counted(ruling.findings.len(), "rule"),
        counted(ruling.looks[1], "planned look"),
    );
    match ruling.scope == Some(Scope::Servers) && !knows_starts(ruling) {
        true => format!("the chance that a candidate that keeps all rules is failed is not known, {over}"),
        false => {
            let percent = 100.0 * ruling.alpha;
            format!("a candidate that keeps all rules is failed with a chance of at most {percent} %, {over}")
        }
    }
}

/// What the findings are about.
fn about(ruling: &Ruling) -> Option<&'static str> {
    match ruling.scope? {
        Scope::Servers if knows_starts(ruling) => None,
        Scope::Servers => Some(
            "the runs do not tell which start of the server they are from: each is taken for a start of its own, and if some \
             share one, candidates fail too often",
        ),
        Scope::OneStart => Some(
            "both sides are from one start of the server: the rules against the baseline are judged for that start only",
        ),
        Scope::TheseStarts => Some(
            "one start of a server differs from the next: rules against the baseline need 3 starts of a side, or 2 of each; if \
             the server was not restarted between the sides, --same-start judges the one start",
        ),
    }
}

fn knows_starts(ruling: &Ruling) -> bool {
    let parties = ruling.baseline.iter().chain([&ruling.candidate]);
    parties.into_iter().all(|party| party.starts.is_some())
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// The last line.
pub(super) fn conclusion(ruling: &Ruling) -> String {
    let [kept, broken, unsettled] = ruling.counts();
    let named: Vec<String> = ruling
        .findings
        .iter()
        .filter(|finding| !finding.answer.is_settled())
        .map(|finding| finding.rule.rule.figure.to_string())
        .collect();
    let names = if named.is_empty() { String::new() } else { format!(" ({})", named.join(", ")) };
    let counts = format!("{kept} kept, {broken} broken, {unsettled} without an answer{names}");
    match ruling.outcome {
        Outcome::Pass => format!("GATE PASSED: {counts}"),
        Outcome::Warn => format!("GATE PASSED with warnings: {counts}"),
        Outcome::Fail => format!("GATE FAILED: {counts}"),
        Outcome::Invalid => {
            format!("GATE INVALID: {}", ruling.invalid.as_deref().unwrap_or("the run is not to be believed"))
        }
    }
}

/// How strict a rule is, where that is worth a word.
pub(super) fn severity(finding: &Finding) -> &'static str {
    match finding.rule.severity {
        Severity::Fail => "fail",
        Severity::Warn => "warn",
    }
}

/// What becomes of rules without an answer.
pub(super) fn policy(on_unsettled: OnUnsettled) -> &'static str {
    match on_unsettled {
        OnUnsettled::Pass => "pass",
        OnUnsettled::Warn => "warn",
        OnUnsettled::Fail => "fail",
    }
}
