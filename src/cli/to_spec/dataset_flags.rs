//! Converts the flags that several datasets share.

use crate::cli::args::{DatasetName, FormArgs, WorkloadArgs};
use crate::model::run_spec::{Backend, Dataset, LengthBounds, PromptFormat, RandomLengths};

/// Returns the dataset's name, or its default.
pub(super) fn dataset_name(args: &WorkloadArgs, sim: bool) -> DatasetName {
    match (args.dataset_name, &args.dataset_path) {
        (Some(name), _) => name,
        (None, Some(_)) => DatasetName::Sharegpt,
        (None, None) if sim => DatasetName::Sharegpt,
        (None, None) => DatasetName::Random,
    }
}

/// Returns the format of prompts.
pub(super) fn form(args: &FormArgs, backend: Backend, dataset: &Dataset) -> PromptFormat {
    let spoken = matches!(dataset, Dataset::CustomAudio(_)) && args.enable_multimodal_chat;
    match dataset.usual_form(backend) {
        _ if spoken => PromptFormat::Chat,
        PromptFormat::Rendered { .. } if args.skip_chat_template => PromptFormat::Text,
        PromptFormat::Rendered { .. } => {
            PromptFormat::Rendered { kwargs: args.chat_template_kwargs.clone().unwrap_or_default() }
        }
        usual => usual,
    }
}

/// Returns the bounds of lengths.
pub(super) fn bounds(args: &FormArgs) -> LengthBounds {
    let FormArgs { min_prompt_len, max_prompt_len, max_total_len, max_model_len, .. } = *args;
    LengthBounds { min_prompt_len, max_prompt_len, max_total_len, max_model_len }
}

/// Returns the output length of custom datasets; `None` is the file's own.
pub(super) fn custom_output_len(args: &WorkloadArgs) -> Result<Option<u32>, String> {
    match (args.output_len, args.custom_output_len) {
        (Some(len), _) => Ok(Some(len)),
        (None, -1) => Ok(None),
        (None, len) => {
            let wrong = |_| format!("--custom-output-len {len}: a number of tokens, or -1 for the file's");
            Ok(Some(u32::try_from(len).map_err(wrong)?))
        }
    }
}

pub(super) fn random(args: &WorkloadArgs) -> Result<RandomLengths, String> {
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

pub(super) fn no_file(args: &WorkloadArgs, name: &str) -> Result<(), String> {
    match args.dataset_path {
        None => Ok(()),
        Some(_) => Err(format!(
            "--dataset-path goes with --dataset-name sharegpt or custom: {name} prompts are made, not read"
        )),
    }
}
