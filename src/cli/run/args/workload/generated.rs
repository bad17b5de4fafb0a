//! The flags of generated datasets beyond plain random texts.

use clap::Args;

use crate::cli::run::values::{self, MediaLimits};

#[derive(Debug, Args)]
#[command(next_help_heading = "Datasets: random-rerank, random-mm")]
pub struct GeneratedArgs {
    /// Random texts in one request; --num-prompts counts texts
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..))]
    pub random_batch_size: u32,
    /// The model is no reranker: the query is one of the texts of a batch
    #[arg(long)]
    pub no_reranker: bool,
    /// Images in a random-mm request, about
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub random_mm_base_items_per_request: u32,
    /// Vary the number of images uniformly within ±ratio
    #[arg(long, value_name = "RATIO", default_value_t = 0.0)]
    pub random_mm_num_mm_items_range_ratio: f64,
    /// The most images and videos in a request
    #[arg(
        long, value_name = "JSON", default_value = r#"{"image": 255, "video": 1}"#, value_parser = values::media_limits
    )]
    pub random_mm_limit_mm_per_prompt: MediaLimits,
    /// Kinds of images by (height, width, frames) and their shares. More than one frame is a video, which is not made
    #[arg(
        long,
        value_name = "DICT",
        default_value = "{(256, 256, 1): 0.5, (720, 1280, 1): 0.5, (720, 1280, 16): 0.0}",
        value_parser = values::media_buckets
    )]
    pub random_mm_bucket_config: values::MediaBuckets,
}
