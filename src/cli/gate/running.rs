//! A candidate that is measured now, block by block if need be.

use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};

use super::args::GateArgs;
use super::case::{Case, Heard};
use crate::cli::exit::{Halt, say};
use crate::cli::interrupt::Interrupts;
use crate::cli::run::{Details, Invocation, Line, Stage, Trial, Trials};
use crate::cli::settings;
use crate::core::run::Run;
use crate::core::spec::Spec;
use crate::judge::compare::{Side, Unlike};
use crate::judge::gate::{self, Answer, Doubt, Finding, Looks, Severity};

/// Flags of `run` that say where its result goes: the gate has its own.
const NOT_USED: [&str; 8] = [
    "save-result",
    "save-detailed",
    "append-result",
    "result-dir",
    "result-filename",
    "plot-timeline",
    "plot-dataset-stats",
    "report",
];

/// Flags of `run` that are another way to do what the gate does.
const REFUSED: [&str; 2] = ["dry-run", "repeats"];

/// Measures and judges until the answers are there, or the user ends it: then on what was measured, `None` if that is nothing.
pub fn measure(
    case: &Case,
    args: &GateArgs,
    typed: Vec<String>,
    interrupts: &Interrupts,
) -> Result<Option<Heard>, Halt> {
    let line = line(&args.run)?;
    let mut spec = line.spec().map_err(Halt::usage)?;
    let stage = Stage::set(&line.args, &mut spec, interrupts)?;
    let trials = Trials::new(&line.args, &stage, Details::GAPS);
    let mut bench =
        Bench { case, line: &line, interrupts, trials, spec, typed, save: args.output.save.as_deref() };
    let first = bench.prepare(0)?;
    if let Some(baseline) = case.base().first() {
        case.object(unlike(baseline, &first))?;
    }
    case.foretell();
    bench.blocks(first, args.strictness.extend)
}

/// The flags, with what the environment and files add to them. The word `run` may come first.
fn line(words: &[String]) -> Result<Line, Halt> {
    let words = words.strip_prefix(&["run".to_owned()]).unwrap_or(words);
    let whole = ["servebench", "run"].into_iter().chain(words.iter().map(String::as_str));
    let command = crate::cli::command();
    let gathered = settings::gather(&command, whole.map(OsString::from).collect()).map_err(Halt::usage)?;
    let words: Vec<String> =
        gathered.words.into_iter().skip(2).map(|word| word.to_string_lossy().into_owned()).collect();
    let line = crate::cli::run_line(&words)
        .map_err(|why| Halt::usage(format!("after `--`: {why}; see `servebench run --help`")))?;
    if let Some(flag) = REFUSED.into_iter().find(|flag| line.settings.contains_key(*flag)) {
        return Err(Halt::usage(format!("--{flag} does not go together with gate; leave it out after `--`")));
    }
    if let Some(flag) = NOT_USED.into_iter().find(|flag| line.settings.contains_key(*flag)) {
        say(format_args!("note: --{flag} of `run` is not used here; --save DIR saves what is measured"));
    }
    Ok(line)
}

fn unlike(baseline: &Run, trial: &Trial) -> Vec<String> {
    let mut found = Unlike::between_specs(&baseline.spec, &trial.spec);
    found.extend(Unlike::between_inputs((&baseline.spec, &baseline.inputs), (&trial.spec, &trial.inputs)));
    found.iter().map(ToString::to_string).collect()
}

/// What all blocks share.
struct Bench<'a> {
    case: &'a Case,
    line: &'a Line,
    interrupts: &'a Interrupts,
    trials: Trials<'a>,
    spec: Spec,
    typed: Vec<String>,
    save: Option<&'a Path>,
}

