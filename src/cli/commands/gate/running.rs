//! Measures a candidate now, in blocks if needed.

use std::path::Path;
use std::time::{Duration, Instant};

use super::args::GateArgs;
use super::case::{Case, Heard, Hearing};
use crate::analysis::compare::{ComparisonSide, SpecDifference};
use crate::analysis::gate::{self, AlphaSpending, RuleAnswer, RuleFinding, RuleSeverity, Undecided};
use crate::cli::commands::run::{RunCommandLine, RunSession};
use crate::cli::exit::{CliError, ExitReason, print_stderr};
use crate::cli::interrupt::InterruptSignal;
use crate::model::run::Run;
use crate::model::run_spec::Spec;
use crate::model::secrets;
use crate::runner::{self, PreparedRun, RecordDetail, Runner, redact};

/// Measures and judges until every rule has an answer, or the user interrupts. After an interrupt the outcome covers
/// what was measured.
pub(super) fn measure(
    case: &Case,
    args: &GateArgs,
    typed: Vec<String>,
    interrupts: &InterruptSignal,
) -> Result<Hearing, CliError> {
    let line = run_line(&args.run)?;
    let mut spec = line.spec().map_err(CliError::usage)?;
    let session = RunSession::connect(&line.args, &mut spec, RecordDetail::GAPS, interrupts)?;
    if let Some(follower) = session.follower(&spec) {
        return follower.execute(&line.invocation(typed, spec.seed)).map(Hearing::Ended);
    }
    let save = args.output.save.as_deref();
    let mut bench =
        CandidateRunner { case, line: &line, interrupts, runner: session.runner(), spec, typed, save };
    let first = bench.prepare(0)?;
    if let Some(baseline) = case.base().first() {
        case.object(unlike(baseline, &first))?;
    }
    case.foretell();
    bench.blocks(first, args.strictness.extend)
}

/// Parses the flags, with the additions of the environment and of files.
pub(super) fn run_line(words: &[String]) -> Result<RunCommandLine, CliError> {
    let line = RunCommandLine::parse_with_layers(words)
        .map_err(|why| CliError::usage(format!("after `--`: {why}; see `servegauge run --help`")))?;
    if let Some(flag) = line.first_of(&["dry-run", "repeats"]) {
        return Err(CliError::usage(format!("--{flag} cannot be used with gate; leave it out after `--`")));
    }
    if let Some(flag) = line.first_result_flag() {
        print_stderr(format_args!(
            "note: --{flag} of `run` is not used here; --out DIR saves what is measured"
        ));
    }
    Ok(line)
}

/// How the settings of a run that is prepared differ from those of a saved one.
pub(super) fn unlike(baseline: &Run, trial: &PreparedRun) -> Vec<String> {
    // Compare the specs as they are stored, with secrets masked on both sides.
    let (base, ours) = (redact::spec(&baseline.spec), redact::spec(&trial.spec));
    let mut found = SpecDifference::between_specs(&base, &ours);
    found.extend(SpecDifference::between_inputs((&base, &baseline.inputs), (&ours, &trial.inputs)));
    found.iter().map(ToString::to_string).collect()
}

/// The state that all blocks share.
struct CandidateRunner<'a> {
    case: &'a Case,
    line: &'a RunCommandLine,
    interrupts: &'a InterruptSignal,
    runner: Runner<'a>,
    spec: Spec,
    typed: Vec<String>,
    save: Option<&'a Path>,
}

