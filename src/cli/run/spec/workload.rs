//! The flags of the workload.

mod datasets;

use super::{mix, sessions, trace};
use crate::cli::run::args::{
    DatasetName, FormArgs, LoraAssignmentName, RngName, RunArgs, TraceArgs, WorkloadArgs,
};
use crate::cli::run::values::Amount;
use crate::core::spec::{
    Backend, Bounds, Dataset, Draw, Form, Load, Lora, LoraAssignment, Pace, PrefixRepetition, RandomLengths,
    Rng, Salt, SaltScope, Unique, Workload,
};

/// vLLM's default for `--num-prompts`.
const NUM_PROMPTS: usize = 1000;

/// What the flags ask for.
pub fn workload(args: &RunArgs, backend: Backend, load: &Load) -> Result<Workload, String> {
    let flags = &args.workload;
    let dataset = match &flags.workload {
        Some(path) => mix::mix(path, args)?,
        None => {
            let name = dataset_name(flags, args.target.sim);
            match sessions::dataset(args, name)? {
                Some(sessions) => sessions,
                None => {
                    let plain = dataset(name, flags, &args.trace, load.pace == Pace::Trace)?;
                    sessions::with_history(plain, &args.sessions)?
                }
            }
        }
    };
    if flags.num_prompts == Some(Amount::All) && !dataset.has_an_end() {
        return Err(format!(
            "--num-prompts -1 sends all that a file has, and {} prompts have no end: give a number",
            dataset.name()
        ));
    }
    let num_prompts = num_requests(&dataset, num_prompts(args, load));
    Ok(Workload {
        form: form(&flags.form, backend, &dataset),
        bounds: bounds(&flags.form),
        tokenizer: flags.tokenizer.clone(),
        draw: Draw { shuffle: !flags.disable_shuffle, oversample: !flags.no_oversample },
        lora: lora(flags),
        unique: flags.unique_prompts.then(|| unique(&dataset)),
        ..Workload::new(dataset, num_prompts)
    })
}

/// Each run draws its own salt when it is prepared.
fn unique(dataset: &Dataset) -> Unique {
    let scope = if dataset.shares_by_design() { SaltScope::Run } else { SaltScope::Session };
    Unique { salt: Salt::default(), scope }
}

/// Whose random numbers the flags ask for.
pub fn rng(args: &WorkloadArgs) -> Rng {
    match args.rng {
        RngName::Python => Rng::Python,
        RngName::Native => Rng::Native,
    }
}

/// How prompts are put to the endpoint.
pub fn form(args: &FormArgs, backend: Backend, dataset: &Dataset) -> Form {
    let spoken = matches!(dataset, Dataset::CustomAudio(_)) && args.enable_multimodal_chat;
    if spoken || backend.takes_chats() {
        Form::Chat
    } else if args.skip_chat_template || !dataset.is_rendered() {
        Form::Text
    } else {
        Form::Rendered { kwargs: args.chat_template_kwargs.clone().unwrap_or_default() }
    }
}

/// Which lengths are sent.
pub fn bounds(args: &FormArgs) -> Bounds {
    let FormArgs { min_prompt_len, max_prompt_len, max_total_len, max_model_len, .. } = *args;
    Bounds { min_prompt_len, max_prompt_len, max_total_len, max_model_len }
}

/// vLLM counts texts where a request has several.
fn num_requests(dataset: &Dataset, num_prompts: usize) -> usize {
    match dataset {
        Dataset::RandomBatch(batch) => batch.requests(num_prompts),
        Dataset::RandomRerank(rerank) => rerank.requests(num_prompts),
        _ => num_prompts,
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
    Ok(match name {
        DatasetName::Sharegpt => {
            let output_len = args.output_len.or(args.sharegpt_output_len);
            Dataset::Sharegpt { path: args.dataset_path.clone(), output_len }
        }
        DatasetName::Custom => custom(args)?,
        DatasetName::Random => datasets::random_texts(args)?,
        DatasetName::PrefixRepetition => Dataset::PrefixRepetition(prefix_repetition(args)?),
        DatasetName::TimedTrace | DatasetName::Azure | DatasetName::Burstgpt | DatasetName::Trace => {
            Dataset::Trace(trace::trace(name, args, traces, timed)?)
        }
        DatasetName::RandomMm => datasets::random_mm(args)?,
        DatasetName::RandomRerank => datasets::random_rerank(args)?,
        DatasetName::Sonnet => datasets::sonnet(args),
        DatasetName::SpecBench => datasets::spec_bench(args)?,
        DatasetName::SpeedBench => datasets::speed_bench(args)?,
        DatasetName::Hf => datasets::hf(args)?,
        DatasetName::CustomImage => Dataset::CustomImage(datasets::custom_media(args)?),
        DatasetName::CustomAudio => Dataset::CustomAudio(datasets::custom_media(args)?),
    })
}

fn custom(args: &WorkloadArgs) -> Result<Dataset, String> {
    let path = args.dataset_path.clone();
    let path = path.ok_or("--dataset-name custom needs its file: --dataset-path FILE.jsonl")?;
    Ok(Dataset::Custom { path, output_len: custom_output_len(args)? })
}

/// The output length of one's own datasets; `None` is that of the file.
fn custom_output_len(args: &WorkloadArgs) -> Result<Option<u32>, String> {
    match (args.output_len, args.custom_output_len) {
        (Some(len), _) => Ok(Some(len)),
        (None, -1) => Ok(None),
        (None, len) => {
            let wrong = |_| format!("--custom-output-len {len}: a number of tokens, or -1 for the file's");
            Ok(Some(u32::try_from(len).map_err(wrong)?))
        }
    }
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

/// As many as asked; else as many as are due within the duration, or all of a trace's; else vLLM's thousand.
fn num_prompts(args: &RunArgs, load: &Load) -> usize {
    let stretch = load.duration.is_some() || args.trace.trace_window.is_some();
    match (args.workload.num_prompts, load.duration) {
        (Some(Amount::Exactly(asked)), _) => asked.get(),
        (Some(Amount::All), _) => Workload::ALL,
        (None, _) if load.pace == Pace::Trace && stretch => Workload::ALL,
        (None, Some(duration)) => load.due_within(duration).unwrap_or(NUM_PROMPTS),
        (None, None) => NUM_PROMPTS,
    }
}
