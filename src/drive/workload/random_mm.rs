//! `random-mm`: random texts with random images.
//!
//! The shape is vLLM's (`RandomMultiModalDataset`): texts as in `random`; the number of images is uniform in a range around
//! the mean, cut at the limit; each is drawn from buckets of sizes by their shares; pixels are independent and uniform, so
//! that JPEG compresses them as badly as it can. The numbers come from our own generator. Videos are not made: their
//! encoders are no Rust.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicUsize, Ordering};

use jpeg_encoder::{ColorType, Encoder};
use rand::distr::weighted::WeightedIndex;
use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _};
use rayon::prelude::*;

use super::stream::Stream;
use super::{Content, Job, Progress, Request, Workload, WorkloadError, message, random};
use crate::core::rng::Dice;
use crate::core::spec::{MediaBucket, RandomMedia};

/// The quality that Python's imaging library has by default, and vLLM with it.
const QUALITY: u8 = 75;

/// Writes all prompts and draws all images, in parallel.
pub(super) fn prepare(media: &RandomMedia, job: &Job<'_>, dice: &Dice) -> Result<Workload, WorkloadError> {
    let album = Album::of(media)?;
    let mut workload = random::prepare(&media.text, job, dice)?;
    let mut rng = Stream::Media.rng(job.seed);
    let sizes: Vec<Vec<Size>> = workload.requests.iter().map(|_| album.draw(&mut rng)).collect();
    let done = AtomicUsize::new(0);
    workload.requests.par_iter_mut().zip(sizes).enumerate().try_for_each(|(index, (request, sizes))| {
        let mut rng = Stream::Pixels.rng_of(job.seed, index);
        illustrate(request, &sizes, &mut rng)?;
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        (job.progress)(Progress::Tokenizing { done, of: job.num_prompts });
        Ok::<(), WorkloadError>(())
    })?;
    workload.provenance.dataset = "random-mm".into();
    Ok(workload)
}

/// Puts images behind a request's text.
fn illustrate(request: &mut Request, sizes: &[Size], rng: &mut StdRng) -> Result<(), WorkloadError> {
    let Content::Text(prompt) = &request.content else {
        return Err(unmakeable("images go with texts, not with token ids".into()));
    };
    let mut parts = vec![message::text(prompt)];
    for size in sizes {
        parts.push(message::image(message::data_url("image/jpeg", &jpeg(*size, rng)?)));
    }
    request.content = message::user(parts);
    Ok(())
}

fn jpeg(size: Size, rng: &mut StdRng) -> Result<Vec<u8>, WorkloadError> {
    let mut pixels = vec![0; usize::from(size.width) * usize::from(size.height) * 3];
    rng.fill_bytes(&mut pixels);
    let mut file = Vec::with_capacity(pixels.len() / 2);
    Encoder::new(&mut file, QUALITY)
        .encode(&pixels, size.width, size.height, ColorType::Rgb)
        .map_err(|error| unmakeable(error.to_string()))?;
    Ok(file)
}

/// In pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Size {
    width: u16,
    height: u16,
}

/// What images there may be.
#[derive(Debug)]
struct Album {
    per_request: RangeInclusive<u32>,
    sizes: Vec<Size>,
    shares: WeightedIndex<f64>,
}

impl Album {
    /// Checks what is asked for.
    fn of(media: &RandomMedia) -> Result<Self, WorkloadError> {
        let drawn: Vec<&MediaBucket> = media.buckets.iter().filter(|bucket| bucket.weight > 0.0).collect();
        if drawn.iter().any(|bucket| bucket.frames != 1) {
            return Err(unmakeable(
                "videos are not made; give buckets of more than one frame the share 0 in --random-mm-bucket-config"
                    .into(),
            ));
        }
        let sizes = drawn.iter().map(|bucket| Size::of(bucket)).collect::<Result<_, _>>()?;
        let shares = WeightedIndex::new(drawn.iter().map(|bucket| bucket.weight)).map_err(|_| {
            unmakeable(
                "--random-mm-bucket-config needs an image with a share above 0, and finite shares".into(),
            )
        })?;
        Ok(Self { per_request: per_request(media)?, sizes, shares })
    }

    /// The images of a request.
    fn draw(&self, rng: &mut StdRng) -> Vec<Size> {
        let count = rng.random_range(self.per_request.clone());
        (0..count).map(|_| self.sizes[rng.sample(&self.shares)]).collect()
    }
}

impl Size {
    fn of(bucket: &MediaBucket) -> Result<Self, WorkloadError> {
        let side = |pixels: u32| u16::try_from(pixels).ok().filter(|pixels| *pixels > 0);
        match (side(bucket.width), side(bucket.height)) {
            (Some(width), Some(height)) => Ok(Self { width, height }),
            _ => Err(unmakeable(format!(
                "an image of {} x {} pixels is not made: a side has 1 to 65535",
                bucket.height, bucket.width
            ))),
        }
    }
}

/// floor(n·(1−r)) ..= ceil(n·(1+r)), at most the limit.
fn per_request(media: &RandomMedia) -> Result<RangeInclusive<u32>, WorkloadError> {
    let ratio = media.items_range_ratio;
    if !(0.0..=1.0).contains(&ratio) {
        return Err(unmakeable(format!("--random-mm-num-mm-items-range-ratio is from 0 to 1, not {ratio}")));
    }
    let items = f64::from(media.items);
    let least = (items * (1.0 - ratio)).floor() as u32;
    let most = ((items * (1.0 + ratio)).ceil() as u32).min(media.image_limit);
    if least > most {
        return Err(unmakeable(format!(
            "at least {least} images a request are asked for, and --random-mm-limit-mm-per-prompt allows {most}"
        )));
    }
    Ok(least..=most)
}

fn unmakeable(cause: String) -> WorkloadError {
    WorkloadError::Unmakeable { dataset: "random-mm", cause }
}

#[cfg(test)]
mod tests;
