//! What a gate is held with: the rules and the baseline.

use std::fs;
use std::path::PathBuf;

use super::args::{GateArgs, StrictnessArgs};
use crate::cli::exit::{Halt, say};
use crate::cli::sides;
use crate::core::figure::{Figure, Statistic};
use crate::core::rule::Rule;
use crate::core::run::{Run, ServerStart};
use crate::core::stats::Percent;
use crate::judge::compare::{Party, Side, starts};
use crate::judge::gate::{self, Finding, GateRule, Looks, OnUnsettled, Outcome, Ruling, Severity, Sides};

/// The rules, and who the baseline is.
pub struct Case {
    rules: Vec<GateRule>,
    /// Whether the user wrote them.
    given: bool,
    baseline: Option<Side>,
    /// The chance of a false alarm.
    pub alpha: f64,
    on_unsettled: OnUnsettled,
    allow_invalid: bool,
    anyway: bool,
    same_start: bool,
}

/// A gate that was held, and on what.
pub struct Heard {
    /// What came of it.
    pub ruling: Ruling,
    /// The candidate's runs.
    pub runs: Vec<Run>,
}

impl Case {
    /// Reads the baseline and the rules, and sees to it that they fit.
    pub fn of(args: &GateArgs) -> Result<Self, Halt> {
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

    /// Holds the gate on files.
    pub fn files(&self, candidate: &[PathBuf]) -> Result<Option<Heard>, Halt> {
        let Some(candidate) = side(candidate)? else { return Err(Halt::usage("give a --candidate")) };
        if let Some(baseline) = &self.baseline {
            self.object(sides::unlike(baseline, std::slice::from_ref(&candidate)))?;
        }
        if candidate.runs.iter().any(|run| run.interrupted) {
            say(format_args!("note: {} was interrupted before its end", candidate.name));
        }
        let mut looks = Looks::once(self.alpha);
        let level = looks.next(1, true).unwrap_or(self.alpha);
        let findings = gate::look(&self.rules, &self.sides(&candidate.runs), level);
        let ruling = self.ruling(&candidate, findings, &looks)?;
        Ok(Some(Heard { ruling, runs: candidate.runs }))
    }

    /// The baseline's runs.
    pub fn base(&self) -> &[Run] {
        self.baseline.as_ref().map_or(&[], |baseline| &baseline.runs)
    }

    /// One look at a candidate that is being measured block by block. Against repeats each block is one; against a single
    /// run, or none, they are one long run.
    pub fn look(&self, blocks: &[Run], level: f64) -> Vec<Finding> {
        let joined = match (self.base().len(), blocks.len()) {
            (0 | 1, 2..) => gate::joined(blocks, &self.percents()),
            _ => None,
        };
        let candidate = joined.as_ref().map_or(blocks, std::slice::from_ref);
        gate::look(&self.rules, &self.sides(candidate), level)
    }

    fn sides<'a>(&'a self, candidate: &'a [Run]) -> Sides<'a> {
        Sides { baseline: self.base(), candidate, same_start: self.same_start }
    }

    /// `--same-start` is believed where the runs do not tell.
    fn check_starts(&self, candidate: &[Run]) -> Result<(), Halt> {
        let mut starts: Vec<ServerStart> =
            self.base().iter().chain(candidate).filter_map(Run::server_start).collect();
        starts.sort_unstable();
        starts.dedup();
        match (self.same_start, starts.len()) {
            (true, 2..) => Err(Halt::usage(format!(
                "--same-start: the server's own start times say that the runs are from {} starts; leave the flag out",
                starts.len()
            ))),
            _ => Ok(()),
        }
    }

    /// What to expect of rules against the baseline where it is from too few starts to decide them; said before anything is
    /// measured.
    pub fn foretell(&self) {
        let count = starts::groups(self.base()).len();
        if self.needs_baseline() && !self.same_start && count < starts::ENOUGH {
            say(format_args!(
                "note: the baseline is from {count} start{} of the server: rules against it are decided only if the server has \
                 not been restarted since; {} starts or more show how much starts differ",
                if count == 1 { "" } else { "s" },
                starts::ENOUGH
            ));
        }
    }

    /// What speaks against the comparison, if it is not to be made anyway.
    pub fn object(&self, unlike: Vec<String>) -> Result<(), Halt> {
        match (unlike.is_empty(), self.anyway) {
            (true, _) => Ok(()),
            (false, true) => {
                unlike.iter().for_each(|unlike| say(format_args!("warning: {unlike}")));
                Ok(())
            }
            (false, false) => {
                let list: String = unlike.iter().map(|unlike| format!("\n  {unlike}")).collect();
                Err(Halt::usage(format!(
                    "the baseline asked for something else; --anyway holds them against each other:{list}"
                )))
            }
        }
    }

    /// Why the runs are not to be believed in what the rules ask, if they are not to be.
    pub fn invalid(&self, runs: &[Run]) -> Option<String> {
        if runs.iter().all(|run| run.metrics.completed == 0) {
            return Some("no request was answered".into());
        }
        if self.allow_invalid {
            return None;
        }
        let asked = |run: &Run| {
            let mut objections = self.rules.iter().map(|rule| (rule, rule.rule.figure.objection(run)));
            objections.find_map(|(rule, why)| Some(format!("{}: {}", rule.rule.figure.label(), why?)))
        };
        runs.iter().find_map(|run| run.validity.reason_for_all().or_else(|| asked(run)))
    }

    /// What the findings come to.
    pub fn ruling(&self, candidate: &Side, findings: Vec<Finding>, looks: &Looks) -> Result<Ruling, Halt> {
        if self.given {
            has(&self.rules, &candidate.runs, "the candidate")?;
        }
        self.check_starts(&candidate.runs)?;
        let baseline = self.baseline.as_ref().filter(|_| self.needs_baseline());
        let ruling = Ruling {
            outcome: Outcome::Pass,
            invalid: self.invalid(&candidate.runs),
            baseline: baseline.map(Party::of),
            candidate: Party::of(candidate),
            scope: baseline.map(|_| self.sides(&candidate.runs).scope()),
            findings,
            alpha: self.alpha,
            on_unsettled: self.on_unsettled,
            looks: [looks.taken(), looks.planned_looks()],
        };
        Ok(ruling.concluded())
    }

    fn needs_baseline(&self) -> bool {
        self.rules.iter().any(|rule| rule.rule.needs_baseline())
    }

    fn check(&self) -> Result<(), Halt> {
        let Some(baseline) = &self.baseline else {
            return match (self.rules.is_empty(), self.rules.iter().find(|rule| rule.rule.needs_baseline())) {
                (true, _) => Err(Halt::usage(
                    "nothing to hold the candidate against: give a --baseline, or a --rule with a fixed limit",
                )),
                (false, Some(rule)) => Err(Halt::usage(format!("`{}` needs a --baseline", rule.rule))),
                (false, None) => Ok(()),
            };
        };
        if self.rules.is_empty() {
            return Err(Halt::usage(format!(
                "{} has none of the figures that a gate asks about by itself; give a --rule",
                baseline.name
            )));
        }
        let relative: Vec<GateRule> =
            self.rules.iter().filter(|rule| rule.rule.needs_baseline()).cloned().collect();
        has(&relative, &baseline.runs, &baseline.name)?;
        match self.invalid(&baseline.runs) {
            Some(why) => Err(Halt::usage(format!(
                "the baseline {} is INVALID ({why}): measure another, or hold against it all the same with --allow-invalid",
                baseline.name
            ))),
            None => Ok(()),
        }
    }

    fn percents(&self) -> Vec<Percent> {
        let asked = self.rules.iter().filter_map(|rule| match rule.rule.figure {
            Figure::Latency(_, Statistic::Percentile(p)) => Some(p),
            Figure::Latency(_, Statistic::Mean) | Figure::Scalar(_) => None,
        });
        asked.collect()
    }
}

/// Some files and folders as one side; `None` of none.
fn side(paths: &[PathBuf]) -> Result<Option<Side>, Halt> {
    let sides = paths.iter().map(|path| sides::read(path)).collect::<Result<Vec<_>, _>>()?;
    Ok(sides.into_iter().reduce(|mut all, side| {
        all.name = format!("{}, {}", all.name, side.name);
        all.runs.extend(side.runs);
        all
    }))
}

/// The rules that a gate has by itself, without those about metrics that are INVALID in the baseline while others hold.
fn defaults(baseline: &[Run], allow_invalid: bool) -> Vec<GateRule> {
    let mut rules = gate::defaults(baseline);
    let partly = || baseline.iter().filter(|run| run.validity.reason_for_all().is_none());
    if !allow_invalid {
        rules.retain(|rule| partly().all(|run| rule.rule.figure.objection(run).is_none()));
        if let Some(metrics) = partly().find_map(|run| run.validity.invalid_metrics()) {
            say(format_args!("note: {metrics} are INVALID in the baseline, so no rule asks about them"));
        }
    }
    rules
}

/// The rules that the user wrote.
fn given(args: &StrictnessArgs) -> Result<Vec<GateRule>, Halt> {
    let mut rules = Vec::new();
    if let Some(path) = &args.rules {
        let unusable = |why: String| Halt::usage(format!("--rules {}: {why}", path.display()));
        let text = fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
        rules.extend(gate::read(&text).map_err(|error| unusable(error.to_string()))?);
    }
    let with = |rules: &[Rule], severity| {
        rules.iter().map(|rule| GateRule { rule: rule.clone(), severity }).collect::<Vec<_>>()
    };
    rules.extend(with(&args.rule, Severity::Fail));
    rules.extend(with(&args.warn_rule, Severity::Warn));
    Ok(rules)
}

/// A rule about what was not measured is no rule.
fn has(rules: &[GateRule], runs: &[Run], who: &str) -> Result<(), Halt> {
    let missing: Vec<String> = gate::absent(rules, runs).map(|rule| format!("`{rule}`")).collect();
    match missing.is_empty() {
        true => Ok(()),
        false => Err(Halt::usage(format!(
            "{who} has no such figure: {} (goodput needs --goodput, times within a stream need a stream)",
            missing.join(", ")
        ))),
    }
}
