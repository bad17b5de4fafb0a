//! `servebench search`: the highest load at which service levels hold.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::exit::{Exit, Halt, say};
use super::interrupt::Interrupts;
use super::run::Ground;
use crate::core::figure::Figure;
use crate::core::record::Record;
use crate::core::run::Run;
use crate::core::server::Signal;
use crate::judge::plan::mix::Mix;
use crate::judge::plan::pool::Pool;
use crate::judge::plan::{self, HEADROOM};
use crate::judge::search::evidence::{Outcome, Stated};
use crate::judge::search::trial::{self, Ending, Measured, Next, Service, Trial};
use crate::judge::search::watch::Watch;
use crate::judge::search::{Agreement, Answer, Question, Search, Step};
use crate::report;
use crate::server::kv_pool;
use crate::server::page::Page;
use crate::server::signals::Reading;

mod args;
mod flags;
mod found;
mod onlook;

pub use args::SearchArgs;
use flags::Flags;
pub use found::Found;
use onlook::Onlook;

/// How long to wait for a server's queue to empty.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at its queue.
const LOOK: Duration = Duration::from_millis(100);

/// The pause where it does not tell of its queue.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs the command; `typed` is the command line.
pub fn execute(args: &SearchArgs, typed: Vec<String>, interrupts: &Interrupts) -> Result<Exit, Halt> {
    check(args)?;
    found::probe(args)?;
    find(args, interrupts)?.deliver(args, typed)
}

/// What is wrong with the flags, before anything is asked or sent.
pub fn check(args: &SearchArgs) -> Result<(), Halt> {
    Flags::of(args, &args.question()?).map(drop)
}

/// Searches until the end or an interrupt, and says on the way how far it is.
pub fn find(args: &SearchArgs, interrupts: &Interrupts) -> Result<Found, Halt> {
    let mut question = args.question()?;
    let flags = Flags::of(args, &question)?;
    question.criteria.extend(flags.few_failures(&question));
    if let Some(folder) = &args.save_trials {
        fs::create_dir_all(folder)
            .map_err(|error| Halt::usage(format!("--save-trials {}: {error}", folder.display())))?;
    }
    let ground = Ground::of(&flags.line(&[])?, interrupts)?;
    let mut quest = Quest { args, flags, ground, interrupts, best: None, search: Search::new(question) };
    quest.go()?;
    let answer = quest.answer();
    Ok(Found { answer, allow_invalid: quest.flags.allow_invalid(), search: quest.search })
}

/// A search and what it is done with.
struct Quest<'a> {
    args: &'a SearchArgs,
    flags: Flags<'a>,
    ground: Ground,
    interrupts: &'a Interrupts,
    /// The run of the highest load that held.
    best: Option<(f64, Run)>,
    search: Search,
}

