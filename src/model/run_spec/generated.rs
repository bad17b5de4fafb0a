//! The parameters of generated datasets.

use serde::{Deserialize, Serialize};

/// The parameters of the `random` dataset; lengths in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RandomLengths {
    /// The prompt length, without the prefix.
    pub input_len: u32,
    /// The output length.
    pub output_len: u32,
    /// The length of the prefix that all prompts share.
    pub prefix_len: u32,
    /// The range ratio r of input lengths, which are uniform in `len·(1−r) ..= len·(1+r)`.
    pub input_range_ratio: f64,
    /// The range ratio r of output lengths, which are uniform in `len·(1−r) ..= len·(1+r)`.
    pub output_range_ratio: f64,
    /// Send token IDs instead of text.
    #[serde(default)]
    pub token_ids: bool,
}

/// The parameters of random texts with random images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RandomMedia {
    /// The lengths of the texts.
    pub text: RandomLengths,
    /// The average number of images per request.
    pub items: u32,
    /// The range ratio r of the number of images, which is uniform in `items·(1−r) ..= items·(1+r)`.
    pub items_range_ratio: f64,
    /// The maximum number of images per request.
    pub image_limit: u32,
    /// The maximum number of videos per request.
    pub video_limit: u32,
    /// The sizes that images are drawn from.
    pub buckets: Vec<MediaBucket>,
}

/// A size of image or video, and its weight.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MediaBucket {
    /// The height in pixels.
    pub height: u32,
    /// The width in pixels.
    pub width: u32,
    /// The number of frames: 1 is an image; more is a video.
    pub frames: u32,
    /// The weight; weights need not sum to 1.
    pub weight: f64,
}

/// The parameters of requests with several random texts, for embeddings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RandomBatch {
    /// The lengths of the texts.
    pub text: RandomLengths,
    /// The number of texts per request.
    pub batch_size: u32,
}

impl RandomBatch {
    /// The number of requests that hold this number of texts.
    pub fn request_count(&self, texts: usize) -> usize {
        texts.div_ceil(self.batch_size.max(1) as usize)
    }
}

/// The parameters of random queries with random documents to rank.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RandomRerank {
    /// The length of a query and one document together, in tokens.
    pub input_len: u32,
    /// The range ratio r of the lengths, which are uniform in `len·(1−r) ..= len·(1+r)`.
    pub range_ratio: f64,
    /// The number of documents per request.
    pub batch_size: u32,
    /// Whether the model reads query and document together, with a separator between them. If not, the query is one of
    /// the texts of the batch.
    pub is_reranker: bool,
}

impl RandomRerank {
    /// The number of requests that hold this number of texts, as vLLM counts them: without a reranker the query is one
    /// of them.
    pub fn request_count(&self, texts: usize) -> usize {
        let batch = self.batch_size.max(1) as usize;
        match self.is_reranker {
            true => texts.div_ceil(batch),
            false => texts.saturating_sub(1).div_ceil(batch.saturating_sub(1).max(1)).max(1),
        }
    }
}
