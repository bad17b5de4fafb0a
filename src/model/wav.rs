//! Recordings in the WAVE format: reads a recording's length, and generates silence.

use std::time::Duration;

/// The length of a chunk's name and size, in bytes.
const HEAD: usize = 8;

/// The length of a recording according to its header; `None` if it is not a WAVE file.
///
/// A file that was written as a stream does not have the size of its samples: then the actual bytes count.
pub fn length(wav: &[u8]) -> Option<Duration> {
    let mut chunks = wav.strip_prefix(b"RIFF")?.get(4..)?.strip_prefix(b"WAVE")?;
    let mut bytes_per_second = None;
    while let Some((head, rest)) = chunks.split_at_checked(HEAD) {
        let size = number(&head[4..])? as usize;
        let content = &rest[..size.min(rest.len())];
        match &head[..4] {
            b"fmt " => bytes_per_second = number(content.get(8..12)?).filter(|&rate| rate > 0),
            b"data" => {
                return Some(Duration::from_secs_f64(content.len() as f64 / f64::from(bytes_per_second?)));
            }
            _ => {}
        }
        // Chunks begin at even offsets.
        chunks = rest.get(size.checked_add(size % 2)?..)?;
    }
    None
}

/// Generates silence of this duration: one channel of 16 bits at 16 kHz.
pub fn silence(length: Duration) -> Vec<u8> {
    const RATE: u32 = 16_000;
    let size = (length.as_secs_f64() * f64::from(RATE)) as u32 * 2;
    let numbers =
        |numbers: &[u32]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<_>>();
    [
        b"RIFF".as_slice(),
        &numbers(&[36 + size]),
        b"WAVEfmt ",
        // The size; PCM with one channel; the rates in samples and bytes; two bytes per sample of 16 bits.
        &numbers(&[16, 1 | 1 << 16, RATE, RATE * 2, 2 | 16 << 16]),
        b"data",
        &numbers(&[size]),
        &vec![0; size as usize],
    ]
    .concat()
}

fn number(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().map(u32::from_le_bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_as_long_as_its_samples() {
        for ms in [0, 100, 1500] {
            assert_eq!(length(&silence(Duration::from_millis(ms))), Some(Duration::from_millis(ms)));
        }
    }

    #[test]
    fn chunks_that_are_not_known_are_skipped() {
        let plain = silence(Duration::from_secs(1));
        let noted = [&plain[..12], b"LIST\x03\0\0\0abc\0", &plain[12..]].concat();
        assert_eq!(length(&noted), Some(Duration::from_secs(1)));
    }

    #[test]
    fn a_stream_of_unknown_size_is_as_long_as_what_is_there() {
        let mut wav = silence(Duration::from_secs(1));
        wav[40..44].copy_from_slice(&[0xFF; 4]);
        assert_eq!(length(&wav), Some(Duration::from_secs(1)));
    }

    #[test]
    fn what_is_no_recording_has_no_length() {
        let wav = silence(Duration::from_millis(1));
        for cut in 0..44 {
            assert_eq!(length(&wav[..cut]), None, "{cut}");
        }
        assert_eq!(length(b"ID3 something else that is long enough to be one"), None);
    }
}
