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
    /// What is shown with the first turn, if anything.
    pub media: Option<Media>,
}

/// An image or a video by its name: a URL, or a file on the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Media {
    Image(Box<str>),
    Video(Box<str>),
}

/// Takes conversations as they are read; an error ends the reading.
pub(super) type Sink<'a> = dyn FnMut(Conversation) -> Result<(), WorkloadError> + 'a;

/// Reads all conversations, and gives the digest of the file.
pub(super) fn read(source: Source<'_>, sink: &mut Sink<'_>) -> Result<Digest, WorkloadError> {
    entries::read(source, &mut |Entry(conversation)| sink(conversation))
}

/// An entry of the file: its conversation, and what is shown with it. Other members are skipped, unread and unkept.
struct Entry(Conversation);

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Members).map(Self)
    }
}

/// The members of an entry.
struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Conversation;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an entry: an object with `conversations`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Conversation, A::Error> {
        let (mut conversation, mut image, mut video) = (None::<Conversation>, None, None);
        while let Some(index) = object.next_key_seed(IndexOf(&["conversations", "image", "video"]))? {
            match index {
                Some(0) => conversation = Some(object.next_value()?),
                Some(1) => image = object.next_value::<Name>()?.0.map(Media::Image),
                Some(_) => video = object.next_value::<Name>()?.0.map(Media::Video),
                None => drop(object.next_value::<IgnoredAny>()?),
            }
        }
        let conversation =
            conversation.ok_or_else(|| A::Error::custom("an entry without `conversations`"))?;
        Ok(Conversation { media: image.or(video), ..conversation })
    }
}

/// The name of an image or a video. What is no text, or an empty one, is none, as in vLLM.
struct Name(Option<Box<str>>);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(from)? {
            serde_json::Value::String(name) if !name.is_empty() => Ok(Self(Some(name.into()))),
            _ => Ok(Self(None)),
        }
    }
}

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
        while let Some(index) = object.next_key_seed(IndexOf(&[self.name]))? {
            match index {
                Some(_) => value = Some(object.next_value()?),
                None => drop(object.next_value::<IgnoredAny>()?),
            }
        }
        value.ok_or_else(|| A::Error::custom(format_args!("{} without `{}`", self.of, self.name)))
    }
}

/// Which of the wanted names a key is, without keeping it.
struct IndexOf<'n>(&'n [&'static str]);

impl<'de> DeserializeSeed<'de> for IndexOf<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Option<usize>, D::Error> {
        from.deserialize_identifier(self)
    }
}

impl Visitor<'_> for IndexOf<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<Option<usize>, E> {
        Ok(self.0.iter().position(|name| *name == key))
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
