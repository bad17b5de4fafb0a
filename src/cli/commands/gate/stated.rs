//! Gates on result files of other tools.

use std::path::PathBuf;

use super::args::GateArgs;
use super::case::{Heard, given};
use crate::analysis::compare::{MetricSource, stated_differences};
use crate::analysis::gate::{
    self, AlphaSpending, GateReport, GateRule, GateVerdict, RuleFinding, SourceSides, default_source_rules,
    evaluate_sources,
};
use crate::cli::exit::{CliError, print_stderr};
use crate::cli::saved_results::{self, LoadedSide};

/// Applies the gate if a side is a result of another tool; `None` if all are runs of this program.
pub(super) fn judge(args: &GateArgs) -> Result<Option<Heard>, CliError> {
    let files = || args.baseline.iter().chain(&args.candidate);
    if !files().any(|path| saved_results::is_of_other_tool(path)) {
        return Ok(None);
    }
    if !args.run.is_empty() {
        return Err(CliError::usage(
            "a result of another tool as --baseline needs a --candidate: save the run and name its file",
        ));
    }
    if args.output.update_baseline {
        return Err(CliError::usage("--update-baseline replaces runs of servegauge by such runs only"));
    }
    let (baseline, candidate) =
        (one_side(&args.baseline, "--baseline")?, one_side(&args.candidate, "--candidate")?);
    let Some(candidate) = candidate else { return Err(CliError::usage("give a --candidate")) };
    let sides = SourceSides {
        baseline: baseline.as_ref().map(LoadedSide::source),
        candidate: candidate.source(),
        same_start: args.same_start,
    };
    let invalid = check_sides(args, &sides)?;
    let rules = rules(args, &sides)?;
    let mut analyses = AlphaSpending::single(args.strictness.alpha);
    let level = analyses.next_alpha(1, true).unwrap_or(args.strictness.alpha);
    let findings = evaluate_sources(&rules, &sides, level);
    check_testable(&findings)?;
    let needs_baseline = rules.iter().any(|rule| rule.rule.needs_baseline());
    let report = GateReport {
        outcome: GateVerdict::Pass,
        invalid,
        baseline: sides.baseline.filter(|_| needs_baseline).map(MetricSource::info),
        candidate: sides.candidate.info(),
        scope: sides.scope().filter(|_| needs_baseline),
        caveats: caveats(baseline.iter().chain([&candidate]), &findings),
        findings,
        alpha: args.strictness.alpha,
        on_unsettled: args.strictness.on_unsettled.into(),
        looks: [analyses.analyses_done(), analyses.max_analyses()],
    };
    Ok(Some(Heard { ruling: report.conclude(), runs: Vec::new() }))
}

fn one_side(paths: &[PathBuf], flag: &str) -> Result<Option<LoadedSide>, CliError> {
    match paths {
        [] => Ok(None),
        [path] => saved_results::load_side(path).map(Some),
        _ => {
            Err(CliError::usage(format!("{flag}: with results of other tools, a side is one file or folder")))
        }
    }
}

/// Rejects sides with different settings and an INVALID baseline; returns why the candidate is INVALID.
fn check_sides(args: &GateArgs, sides: &SourceSides<'_>) -> Result<Option<String>, CliError> {
    let stated = sides.baseline.and_then(MetricSource::stated).zip(sides.candidate.stated());
    let differences =
        stated.map(|(base, candidate)| stated_differences(&base, &candidate)).unwrap_or_default();
    if args.anyway {
        differences.iter().for_each(|difference| print_stderr(format_args!("warning: {difference}")));
    } else if !differences.is_empty() {
        let list: String = differences.iter().map(|difference| format!("\n  {difference}")).collect();
        return Err(CliError::usage(format!(
            "the candidate's settings differ from the baseline's (--anyway ignores that):{list}"
        )));
    }
    let invalid = |side: &dyn MetricSource| {
        let mut judged = side.runs().iter().filter(|_| !args.allow_invalid);
        judged.find_map(|run| run.validity.reason())
    };
    match sides.baseline.and_then(invalid) {
        Some(why) => Err(CliError::usage(format!(
            "the baseline is INVALID ({why}): measure another, or use it regardless with --allow-invalid"
        ))),
        None => Ok(invalid(sides.candidate)),
    }
}

/// The user's rules, or the default ones.
fn rules(args: &GateArgs, sides: &SourceSides<'_>) -> Result<Vec<GateRule>, CliError> {
    let given = given(&args.strictness)?;
    let rules = if given.is_empty() { default_source_rules(sides) } else { given };
    if rules.is_empty() {
        return Err(CliError::usage("nothing to judge the candidate by: give a --rule with a fixed limit"));
    }
    if let Some(rule) = rules.iter().find(|rule| rule.rule.needs_baseline() && sides.baseline.is_none()) {
        return Err(CliError::usage(format!("`{}` needs a --baseline", rule.rule)));
    }
    let lacks = |side: &dyn MetricSource, rule: &GateRule| side.sample(rule.rule.figure).is_none();
    let lacking = rules.iter().find_map(|rule| {
        let baseline = sides.baseline.filter(|_| rule.rule.needs_baseline());
        let side = baseline.into_iter().chain([sides.candidate]).find(|side| lacks(*side, rule))?;
        Some(format!("{} does not state the metric of `{}`", side.info().name, rule.rule))
    });
    lacking.map_or(Ok(rules), |why| Err(CliError::usage(why)))
}

/// Rejects rules that no stated figure can decide, because an undecided rule does not fail a gate.
fn check_testable(findings: &[RuleFinding]) -> Result<(), CliError> {
    let rules: Vec<String> =
        gate::untestable(findings).map(|finding| format!("`{}`", finding.rule.rule)).collect();
    match rules.is_empty() {
        true => Ok(()),
        false => Err(CliError::usage(format!(
            "{} cannot be tested: a side states the figure without the requests behind it; give a --rule with a fixed limit, \
             such as 'ttft.p99 < 500ms', or files with all requests",
            rules.join(", ")
        ))),
    }
}

fn caveats<'a>(sides: impl Iterator<Item = &'a LoadedSide>, findings: &[RuleFinding]) -> Vec<String> {
    let tool = |side: &LoadedSide| match side {
        LoadedSide::Stated(side) => Some(format!(
            "{} is not judged by servegauge: whether it is valid is not known (`servegauge audit` checks it)",
            side.name
        )),
        LoadedSide::Runs(_) => None,
    };
    let is_by_figure = |finding: &RuleFinding| finding.answer.is_settled() && finding.margin.is_none();
    let by_figure = findings.iter().any(is_by_figure).then(|| {
        "rules without an interval are decided by the stated figure alone, without a bound on chance"
            .to_owned()
    });
    sides.filter_map(tool).chain(by_figure).collect()
}
