//! Requests in temporary files.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::RequestOutline;
use super::codec::{ENTRY_BYTES, RequestEntry, SpooledBytes, decode_content, decode_own};
use crate::model::request::{Own, Request};
use crate::model::spool::{SpoolFile, SpoolHandle, SpoolReader};

/// Requests in two temporary files.
#[derive(Debug, Clone)]
pub(super) struct SpooledRequests {
    /// An entry of fixed size for each request.
    entries: SpoolFile,
    /// The contents and the properties that the entries refer to.
    contents: SpoolFile,
    len: usize,
}

impl SpooledRequests {
    pub(super) fn new(entries: SpoolFile, contents: SpoolFile, len: usize) -> Self {
        Self { entries, contents, len }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    pub(super) fn contents(&self) -> &SpoolFile {
        &self.contents
    }

    pub(super) fn handle(&self) -> RequestsHandle {
        RequestsHandle { entries: self.entries.handle(), contents: self.contents.handle(), len: self.len }
    }
}

/// Requests in temporary files of another process on this host, which has prepared them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RequestsHandle {
    entries: SpoolHandle,
    contents: SpoolHandle,
    len: usize,
}

impl RequestsHandle {
    pub(super) fn open(self, process: u32) -> io::Result<SpooledRequests> {
        let Self { entries, contents, len } = self;
        Ok(SpooledRequests { entries: entries.open(process)?, contents: contents.open(process)?, len })
    }
}

/// Reads requests at any index.
#[derive(Debug)]
pub(super) struct SpooledReader<'a> {
    entries: SpoolReader<'a>,
    contents: SpoolReader<'a>,
    /// The properties that were read last. Many requests have the same ones.
    last_own: Option<(u64, Arc<Own>)>,
    buf: Vec<u8>,
}

impl<'a> SpooledReader<'a> {
    pub(super) fn new(requests: &'a SpooledRequests) -> Self {
        let (entries, contents) = (SpoolReader::new(&requests.entries), SpoolReader::new(&requests.contents));
        Self { entries, contents, last_own: None, buf: Vec::new() }
    }

    pub(super) fn outline(&mut self, index: usize) -> RequestOutline {
        self.entry(index).outline
    }

    /// The request, if it is not a copy.
    pub(super) fn original(&mut self, index: usize) -> Option<Request> {
        (!self.entry(index).is_copy).then(|| self.request(index))
    }

    /// The outline and the size of the content of a request that is a copy.
    pub(super) fn copy(&mut self, index: usize) -> Option<(RequestOutline, usize)> {
        let RequestEntry { outline, content, is_copy, .. } = self.entry(index);
        is_copy.then_some((outline, content.len as usize))
    }

    /// The request with an empty text as its content.
    pub(super) fn without_content(&mut self, index: usize) -> Request {
        let entry = self.entry(index);
        let own = (entry.own.len > 0).then(|| self.own(entry.own));
        let RequestOutline { prompt_tokens, max_tokens, .. } = entry.outline;
        Request { own, ..Request::text("", prompt_tokens, max_tokens) }
    }

    pub(super) fn request(&mut self, index: usize) -> Request {
        self.entry_and_request(index).1
    }

    pub(super) fn entry_and_request(&mut self, index: usize) -> (RequestEntry, Request) {
        let entry = self.entry(index);
        let content = decode_content(entry.kind, self.bytes(entry.content));
        let own = (entry.own.len > 0).then(|| self.own(entry.own));
        let RequestOutline { prompt_tokens, max_tokens, .. } = entry.outline;
        (entry, Request { content, prompt_tokens, max_tokens, own })
    }

    fn entry(&mut self, index: usize) -> RequestEntry {
        let mut bytes = [0; ENTRY_BYTES];
        self.entries.read((index * ENTRY_BYTES) as u64, &mut bytes);
        RequestEntry::decode(&bytes)
    }

    fn own(&mut self, place: SpooledBytes) -> Arc<Own> {
        match &self.last_own {
            Some((at, own)) if *at == place.at => Arc::clone(own),
            _ => {
                let own = Arc::new(decode_own(self.bytes(place)));
                self.last_own = Some((place.at, Arc::clone(&own)));
                own
            }
        }
    }

    fn bytes(&mut self, place: SpooledBytes) -> &[u8] {
        self.buf.resize(place.len as usize, 0);
        self.contents.read(place.at, &mut self.buf);
        &self.buf
    }
}

/// Requests in order.
#[derive(Debug)]
pub(super) struct SpooledIter<'a> {
    reader: SpooledReader<'a>,
    left: Range<usize>,
}

impl<'a> SpooledIter<'a> {
    pub(super) fn new(requests: &'a SpooledRequests, left: Range<usize>) -> Self {
        Self { reader: SpooledReader::new(requests), left }
    }
}

impl Iterator for SpooledIter<'_> {
    type Item = Request;

    fn next(&mut self) -> Option<Request> {
        self.left.next().map(|index| self.reader.request(index))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.left.size_hint()
    }
}
