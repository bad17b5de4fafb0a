//! Converts the flags of individual datasets.

use std::path::PathBuf;

use clap::ValueEnum as _;

use crate::cli::args::WorkloadArgs;
use crate::cli::to_spec::dataset_flags::{custom_output_len, random};
use crate::model::run_spec::{
    CustomMedia, Dataset, HfDataset, RandomBatch, RandomMedia, RandomRerank, SonnetDataset, SpecBench,
    SpeedBench,
};

pub(super) fn random_texts(args: &WorkloadArgs) -> Result<Dataset, String> {
    let text = random(args)?;
    match args.generated.random_batch_size {
        1 => Ok(Dataset::Random(text)),
        batch_size if !text.token_ids => Ok(Dataset::RandomBatch(RandomBatch { text, batch_size })),
        _ => Err("--prompt-token-ids does not go with a --random-batch-size above 1".into()),
    }
}

pub(super) fn random_mm(args: &WorkloadArgs) -> Result<Dataset, String> {
    let flags = &args.generated;
    let text = random(args)?;
    if text.token_ids {
        return Err(
            "--prompt-token-ids does not go with --dataset-name random-mm: images go with texts".into()
        );
    }
    Ok(Dataset::RandomMm(RandomMedia {
        text,
        items: flags.random_mm_base_items_per_request,
        items_range_ratio: flags.random_mm_num_mm_items_range_ratio,
        image_limit: flags.random_mm_limit_mm_per_prompt.image,
        video_limit: flags.random_mm_limit_mm_per_prompt.video,
        buckets: flags.random_mm_bucket_config.0.clone(),
    }))
}

pub(super) fn random_rerank(args: &WorkloadArgs) -> Result<Dataset, String> {
    Ok(Dataset::RandomRerank(RandomRerank {
        input_len: random(args)?.input_len,
        range_ratio: args.random_range_ratio.input,
        batch_size: args.generated.random_batch_size,
        is_reranker: !args.generated.no_reranker,
    }))
}

pub(super) fn sonnet(args: &WorkloadArgs) -> Dataset {
    let flags = &args.collections;
    Dataset::Sonnet(SonnetDataset {
        path: args.dataset_path.clone(),
        input_len: args.input_len.unwrap_or(flags.sonnet_input_len),
        output_len: args.output_len.unwrap_or(flags.sonnet_output_len),
        prefix_len: flags.sonnet_prefix_len,
    })
}

pub(super) fn spec_bench(args: &WorkloadArgs) -> Result<Dataset, String> {
    Ok(Dataset::SpecBench(SpecBench {
        path: path(args, "FILE.jsonl")?,
        output_len: args.output_len.unwrap_or(args.collections.spec_bench_output_len),
        category: args.collections.spec_bench_category.clone(),
    }))
}

pub(super) fn speed_bench(args: &WorkloadArgs) -> Result<Dataset, String> {
    let flags = &args.collections;
    let subset = flags.speed_bench_dataset_subset.to_possible_value();
    Ok(Dataset::SpeedBench(SpeedBench {
        path: args.dataset_path.clone().unwrap_or_else(|| SpeedBench::HUB_ID.into()),
        subset: subset.map(|value| value.get_name().to_owned()).unwrap_or_default(),
        output_len: args.output_len.unwrap_or(flags.speed_bench_output_len),
        category: flags.speed_bench_category.clone(),
        max_input_len: flags.speed_bench_max_input_len,
    }))
}

pub(super) fn hf(args: &WorkloadArgs) -> Result<Dataset, String> {
    let flags = &args.collections;
    Ok(Dataset::Hf(HfDataset {
        path: path(args, "ORG/NAME, or a file or folder here")?,
        subset: flags.hf_subset.clone(),
        split: flags.hf_split.clone(),
        output_len: args.output_len.or(flags.hf_output_len),
        name: flags.hf_name.clone(),
        text_column: flags.hf_text_column.clone(),
    }))
}

pub(super) fn custom_media(args: &WorkloadArgs) -> Result<CustomMedia, String> {
    Ok(CustomMedia {
        path: path(args, "FILE.jsonl")?,
        output_len: custom_output_len(args)?,
        inline: args.collections.custom_ensure_client_side_data,
    })
}

fn path(args: &WorkloadArgs, what: &str) -> Result<PathBuf, String> {
    let name = args.dataset_name.and_then(|name| name.to_possible_value());
    let name = name.map(|value| value.get_name().to_owned()).unwrap_or_default();
    args.dataset_path
        .clone()
        .ok_or_else(|| format!("--dataset-name {name} needs its data: --dataset-path {what}"))
}
