//! The inputs of a gate: the rules and the baseline.

use std::path::PathBuf;

use super::args::{GateArgs, StrictnessArgs};
use crate::analysis::compare::{ComparisonSide, SideInfo, server_starts};
use crate::analysis::gate::{
    self, AlphaSpending, GateReport, GateRule, GateSides, GateVerdict, OnUndecided, RuleFinding, RuleSeverity,
};
use crate::cli::exit::{CliError, ExitReason, print_stderr};
use crate::cli::load_runs;
use crate::model::bounded_file::{self, FileLimit};
use crate::model::metric_id::{MetricId, Statistic};
use crate::model::rule::MetricRule;
use crate::model::run::{Run, ServerStart};
use crate::stats::Percent;

/// The rules and the baseline of a gate.
pub(super) struct Case {
    rules: Vec<GateRule>,
    /// Whether the user wrote the rules.
    given: bool,
    baseline: Option<ComparisonSide>,
    /// The false-alarm probability over all rules and interim analyses.
    pub alpha: f64,
    on_unsettled: OnUndecided,
    allow_invalid: bool,
    anyway: bool,
    same_start: bool,
}

/// A gate's outcome, and the runs behind it.
pub(super) struct Heard {
    /// The outcome.
    pub ruling: GateReport,
    /// The candidate's runs.
    pub runs: Vec<Run>,
}

/// How a hearing ended.
pub(super) enum Hearing {
    /// With a ruling.
    Heard(Box<Heard>),
    /// Without one: the user interrupted it, or this process is a shard that sent its share.
    Ended(ExitReason),
}

impl From<Heard> for Hearing {
    fn from(heard: Heard) -> Self {
        Self::Heard(Box::new(heard))
    }
}

impl Case {
    /// Reads the baseline and the rules, and checks that they fit each other.
    pub(super) fn of(args: &GateArgs) -> Result<Self, CliError> {
        let baseline = side(&args.baseline)?;
        let given = given(&args.strictness)?;
        let case = Self {
            given: !given.is_empty(),
            rules: match (given.is_empty(), &baseline) {
                (false, _) => given,
                (true, Some(baseline)) => defaults(&baseline.runs, args.allow_invalid),
                (true, None) => Vec::new(),
            },
            baseline,
            alpha: args.strictness.alpha,
            on_unsettled: args.strictness.on_unsettled.into(),
            allow_invalid: args.allow_invalid,
            anyway: args.anyway,
            same_start: args.same_start,
        };
        case.check()?;
        Ok(case)
    }

    /// Applies the gate to saved runs.
    pub(super) fn files(&self, candidate: &[PathBuf]) -> Result<Heard, CliError> {
        let Some(candidate) = side(candidate)? else { return Err(CliError::usage("give a --candidate")) };
        if let Some(baseline) = &self.baseline {
            self.object(load_runs::spec_differences(baseline, std::slice::from_ref(&candidate)))?;
        }
        if candidate.runs.iter().any(|run| run.interrupted) {
            print_stderr(format_args!("note: {} was interrupted before its end", candidate.name));
        }
        let mut looks = AlphaSpending::single(self.alpha);
        let level = looks.next_alpha(1, true).unwrap_or(self.alpha);
        let findings = gate::evaluate_rules(&self.rules, &self.sides(&candidate.runs), level);
        let ruling = self.ruling(&candidate, findings, &looks)?;
        Ok(Heard { ruling, runs: candidate.runs })
    }

    /// Returns the baseline's runs.
    pub(super) fn base(&self) -> &[Run] {
        self.baseline.as_ref().map_or(&[], |baseline| &baseline.runs)
    }

    /// Performs one interim analysis of a candidate that is measured block by block. If the baseline has repeats,
    /// each block counts as one; against a single run, or no baseline, the blocks count as one long run.
    pub(super) fn look(&self, blocks: &[Run], level: f64) -> Vec<RuleFinding> {
        let joined = match (self.base().len(), blocks.len()) {
            (0 | 1, 2..) => gate::concatenate(blocks, &self.percents()),
            _ => None,
        };
        let candidate = joined.as_ref().map_or(blocks, std::slice::from_ref);
        gate::evaluate_rules(&self.rules, &self.sides(candidate), level)
    }

