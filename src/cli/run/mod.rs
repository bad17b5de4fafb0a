//! `servebench run`: the main job, from flags to the report.

use crate::cli::exit::{Exit, Halt, say};
use crate::core::run::{Inputs, Run};
use crate::core::spec::Spec;
use crate::drive::workload::{Request, sessions};
use crate::report::dataset;
use crate::report::progress::Medium;

mod args;
mod deliver;
mod evidence;
mod measure;
mod prepare;
mod ready;
mod redact;
mod spec;
mod stage;
mod values;

pub use args::RunArgs;
use deliver::Destination;
use evidence::CacheReadings;
pub use prepare::Preparing;
use stage::Stage;

/// Runs the command.
pub fn execute(args: &RunArgs, command_line: Vec<String>) -> Result<Exit, Halt> {
    let mut spec = spec::spec(args).map_err(Halt::usage)?;
    let selection = spec::selection(args).map_err(Halt::usage)?;
    let destination = Destination::of(&args.output)?;
    let medium = Medium::of_stderr(args.output.disable_tqdm);
    let stage = Stage::set(args, &mut spec)?;
    let mut workload = prepare::workload(&spec, stage.tokenizer(), medium)?;
    prepare::check(&spec, &workload)?;
    prepare::behave(&spec, &mut workload);
    let (requests, warmups) = sessions::split_last(&workload.requests, spec.load.warmup_prompts());
    spec.workload.num_prompts = sessions::count(requests);
    let inputs = Inputs { dataset: workload.provenance.clone(), tokenizer: stage.tokenizer().describe() };
    if args.workload.dry_run {
        return dry_run(&spec, inputs, &workload.requests);
    }
    let measured =
        measure::Measurement { spec: &spec, stage: &stage, details: args.output.save_detailed, medium };
    measured.wait_until_ready(args.load.ready_check_timeout_sec)?;
    let before = stage.prefix_cache();
    let outcome = measured.measure(requests, warmups)?;
    let cache = CacheReadings { before, after: stage.prefix_cache() };
    let run = deliver::Assembly {
        command: redact::secrets(command_line),
        evidence: evidence::gather(&spec, &workload, cache, &outcome),
        spec,
        notes: spec::notes(args),
        selection,
        inputs,
        server_version: stage.server_version().map(ToOwned::to_owned),
    }
    .run(outcome, args.output.save_detailed);
    destination.deliver(&run)?;
    Ok(judge(&run, args.measure.allow_invalid))
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
