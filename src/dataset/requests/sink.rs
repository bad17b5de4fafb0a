//! Collects the requests of a run: in memory up to a limit, then in a temporary file.

use std::collections::HashMap;

use super::codec::{ENTRY_BYTES, RequestEntry, encode_content, encode_own};
use super::spooled::SpooledRequests;
use super::{Requests, StoredRequests};
use crate::model::request::Request;
use crate::model::spool::{SpoolError, SpoolWriter};

/// The number of distinct properties of requests that are written once and then only referred to, such as the names of
/// adapters.
const SHARED_PROPERTIES: usize = 256;

/// Collects requests.
#[derive(Debug)]
pub(crate) struct RequestSink {
    /// The number of requests that may stay in memory.
    limit: usize,
    kept: Vec<Request>,
    spooler: Option<RequestSpooler>,
}

impl RequestSink {
    /// Creates a sink that keeps at most `limit` requests in memory.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, kept: Vec::new(), spooler: None }
    }

    /// The number of requests so far.
    pub(crate) fn len(&self) -> usize {
        self.spooler.as_ref().map_or(self.kept.len(), |spooler| spooler.len)
    }

    /// Adds a request.
    pub(crate) fn push(&mut self, request: Request) -> Result<(), SpoolError> {
        if self.spooler.is_none() && self.kept.len() < self.limit {
            self.kept.push(request);
            return Ok(());
        }
        self.spooler()?.push(&request, None)
    }

    /// Adds requests.
    pub(crate) fn extend(&mut self, requests: impl IntoIterator<Item = Request>) -> Result<(), SpoolError> {
        requests.into_iter().try_for_each(|request| self.push(request))
    }

    /// Adds the request at an index again.
    pub(crate) fn push_copy(&mut self, index: usize) -> Result<(), SpoolError> {
        if self.spooler.is_none() && self.kept.len() < self.limit {
            self.kept.push(self.kept[index].clone());
            return Ok(());
        }
        self.spooler()?.push_copy(index)
    }

    /// The collected requests.
    pub(crate) fn finish(self) -> Result<Requests, SpoolError> {
        Ok(Requests(match self.spooler {
            None => StoredRequests::Kept(self.kept),
            Some(spooler) => StoredRequests::Spooled(spooler.finish()?),
        }))
    }

    /// The writer of the temporary file. The first call moves what is in memory there.
    fn spooler(&mut self) -> Result<&mut RequestSpooler, SpoolError> {
        if self.spooler.is_none() {
            let mut spooler = RequestSpooler::create()?;
            for request in std::mem::take(&mut self.kept) {
                spooler.push(&request, None)?;
            }
            self.spooler = Some(spooler);
        }
        Ok(self.spooler.as_mut().expect("the line above sets it"))
    }
}

/// Writes requests to temporary files.
#[derive(Debug)]
pub(super) struct RequestSpooler {
    entries: SpoolWriter,
    contents: SpoolWriter,
    len: usize,
    /// Where properties are that several requests have.
    properties: HashMap<Vec<u8>, u64>,
    buf: Vec<u8>,
}

impl RequestSpooler {
    fn create() -> Result<Self, SpoolError> {
        Ok(Self::new(SpoolWriter::create()?, SpoolWriter::create()?))
    }

    /// Writes requests that are in memory.
    pub(super) fn collect(requests: &[Request]) -> Result<SpooledRequests, SpoolError> {
        let mut spooler = Self::create()?;
        requests.iter().try_for_each(|request| spooler.push(request, None))?;
        spooler.finish()
    }

    /// Creates a writer of changed requests, which share the contents.
    pub(super) fn extend(requests: &SpooledRequests) -> Result<Self, SpoolError> {
        Ok(Self::new(SpoolWriter::create()?, SpoolWriter::extend(requests.contents())))
    }

    fn new(entries: SpoolWriter, contents: SpoolWriter) -> Self {
        Self { entries, contents, len: 0, properties: HashMap::new(), buf: Vec::new() }
    }

    /// Adds a request. If it has the content of an entry, that content is not written again.
    pub(super) fn push(
        &mut self,
        request: &Request,
        same_content: Option<RequestEntry>,
    ) -> Result<(), SpoolError> {
        let mut entry = RequestEntry::from_request(request);
        match same_content {
            Some(before) => entry.share_content(before),
            None => {
                self.buf.clear();
                encode_content(&request.content, &mut self.buf);
                entry.content.len = self.buf.len() as u32;
                entry.content.at = self.contents.append(&self.buf)?;
            }
        }
        if let Some(own) = request.own.as_deref() {
            self.buf.clear();
            encode_own(own, &mut self.buf);
            entry.own.len = self.buf.len() as u32;
            entry.own.at = match self.properties.get(&self.buf) {
                Some(at) => *at,
                None => {
                    let at = self.contents.append(&self.buf)?;
                    if self.properties.len() < SHARED_PROPERTIES {
                        self.properties.insert(self.buf.clone(), at);
                    }
                    at
                }
            };
        }
        self.push_entry(entry)
    }

    fn push_copy(&mut self, index: usize) -> Result<(), SpoolError> {
        let mut bytes = [0; ENTRY_BYTES];
        self.entries.read_back((index * ENTRY_BYTES) as u64, &mut bytes)?;
        let entry = RequestEntry::decode(&bytes);
        self.push_entry(RequestEntry { is_copy: true, ..entry })
    }

    fn push_entry(&mut self, entry: RequestEntry) -> Result<(), SpoolError> {
        self.entries.append(&entry.encode())?;
        self.len += 1;
        Ok(())
    }

    pub(super) fn finish(self) -> Result<SpooledRequests, SpoolError> {
        Ok(SpooledRequests::new(self.entries.finish()?, self.contents.finish()?, self.len))
    }
}
