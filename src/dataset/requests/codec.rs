//! Requests as bytes. Only the process that wrote them reads them, and those that it started.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::RequestOutline;
use crate::model::request::{Content, Own, Request, Turn};

/// The size of an entry.
pub(super) const ENTRY_BYTES: usize = 36;

/// The flag of a later turn.
const LATER_TURN: u8 = 1;
/// The flag of a copy.
const COPY: u8 = 2;

/// What is read back was written by this process.
const WRITTEN: &str = "a temporary file has what was written to it";

/// Bytes in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct SpooledBytes {
    pub at: u64,
    pub len: u32,
}

/// The kind of a request's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ContentKind {
    Text,
    TokenIds,
    Messages,
    Batch,
    Rerank,
    Audio,
}

const KINDS: [ContentKind; 6] = [
    ContentKind::Text,
    ContentKind::TokenIds,
    ContentKind::Messages,
    ContentKind::Batch,
    ContentKind::Rerank,
    ContentKind::Audio,
];

/// The fixed-size part of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RequestEntry {
    pub content: SpooledBytes,
    /// The properties that distinguish the request. A length of 0 means that it has none.
    pub own: SpooledBytes,
    pub outline: RequestOutline,
    pub kind: ContentKind,
    /// Whether the request repeats an earlier one.
    pub is_copy: bool,
}

impl RequestEntry {
    /// Creates an entry that refers to no bytes yet.
    pub(super) fn from_request(request: &Request) -> Self {
        Self {
            content: SpooledBytes::default(),
            own: SpooledBytes::default(),
            outline: request.into(),
            kind: content_kind(&request.content),
            is_copy: false,
        }
    }

    /// Refers to the content of another entry of the same request.
    pub(super) fn share_content(&mut self, other: Self) {
        (self.content, self.kind, self.is_copy) = (other.content, other.kind, other.is_copy);
    }

    pub(super) fn encode(&self) -> [u8; ENTRY_BYTES] {
        let RequestOutline { prompt_tokens, max_tokens, is_later_turn } = self.outline;
        let flags = (u8::from(is_later_turn) * LATER_TURN) | (u8::from(self.is_copy) * COPY);
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..8].copy_from_slice(&self.content.at.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.own.at.to_le_bytes());
        let numbers = [self.content.len, self.own.len, prompt_tokens, max_tokens];
        for (slot, number) in bytes[16..32].chunks_exact_mut(4).zip(numbers) {
            slot.copy_from_slice(&number.to_le_bytes());
        }
        bytes[32..34].copy_from_slice(&[self.kind as u8, flags]);
        bytes
    }

    pub(super) fn decode(bytes: &[u8; ENTRY_BYTES]) -> Self {
        let long = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let short = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let flags = bytes[33];
        Self {
            content: SpooledBytes { at: long(0), len: short(16) },
            own: SpooledBytes { at: long(8), len: short(20) },
            outline: RequestOutline {
                prompt_tokens: short(24),
                max_tokens: short(28),
                is_later_turn: flags & LATER_TURN != 0,
            },
            kind: KINDS[usize::from(bytes[32])],
            is_copy: flags & COPY != 0,
        }
    }
}

fn content_kind(content: &Content) -> ContentKind {
    match content {
        Content::Text(_) => ContentKind::Text,
        Content::TokenIds(_) => ContentKind::TokenIds,
        Content::Messages(_) => ContentKind::Messages,
        Content::Batch(_) => ContentKind::Batch,
        Content::Rerank { .. } => ContentKind::Rerank,
        Content::Audio { .. } => ContentKind::Audio,
    }
}

