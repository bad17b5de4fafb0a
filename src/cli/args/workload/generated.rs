//! The flags of generated datasets, except plain random texts.

use clap::Args;

use crate::cli::args::values::{self, MediaLimits};

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Batches and images (random-rerank, random-mm)")]
pub(crate) struct GeneratedArgs {
    /// Random texts per request; --num-prompts counts texts
    #[arg(long, value_name = "N", default_value = "1", value_parser = values::batch_size)]
    pub random_batch_size: u32,
    /// The model is not a reranker: make the query one of the texts of a batch
    #[arg(long)]
    pub no_reranker: bool,
    /// Base number of images in a random-mm request
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = values::number::<u32>)]
    pub random_mm_base_items_per_request: u32,
    /// Vary the number of images uniformly within ±ratio
    #[arg(long, value_name = "RATIO", default_value_t = 0.0, value_parser = values::number::<f64>)]
    pub random_mm_num_mm_items_range_ratio: f64,
    /// Maximum number of images and videos in a request
    #[arg(
        long, value_name = "JSON", default_value = r#"{"image": 255, "video": 1}"#, value_parser = values::media_limits
    )]
    pub random_mm_limit_mm_per_prompt: MediaLimits,
    /// Image sizes by (height, width, frames) and their shares; more than one frame is a video, which cannot be
    /// generated
    #[arg(
        long,
        value_name = "DICT",
        default_value = "{(256, 256, 1): 0.5, (720, 1280, 1): 0.5, (720, 1280, 16): 0.0}",
        value_parser = values::media_buckets
    )]
    pub random_mm_bucket_config: values::MediaBuckets,
}
