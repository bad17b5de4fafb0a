//! Files that are one JSON array, entry by entry: one in memory at a time.

use std::fmt;
use std::io;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};

use super::source::Source;
use super::{Fault, Format, Place, WorkloadError};
use crate::core::digest::Digest;

/// Takes entries as they are read; a refusal ends the reading.
type Sink<'a, T> = dyn FnMut(T) -> Result<(), Refusal> + 'a;

/// Why an entry is not taken.
pub(super) enum Refusal {
    /// It is not what it should be; the place is where the reading is.
    Entry(Fault),
    /// Nothing more can be taken.
    Workload(WorkloadError),
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Entry(fault)
    }
}

impl From<WorkloadError> for Refusal {
    fn from(error: WorkloadError) -> Self {
        Self::Workload(error)
    }
}

/// Reads all entries, and gives the digest of the file.
pub(super) fn read<T: DeserializeOwned>(
    source: Source<'_>,
    sink: &mut Sink<'_, T>,
) -> Result<Digest, WorkloadError> {
    let (name, format) = (source.name.clone(), source.format);
    let (text, seal) = source.into_text();
    let mut reading = Reading { entries: 0, inside: false, refused: None, sink };
    let mut json = serde_json::Deserializer::from_reader(text);
    let result = Entries(&mut reading, PhantomData).deserialize(&mut json).and_then(|()| json.end());
    match (result, reading.refused.take()) {
        (Ok(()), _) => Ok(seal.digest()),
        (Err(_), Some(Refusal::Workload(refused))) => Err(refused),
        (Err(error), Some(Refusal::Entry(fault))) => Err(reading.explain(name, format, error, Some(fault))),
        (Err(error), None) => Err(reading.explain(name, format, error, None)),
    }
}

/// How far the reading is, for errors that come through serde.
struct Reading<'a, 'b, T> {
    /// Entries read whole.
    entries: usize,
    /// Whether the next entry has begun.
    inside: bool,
    refused: Option<Refusal>,
    sink: &'a mut Sink<'b, T>,
}

impl<T> Reading<'_, '_, T> {
    fn explain(
        &self,
        path: String,
        format: &'static Format,
        error: serde_json::Error,
        fault: Option<Fault>,
    ) -> WorkloadError {
        let entry = self.inside.then_some(self.entries + 1);
        let place = Place { entry, line: error.line(), column: error.column() };
        if error.is_io() {
            return WorkloadError::Unreadable { path, source: io::Error::from(error) };
        }
        let fault = fault.unwrap_or_else(|| match Fault::of_json(&error) {
            Fault::Shape(text) if !self.inside => Fault::NotArray(text),
            fault => fault,
        });
        WorkloadError::Malformed { path, place, fault, format }
    }
}

/// The array at the top.
struct Entries<'r, 'a, 'b, T>(&'r mut Reading<'a, 'b, T>, PhantomData<T>);

impl<'de, T: DeserializeOwned> DeserializeSeed<'de> for Entries<'_, '_, '_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de, T: DeserializeOwned> Visitor<'de> for Entries<'_, '_, '_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of conversations")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        self.0.inside = true;
        while let Some(entry) = array.next_element()? {
            (self.0.sink)(entry).map_err(|error| {
                self.0.refused = Some(error);
                A::Error::custom("refused")
            })?;
            self.0.entries += 1;
        }
        self.0.inside = false;
        Ok(())
    }
}
