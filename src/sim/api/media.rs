//! Prompt tokens of images and audio. Real models differ; these rules are fixed, so that tests can check them:
//!
//! - an image: one token for each 28 × 28 pixels or part of them, as Qwen2-VL counts; [`UNKNOWN_IMAGE`] if the size
//!   is unknown (a URL that would have to be fetched, or a format other than PNG, JPEG and GIF);
//! - audio: [`AUDIO_TOKENS_PER_SECOND`], as vLLM counts Whisper's frames; [`UNKNOWN_AUDIO`] if it is not a WAV file;
//! - a video: [`VIDEO`].

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use base64::Engine as _;

use crate::sim::api::api_error::ApiError;
use crate::sim::tokens::MediaTokens;

/// The side of the square that is one token, in pixels.
const PATCH: u32 = 28;

/// The most tokens of an image.
const LARGEST_IMAGE: usize = 16_384;

/// Tokens of an image of unknown size: LLaVA's 24 × 24.
const UNKNOWN_IMAGE: usize = 576;

/// Tokens of a video, whatever its content: eight frames of [`UNKNOWN_IMAGE`].
const VIDEO: usize = 8 * UNKNOWN_IMAGE;

/// Tokens of a second of audio.
const AUDIO_TOKENS_PER_SECOND: u64 = 100;

/// The assumed duration of audio of unknown length: Whisper's window.
const UNKNOWN_AUDIO: Duration = Duration::from_secs(30);

/// Returns the tokens of an image at a URL or in a `data:` URL.
pub(super) fn image(url: &str) -> Result<MediaTokens, ApiError> {
    let size = embedded(url, "image")?.as_deref().and_then(image_size);
    let tokens = size.map_or(UNKNOWN_IMAGE, |(width, height)| {
        let patches = u64::from(width.div_ceil(PATCH)) * u64::from(height.div_ceil(PATCH));
        usize::try_from(patches).unwrap_or(usize::MAX).clamp(1, LARGEST_IMAGE)
    });
    Ok(MediaTokens { tokens, content: digest(url.as_bytes()) })
}

/// Returns the tokens of audio at a URL or in a `data:` URL.
pub(super) fn audio(url: &str) -> Result<MediaTokens, ApiError> {
    let length = embedded(url, "audio")?.as_deref().and_then(wav_length).unwrap_or(UNKNOWN_AUDIO);
    Ok(MediaTokens { tokens: audio_tokens(length), content: digest(url.as_bytes()) })
}

/// Returns the tokens of a video.
pub(super) fn video(url: &str) -> Result<MediaTokens, ApiError> {
    embedded(url, "video")?;
    Ok(MediaTokens { tokens: VIDEO, content: digest(url.as_bytes()) })
}

/// Returns the tokens and the duration of an audio file.
pub(super) fn audio_file(bytes: &[u8]) -> (MediaTokens, Duration) {
    let length = wav_length(bytes).unwrap_or(UNKNOWN_AUDIO);
    (MediaTokens { tokens: audio_tokens(length), content: digest(bytes) }, length)
}

fn audio_tokens(length: Duration) -> usize {
    let millis = u64::try_from(length.as_millis()).unwrap_or(u64::MAX / AUDIO_TOKENS_PER_SECOND);
    usize::try_from((millis * AUDIO_TOKENS_PER_SECOND).div_ceil(1000)).unwrap_or(usize::MAX).max(1)
}

fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// Decodes a `data:` URL; returns `None` for any other URL, which is never fetched.
fn embedded(url: &str, kind: &str) -> Result<Option<Vec<u8>>, ApiError> {
    let Some(data) = url.strip_prefix("data:") else { return Ok(None) };
    let encoded = data.split_once(";base64,").map(|(_, encoded)| encoded);
    let bytes = encoded.and_then(|text| base64::engine::general_purpose::STANDARD.decode(text).ok());
    let message = || format!("Failed to load the {kind}: its data URL is not base64 after `;base64,`.");
    bytes.map(Some).ok_or_else(|| ApiError::bad_parameter("messages", message()))
}

/// Returns width and height in pixels.
fn image_size(bytes: &[u8]) -> Option<(u32, u32)> {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => Some((be32(bytes, 16)?, be32(bytes, 20)?)),
        [b'G', b'I', b'F', b'8', ..] => Some((le16(bytes, 6)?, le16(bytes, 8)?)),
        [0xFF, 0xD8, ..] => jpeg_size(bytes),
        _ => None,
    }
}