    fn sides<'a>(&'a self, candidate: &'a [Run]) -> GateSides<'a> {
        GateSides { baseline: self.base(), candidate, same_start: self.same_start }
    }

    /// Checks `--same-start` against the runs. Where the runs do not record their starts, the flag is accepted.
    fn check_starts(&self, candidate: &[Run]) -> Result<(), CliError> {
        let mut starts: Vec<ServerStart> =
            self.base().iter().chain(candidate).filter_map(Run::server_start).collect();
        starts.sort_unstable();
        starts.dedup();
        match (self.same_start, starts.len()) {
            (true, 2..) => Err(CliError::usage(format!(
                "--same-start: by the start times that the server reports, the runs are from {} server starts; leave the flag out",
                starts.len()
            ))),
            _ => Ok(()),
        }
    }

    /// Warns, before anything is measured, if the baseline has too few starts to decide the rules against it.
    pub(super) fn foretell(&self) {
        let count = server_starts::group_by_start(self.base()).len();
        if self.needs_baseline() && !self.same_start && count < server_starts::MIN_STARTS {
            print_stderr(format_args!(
                "note: the baseline is from {count} server start{}: rules against it are decided only if the server has not been \
                 restarted since; at least {} starts show how much starts vary",
                if count == 1 { "" } else { "s" },
                server_starts::MIN_STARTS
            ));
        }
    }

    /// Reports differences that make the comparison invalid, unless `--anyway` is set.
    pub(super) fn object(&self, unlike: Vec<String>) -> Result<(), CliError> {
        match (unlike.is_empty(), self.anyway) {
            (true, _) => Ok(()),
            (false, true) => {
                unlike.iter().for_each(|unlike| print_stderr(format_args!("warning: {unlike}")));
                Ok(())
            }
            (false, false) => {
                let list: String = unlike.iter().map(|unlike| format!("\n  {unlike}")).collect();
                Err(CliError::usage(format!(
                    "the candidate's settings differ from the baseline's (--anyway ignores that):{list}"
                )))
            }
        }
    }

    /// Returns why the runs are INVALID for the metrics of the rules; `None` if they are valid, or if INVALID runs
    /// are allowed.
    pub(super) fn invalid(&self, runs: &[Run]) -> Option<String> {
        match self.allow_invalid {
            true => gate::unanswered_reason(runs),
            false => gate::invalid_reason(&self.rules, runs),
        }
    }

    /// Combines the findings into the outcome.
    pub(super) fn ruling(
        &self,
        candidate: &ComparisonSide,
        findings: Vec<RuleFinding>,
        looks: &AlphaSpending,
    ) -> Result<GateReport, CliError> {
        if self.given {
            has(&self.rules, &candidate.runs, "the candidate")?;
        }
        self.check_starts(&candidate.runs)?;
        let baseline = self.baseline.as_ref().filter(|_| self.needs_baseline());
        let ruling = GateReport {
            outcome: GateVerdict::Pass,
            invalid: self.invalid(&candidate.runs),
            baseline: baseline.map(SideInfo::from_side),
            candidate: SideInfo::from_side(candidate),
            scope: baseline.map(|_| self.sides(&candidate.runs).scope()),
            findings,
            caveats: Vec::new(),
            alpha: self.alpha,
            on_unsettled: self.on_unsettled,
            looks: [looks.analyses_done(), looks.max_analyses()],
        };
        Ok(ruling.conclude())
    }

    fn needs_baseline(&self) -> bool {
        self.rules.iter().any(|rule| rule.rule.needs_baseline())
    }