impl CandidateRunner<'_> {
    /// Prepares the requests of a block, counted from 0. Each block has its own seed.
    fn prepare(&self, block: u64) -> Result<PreparedRun, runner::Error> {
        self.runner.prepare(Spec { seed: self.spec.seed.wrapping_add(block), ..self.spec.clone() })
    }

    /// Measures blocks until every rule has an answer, a failing rule is violated, the time is up, or the user
    /// interrupts. The last analysis then uses the complete blocks.
    fn blocks(&mut self, first: PreparedRun, extend: Option<Duration>) -> Result<Hearing, CliError> {
        let begun = Instant::now();
        let mut looks = AlphaSpending::single(self.case.alpha);
        let (mut runs, mut findings) = (Vec::new(), Vec::new());
        let (mut trial, mut clock) = (Ok(first), Clock { since: begun, block: Duration::ZERO, extend });
        loop {
            let run = self.measure(trial, runs.len() + 1)?;
            let interrupted = run.is_none();
            runs.extend(run);
            if interrupted && runs.is_empty() {
                print_stderr("interrupted: no verdict");
                return Ok(Hearing::Ended(ExitReason::Interrupted));
            }
            if interrupted {
                let blocks = if runs.len() == 1 { "1 block" } else { &format!("{} blocks", runs.len()) };
                print_stderr(format_args!("interrupted: the verdict covers {blocks}"));
            }
            if let (1, false, Some(extend)) = (runs.len(), interrupted, extend) {
                clock = Clock { since: Instant::now(), block: begun.elapsed(), extend: Some(extend) };
                looks = AlphaSpending::plan(self.case.alpha, clock.block, extend);
            }
            let invalid = self.case.invalid(&runs).is_some();
            let last = interrupted || invalid || runs.len() >= looks.max_blocks() || clock.is_up();
            if let Some(level) = looks.next_alpha(runs.len(), last) {
                let now = self.case.look(&runs, level);
                findings = gate::carry_over_answers(findings, now, looks.analyses_done());
            }
            if last || decided(&findings) {
                break;
            }
            clock.tell(&findings);
            trial = self.prepare(runs.len() as u64);
        }
        let candidate = ComparisonSide { name: secrets::mask_url(&self.spec.target.base_url), runs };
        let ruling = self.case.ruling(&candidate, findings, &looks)?;
        Ok(Heard { ruling, runs: candidate.runs }.into())
    }

    /// Measures a complete block; `None` if the user interrupted it.
    fn measure(
        &self,
        prepared: Result<PreparedRun, runner::Error>,
        block: usize,
    ) -> Result<Option<Run>, CliError> {
        match prepared.map_err(CliError::from).and_then(|prepared| self.block(prepared, block)) {
            // A block that fails because of the interrupt is not a failure.
            Err(_) if self.interrupts.is_requested() => Ok(None),
            measured => measured.map(|run| Some(run).filter(|run| !run.interrupted)),
        }
    }

    /// Measures one block, and saves it if requested.
    fn block(&self, prepared: PreparedRun, block: usize) -> Result<Run, CliError> {
        let invocation = self.line.invocation(self.typed.clone(), prepared.spec.seed);
        let (mut run, records) = self.runner.measure(prepared, &invocation, &mut |_, _| {})?;
        run.records = records.into_whole();
        if let Some(folder) = self.save {
            let name = run.file_name();
            let name = name.strip_suffix(".json").unwrap_or(&name);
            let path = folder.join(format!("{name}-{block}.json"));
            run.save(&path).map_err(CliError::io)?;
            print_stderr(format_args!("saved {}", path.display()));
        }
        Ok(run)
    }
}

/// The time limit for blocks.
struct Clock {
    since: Instant,
    /// The duration of a block, including its preparation.
    block: Duration,
    extend: Option<Duration>,
}

impl Clock {
    fn left(&self) -> Duration {
        self.extend.unwrap_or_default().saturating_sub(self.since.elapsed())
    }

    /// Whether less than half of another block fits.
    fn is_up(&self) -> bool {
        self.left() < self.block.mul_f64(0.5)
    }

    fn tell(&self, findings: &[RuleFinding]) {
        let open = findings.iter().filter(|finding| !finding.answer.is_settled()).count();
        let left = humantime::format_duration(Duration::from_secs(self.left().as_secs()));
        print_stderr(format_args!(
            "extending: {open} of {} rules are undecided, {left} left",
            findings.len()
        ));
    }
}

/// Whether more blocks cannot change the outcome: answers are final, and blocks on one server start do not
/// count as further starts.
fn decided(findings: &[RuleFinding]) -> bool {
    let fails = |finding: &RuleFinding| {
        finding.answer == RuleAnswer::Fail && finding.rule.severity == RuleSeverity::Fail
    };
    let is_final = |finding: &RuleFinding| {
        let hopeless =
            matches!(finding.answer, RuleAnswer::CannotTell { why: Undecided::TooFewStarts { .. } });
        hopeless || finding.answer.is_settled()
    };
    findings.iter().any(fails) || findings.iter().all(is_final)
}
