//! `servebench run`: the main job, from flags to the report.

use serde_json::{Map, Value};

use crate::cli::exit::{Exit, Halt, say};
use crate::cli::interrupt::Interrupts;
use crate::cli::settings::Saved;
use crate::cli::stdout::print;
use crate::core::run::{Inputs, Run};
use crate::core::spec::Spec;
use crate::drive::engine::Event;
use crate::report::dataset;

mod args;
mod assemble;
mod deliver;
mod evidence;
mod ground;
mod measure;
mod prepare;
mod probes;
mod profile;
mod publish;
mod ready;
mod record_log;
mod recover;
pub mod redact;
mod repeats;
mod rerun;
mod scrape;
mod spec;
mod stage;
mod trial;
pub mod values;

pub use args::RunArgs;
use deliver::Delivery;
pub use ground::Ground;
pub use measure::Details;
pub use prepare::Preparing;
use publish::Publisher;
use record_log::LogFile;
use repeats::Repeats;
pub use stage::Stage;
pub use trial::{Trial, Trials};
pub use values::{Pair, metrics_url, pair, seconds};

/// How a run was asked for.
pub struct Invocation {
    /// What the user typed.
    pub command: Vec<String>,
    /// All flags that hold, secrets masked.
    pub settings: Map<String, Value>,
    /// The saved run that it is like.
    pub like: Option<Saved>,
    /// Where its record log goes.
    pub record_log: Option<LogFile>,
}

/// Flags of `run` that another command was given.
pub struct Line {
    /// The flags.
    pub args: Box<RunArgs>,
    /// All of them that hold, as they are stored with a Run.
    pub settings: Map<String, Value>,
}

impl Line {
    /// What they ask for, as far as that is known without asking a server.
    pub fn spec(&self) -> Result<Spec, String> {
        spec::selection(&self.args)?;
        spec::spec(&self.args)
    }

    /// Measures it once. Nothing is printed but warnings and the bar; the Run has its Records if they were asked for.
    pub fn measure(self, command: Vec<String>, interrupts: &Interrupts) -> Result<Run, Halt> {
        let args = &self.args;
        let mut spec = self.spec().map_err(Halt::usage)?;
        let stage = Stage::set(args, &mut spec, interrupts)?;
        let mut publisher = Publisher::start(&args.publish, &stage)?;
        let detailed = args.output.save_detailed;
        let keep = if detailed { Details::ALL } else { Details::NONE };
        let trials = Trials::new(args, &stage, keep.seen_by(publisher.is_some()));
        let invocation = Invocation { command, settings: self.settings, like: None, record_log: None };
        let measured = trials.measure(trials.prepare(spec)?, &invocation, &mut |event, _| {
            publisher.iter_mut().for_each(|publisher| publisher.see(event));
        });
        publisher.into_iter().for_each(|publisher| publisher.stop(&stage));
        let (mut run, records) = measured?;
        run.records = detailed.then_some(records);
        Ok(run)
    }
}

impl Invocation {
    /// The same of another run.
    fn alike(&self) -> Self {
        Self {
            command: self.command.clone(),
            settings: self.settings.clone(),
            like: None,
            record_log: self.record_log.clone(),
        }
    }
}