/// Appends a content.
pub(super) fn encode_content(content: &Content, to: &mut Vec<u8>) {
    match content {
        Content::Text(text) => to.extend_from_slice(text.as_bytes()),
        Content::TokenIds(ids) => ids.iter().for_each(|id| to.extend_from_slice(&id.to_le_bytes())),
        Content::Messages(messages) => serde_json::to_writer(to, &**messages).expect("JSON can be written"),
        Content::Batch(texts) => texts.iter().for_each(|text| put_text(text, to)),
        Content::Rerank { query, documents } => {
            put_text(query, to);
            documents.iter().for_each(|text| put_text(text, to));
        }
        Content::Audio { wav, prompt } => {
            put_text(prompt, to);
            to.extend_from_slice(wav);
        }
    }
}

/// Reads a content.
pub(super) fn decode_content(kind: ContentKind, mut bytes: &[u8]) -> Content {
    match kind {
        ContentKind::Text => Content::Text(utf8(bytes).into()),
        ContentKind::TokenIds => {
            let id = |id: &[u8]| u32::from_le_bytes(id.try_into().expect("four bytes"));
            Content::TokenIds(bytes.chunks_exact(4).map(id).collect())
        }
        ContentKind::Messages => {
            let messages: Vec<Value> = serde_json::from_slice(bytes).expect(WRITTEN);
            Content::Messages(messages.into())
        }
        ContentKind::Batch => Content::Batch(take_texts(bytes)),
        ContentKind::Rerank => {
            let query = take_text(&mut bytes);
            Content::Rerank { query, documents: take_texts(bytes) }
        }
        ContentKind::Audio => {
            let prompt = take_text(&mut bytes);
            Content::Audio { wav: bytes.into(), prompt }
        }
    }
}

fn put_text(text: &str, to: &mut Vec<u8>) {
    to.extend_from_slice(&(text.len() as u32).to_le_bytes());
    to.extend_from_slice(text.as_bytes());
}

fn take_text(bytes: &mut &[u8]) -> Arc<str> {
    let (len, rest) = bytes.split_first_chunk().expect(WRITTEN);
    let (text, rest) = rest.split_at(u32::from_le_bytes(*len) as usize);
    *bytes = rest;
    utf8(text).into()
}

fn take_texts(mut bytes: &[u8]) -> Arc<[Arc<str>]> {
    let mut texts = Vec::new();
    while !bytes.is_empty() {
        texts.push(take_text(&mut bytes));
    }
    texts.into()
}

fn utf8(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).expect(WRITTEN)
}

/// The properties of a request, as they are stored.
#[derive(Serialize, Deserialize)]
struct StoredOwn<'a> {
    model: Option<Cow<'a, str>>,
    body: Cow<'a, Map<String, Value>>,
    class: Option<Cow<'a, str>>,
    turn: Option<StoredTurn<'a>>,
    patience: Option<Duration>,
}

#[derive(Serialize, Deserialize)]
struct StoredTurn<'a> {
    index: u32,
    of: u32,
    think: Duration,
    answer: Option<Cow<'a, str>>,
}

/// Appends properties.
pub(super) fn encode_own(own: &Own, to: &mut Vec<u8>) {
    let turn = |turn: &'_ Turn| StoredTurn {
        index: turn.index,
        of: turn.of,
        think: turn.think,
        answer: turn.answer.as_deref().map(|answer| answer.to_owned().into()),
    };
    let stored = StoredOwn {
        model: own.model.as_deref().map(Cow::Borrowed),
        body: Cow::Borrowed(&own.body),
        class: own.class.as_deref().map(Cow::Borrowed),
        turn: own.turn.as_ref().map(turn),
        patience: own.patience,
    };
    serde_json::to_writer(to, &stored).expect("JSON can be written");
}

/// Reads properties.
pub(super) fn decode_own(bytes: &[u8]) -> Own {
    let stored: StoredOwn<'_> = serde_json::from_slice(bytes).expect(WRITTEN);
    Own {
        model: stored.model.map(Cow::into_owned),
        body: stored.body.into_owned(),
        class: stored.class.map(Cow::into_owned),
        turn: stored.turn.map(|turn| Turn {
            index: turn.index,
            of: turn.of,
            think: turn.think,
            answer: turn.answer.map(|answer| Arc::from(&*answer)),
        }),
        patience: stored.patience,
    }
}
