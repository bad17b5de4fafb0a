//! The flags of the workload.

use super::{mix, trace};
use crate::cli::run::args::{DatasetName, RunArgs, TraceArgs, WorkloadArgs};
use crate::core::spec::{Dataset, Load, Pace, RandomLengths, Workload};

/// vLLM's default for `--num-prompts`.
const NUM_PROMPTS: usize = 1000;

/// What the flags ask for.
pub fn workload(args: &RunArgs, load: &Load) -> Result<Workload, String> {
    let dataset = match &args.workload.workload {
        Some(path) => mix::mix(path)?,
        None => {
            let name = dataset_name(&args.workload, args.target.sim);
            dataset(name, &args.workload, &args.trace, load.pace == Pace::Trace)?
        }
    };
    let num_prompts = num_prompts(args, load);
    Ok(Workload { dataset, tokenizer: args.workload.tokenizer.clone(), num_prompts })
}

/// The dataset that is meant.
pub fn dataset_name(args: &WorkloadArgs, sim: bool) -> DatasetName {
    match (args.dataset_name, &args.dataset_path) {
        (Some(name), _) => name,
        (None, Some(_)) => DatasetName::Sharegpt,
        (None, None) if sim => DatasetName::Sharegpt,
        (None, None) => DatasetName::Random,
    }
}

/// A dataset and its parameters; `timed`: at a trace's time stamps.
pub fn dataset(
    name: DatasetName,
    args: &WorkloadArgs,
    traces: &TraceArgs,
    timed: bool,
) -> Result<Dataset, String> {
    let path = args.dataset_path.clone();
    Ok(match (name, trace::kind(name)) {
        (_, Some(kind)) => Dataset::Trace(trace::trace(kind, path, traces, timed)?),
        (DatasetName::Sharegpt, _) => Dataset::Sharegpt { path, output_len: args.sharegpt_output_len },
        _ => Dataset::Random(random(args)?),
    })
}

fn random(args: &WorkloadArgs) -> Result<RandomLengths, String> {
    if args.dataset_path.is_some() {
        return Err(
            "--dataset-path goes with --dataset-name sharegpt: random prompts are made, not read".into()
        );
    }
    if args.random_input_len == 0 || args.random_output_len == 0 {
        return Err("--random-input-len and --random-output-len must be at least 1".into());
    }
    Ok(RandomLengths {
        input_len: args.random_input_len,
        output_len: args.random_output_len,
        prefix_len: args.random_prefix_len,
        input_range_ratio: args.random_range_ratio.input,
        output_range_ratio: args.random_range_ratio.output,
    })
}

/// As many as asked; else as many as are due within the duration, or all of a trace's; else vLLM's thousand.
fn num_prompts(args: &RunArgs, load: &Load) -> usize {
    let stretch = load.duration.is_some() || args.trace.trace_window.is_some();
    match (args.workload.num_prompts, load.duration) {
        (Some(asked), _) => asked.get(),
        (None, _) if load.pace == Pace::Trace && stretch => usize::MAX,
        (None, Some(duration)) => load.due_within(duration).unwrap_or(NUM_PROMPTS),
        (None, None) => NUM_PROMPTS,
    }
}
