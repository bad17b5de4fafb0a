//! The parameters of generated datasets beyond plain text.

use serde::{Deserialize, Serialize};

use super::RandomLengths;

/// Random texts with random images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RandomMedia {
    /// Of the texts.
    pub text: RandomLengths,
    /// How many images a request has, about.
    pub items: u32,
    /// Their number is uniform in `items·(1−r) ..= items·(1+r)`.
    pub items_range_ratio: f64,
    /// The most images of one request.
    pub image_limit: u32,
    /// The most videos of one request.
    pub video_limit: u32,
    /// What an image may be.
    pub buckets: Vec<MediaBucket>,
}

/// A kind of image, and how often it is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MediaBucket {
    /// In pixels.
    pub height: u32,
    /// In pixels.
    pub width: u32,
    /// 1 is an image; more is a video.
    pub frames: u32,
    /// Its share; shares need not sum to 1.
    pub weight: f64,
}

/// Several random texts in a request, for embeddings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RandomBatch {
    /// Of the texts.
    pub text: RandomLengths,
    /// Texts in a request.
    pub batch_size: u32,
}

impl RandomBatch {
    /// How many requests hold so many texts.
    pub fn requests(&self, texts: usize) -> usize {
        texts.div_ceil(self.batch_size.max(1) as usize)
    }
}

/// Random queries with random documents to rank.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RandomRerank {
    /// A query and one document together, in tokens.
    pub input_len: u32,
    /// Lengths are uniform in `len·(1−r) ..= len·(1+r)`.
    pub range_ratio: f64,
    /// Documents in a request.
    pub batch_size: u32,
    /// Whether the model reads query and document together, with a separator between them. If not, the query is one of
    /// the texts of the batch.
    pub is_reranker: bool,
}

impl RandomRerank {
    /// How many requests hold so many texts, as vLLM counts them: without a reranker the query is one of them.
    pub fn requests(&self, texts: usize) -> usize {
        let batch = self.batch_size.max(1) as usize;
        match self.is_reranker {
            true => texts.div_ceil(batch),
            false => texts.saturating_sub(1).div_ceil(batch.saturating_sub(1).max(1)).max(1),
        }
    }
}
