//! `servegauge search`: finds the highest load that meets the service levels.

use std::fs;
use std::time::{Duration, Instant};

use super::run::{RunCommandLine, RunSession};
use crate::analysis::plan;
use crate::analysis::plan::mix::RequestMix;
use crate::analysis::plan::pool::KvPool;
use crate::analysis::search::early_stop::EarlyStop;
use crate::analysis::search::evidence::CriterionOutcome;
use crate::analysis::search::trial::{Trial, TrialPlan};
use crate::analysis::search::{DEFAULT_HEADROOM, KvPoolCheck, Search, SearchAnswer, SearchStep};
use crate::cli::exit::{CliError, ExitReason, print_stderr};
use crate::cli::interrupt::InterruptSignal;
use crate::model::run::Run;
use crate::model::run_records::RunRecords;
use crate::model::run_spec::Spec;
use crate::model::server::ServerSignal;
use crate::report;
use crate::runner::{RecordDetail, RunOptions};
use crate::server::kv_pool;
use crate::server::signals::MetricsSnapshot;

mod args;
mod found;
mod guess;
mod trial_observer;
mod trial_spec;

pub(crate) use args::SearchArgs;
pub(crate) use found::Found;
use trial_observer::TrialObserver;
use trial_spec::TrialSpecs;

/// The longest wait for the server's queue to empty.
const PATIENCE: Duration = Duration::from_secs(60);

/// The time between two checks of the queue.
const LOOK: Duration = Duration::from_millis(100);

/// The pause if the server does not report its queue.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs the command; `typed` is the command line.
pub(crate) fn execute(
    args: &SearchArgs,
    typed: Vec<String>,
    interrupts: &InterruptSignal,
) -> Result<ExitReason, CliError> {
    let line = run_line(args)?;
    check(args, line.clone())?;
    found::probe(args)?;
    let runner = SearchRunner::connect(args, line, interrupts)?;
    if let Some(follower) = runner.session.follower(&runner.spec) {
        return follower.execute(&runner.specs.line.invocation(typed, runner.spec.seed));
    }
    runner.find()?.deliver(args, typed)
}

/// Parses the flags of `run` that the search received.
fn run_line(args: &SearchArgs) -> Result<RunCommandLine, CliError> {
    RunCommandLine::parse(&args.run)
        .map_err(|why| CliError::usage(format!("after `--`: {why}; see `servegauge run --help`")))
}

/// Checks the flags before anything is asked or sent.
pub(crate) fn check(args: &SearchArgs, line: RunCommandLine) -> Result<(), CliError> {
    TrialSpecs::new(args, line, &args.question()?).map(drop)
}

/// Searches with these flags of `run` until the end or an interrupt, and prints its progress.
pub(crate) fn find(
    args: &SearchArgs,
    line: RunCommandLine,
    interrupts: &InterruptSignal,
) -> Result<Found, CliError> {
    SearchRunner::connect(args, line, interrupts)?.find()
}

/// The state of a search.
struct SearchRunner<'a> {
    args: &'a SearchArgs,
    specs: TrialSpecs,
    session: RunSession,
    /// The Spec that the session has completed.
    spec: Spec,
    options: RunOptions,
    interrupts: &'a InterruptSignal,
    /// The highest load that met the levels, and its run.
    best: Option<(f64, Run)>,
    search: Search,
}

impl<'a> SearchRunner<'a> {
    /// Connects to the server, and to the other clients that send the trials.
    fn connect(
        args: &'a SearchArgs,
        line: RunCommandLine,
        interrupts: &'a InterruptSignal,
    ) -> Result<Self, CliError> {
        let mut question = args.question()?;
        let specs = TrialSpecs::new(args, line, &question)?;
        question.criteria.extend(specs.few_failures(&question));
        if let Some(folder) = &args.save_trials {
            fs::create_dir_all(folder)
                .map_err(|error| CliError::usage(format!("--save-trials {}: {error}", folder.display())))?;
        }
        let mut spec = specs.base();
        let session = RunSession::connect(&specs.line.args, &mut spec, RecordDetail::NONE, interrupts)?;
        let mut options = session.options().clone();
        options.selection.percents = specs.percents().to_vec();
        let follows = session.follower(&spec).is_some();
        let guess = match &args.model {
            Some(path) if !follows => guess::predict_boundary(path, args, &specs, &session)?,
            _ => None,
        };
        let search = Search::new(question).with_guess(guess);
        Ok(Self { args, specs, session, spec, options, interrupts, best: None, search })
    }

    /// Searches until the end or an interrupt.
    fn find(mut self) -> Result<Found, CliError> {
        self.run()?;
        let answer = self.answer();
        Ok(Found { answer, allow_invalid: self.specs.allow_invalid(), search: self.search })
    }

