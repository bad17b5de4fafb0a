//! The flags of the workload.

use super::sessions;
use crate::cli::run::args::{DatasetName, LoraAssignmentName, RngName, RunArgs, WorkloadArgs};
use crate::core::spec::{
    Dataset, Draw, Load, Lora, LoraAssignment, PrefixRepetition, RandomLengths, Rng, Workload,
};

/// vLLM's default for `--num-prompts`.
const NUM_PROMPTS: usize = 1000;

/// What the flags ask for.
pub fn workload(run: &RunArgs, load: &Load) -> Result<Workload, String> {
    let args = &run.workload;
    Ok(Workload {
        tokenizer: args.tokenizer.clone(),
        draw: Draw { shuffle: !args.disable_shuffle, oversample: !args.no_oversample },
        lora: lora(args),
        ..Workload::new(dataset(run)?, num_prompts(args, load))
    })
}

/// Whose random numbers the flags ask for.
pub fn rng(args: &WorkloadArgs) -> Rng {
    match args.rng {
        RngName::Python => Rng::Python,
        RngName::Native => Rng::Native,
    }
}

fn lora(args: &WorkloadArgs) -> Option<Lora> {
    let assignment = match args.lora_assignment {
        LoraAssignmentName::Random => LoraAssignment::Random,
        LoraAssignmentName::RoundRobin => LoraAssignment::RoundRobin,
        LoraAssignmentName::Zipf => LoraAssignment::Zipf,
    };
    let modules = args.lora_modules.clone();
    (!modules.is_empty()).then_some(Lora { modules, assignment })
}

fn dataset(run: &RunArgs) -> Result<Dataset, String> {
    let args = &run.workload;
    let bundled = run.target.sim && args.dataset_name.is_none();
    let name = match (args.dataset_name, &args.dataset_path) {
        (Some(name), _) => name,
        (None, Some(_)) => DatasetName::Sharegpt,
        (None, None) if bundled => DatasetName::Sharegpt,
        (None, None) => DatasetName::Random,
    };
    if let Some(sessions) = sessions::dataset(run, name)? {
        return Ok(sessions);
    }
    Ok(match name {
        DatasetName::Sharegpt => {
            let output_len = args.output_len.or(args.sharegpt_output_len);
            Dataset::Sharegpt { path: args.dataset_path.clone(), output_len }
        }
        DatasetName::Custom => custom(args)?,
        DatasetName::Random => Dataset::Random(random(args)?),
        DatasetName::PrefixRepetition => Dataset::PrefixRepetition(prefix_repetition(args)?),
    })
}

fn custom(args: &WorkloadArgs) -> Result<Dataset, String> {
    let path = args.dataset_path.clone();
    let path = path.ok_or("--dataset-name custom needs its file: --dataset-path FILE.jsonl")?;
    let output_len = match (args.output_len, args.custom_output_len) {
        (Some(len), _) => Some(len),
        (None, -1) => None,
        (None, len) => {
            let wrong = |_| format!("--custom-output-len {len}: a number of tokens, or -1 for the file's");
            Some(u32::try_from(len).map_err(wrong)?)
        }
    };
    Ok(Dataset::Custom { path, output_len })
}

pub fn random(args: &WorkloadArgs) -> Result<RandomLengths, String> {
    no_file(args, "random")?;
    let input_len = args.input_len.unwrap_or(args.random_input_len);
    let output_len = args.output_len.unwrap_or(args.random_output_len);
    if input_len == 0 || output_len == 0 {
        return Err("--random-input-len and --random-output-len must be at least 1".into());
    }
    Ok(RandomLengths {
        input_len,
        output_len,
        prefix_len: args.random_prefix_len,
        input_range_ratio: args.random_range_ratio.input,
        output_range_ratio: args.random_range_ratio.output,
        token_ids: args.prompt_token_ids,
    })
}

fn prefix_repetition(args: &WorkloadArgs) -> Result<PrefixRepetition, String> {
    no_file(args, "prefix_repetition")?;
    Ok(PrefixRepetition {
        prefix_len: args.prefix_repetition_prefix_len,
        suffix_len: args.prefix_repetition_suffix_len,
        num_prefixes: args.prefix_repetition_num_prefixes,
        output_len: args.output_len.unwrap_or(args.prefix_repetition_output_len),
    })
}

fn no_file(args: &WorkloadArgs, name: &str) -> Result<(), String> {
    match args.dataset_path {
        None => Ok(()),
        Some(_) => Err(format!(
            "--dataset-path goes with --dataset-name sharegpt or custom: {name} prompts are made, not read"
        )),
    }
}

/// As many as asked; else as many as are due within the duration; else vLLM's thousand.
fn num_prompts(args: &WorkloadArgs, load: &Load) -> usize {
    match (args.num_prompts, load.duration) {
        (Some(asked), _) => asked.get(),
        (None, Some(duration)) => load.due_within(duration).unwrap_or(NUM_PROMPTS),
        (None, None) => NUM_PROMPTS,
    }
}
