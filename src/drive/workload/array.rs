//! Files that are one JSON array of records, one record in memory at a time.

use std::fmt;
use std::io;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};

use super::source::Source;
use super::{Fault, Place, WorkloadError};
use crate::core::digest::Digest;

/// Reads all records, and gives the digest of the file.
///
/// `sink` says what is wrong with a record, if anything is; that or an entry that is no record ends the reading.
pub(super) fn read<T: DeserializeOwned>(
    source: Source<'_>,
    sink: &mut dyn FnMut(T) -> Result<(), Fault>,
) -> Result<Digest, WorkloadError> {
    let (path, format) = (source.name.clone(), source.format);
    let (text, seal) = source.into_text();
    let mut reading = Reading { entries: 0, inside: false, refused: None, sink };
    let mut json = serde_json::Deserializer::from_reader(text);
    let result = Entries(&mut reading).deserialize(&mut json).and_then(|()| json.end());
    let Err(error) = result else { return Ok(seal.digest()) };
    if error.is_io() {
        return Err(WorkloadError::Unreadable { path, source: io::Error::from(error) });
    }
    let entry = reading.inside.then_some(reading.entries + 1);
    let place = Place { entry, line: error.line(), column: error.column() };
    let fault = reading.refused.unwrap_or_else(|| Fault::of_json(&error));
    Err(WorkloadError::Malformed { path, place, fault, format })
}

/// How far the reading is, for errors that come through serde.
struct Reading<'a, T> {
    /// Entries read whole.
    entries: usize,
    /// Whether the array has begun and not ended.
    inside: bool,
    refused: Option<Fault>,
    sink: &'a mut dyn FnMut(T) -> Result<(), Fault>,
}

struct Entries<'r, 'a, T>(&'r mut Reading<'a, T>);

impl<'de, T: DeserializeOwned> DeserializeSeed<'de> for Entries<'_, '_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de, T: DeserializeOwned> Visitor<'de> for Entries<'_, '_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        self.0.inside = true;
        while let Some(record) = array.next_element_seed(PhantomData::<T>)? {
            (self.0.sink)(record).map_err(|fault| {
                self.0.refused = Some(fault);
                A::Error::custom("refused")
            })?;
            self.0.entries += 1;
        }
        self.0.inside = false;
        Ok(())
    }
}