    fn run(&mut self) -> Result<(), CliError> {
        while let SearchStep::Trial(next) = self.search.next_step() {
            let started = Instant::now();
            // A failure because of the interrupt is not reported: the interrupt ends the search below.
            let empty = || self.session.session.try_empty_cache().unwrap_or(Ok(()));
            let emptied = if next.number > 1 { empty() } else { Ok(()) };
            if let (2, Err(why)) = (next.number, emptied) {
                print_stderr(format_args!(
                    "note: the server does not empty its prefix cache between trials ({why}): their prompts differ"
                ));
            }
            let trial = self.trial(next);
            if self.interrupts.is_requested() {
                self.search.interrupt();
                break;
            }
            let mut trial = trial?;
            self.cool_down();
            trial.spent = started.elapsed();
            let spent: Duration = self.search.trials().iter().map(|trial| trial.spent).sum();
            self.search.add_trial(trial);
            let boundary = self.search.boundary_draws().boundary();
            if let Some(trial) = self.search.trials().last() {
                print_stderr(report::search::progress_line(
                    self.search.config(),
                    trial,
                    boundary,
                    spent + trial.spent,
                ));
            }
        }
        Ok(())
    }

    fn trial(&mut self, next: TrialPlan) -> Result<Trial, CliError> {
        let question = self.search.config();
        let session = &self.session.session;
        let spec = self.specs.spec(next, self.search.trials().last());
        let invocation = self.specs.invocation(next, &spec);
        let watch = EarlyStop::new(&question.criteria, &spec.slo, question.over, next);
        let mut observer = TrialObserver::new(watch);
        let runner = self.session.runner_with(&self.options);
        let prepared = runner.prepare(Spec { target: session.target().clone(), ..spec.clone() })?;
        let (run, records) =
            runner.measure(prepared, &invocation, &mut |event, stop| observer.take(event, stop))?;
        let ending = observer.ending();
        let trial = Trial::from_run(question, next, ending, (&run, records.sample()));
        self.require_measurable(&trial, &run)?;
        self.keep(&trial, run, records)?;
        Ok(trial)
    }

    /// Rejects a level of a latency that no response has: any load would meet it.
    fn require_measurable(&self, trial: &Trial, run: &Run) -> Result<(), CliError> {
        if trial.number > 1 {
            return Ok(());
        }
        match trial.unmeasured(self.search.config(), run) {
            None => Ok(()),
            Some(criterion) => Err(CliError::usage(format!(
                "--slo {}: no response has this metric (TPOT and ITL need two output tokens, TTFT a stream)",
                criterion.label()
            ))),
        }
    }

    fn keep(&mut self, trial: &Trial, mut run: Run, records: RunRecords) -> Result<(), CliError> {
        run.records = records.into_whole();
        if let Some(folder) = &self.args.save_trials {
            let path = folder.join(format!("trial-{:03}-{}.json", trial.number, trial.load));
            run.save(&path).map_err(CliError::io)?;
        }
        let higher = self.best.as_ref().is_none_or(|(load, _)| trial.load > *load);
        if trial.outcome() == CriterionOutcome::Met && higher {
            self.best = Some((trial.load, run));
        }
        Ok(())
    }

    /// Waits until the server has finished all requests of the trial.
    fn cool_down(&self) {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE && !self.interrupts.is_requested() {
            match self.session.session.metrics_page().as_deref().and_then(queue) {
                Some(0) => return,
                Some(_) => std::thread::sleep(LOOK),
                None => return std::thread::sleep(PAUSE),
            }
        }
    }

    fn answer(&self) -> SearchAnswer {
        let mut answer = self.search.answer();
        answer.agreement = self.agreement(&answer);
        answer
    }

    /// Compares the answer with the size of the server's KV pool, if the server reports it.
    fn agreement(&self, answer: &SearchAnswer) -> Option<KvPoolCheck> {
        answer.boundary()?;
        let (_, run) = self.best.as_ref()?;
        let pool = kv_pool::size_on_page(&self.session.session.metrics_page()?)?.tokens;
        let question = plan::PlanInput {
            pool: KvPool::from_tokens(pool, "/metrics"),
            mix: RequestMix::from_run(run, "the trials").ok()?,
            headroom: DEFAULT_HEADROOM,
            speed: None,
            wanted: None,
            percent: 99.0,
            seed: 0,
        };
        let limit = plan::plan(&question).ok()?.limit;
        Some(KvPoolCheck { pool, limit, in_flight: run.metrics.peak_in_flight as u64 })
    }
}

/// Returns the number of requests in the server.
fn queue(page: &str) -> Option<u64> {
    let reading = MetricsSnapshot::parse(page);
    let running = reading.number(ServerSignal::Running)?;
    Some((running + reading.number(ServerSignal::Waiting).unwrap_or(0.0)) as u64)
}
