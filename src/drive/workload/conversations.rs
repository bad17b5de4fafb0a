//! ShareGPT files as a stream: one conversation in memory at a time, and of that the first two turns.

use std::fmt;
use std::marker::PhantomData;
use std::path::Path;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};

use super::source::Source;
use super::{Format, OnProgress, WorkloadError, bundled, entries};
use crate::core::digest::Digest;

/// The file of conversations.
pub(super) const SHAREGPT: &Format = &Format {
    name: "ShareGPT file",
    shape: r#"[{"conversations": [{"from": "human", "value": "…"}, {"from": "gpt", "value": "…"}]}, …]"#,
    flag: "--dataset-path (datasets/README.md tells how to get ShareGPT)",
};

/// Opens a file; without a path, the bundled conversations.
pub(super) fn open<'a>(
    path: Option<&Path>,
    progress: &'a OnProgress<'a>,
) -> Result<Source<'a>, WorkloadError> {
    match path {
        Some(path) => Source::open(path, SHAREGPT, progress),
        None => {
            let bytes = bundled::compressed_conversations();
            Source::of(bundled::NAME.into(), bytes, Some(bytes.len() as u64), SHAREGPT, progress)
        }
    }
}

/// The part of a conversation that is of use.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Conversation {
    /// How many turns it has.
    pub turns: usize,
    /// The first turn's text; empty without one.
    pub prompt: String,
    /// The second turn's text; empty without one.
    pub answer: String,
}

/// Takes conversations as they are read; an error ends the reading.
pub(super) type Sink<'a> = dyn FnMut(Conversation) -> Result<(), WorkloadError> + 'a;

/// Reads all conversations, and gives the digest of the file.
pub(super) fn read(source: Source<'_>, sink: &mut Sink<'_>) -> Result<Digest, WorkloadError> {
    entries::read(source, &mut |Entry(conversation)| sink(conversation))
}

/// An entry of the file.
struct Entry(Conversation);

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        ENTRY.deserialize(from).map(Self)
    }
}

/// The part of an entry that is read.
const ENTRY: Member<Conversation> = Member { name: "conversations", of: "an entry", value: PhantomData };

/// A turn of a conversation.
const TURN: Member<String> = Member { name: "value", of: "a turn", value: PhantomData };

/// One member of an object; all others are skipped, unread and unkept. Of several with the name the last counts, as in
/// Python.
struct Member<T> {
    name: &'static str,
    of: &'static str,
    value: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for Member<T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<T, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Member<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: an object with `{}`", self.of, self.name)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<T, A::Error> {
        let mut value = None;
        while let Some(wanted) = object.next_key_seed(IsNamed(self.name))? {
            if wanted {
                value = Some(object.next_value()?);
            } else {
                object.next_value::<IgnoredAny>()?;
            }
        }
        value.ok_or_else(|| A::Error::custom(format_args!("{} without `{}`", self.of, self.name)))
    }
}

/// Whether a key is the wanted one, without keeping it.
struct IsNamed(&'static str);

impl<'de> DeserializeSeed<'de> for IsNamed {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<bool, D::Error> {
        from.deserialize_identifier(self)
    }
}

impl Visitor<'_> for IsNamed {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

impl<'de> Deserialize<'de> for Conversation {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(Turns)
    }
}

/// The value of `conversations`.
struct Turns;

impl<'de> Visitor<'de> for Turns {
    type Value = Conversation;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`conversations` to be an array of turns")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Conversation, A::Error> {
        let mut conversation = Conversation::default();
        for index in 0..2 {
            let Some(text) = array.next_element_seed(TURN)? else { return Ok(conversation) };
            let place = if index == 0 { &mut conversation.prompt } else { &mut conversation.answer };
            *place = text;
            conversation.turns += 1;
        }
        while array.next_element::<IgnoredAny>()?.is_some() {
            conversation.turns += 1;
        }
        Ok(conversation)
    }
}