/// Finds the segment of a JPEG that starts the frame.
fn jpeg_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let mut at = 2;
    loop {
        let (0xFF, marker) = (*bytes.get(at)?, *bytes.get(at + 1)?) else { return None };
        // C4, C8 and CC are within the range of frame markers, but are none.
        if matches!(marker, 0xC0..=0xCF) && !matches!(marker, 0xC4 | 0xC8 | 0xCC) {
            return Some((be16(bytes, at + 7)?, be16(bytes, at + 5)?));
        }
        at += 2 + be16(bytes, at + 2)?.max(2) as usize;
    }
}

/// The duration of a WAV file. A stream of unknown length states size zero or the maximum; then the size of the data
/// counts.
fn wav_length(bytes: &[u8]) -> Option<Duration> {
    if bytes.get(..4)? != b"RIFF" || bytes.get(8..12)? != b"WAVE" {
        return None;
    }
    let (mut at, mut bytes_per_second) = (12, None);
    loop {
        let (name, size) = (bytes.get(at..at + 4)?, le32(bytes, at + 4)? as usize);
        if name == b"fmt " {
            bytes_per_second = Some(le32(bytes, at + 16)?).filter(|rate| *rate > 0);
        }
        if name == b"data" {
            let there = bytes.len() - (at + 8);
            let size = if size == 0 { there } else { size.min(there) };
            return Some(Duration::from_secs_f64(size as f64 / f64::from(bytes_per_second?)));
        }
        at += 8 + size + size % 2;
    }
}

fn be16(bytes: &[u8], at: usize) -> Option<u32> {
    let pair = bytes.get(at..at + 2)?;
    Some(u32::from(u16::from_be_bytes([pair[0], pair[1]])))
}

fn le16(bytes: &[u8], at: usize) -> Option<u32> {
    be16(bytes, at).map(|swapped| (swapped >> 8) | ((swapped & 0xFF) << 8))
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
}

fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    be32(bytes, at).map(u32::swap_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The beginning of a PNG of this size.
    fn png(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
        bytes.extend(width.to_be_bytes());
        bytes.extend(height.to_be_bytes());
        bytes
    }

    fn data_url(bytes: &[u8]) -> String {
        format!("data:image/png;base64,{}", base64::engine::general_purpose::STANDARD.encode(bytes))
    }

    /// A WAV file of 16-bit mono at 16 kHz.
    fn wav(samples: usize) -> Vec<u8> {
        let mut bytes = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
        bytes.extend(16_000_u32.to_le_bytes());
        bytes.extend(32_000_u32.to_le_bytes());
        bytes.extend(b"\x02\0\x10\0LIST\x03\0\0\0abc\0data");
        bytes.extend((2 * samples as u32).to_le_bytes());
        bytes.resize(bytes.len() + 2 * samples, 0);
        bytes
    }

    #[test]
    fn an_image_costs_a_token_for_each_patch_of_28_pixels() {
        let tokens = |width, height| image(&data_url(&png(width, height))).unwrap().tokens;
        assert_eq!((tokens(28, 28), tokens(29, 28), tokens(720, 1280)), (1, 2, 26 * 46));
        assert_eq!(tokens(60_000, 60_000), LARGEST_IMAGE);
    }

    #[test]
    fn jpeg_and_gif_tell_their_size_too() {
        let jpeg = b"\xFF\xD8\xFF\xE0\0\x04ab\xFF\xC4\0\x03x\xFF\xC2\0\x0B\x08\x01\x00\x02\x00";
        assert_eq!(image_size(jpeg), Some((512, 256)));
        assert_eq!(image_size(b"GIF89a\x40\x01\xF0\0"), Some((320, 240)));
        assert_eq!(image_size(&jpeg[..12]), None, "it breaks off before its frame");
    }

    #[test]
    fn an_image_of_unknown_size_costs_a_fixed_number_and_broken_data_is_refused() {
        assert_eq!(image("https://example.org/cat.png").unwrap().tokens, UNKNOWN_IMAGE);
        assert_eq!(image(&data_url(b"something else")).unwrap().tokens, UNKNOWN_IMAGE);
        assert!(image("data:image/png;base64,%%%").is_err());
        assert!(image("data:image/png").is_err());
    }

    #[test]
    fn sound_costs_a_hundred_tokens_a_second_by_the_header_of_its_wav() {
        let (media, length) = audio_file(&wav(24_000));
        assert_eq!((media.tokens, length), (150, Duration::from_millis(1500)));
        assert_eq!(audio_file(b"no sound at all").1, UNKNOWN_AUDIO);
        assert_eq!(audio_file(b"RIFF\0\0\0\0WAVEdata\0\0\0\0").1, UNKNOWN_AUDIO, "no format");
    }

    #[test]
    fn a_wav_that_claims_more_than_it_has_is_as_long_as_what_is_there() {
        let mut bytes = wav(16_000);
        let claim = bytes.len() - 32_000 - 4;
        bytes[claim..claim + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(audio_file(&bytes).1, Duration::from_secs(1));
    }
}
