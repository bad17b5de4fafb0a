//! The frame of each entry: its length and a checksum.

use std::io::{self, BufRead, Read as _, Write};

use flate2::Crc;

use crate::model::varint;

/// The largest size of an entry: the longest kept gaps and text of a request are far smaller.
pub(super) const LARGEST: u64 = 1 << 30;

/// Writes a frame: length, payload, CRC-32 of the payload.
pub(super) fn write_frame(payload: &[u8], frame: &mut Vec<u8>, to: &mut impl Write) -> io::Result<()> {
    frame.clear();
    varint::write_varint(frame, payload.len() as u64);
    frame.extend_from_slice(payload);
    frame.extend_from_slice(&checksum(payload).to_le_bytes());
    to.write_all(frame)
}

pub(super) fn checksum(payload: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(payload);
    crc.sum()
}

/// The longest prefix of a frame, which is its length.
const PREFIX_BYTES: usize = 10;

/// What the bytes of a growing log begin with.
pub(super) enum FirstFrame<'a> {
    /// A frame with this payload, and the bytes after it.
    Whole { payload: &'a [u8], rest: &'a [u8] },
    /// A frame whose end is not there yet.
    Incomplete,
    /// No frame, whatever follows.
    Damaged,
}

/// Finds the first frame of bytes of a log that may still grow.
pub(super) fn first_frame(bytes: &[u8]) -> FirstFrame<'_> {
    let mut rest = bytes;
    let Some(length) = varint::read_varint(&mut rest) else {
        let is_cut = bytes.len() < PREFIX_BYTES && bytes.iter().all(|byte| *byte >= 0x80);
        return if is_cut { FirstFrame::Incomplete } else { FirstFrame::Damaged };
    };
    let Some(length) = usize::try_from(length).ok().filter(|length| *length as u64 <= LARGEST) else {
        return FirstFrame::Damaged;
    };
    let Some((payload, rest)) = rest.split_at_checked(length) else { return FirstFrame::Incomplete };
    match rest.split_first_chunk() {
        Some((sum, rest)) if *sum == checksum(payload).to_le_bytes() => FirstFrame::Whole { payload, rest },
        Some(_) => FirstFrame::Damaged,
        None => FirstFrame::Incomplete,
    }
}

/// Reads the next payload into an empty buffer. Returns whether there is one, or `Err` with the number of bytes read of a
/// truncated or damaged frame.
pub(super) fn read_frame(from: &mut impl BufRead, payload: &mut Vec<u8>) -> io::Result<Result<bool, u64>> {
    payload.clear();
    let buffered = from.fill_buf()?;
    if let FirstFrame::Whole { payload: whole, rest } = first_frame(buffered) {
        payload.extend_from_slice(whole);
        let used = buffered.len() - rest.len();
        from.consume(used);
        return Ok(Ok(true));
    }
    read_split_frame(from, payload)
}

/// Like [`read_frame`], for a frame that is not in the reader's buffer as a whole.
fn read_split_frame(from: &mut impl BufRead, payload: &mut Vec<u8>) -> io::Result<Result<bool, u64>> {
    let mut prefix = Vec::new();
    for byte in from.by_ref().take(PREFIX_BYTES as u64).bytes() {
        prefix.push(byte?);
        if prefix.last().is_some_and(|byte| *byte < 0x80) {
            break;
        }
    }
    if prefix.is_empty() {
        return Ok(Ok(false));
    }
    let read = prefix.len() as u64;
    let Some(length) = varint::read_varint(&mut &prefix[..]).filter(|length| *length <= LARGEST) else {
        return Ok(Err(read));
    };
    from.by_ref().take(length + 4).read_to_end(payload)?;
    let read = read + payload.len() as u64;
    let is_whole = payload.len() as u64 == length + 4;
    let Some((content, sum)) = payload.split_last_chunk().filter(|_| is_whole) else { return Ok(Err(read)) };
    let is_sound = *sum == checksum(content).to_le_bytes();
    payload.truncate(payload.len() - size_of::<u32>());
    Ok(if is_sound { Ok(true) } else { Err(read) })
}