/// Runs the command.
pub fn execute(args: &RunArgs, mut invocation: Invocation, interrupts: &Interrupts) -> Result<Exit, Halt> {
    if let Some(log) = &args.configuration.recover {
        return recover::recover(log, args);
    }
    let mut spec = spec::spec(args).map_err(Halt::usage)?;
    spec::idle(args).iter().for_each(|why| say(format_args!("warning: {why}")));
    let delivery = Delivery::of(&args.output)?;
    let stage = Stage::set(args, &mut spec, interrupts)?;
    let mut publisher = match args.workload.dry_run {
        true => None,
        false => Publisher::start(&args.publish, &stage)?,
    };
    let keep = delivery.keep().seen_by(publisher.is_some());
    let trials = Trials::new(args, &stage, keep);
    let trial = trials.prepare(spec.clone())?;
    if let Some(saved) = &invocation.like {
        hold_against(saved, &trial.inputs);
    }
    if args.workload.dry_run {
        return dry_run(&trial);
    }
    rerun::note(args, &trial, &stage);
    invocation.record_log = delivery.record_log(&args.output, &trial.spec)?;
    let mut see = |event: &Event<'_>| publisher.iter_mut().for_each(|publisher| publisher.see(event));
    if args.measure.repeats.get() > 1 {
        let repeats = Repeats { args, stage: &stage, trials, spec };
        let ended = repeats.execute(trial, &invocation, &delivery, &mut see);
        publisher.into_iter().for_each(|publisher| publisher.stop(&stage));
        return ended;
    }
    let measured = trials.measure(trial, &invocation, &mut |event, _| see(event));
    publisher.into_iter().for_each(|publisher| publisher.stop(&stage));
    let (mut run, records) = measured?;
    let delivered = delivery.deliver(&mut run, records);
    record_log::settle(invocation.record_log.as_ref(), delivered.is_ok());
    delivered?;
    let exit = judge(&run, args.measure.allow_invalid);
    Ok(if interrupts.asked() { Exit::Interrupted } else { exit })
}

/// What a dataset would send.
pub struct Lengths {
    /// Prompt and asked output of each request, in tokens.
    pub requests: Vec<(u32, u32)>,
    /// Which dataset it is.
    pub origin: String,
}

/// Prepares the dataset that some of `run`'s flags describe, and sends nothing.
pub fn lengths(words: &[String], seed: u64) -> Result<Lengths, Halt> {
    let own = ["--dry-run".to_owned(), "--seed".to_owned(), seed.to_string()];
    let args = super::run_args(&[&own, words].concat())?;
    let mut spec = spec::spec(&args).map_err(Halt::usage)?;
    let stage = Stage::set(&args, &mut spec, &Interrupts::default())?;
    let workload = Trials::new(&args, &stage, Details::NONE).prepare(spec)?.workload;
    let requests =
        workload.requests.iter().map(|request| (request.prompt_tokens, request.max_tokens)).collect();
    let provenance = workload.provenance;
    Ok(Lengths { requests, origin: provenance.path.unwrap_or(provenance.dataset) })
}

/// Says whether a replay sends what the saved run sent.
fn hold_against(saved: &Saved, inputs: &Inputs) {
    let (theirs, ours) = (&saved.run.inputs, inputs);
    if theirs.prompts != ours.prompts {
        let why = match (theirs.dataset.sha256 != ours.dataset.sha256, theirs.tokenizer != ours.tokenizer) {
            (true, _) => "the dataset is another",
            (false, true) => "the tokenizer is another",
            (false, false) => "other flags were given, or another version saved it",
        };
        say(format_args!("note: these are not the prompts of the saved run: {why}"));
    }
}

fn dry_run(trial: &Trial) -> Result<Exit, Halt> {
    let requests = trial.workload.requests.iter().map(|request| (request.prompt_tokens, request.max_tokens));
    print(|out| dataset::render_workload(&trial.spec, &trial.inputs, requests, out))?;
    Ok(Exit::Fine)
}

/// The exit code, and for a failed run why it failed.
fn judge(run: &Run, allow_invalid: bool) -> Exit {
    let metrics = &run.metrics;
    if run.interrupted {
        return Exit::Interrupted;
    }
    if metrics.completed > 0 {
        let believed = run.validity.valid || allow_invalid;
        return if believed { Exit::Fine } else { Exit::Invalid };
    }
    say(format_args!("error: {}", why_nothing(run)));
    Exit::Failed
}

/// Why a run has no answer at all.
pub fn why_nothing(run: &Run) -> String {
    let metrics = &run.metrics;
    match metrics.failures.first() {
        Some(failure) => format!(
            "all {} requests failed, {} of them with: {}: {}",
            metrics.failed, failure.count, failure.class, failure.example
        ),
        None if metrics.abandoned > 0 => {
            format!("all {} requests were abandoned before their end", metrics.abandoned)
        }
        None => "no request was due within the duration".to_owned(),
    }
}
