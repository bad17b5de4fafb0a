//! The `random-mm` dataset: random texts with random images.
//!
//! Requests have the shape of vLLM's `RandomMultiModalDataset`. Texts are those of `random`. The number of images is
//! uniform in a range around the mean and capped at the limit. Each image size is drawn from weighted buckets. Pixels
//! are independent and uniform, which is the worst case for JPEG compression. The numbers come from the native RNG.
//! Videos are not supported, because no video encoder is written in Rust.

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicUsize, Ordering};

use jpeg_encoder::{ColorType, Encoder};
use rand::distr::weighted::WeightedIndex;
use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _};
use rayon::prelude::*;

use super::{DatasetError, PrepareContext, PrepareProgress, PreparedWorkload, message, random};
use crate::dataset::rng_stream::RngStream;
use crate::model::request::{Content, Request};
use crate::model::rng::RunRng;
use crate::model::run_spec::{MediaBucket, RandomMedia};

/// The default JPEG quality of Python's imaging library, which vLLM uses.
const QUALITY: u8 = 75;

/// Number of requests that get their images at a time, in parallel.
const REQUESTS_PER_BLOCK: usize = 1024;

/// Writes all prompts and draws all images, in parallel.
pub(super) fn prepare(
    media: &RandomMedia,
    job: &PrepareContext<'_>,
    dice: &RunRng,
) -> Result<PreparedWorkload, DatasetError> {
    let album = ImageSampler::from_spec(media)?;
    let mut workload = random::prepare(&media.text, job, dice)?;
    let mut rng = RngStream::Media.rng(job.seed);
    let done = AtomicUsize::new(0);
    let mut requests = job.request_sink();
    let mut texts = workload.requests.iter().map(Cow::into_owned).enumerate();
    loop {
        let block = texts.by_ref().take(REQUESTS_PER_BLOCK);
        let mut block: Vec<_> =
            block.map(|(index, request)| (index, request, album.draw(&mut rng))).collect();
        if block.is_empty() {
            break;
        }
        block.par_iter_mut().try_for_each(|(index, request, sizes)| {
            append_images(request, sizes, &mut RngStream::Pixels.rng_for_index(job.seed, *index))?;
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            (job.progress)(PrepareProgress::Tokenizing { done, of: job.num_prompts });
            Ok::<(), DatasetError>(())
        })?;
        requests.extend(block.into_iter().map(|(_, request, _)| request))?;
    }
    drop(texts);
    workload.requests = requests.finish()?;
    workload.provenance.dataset = "random-mm".into();
    Ok(workload)
}

/// Appends images after a request's text.
fn append_images(request: &mut Request, sizes: &[ImageSize], rng: &mut StdRng) -> Result<(), DatasetError> {
    let Content::Text(prompt) = &request.content else {
        return Err(unmakeable("images go with texts; do not set `dataset.token_ids`".into()));
    };
    let mut parts = vec![message::text(prompt)];
    for size in sizes {
        parts.push(message::image(message::data_url("image/jpeg", &jpeg(*size, rng)?)));
    }
    request.content = message::user(parts);
    Ok(())
}

fn jpeg(size: ImageSize, rng: &mut StdRng) -> Result<Vec<u8>, DatasetError> {
    let mut pixels = vec![0; usize::from(size.width) * usize::from(size.height) * 3];
    rng.fill_bytes(&mut pixels);
    let mut file = Vec::with_capacity(pixels.len() / 2);
    Encoder::new(&mut file, QUALITY)
        .encode(&pixels, size.width, size.height, ColorType::Rgb)
        .map_err(|error| unmakeable(error.to_string()))?;
    Ok(file)
}

/// An image size in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ImageSize {
    width: u16,
    height: u16,
}

/// Draws the number and the sizes of images.
#[derive(Debug)]
struct ImageSampler {
    per_request: RangeInclusive<u32>,
    sizes: Vec<ImageSize>,
    shares: WeightedIndex<f64>,
}

impl ImageSampler {
    /// Validates the specification.
    fn from_spec(media: &RandomMedia) -> Result<Self, DatasetError> {
        let drawn: Vec<&MediaBucket> = media.buckets.iter().filter(|bucket| bucket.weight > 0.0).collect();
        if drawn.iter().any(|bucket| bucket.frames != 1) {
            return Err(unmakeable(
                "random videos are not supported; give buckets of more than one frame the weight 0 in `random-mm.buckets`"
                    .into(),
            ));
        }
        let sizes = drawn.iter().map(|bucket| ImageSize::from_bucket(bucket)).collect::<Result<_, _>>()?;
        let shares = WeightedIndex::new(drawn.iter().map(|bucket| bucket.weight)).map_err(|_| {
            unmakeable("`random-mm.buckets` needs an image with a weight above 0, and finite weights".into())
        })?;
        Ok(Self { per_request: per_request(media)?, sizes, shares })
    }

    /// Draws the image sizes of one request.
    fn draw(&self, rng: &mut StdRng) -> Vec<ImageSize> {
        let count = rng.random_range(self.per_request.clone());
        (0..count).map(|_| self.sizes[rng.sample(&self.shares)]).collect()
    }
}

impl ImageSize {
    fn from_bucket(bucket: &MediaBucket) -> Result<Self, DatasetError> {
        let side = |pixels: u32| u16::try_from(pixels).ok().filter(|pixels| *pixels > 0);
        match (side(bucket.width), side(bucket.height)) {
            (Some(width), Some(height)) => Ok(Self { width, height }),
            _ => Err(unmakeable(format!(
                "an image of {} x {} pixels is not possible; each side must be 1 to 65535",
                bucket.height, bucket.width
            ))),
        }
    }
}

/// The range of images per request: floor(n·(1−r)) ..= ceil(n·(1+r)), capped at the limit.
fn per_request(media: &RandomMedia) -> Result<RangeInclusive<u32>, DatasetError> {
    let ratio = media.items_range_ratio;
    if !(0.0..=1.0).contains(&ratio) {
        return Err(unmakeable(format!("`random-mm.items_range_ratio` must be from 0 to 1, not {ratio}")));
    }
    let items = f64::from(media.items);
    let least = (items * (1.0 - ratio)).floor() as u32;
    let most = ((items * (1.0 + ratio)).ceil() as u32).min(media.image_limit);
    if least > most {
        return Err(unmakeable(format!(
            "a request has at least {least} images, but `random-mm.image_limit` allows {most}"
        )));
    }
    Ok(least..=most)
}

fn unmakeable(cause: String) -> DatasetError {
    DatasetError::Unmakeable { dataset: "random-mm", cause }
}

#[cfg(test)]
mod tests;