impl Quest<'_> {
    fn go(&mut self) -> Result<(), Halt> {
        while let Step::Trial(next) = self.search.step() {
            let started = Instant::now();
            let fresh = if next.number > 1 { self.ground.empty_cache() } else { Ok(()) };
            if let (2, Err(why)) = (next.number, fresh) {
                say(format_args!(
                    "note: the server does not empty its prefix cache between trials ({why}): their prompts differ"
                ));
            }
            let trial = self.trial(next);
            if self.interrupts.asked() {
                self.search.interrupt();
                break;
            }
            let mut trial = trial?;
            self.cool_down();
            trial.spent = started.elapsed();
            let spent: Duration = self.search.trials().iter().map(|trial| trial.spent).sum();
            self.search.note(trial);
            let boundary = self.search.belief().boundary();
            if let Some(trial) = self.search.trials().last() {
                say(report::search::progress(self.search.question(), trial, boundary, spent + trial.spent));
            }
        }
        Ok(())
    }

    fn trial(&mut self, next: Next) -> Result<Trial, Halt> {
        let question = self.search.question();
        let line = self.flags.trial(question, next, self.search.trials().last())?;
        let command = self.flags.command(&line);
        let slo = line.spec().map_err(Halt::usage)?.slo;
        let watch = Watch::new(&question.criteria, &slo, question.over, next);
        let mut onlook = Onlook::new(watch);
        let (run, records) =
            self.ground.measure(line, command, &mut |event, stop| onlook.see(event, stop))?;
        let ending = onlook.ending();
        let trial = judge(question, next, ending, (&run, &records));
        self.nothing_to_hold(&trial, &run)?;
        self.keep(&trial, run, records)?;
        Ok(trial)
    }

    /// A level of a latency that no answer has would hold at any load.
    fn nothing_to_hold(&self, trial: &Trial, run: &Run) -> Result<(), Halt> {
        if trial.number > 1 || run.interrupted || run.metrics.completed == 0 {
            return Ok(());
        }
        let criteria = self.search.question().criteria.iter().zip(&trial.evidence);
        match criteria.into_iter().find(|(_, evidence)| evidence.is_none()) {
            None => Ok(()),
            Some((criterion, _)) => Err(Halt::usage(format!(
                "--slo {}: no answer has such a figure (TPOT and ITL need two output tokens, TTFT a stream)",
                criterion.label()
            ))),
        }
    }

    fn keep(&mut self, trial: &Trial, mut run: Run, records: Vec<Record>) -> Result<(), Halt> {
        run.records = Some(records);
        if let Some(folder) = &self.args.save_trials {
            let path = folder.join(format!("trial-{:03}-{}.json", trial.number, trial.load));
            run.save(&path).map_err(Halt::io)?;
        }
        let higher = self.best.as_ref().is_none_or(|(load, _)| trial.load > *load);
        if trial.outcome() == Outcome::Met && higher {
            self.best = Some((trial.load, run));
        }
        Ok(())
    }

    /// Until nothing is left of a trial in the server.
    fn cool_down(&self) {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE && !self.interrupts.asked() {
            match self.ground.metrics().as_deref().and_then(queue) {
                Some(0) => return,
                Some(_) => std::thread::sleep(LOOK),
                None => return std::thread::sleep(PAUSE),
            }
        }
    }

    fn answer(&self) -> Answer {
        let mut answer = self.search.answer();
        answer.agreement = self.agreement(&answer);
        answer
    }

    /// What fits the server's KV pool, where it tells how large that is.
    fn agreement(&self, answer: &Answer) -> Option<Agreement> {
        answer.boundary()?;
        let (_, run) = self.best.as_ref()?;
        let pool = kv_pool::on_page(&self.ground.metrics()?)?;
        let question = plan::Question {
            pool: Pool::of_tokens(pool, "/metrics"),
            mix: Mix::of_run(run, "the trials").ok()?,
            headroom: HEADROOM,
            speed: None,
            wanted: None,
            percent: 99.0,
            seed: 0,
        };
        let limit = plan::plan(&question).ok()?.limit;
        Some(Agreement { pool, limit, in_flight: run.metrics.peak_in_flight as u64 })
    }
}

/// Requests that the server has not ended.
fn queue(page: &str) -> Option<u64> {
    let reading = Reading::of(&Page::parse(page));
    let running = reading.number(Signal::Running)?;
    Some((running + reading.number(Signal::Waiting).unwrap_or(0.0)) as u64)
}

/// What a run says about each criterion.
fn judge(question: &Question, next: Next, ending: Ending, (run, records): (&Run, &[Record])) -> Trial {
    let measured = Measured { next, ending, load: &run.spec.load, slo: &run.spec.slo, records };
    let stated =
        |figure: Figure| figure.value(run).map(|value| Stated { value, interval: figure.interval(run) });
    Trial {
        number: next.number,
        load: next.load,
        length: run.metrics.duration,
        spent: run.metrics.duration,
        seed: next.seed,
        ending,
        evidence: measured.evidence(question, stated),
        service: Service::of(run, records),
        doubt: trial::doubt(run, &question.criteria),
    }
}

/// Where the JSON goes, if it is a file.
fn as_file(path: &Path) -> Option<&Path> {
    (path.as_os_str() != "-").then_some(path)
}
