//! Streams files of conversations. Only one conversation, and only its first turns, is in memory at a time.
//!
//! ShareGPT's own files are an array of `{"conversations": [{"from": "human", "value": "…"}, …]}`. Other files under
//! that name have one conversation a line, call the list `messages`, and write turns as `{"role": "user", "content":
//! "…"}`.

use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::source::DatasetSource;
use super::{DatasetError, DatasetFault, DatasetFormat, bundled};
use crate::dataset::json_records;
use crate::dataset::read_options::{FileSummary, ReadOptions, RowRejection};

/// The expected format of a file of conversations.
pub(super) const SHAREGPT: &DatasetFormat = &DatasetFormat {
    name: "ShareGPT file",
    shape: r#"[{"conversations": [{"from": "human", "value": "…"}, {"from": "gpt", "value": "…"}]}, …], or such an object in each line; `messages`, `role` and `content` are read, too"#,
    named_by: "`dataset.path` (datasets/README.md says how to get ShareGPT)",
};

/// Opens a file, or the bundled conversations if there is no path.
pub(super) fn open<'a>(
    path: Option<&Path>,
    reading: ReadOptions<'a>,
) -> Result<DatasetSource<'a>, DatasetError> {
    match path {
        Some(path) => DatasetSource::open(path, SHAREGPT, reading),
        None => {
            let bytes = bundled::compressed_conversations();
            DatasetSource::from_reader(
                bundled::NAME.into(),
                bytes,
                Some(bytes.len() as u64),
                SHAREGPT,
                reading,
            )
        }
    }
}

/// The parts of a conversation that a run uses.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Conversation {
    /// The number of turns.
    pub turns: usize,
    /// The first turn's text; empty if there is no first turn.
    pub prompt: String,
    /// The second turn's text; empty if there is no second turn.
    pub answer: String,
    /// The image or video of the first turn, if there is one.
    pub media: Option<MediaRef>,
    /// Whether the prompt is the text of a system turn, as in vLLM's client.
    pub system_prompt: bool,
}

/// A reference to an image or a video: a URL, or the name of a file on the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum MediaRef {
    Image(Box<str>),
    Video(Box<str>),
}

/// Receives conversations as they are read.
pub(super) type ConversationSink<'a> = dyn FnMut(Conversation) -> Result<(), RowRejection> + 'a;

/// Reads all conversations.
pub(super) fn read(
    source: DatasetSource<'_>,
    sink: &mut ConversationSink<'_>,
) -> Result<FileSummary, DatasetError> {
    let limit = source.text_limit;
    json_records::read(source, &mut |entry: ConversationEntry<FirstTurns>| {
        let ConversationEntry { turns: FirstTurns { turns, count }, media } = entry;
        let conversation = Conversation::from_turns(turns, count)?;
        limit.check(&conversation.prompt)?;
        limit.check(&conversation.answer)?;
        sink(Conversation { media, ..conversation })
    })
}

impl Conversation {
    /// Takes the first two turns whatever their roles are, as vLLM's client does. OpenAI's `system` and `developer`
    /// messages do not count as turns: vLLM's client does not read such files. ShareGPT's system turns do count,
    /// because vLLM's client sends their text as the prompt.
    fn from_turns(turns: Vec<Value>, count: usize) -> Result<Self, DatasetFault> {
        let skipped = turns.iter().take_while(|turn| is_system_turn(turn)).count();
        let mut conversation = Self { turns: count - skipped.min(count), ..Self::default() };
        let mut turns = turns.into_iter().skip(skipped);
        if let Some(turn) = turns.next() {
            conversation.system_prompt = speaker(&turn) == Some("system");
            conversation.prompt = turn_text(turn)?;
        }
        if let Some(turn) = turns.next() {
            conversation.answer = turn_text(turn)?;
        }
        Ok(conversation)
    }
}

/// The role of a turn.
pub(super) fn speaker(turn: &Value) -> Option<&str> {
    turn.get("from").or_else(|| turn.get("role"))?.as_str()
}

/// Whether the turn is an OpenAI `system` or `developer` message, which precedes the first turn.
fn is_system_turn(turn: &Value) -> bool {
    turn.get("content").is_some() && matches!(speaker(turn), Some("system" | "developer"))
}

