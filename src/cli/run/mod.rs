//! `servebench run`: the main job, from flags to the report.

use serde_json::{Map, Value};
use tokio::sync::watch;

use crate::cli::exit::{Exit, Halt, say};
use crate::cli::settings::Saved;
use crate::core::rng::Dice;
use crate::core::run::{Inputs, Run};
use crate::core::spec::Spec;
use crate::drive::workload::{Request, fingerprint, sessions};
use crate::report::dataset;
use crate::report::progress::Medium;

mod args;
mod assemble;
mod deliver;
mod evidence;
mod measure;
mod prepare;
mod probes;
mod profile;
mod ready;
mod redact;
mod scrape;
mod spec;
mod stage;
pub mod values;

pub use args::RunArgs;
use deliver::Delivery;
use evidence::CacheReadings;
pub use prepare::Preparing;
use profile::{Begin, Profiler};
use scrape::Scraper;
use stage::Stage;
pub use values::{Pair, metrics_url, pair, seconds};

/// How a run was asked for.
pub struct Invocation {
    /// What the user typed.
    pub command: Vec<String>,
    /// All flags that hold, secrets masked.
    pub settings: Map<String, Value>,
    /// The saved run that it is like.
    pub like: Option<Saved>,
}

/// Runs the command.
pub fn execute(args: &RunArgs, invocation: Invocation) -> Result<Exit, Halt> {
    let mut spec = spec::spec(args).map_err(Halt::usage)?;
    let selection = spec::selection(args).map_err(Halt::usage)?;
    spec::idle(args).iter().for_each(|why| say(format_args!("warning: {why}")));
    let delivery = Delivery::of(&args.output)?;
    let medium = Medium::of_stderr(args.output.disable_tqdm);
    let stage = Stage::set(args, &mut spec)?;
    let mut dice = Dice::new(spec.rng, spec.seed);
    prepare::settle_form(&mut spec, stage.tokenizer())?;
    let mut workload = prepare::workload(&mut spec, &mut dice, &stage, medium)?;
    prepare::check(&spec, &workload)?;
    prepare::behave(&spec, &mut workload);
    let (requests, warmups) = sessions::split_last(&workload.requests, spec.load.warmup_prompts());
    let inputs = Inputs {
        dataset: workload.provenance.clone(),
        tokenizer: stage.tokenizer().describe(),
        prompts: Some(fingerprint::of(&workload.requests)),
    };
    if let Some(saved) = &invocation.like {
        hold_against(saved, &inputs);
    }
    if args.workload.dry_run {
        return dry_run(&spec, inputs, &workload.requests);
    }

    let measured = measure::Measurement { spec: &spec, stage: &stage, keep: delivery.keep(), medium };
    measured.wait_until_ready(args.load.ready_check_timeout_sec)?;
    if args.load.reset_prefix_cache {
        stage.reset_prefix_cache()?;
    }
    let before = stage.prefix_cache();
    let arrivals = measured.arrivals(&workload, &mut dice);
    let (pulse, heard) = watch::channel(None);
    let after_warm_up = !warmups.is_empty();
    let begin = Begin { pulse: heard.clone(), after_warm_up };
    let profiler = Profiler::start(args, &spec.target, &stage, begin)?;
    let scraper = Scraper::start(&args.server, &spec.target, &stage, after_warm_up.then_some(heard))?;
    let outcome = measured.measure(requests, warmups, arrivals, pulse);
    let recorder = scraper.map(|scraper| scraper.stop(&stage));
    let profile = profiler.map(|profiler| profiler.stop(&stage));
    let (outcome, probes) = outcome?;
    let cache = CacheReadings { before, after: stage.prefix_cache() };
    let (mut run, records) = assemble::Assembly {
        command: redact::secrets(invocation.command),
        settings: invocation.settings,
        evidence: evidence::gather(&spec, &workload, cache, &outcome),
        spec,
        notes: spec::notes(args),
        selection,
        inputs,
        probes,
        profile,
        server: recorder.map(|recorder| recorder.finish(outcome.started.timestamp())),
        server_version: stage.server_version().map(ToOwned::to_owned),
    }
    .run(outcome);
    delivery.deliver(&mut run, records)?;
    Ok(judge(&run, args.measure.allow_invalid))
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
    let stage = Stage::set(&args, &mut spec)?;
    let mut dice = Dice::new(spec.rng, spec.seed);
    prepare::settle_form(&mut spec, stage.tokenizer())?;
    let medium = Medium::of_stderr(args.output.disable_tqdm);
    let workload = prepare::workload(&mut spec, &mut dice, &stage, medium)?;
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

fn dry_run(spec: &Spec, inputs: Inputs, requests: &[Request]) -> Result<Exit, Halt> {
    let requests = requests.iter().map(|request| (request.prompt_tokens, request.max_tokens));
    dataset::render_workload(spec, &inputs, requests, &mut std::io::stdout().lock()).map_err(Halt::failed)?;
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
    match metrics.failures.first() {
        Some(failure) => say(format_args!(
            "error: all {} requests failed, {} of them with: {}: {}",
            metrics.failed, failure.count, failure.class, failure.example
        )),
        None if metrics.abandoned > 0 => {
            say(format_args!("error: all {} requests were abandoned before their end", metrics.abandoned));
        }
        None => say("error: no request was due within the duration"),
    }
    Exit::Failed
}
