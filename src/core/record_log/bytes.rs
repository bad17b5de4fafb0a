//! Numbers and strings as bytes: the primitives of a record log's entries.

use std::collections::HashMap;
use std::time::Duration;

/// Strings that are numbered, so that later entries name them by their number. Later ones are written out each time.
const NUMBERED: usize = 4096;

/// A string of the entry itself.
const INLINE: u64 = 0;

/// A string of the entry itself, which gets the next number.
const NEW: u64 = 1;

/// The first numbered string.
const FIRST: u64 = 2;

/// An entry that is being written.
#[derive(Default)]
pub(super) struct Encoder {
    bytes: Vec<u8>,
    numbers: HashMap<String, u64>,
}

impl Encoder {
    /// Begins the next entry.
    pub(super) fn begin(&mut self, kind: u8) {
        self.bytes.clear();
        self.bytes.push(kind);
    }

    /// The entry so far.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    /// LEB128: seven bits a byte, the lowest first.
    pub(super) fn number(&mut self, value: impl Into<u64>) {
        put(&mut self.bytes, value.into());
    }

    /// A difference that may be negative, in zigzag: 0, −1, 1, −2, …
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
        if count < NUMBERED {
            self.numbers.insert(text.to_owned(), FIRST + count as u64);
            self.number(NEW);
        } else {
            self.number(INLINE);
        }
        self.number(text.len() as u64);
        self.bytes.extend_from_slice(text.as_bytes());
    }
}

/// Appends a number.
pub(super) fn put(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// 584 years and more are as long as that.
pub(super) fn nanos(value: Duration) -> u64 {
    u64::try_from(value.as_nanos()).unwrap_or(u64::MAX)
}

/// The strings that the entries so far have numbered.
#[derive(Default)]
pub(super) struct Strings(Vec<String>);

/// An entry that is being read. Every method is `None` where the bytes are not what it says.
pub(super) struct Decoder<'a> {
    bytes: &'a [u8],
    strings: &'a mut Strings,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(bytes: &'a [u8], strings: &'a mut Strings) -> Self {
        Self { bytes, strings }
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            if bits << shift >> shift != bits {
                return None;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    pub(super) fn small(&mut self) -> Option<u32> {
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
        let number = self.number()?;
        if let Some(number) = number.checked_sub(FIRST) {
            return self.strings.0.get(usize::try_from(number).ok()?).cloned();
        }
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        let text = String::from_utf8(text.to_vec()).ok()?;
        if number == NEW {
            self.strings.0.push(text.clone());
        }
        Some(text)
    }

    /// A list: its length, then each element. The length is no reason to take memory, the elements are.
    pub(super) fn list<T>(&mut self, mut element: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let length = self.number()?;
        let mut list = Vec::new();
        for _ in 0..length {
            list.push(element(self)?);
        }
        Some(list)
    }

    /// What a bit says is there, or is not.
    pub(super) fn optional<T>(
        &mut self,
        is_there: bool,
        value: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<Option<T>> {
        if is_there { value(self).map(Some) } else { Some(None) }
    }
}
