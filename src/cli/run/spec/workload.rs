//! The flags of the workload.

use super::sessions;
use crate::cli::run::args::{DatasetName, RunArgs, WorkloadArgs};
use crate::core::spec::{Dataset, Load, RandomLengths, Workload};

/// vLLM's default for `--num-prompts`.
const NUM_PROMPTS: usize = 1000;

/// What the flags ask for.
pub fn workload(run: &RunArgs, load: &Load) -> Result<Workload, String> {
    let args = &run.workload;
    let bundled = run.target.sim && args.dataset_name.is_none();
    let name = match (args.dataset_name, &args.dataset_path) {
        (Some(name), _) => name,
        (None, Some(_)) => DatasetName::Sharegpt,
        (None, None) if bundled => DatasetName::Sharegpt,
        (None, None) => DatasetName::Random,
    };
    let dataset = match (sessions::dataset(run, name)?, name) {
        (Some(sessions), _) => sessions,
        (None, DatasetName::Sharegpt) => {
            Dataset::Sharegpt { path: args.dataset_path.clone(), output_len: args.sharegpt_output_len }
        }
        (None, DatasetName::Random) => Dataset::Random(random(args)?),
    };
    Ok(Workload { dataset, tokenizer: args.tokenizer.clone(), num_prompts: num_prompts(args, load) })
}

pub fn random(args: &WorkloadArgs) -> Result<RandomLengths, String> {
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

/// As many as asked; else as many as are due within the duration; else vLLM's thousand.
fn num_prompts(args: &WorkloadArgs, load: &Load) -> usize {
    match (args.num_prompts, load.duration) {
        (Some(asked), _) => asked.get(),
        (None, Some(duration)) => load.due_within(duration).unwrap_or(NUM_PROMPTS),
        (None, None) => NUM_PROMPTS,
    }
}