/// The text of a turn: `value`, or `content`. `content` can be a list of parts; only its text parts count.
pub(super) fn turn_text(turn: Value) -> Result<String, DatasetFault> {
    let shape = |text: String| Err(DatasetFault::Shape(text));
    let Value::Object(mut turn) = turn else {
        return shape(format!(
            "a turn that is {}, not an object with `value` or `content`",
            json_kind(&turn)
        ));
    };
    let named = ["value", "content"].into_iter().find_map(|name| Some((name, turn.remove(name)?)));
    match named {
        Some((_, Value::String(text))) => Ok(text),
        Some((_, Value::Array(parts))) if parts.iter().any(|part| part["text"].is_string()) => {
            Ok(parts.iter().filter_map(|part| part["text"].as_str()).collect())
        }
        Some((name, other)) => shape(format!("a turn whose `{name}` is {}, not a string", json_kind(&other))),
        None => shape("a turn without `value` or `content`".into()),
    }
}

/// The JSON name of a value's type.
fn json_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// An entry of the file: its turns and its image or video. Other members are skipped without being stored.
pub(super) struct ConversationEntry<T> {
    pub turns: T,
    media: Option<MediaRef>,
}

/// The members of an entry that are read: the names of the list of turns, then the media.
const ENTRY_KEYS: [&str; 5] = ["conversations", "conversation", "messages", "image", "video"];

impl<'de, T: Deserialize<'de>> Deserialize<'de> for ConversationEntry<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(EntryVisitor(std::marker::PhantomData))
    }
}

struct EntryVisitor<T>(std::marker::PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for EntryVisitor<T> {
    type Value = ConversationEntry<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an entry: an object with `conversations`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<ConversationEntry<T>, A::Error> {
        let (mut turns, mut image, mut video) = (None::<(usize, T)>, None, None);
        let mut others = Vec::new();
        while let Some(key) = object.next_key_seed(EntryKey)? {
            let index = match key {
                Ok(index) => Some(index),
                Err(other) => {
                    if others.len() < MAX_SHOWN_KEYS {
                        others.push(other);
                    }
                    None
                }
            };
            match index {
                // If several names occur, the first one in the list wins. If one name occurs twice, the last member
                // wins, as in Python.
                Some(index @ 0..=2) if turns.as_ref().is_none_or(|(before, _)| index <= *before) => {
                    turns = Some((index, object.next_value()?));
                }
                Some(3) => image = object.next_value::<MediaName>()?.0.map(MediaRef::Image),
                Some(4) => video = object.next_value::<MediaName>()?.0.map(MediaRef::Video),
                _ => drop(object.next_value::<IgnoredAny>()?),
            }
        }
        let (_, turns) = turns.ok_or_else(|| A::Error::custom(without_turns(&others)))?;
        Ok(ConversationEntry { turns, media: image.or(video) })
    }
}

/// Keys that an error names, and characters of each.
const MAX_SHOWN_KEYS: usize = 5;
const MAX_KEY_CHARS: usize = 40;

/// Says that an entry has no turns, and what it has.
fn without_turns(keys: &[String]) -> String {
    let keys: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
    match keys.is_empty() {
        true => "an entry without `conversations`".to_owned(),
        false => format!("an entry without `conversations`, which has {}", keys.join(", ")),
    }
}

/// A key of an entry: its index among [`ENTRY_KEYS`], or the key itself.
struct EntryKey;

impl<'de> DeserializeSeed<'de> for EntryKey {
    type Value = Result<usize, String>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_identifier(self)
    }
}

impl Visitor<'_> for EntryKey {
    type Value = Result<usize, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<Self::Value, E> {
        let index = ENTRY_KEYS.iter().position(|name| *name == key);
        Ok(index.ok_or_else(|| key.chars().take(MAX_KEY_CHARS).collect()))
    }
}

/// The name of an image or a video. A value that is empty or not a string gives `None`, as in vLLM.
struct MediaName(Option<Box<str>>);

impl<'de> Deserialize<'de> for MediaName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match Value::deserialize(from)? {
            Value::String(name) if !name.is_empty() => Ok(Self(Some(name.into()))),
            _ => Ok(Self(None)),
        }
    }
}

/// The first turns of a list, and the number of turns in the whole list.
struct FirstTurns {
    turns: Vec<Value>,
    count: usize,
}

impl FirstTurns {
    /// One prompt, its answer, and two instructions before them.
    const KEPT_TURNS: usize = 4;
}

impl<'de> Deserialize<'de> for FirstTurns {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(FirstTurnsVisitor)
    }
}

struct FirstTurnsVisitor;

impl<'de> Visitor<'de> for FirstTurnsVisitor {
    type Value = FirstTurns;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`conversations` to be an array of turns")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<FirstTurns, A::Error> {
        let mut first = FirstTurns { turns: Vec::new(), count: 0 };
        while first.count < FirstTurns::KEPT_TURNS {
            let Some(turn) = array.next_element()? else { return Ok(first) };
            first.turns.push(turn);
            first.count += 1;
        }
        while array.next_element::<IgnoredAny>()?.is_some() {
            first.count += 1;
        }
        Ok(first)
    }
}
