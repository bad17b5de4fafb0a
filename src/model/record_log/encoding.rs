//! The encoding of numbers and strings in a record log's entries.

use std::collections::HashMap;
use std::time::Duration;

use crate::model::varint;

/// The largest number of numbered strings, which later entries reference by number. Strings beyond it are written out
/// each time.
const MAX_NUMBERED_STRINGS: usize = 4096;

/// The largest number of elements that the reader reserves memory for in advance.
const SHORT_LIST: u64 = 64;

/// The tag of a string that is written inline.
const INLINE_STRING: u64 = 0;

/// The tag of a string that is written inline and gets the next number.
const NEW_STRING: u64 = 1;

/// The tag of the first numbered string.
const FIRST_STRING_NUMBER: u64 = 2;

/// Encodes an entry.
#[derive(Debug, Default)]
pub(super) struct EntryEncoder {
    bytes: Vec<u8>,
    numbers: HashMap<String, u64>,
}

impl EntryEncoder {
    /// Starts the next entry.
    pub(super) fn begin(&mut self, kind: u8) {
        self.clear();
        self.bytes.push(kind);
    }

    /// Clears the buffer for bytes that are not a separate entry.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// The encoded entry.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    /// Appends a number in LEB128: seven bits a byte, the lowest first.
    pub(super) fn number(&mut self, value: impl Into<u64>) {
        varint::write_varint(&mut self.bytes, value.into());
    }

    /// Appends a difference that may be negative, in zigzag encoding: 0, −1, 1, −2, …
    pub(super) fn difference(&mut self, from: u64, to: u64) {
        let value = to.wrapping_sub(from).cast_signed();
        self.number(((value << 1) ^ (value >> 63)).cast_unsigned());
    }

    pub(super) fn duration(&mut self, value: Duration) {
        self.number(nanos(value));
    }

    pub(super) fn string(&mut self, text: &str) {
        if let Some(number) = self.numbers.get(text) {
            return self.number(*number);
        }
        let count = self.numbers.len();
        if count < MAX_NUMBERED_STRINGS {
            self.numbers.insert(text.to_owned(), FIRST_STRING_NUMBER + count as u64);
            self.number(NEW_STRING);
        } else {
            self.number(INLINE_STRING);
        }
        self.text(text);
    }

    /// Appends a string that no other entry repeats: it gets no number.
    pub(super) fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// The numbered strings, for reading entries in any order.
    pub(super) fn strings(&self) -> StringTable {
        let mut texts = vec![String::new(); self.numbers.len()];
        for (text, number) in &self.numbers {
            texts[(number - FIRST_STRING_NUMBER) as usize].clone_from(text);
        }
        StringTable(texts)
    }
}

/// Durations of 584 years and more saturate.
pub(super) fn nanos(value: Duration) -> u64 {
    u64::try_from(value.as_nanos()).unwrap_or(u64::MAX)
}

/// The strings that the entries so far have numbered, or those of the whole log.
#[derive(Debug, Clone, Default)]
pub(super) struct StringTable(Vec<String>);

/// Decodes an entry. Every method returns `None` where the bytes do not match its type.
pub(super) struct EntryDecoder<'a> {
    bytes: &'a [u8],
    strings: &'a mut StringTable,
}

impl<'a> EntryDecoder<'a> {
    pub(super) fn new(bytes: &'a [u8], strings: &'a mut StringTable) -> Self {
        Self { bytes, strings }
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        varint::read_varint(&mut self.bytes)
    }

    pub(super) fn small_number(&mut self) -> Option<u32> {
        self.number()?.try_into().ok()
    }

    pub(super) fn difference(&mut self, from: u64) -> Option<u64> {
        let zigzag = self.number()?;
        let value = (zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed();
        Some(from.wrapping_add(value.cast_unsigned()))
    }

    pub(super) fn duration(&mut self) -> Option<Duration> {
        self.number().map(Duration::from_nanos)
    }

    pub(super) fn string(&mut self) -> Option<String> {
        self.with_string(str::to_owned)
    }

    /// Gives a string to a function.
    pub(super) fn with_string<T>(&mut self, take: impl FnOnce(&str) -> T) -> Option<T> {
        let number = self.number()?;
        if let Some(number) = number.checked_sub(FIRST_STRING_NUMBER) {
            return self.strings.0.get(usize::try_from(number).ok()?).map(|text| take(text));
        }
        let text = self.text()?;
        let taken = take(&text);
        if number == NEW_STRING {
            self.strings.0.push(text);
        }
        Some(taken)
    }

    /// Reads a string that has no number.
    pub(super) fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        String::from_utf8(text.to_vec()).ok()
    }

    /// The remaining bytes.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// Reads a list: its length, then each element. Memory grows with the elements, not with the claimed length.
    pub(super) fn list<T>(&mut self, mut element: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let length = self.number()?;
        let mut list = Vec::with_capacity(length.min(SHORT_LIST) as usize);
        for _ in 0..length {
            list.push(element(self)?);
        }
        Some(list)
    }

    /// Reads a value if its bit says that it is present.
    pub(super) fn optional<T>(
        &mut self,
        is_there: bool,
        value: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<Option<T>> {
        if is_there { value(self).map(Some) } else { Some(None) }
    }
}
