//! Limits on decompression. A few kilobytes can decompress to gigabytes; no dataset and no log does.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;

/// The decompressed size that any file may have, and the allowed ratio to the compressed size. gzip reaches 1032; logs
/// that repeat one line with another timestamp reach 60.
const ALWAYS_ALLOWED_BYTES: u64 = 64 << 20;
const MAX_RATIO: u64 = 200;

/// The maximum decompressed size of a file of `packed` bytes.
pub(crate) fn max_unpacked_bytes(packed: u64) -> u64 {
    ALWAYS_ALLOWED_BYTES.saturating_add(packed.saturating_mul(MAX_RATIO))
}

/// The error message for a file that exceeds the limit.
pub(crate) fn limit_message() -> String {
    format!("it expands to more than {MAX_RATIO} times its size; decompress it yourself if this is intended")
}

/// Reads gzip, in one or several members.
pub(crate) struct GzipReader<R> {
    decoder: MultiGzDecoder<CountingReader<R>>,
    unpacked: u64,
}

impl<R: Read> GzipReader<R> {
    /// Creates a reader of compressed bytes.
    pub(crate) fn new(packed: R) -> Self {
        Self { decoder: MultiGzDecoder::new(CountingReader { inner: packed, bytes: 0 }), unpacked: 0 }
    }
}

impl<R: Read> Read for GzipReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.decoder.read(buf)?;
        self.unpacked += n as u64;
        if self.unpacked > max_unpacked_bytes(self.decoder.get_ref().bytes) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, limit_message()));
        }
        Ok(n)
    }
}

struct CountingReader<R> {
    inner: R,
    bytes: u64,
}

impl<R: Read> Read for CountingReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.bytes += n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn packed(megabytes: usize, line: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        let block = line.repeat((1 << 20) / line.len());
        (0..megabytes).for_each(|_| encoder.write_all(&block).unwrap());
        encoder.finish().unwrap()
    }

    #[test]
    fn a_bomb_is_refused_and_a_repetitive_log_is_not() {
        let read = |packed: &[u8]| io::copy(&mut GzipReader::new(packed), &mut io::sink());
        let bomb = read(&packed(100, b" ")).unwrap_err().to_string();
        assert!(bomb.starts_with("it expands to more than 200 times its size"), "{bomb}");
        assert!(read(&packed(60, b" ")).is_ok(), "as much as any may");
        assert_eq!(
            read(&packed(1, b"INFO 11-29 20:01:54 metrics.py:1] Running: 1 reqs\n")).unwrap() >> 10,
            1023
        );
    }
}