    fn check(&self) -> Result<(), CliError> {
        let Some(baseline) = &self.baseline else {
            return match (self.rules.is_empty(), self.rules.iter().find(|rule| rule.rule.needs_baseline())) {
                (true, _) => Err(CliError::usage(
                    "nothing to compare the candidate with: give a --baseline, or a --rule with a fixed limit",
                )),
                (false, Some(rule)) => Err(CliError::usage(format!("`{}` needs a --baseline", rule.rule))),
                (false, None) => Ok(()),
            };
        };
        if self.rules.is_empty() {
            return Err(CliError::usage(format!(
                "{} has none of the metrics of the default rules; give a --rule",
                baseline.name
            )));
        }
        let relative: Vec<GateRule> =
            self.rules.iter().filter(|rule| rule.rule.needs_baseline()).cloned().collect();
        has(&relative, &baseline.runs, &baseline.name)?;
        match self.invalid(&baseline.runs) {
            Some(why) => Err(CliError::usage(format!(
                "the baseline {} is INVALID ({why}): measure another, or use it regardless with --allow-invalid",
                baseline.name
            ))),
            None => Ok(()),
        }
    }

    fn percents(&self) -> Vec<Percent> {
        let asked = self.rules.iter().filter_map(|rule| match rule.rule.figure {
            MetricId::Latency(_, Statistic::Percentile(p)) => Some(p),
            MetricId::Latency(_, Statistic::Mean) | MetricId::Scalar(_) => None,
        });
        asked.collect()
    }
}

/// Loads files and folders as one side; `None` if there are none.
fn side(paths: &[PathBuf]) -> Result<Option<ComparisonSide>, CliError> {
    let sides = paths.iter().map(|path| load_runs::load_side(path)).collect::<Result<Vec<_>, _>>()?;
    let predicted = sides.iter().find(|side| side.runs.iter().any(Run::is_predicted));
    if let Some(side) = predicted.filter(|_| sides.len() > 1) {
        return Err(CliError::usage(format!(
            "{} is predicted, and several files of one side are repeats: give the prediction alone",
            side.name
        )));
    }
    Ok(sides.into_iter().reduce(|mut all, side| {
        all.name = format!("{}, {}", all.name, side.name);
        all.runs.extend(side.runs);
        all
    }))
}

/// Returns the default rules, without those about metrics that are INVALID in the baseline while others are valid.
fn defaults(baseline: &[Run], allow_invalid: bool) -> Vec<GateRule> {
    if allow_invalid {
        return gate::default_rules(baseline);
    }
    let mut partly = baseline.iter().filter(|run| run.validity.run_invalid_reason().is_none());
    if let Some(metrics) = partly.find_map(|run| run.validity.invalid_metrics()) {
        print_stderr(format_args!(
            "note: {metrics} are INVALID in the baseline, so no default rule uses them"
        ));
    }
    gate::valid_defaults(baseline)
}

/// Returns the user's rules.
pub(super) fn given(args: &StrictnessArgs) -> Result<Vec<GateRule>, CliError> {
    let mut rules = Vec::new();
    if let Some(path) = &args.rules {
        let unusable = |why: String| CliError::usage(format!("--rules {}: {why}", path.display()));
        let text =
            bounded_file::read_text(path, FileLimit::CONFIG).map_err(|error| unusable(error.to_string()))?;
        rules.extend(gate::parse_rules(&text).map_err(|error| unusable(error.to_string()))?);
    }
    let with = |rules: &[MetricRule], severity| {
        rules.iter().map(|rule| GateRule { rule: rule.clone(), severity }).collect::<Vec<_>>()
    };
    rules.extend(with(&args.rule, RuleSeverity::Fail));
    rules.extend(with(&args.warn_rule, RuleSeverity::Warn));
    Ok(rules)
}

/// Rejects rules about metrics that were not measured.
fn has(rules: &[GateRule], runs: &[Run], who: &str) -> Result<(), CliError> {
    let missing: Vec<String> = gate::missing_metrics(rules, runs).map(|rule| format!("`{rule}`")).collect();
    match missing.is_empty() {
        true => Ok(()),
        false => Err(CliError::usage(format!(
            "{who} lacks the metric of {} (goodput needs --goodput, times within a stream need a stream)",
            missing.join(", ")
        ))),
    }
}