impl Bench<'_> {
    /// The requests of a block, from 0: each has a seed of its own.
    fn prepare(&self, block: u64) -> Result<Trial, Halt> {
        self.trials.prepare(Spec { seed: self.spec.seed.wrapping_add(block), ..self.spec.clone() })
    }

    /// Block after block until every rule has an answer, a rule that counts is broken, the time is up, or the user ends it:
    /// then the last look is at the blocks that are whole.
    fn blocks(&mut self, first: Trial, extend: Option<Duration>) -> Result<Option<Heard>, Halt> {
        let begun = Instant::now();
        let mut looks = Looks::once(self.case.alpha);
        let (mut runs, mut findings) = (Vec::new(), Vec::new());
        let (mut trial, mut clock) = (Ok(first), Clock { since: begun, block: Duration::ZERO, extend });
        loop {
            let run = self.measure(trial, runs.len() + 1)?;
            let interrupted = run.is_none();
            runs.extend(run);
            if interrupted && runs.is_empty() {
                say("the candidate was interrupted: there is no finding");
                return Ok(None);
            }
            if interrupted {
                let blocks = if runs.len() == 1 { "1 block" } else { &format!("{} blocks", runs.len()) };
                say(format_args!("the gate was interrupted: it is held on {blocks}"));
            }
            if let (1, false, Some(extend)) = (runs.len(), interrupted, extend) {
                clock = Clock { since: Instant::now(), block: begun.elapsed(), extend: Some(extend) };
                looks = Looks::planned(self.case.alpha, clock.block, extend);
            }
            let invalid = self.case.invalid(&runs).is_some();
            let last = interrupted || invalid || runs.len() >= looks.blocks() || clock.is_up();
            if let Some(level) = looks.next(runs.len(), last) {
                let now = self.case.look(&runs, level);
                findings = gate::settle(findings, now, looks.taken());
            }
            if last || decided(&findings) {
                break;
            }
            clock.tell(&findings);
            trial = self.prepare(runs.len() as u64);
        }
        let candidate = Side { name: self.spec.target.base_url.clone(), runs };
        let ruling = self.case.ruling(&candidate, findings, &looks)?;
        Ok(Some(Heard { ruling, runs: candidate.runs }))
    }

    /// A whole block; `None` if the user ended it before.
    fn measure(&self, trial: Result<Trial, Halt>, block: usize) -> Result<Option<Run>, Halt> {
        match trial.and_then(|trial| self.block(trial, block)) {
            // What the interrupt broke is no failure.
            Err(_) if self.interrupts.asked() => Ok(None),
            measured => measured.map(|run| Some(run).filter(|run| !run.interrupted)),
        }
    }

    /// One block, saved if it is to be.
    fn block(&self, trial: Trial, block: usize) -> Result<Run, Halt> {
        let mut settings = self.line.settings.clone();
        settings.insert("seed".into(), trial.spec.seed.into());
        let invocation = Invocation { command: self.typed.clone(), settings, like: None, record_log: None };
        let (mut run, records) = self.trials.measure(trial, &invocation, &mut |_, _| {})?;
        run.records = Some(records);
        if let Some(folder) = self.save {
            let name = run.file_name();
            let name = name.strip_suffix(".json").unwrap_or(&name);
            let path = folder.join(format!("{name}-{block}.json"));
            run.save(&path).map_err(Halt::io)?;
            say(format_args!("saved {}", path.display()));
        }
        Ok(run)
    }
}

/// How long blocks may go on.
struct Clock {
    since: Instant,
    /// What a block takes, with its preparation.
    block: Duration,
    extend: Option<Duration>,
}

impl Clock {
    fn left(&self) -> Duration {
        self.extend.unwrap_or_default().saturating_sub(self.since.elapsed())
    }

    /// Whether not even most of another block fits.
    fn is_up(&self) -> bool {
        self.left() < self.block.mul_f64(0.5)
    }

    fn tell(&self, findings: &[Finding]) {
        let open = findings.iter().filter(|finding| !finding.answer.is_settled()).count();
        let left = humantime::format_duration(Duration::from_secs(self.left().as_secs()));
        say(format_args!("extending: {open} of {} rules have no answer yet, {left} left", findings.len()));
    }
}

/// Whether more blocks can change nothing: an answer that was given stands, and blocks on one start of the server are no
/// further starts.
fn decided(findings: &[Finding]) -> bool {
    let fails = |finding: &Finding| finding.answer == Answer::Fail && finding.rule.severity == Severity::Fail;
    let is_final = |finding: &Finding| {
        let hopeless = matches!(finding.answer, Answer::CannotTell { why: Doubt::TooFewStarts { .. } });
        hopeless || finding.answer.is_settled()
    };
    findings.iter().any(fails) || findings.iter().all(is_final)
}
