//! The flags of datasets that are read from files.

use clap::{Args, ValueEnum};

use crate::cli::args::values;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SpeedBenchSubset {
    /// Prompts of many kinds
    Qualitative,
    #[value(name = "throughput_1k")]
    Throughput1k,
    #[value(name = "throughput_2k")]
    Throughput2k,
    #[value(name = "throughput_8k")]
    Throughput8k,
    #[value(name = "throughput_16k")]
    Throughput16k,
    #[value(name = "throughput_32k")]
    Throughput32k,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Collections (custom_image, sonnet, spec_bench, speed_bench, hf)")]
pub(crate) struct CollectionArgs {
    /// Send the content of custom images instead of their file names
    #[arg(long)]
    pub custom_ensure_client_side_data: bool,
    /// Longest sonnet prompt
    #[arg(long, value_name = "TOKENS", default_value_t = 550, value_parser = values::tokens)]
    pub sonnet_input_len: u32,
    /// Output length of sonnet requests
    #[arg(long, value_name = "TOKENS", default_value_t = 150, value_parser = values::tokens)]
    pub sonnet_output_len: u32,
    /// Approximate tokens of a sonnet prompt that all prompts share
    #[arg(long, value_name = "TOKENS", default_value_t = 200, value_parser = values::tokens)]
    pub sonnet_prefix_len: u32,
    /// Output length of spec_bench requests
    #[arg(long, value_name = "TOKENS", default_value_t = 256, value_parser = values::tokens)]
    pub spec_bench_output_len: u32,
    /// Only spec_bench questions of this category
    #[arg(long, value_name = "NAME")]
    pub spec_bench_category: Option<String>,
    /// Subset of SPEED-Bench, a file in its folder
    #[arg(
        long,
        visible_alias = "speed-bench-config",
        value_enum,
        value_name = "NAME",
        default_value = "qualitative"
    )]
    pub speed_bench_dataset_subset: SpeedBenchSubset,
    /// Output length of speed_bench requests
    #[arg(long, value_name = "TOKENS", default_value_t = 4096, value_parser = values::tokens)]
    pub speed_bench_output_len: u32,
    /// Only speed_bench prompts of this category
    #[arg(long, value_name = "NAME")]
    pub speed_bench_category: Option<String>,
    /// Truncate speed_bench prompts to this length
    #[arg(long, value_name = "TOKENS", value_parser = values::tokens)]
    pub speed_bench_max_input_len: Option<u32>,
    /// Subset of the hub dataset [default: the one called default, or the first]
    #[arg(long, value_name = "NAME")]
    pub hf_subset: Option<String>,
    /// Split of the hub dataset [default: the first of train, test, validation]
    #[arg(long, value_name = "NAME")]
    pub hf_split: Option<String>,
    /// Output length of hf requests [default: the dataset's response, or 128]
    #[arg(long, value_name = "TOKENS", value_parser = values::tokens)]
    pub hf_output_len: Option<u32>,
    /// Name of the dataset on the hub, if --dataset-path is a file or folder
    #[arg(long, value_name = "ORG/NAME")]
    pub hf_name: Option<String>,
    /// Column of the prompts [default: the first of the usual names]
    #[arg(long, value_name = "NAME")]
    pub hf_text_column: Option<String>,
}
