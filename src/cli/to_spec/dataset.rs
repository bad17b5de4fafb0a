//! Converts the flags of datasets.

mod single;

use std::path::Path;

use clap::Parser as _;

use super::dataset_flags::{custom_output_len, no_file};
use super::trace;
use crate::cli::args::{DatasetName, TraceArgs, WorkloadArgs};
use crate::model::run_spec::{Dataset, PrefixRepetition};

/// The flags of a dataset.
#[derive(Debug, clap::Parser)]
#[command(no_binary_name = true)]
struct DatasetFlags {
    #[command(flatten)]
    workload: WorkloadArgs,
    #[command(flatten)]
    trace: TraceArgs,
}

/// Returns the dataset in a file, with further dataset flags.
pub(crate) fn dataset_of(name: DatasetName, file: &Path, flags: &[String]) -> Result<Dataset, String> {
    let flags = DatasetFlags::try_parse_from(flags).map_err(|error| {
        let text = error.to_string();
        text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
    })?;
    let workload = WorkloadArgs { dataset_path: Some(file.to_owned()), ..flags.workload };
    dataset(name, &workload, &flags.trace, true)
}

/// Returns a dataset and its parameters. If `timed`, a trace follows its time stamps.
pub(super) fn dataset(
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
        DatasetName::Random => single::random_texts(args)?,
        DatasetName::PrefixRepetition => Dataset::PrefixRepetition(prefix_repetition(args)?),
        DatasetName::TimedTrace | DatasetName::Azure | DatasetName::Burstgpt | DatasetName::Trace => {
            Dataset::Trace(trace::trace(name, args, traces, timed)?)
        }
        DatasetName::RandomMm => single::random_mm(args)?,
        DatasetName::RandomRerank => single::random_rerank(args)?,
        DatasetName::Sonnet => single::sonnet(args),
        DatasetName::SpecBench => single::spec_bench(args)?,
        DatasetName::SpeedBench => single::speed_bench(args)?,
        DatasetName::Hf => single::hf(args)?,
        DatasetName::CustomImage => Dataset::CustomImage(single::custom_media(args)?),
        DatasetName::CustomAudio => Dataset::CustomAudio(single::custom_media(args)?),
    })
}

fn custom(args: &WorkloadArgs) -> Result<Dataset, String> {
    let path = args.dataset_path.clone();
    let path = path.ok_or("--dataset-name custom needs its file: --dataset-path FILE.jsonl")?;
    Ok(Dataset::Custom { path, output_len: custom_output_len(args)? })
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
