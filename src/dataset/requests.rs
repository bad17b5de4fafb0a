//! The requests of a run: in memory up to a limit, else in a temporary file.
//!
//! The file has an entry of fixed size for each request, and its content elsewhere. A request that repeats another one
//! is only an entry.

use std::borrow::Cow;
use std::io;

use crate::dataset::requests::sink::RequestSpooler;
use crate::dataset::requests::spooled::{SpooledIter, SpooledReader, SpooledRequests};
use crate::model::request::Request;
use crate::model::spool::SpoolError;

pub(crate) use sink::RequestSink;
pub(crate) use spooled::RequestsHandle;

mod codec;
mod sink;
mod spooled;

/// The requests of a run, in the order of sending.
#[derive(Debug, Clone)]
pub struct Requests(StoredRequests);

#[derive(Debug, Clone)]
enum StoredRequests {
    Kept(Vec<Request>),
    Spooled(SpooledRequests),
}

/// What is known of a request without its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestOutline {
    /// The prompt's length in tokens.
    pub prompt_tokens: u32,
    /// The number of output tokens to request.
    pub max_tokens: u32,
    /// Whether it is a later turn of the session of the request before it.
    pub is_later_turn: bool,
}

impl Requests {
    /// The number of requests.
    pub fn len(&self) -> usize {
        self.all().len()
    }

    /// Whether there is no request.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All requests.
    pub fn all(&self) -> RequestRange<'_> {
        match &self.0 {
            StoredRequests::Kept(requests) => RequestRange(RangeSource::Kept(requests)),
            StoredRequests::Spooled(requests) => {
                RequestRange(RangeSource::Spooled { requests, begin: 0, end: requests.len() })
            }
        }
    }

    /// The requests in order.
    pub fn iter(&self) -> RequestIter<'_> {
        self.all().iter()
    }

    /// Keeps at most this number of requests, from the first.
    pub(super) fn truncate(&mut self, len: usize) {
        match &mut self.0 {
            StoredRequests::Kept(requests) => requests.truncate(len),
            StoredRequests::Spooled(requests) => requests.truncate(len),
        }
    }

    /// Changes requests in order.
    pub(crate) fn update<E: From<SpoolError>>(
        &mut self,
        mut change: impl FnMut(&mut Request) -> Result<(), E>,
    ) -> Result<(), E> {
        match &mut self.0 {
            StoredRequests::Kept(requests) => requests.iter_mut().try_for_each(change),
            StoredRequests::Spooled(requests) => {
                let mut spooler = RequestSpooler::extend(requests)?;
                let mut reader = SpooledReader::new(requests);
                for index in 0..requests.len() {
                    let (entry, mut request) = reader.entry_and_request(index);
                    let before = request.content.clone();
                    change(&mut request)?;
                    spooler.push(&request, before.is_same(&request.content).then_some(entry))?;
                }
                *requests = spooler.finish()?;
                Ok(())
            }
        }
    }

    /// The requests in temporary files, and what another process on this host needs to read them as long as this process
    /// keeps these files.
    ///
    /// # Errors
    /// When the requests are in memory and do not fit into a temporary file.
    pub(crate) fn share(&self) -> Result<(Self, RequestsHandle), SpoolError> {
        let spooled = match &self.0 {
            StoredRequests::Kept(requests) => RequestSpooler::collect(requests)?,
            StoredRequests::Spooled(requests) => requests.clone(),
        };
        let handle = spooled.handle();
        Ok((Self(StoredRequests::Spooled(spooled)), handle))
    }

    /// Opens the requests that the process with this id has prepared.
    ///
    /// # Errors
    /// If this process cannot open the files of the other one.
    pub(crate) fn open(handle: RequestsHandle, process: u32) -> io::Result<Self> {
        Ok(Self(StoredRequests::Spooled(handle.open(process)?)))
    }

    /// The requests, which are in memory.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> &[Request] {
        self.all().as_kept().expect("the requests are in memory")
    }

    /// Copies of the requests.
    #[cfg(test)]
    pub(crate) fn to_vec(&self) -> Vec<Request> {
        self.iter().map(Cow::into_owned).collect()
    }

    /// Whether the requests are in a temporary file.
    #[cfg(test)]
    pub(crate) fn is_spooled(&self) -> bool {
        matches!(self.0, StoredRequests::Spooled(_))
    }
}

impl From<Vec<Request>> for Requests {
    fn from(requests: Vec<Request>) -> Self {
        Self(StoredRequests::Kept(requests))
    }
}

impl Default for Requests {
    fn default() -> Self {
        Vec::new().into()
    }
}

impl PartialEq for Requests {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl<'a> IntoIterator for &'a Requests {
    type Item = Cow<'a, Request>;
    type IntoIter = RequestIter<'a>;

    fn into_iter(self) -> RequestIter<'a> {
        self.iter()
    }
}

/// Consecutive requests of a run.
#[derive(Debug, Clone, Copy)]
pub struct RequestRange<'a>(RangeSource<'a>);

#[derive(Debug, Clone, Copy)]
enum RangeSource<'a> {
    Kept(&'a [Request]),
    Spooled { requests: &'a SpooledRequests, begin: usize, end: usize },
}

impl<'a> RequestRange<'a> {
    /// The number of requests.
    pub fn len(self) -> usize {
        match self.0 {
            RangeSource::Kept(requests) => requests.len(),
            RangeSource::Spooled { begin, end, .. } => end - begin,
        }
    }

    /// Whether there is no request.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The requests in order.
    pub fn iter(self) -> RequestIter<'a> {
        RequestIter(match self.0 {
            RangeSource::Kept(requests) => IterSource::Kept(requests.iter()),
            RangeSource::Spooled { requests, begin, end } => {
                IterSource::Spooled(SpooledIter::new(requests, begin..end))
            }
        })
    }

    /// The outlines of the requests in order.
    pub fn outlines(self) -> Box<dyn Iterator<Item = RequestOutline> + 'a> {
        match self.0 {
            RangeSource::Kept(requests) => Box::new(requests.iter().map(RequestOutline::from)),
            RangeSource::Spooled { requests, begin, end } => {
                let mut reader = SpooledReader::new(requests);
                Box::new((begin..end).map(move |index| reader.outline(index)))
            }
        }
    }

    /// A reader of requests at any index.
    pub fn reader(self) -> RequestReader<'a> {
        RequestReader(match self.0 {
            RangeSource::Kept(requests) => ReaderSource::Kept(requests),
            RangeSource::Spooled { requests, begin, end } => {
                ReaderSource::Spooled { reader: SpooledReader::new(requests), begin, len: end - begin }
            }
        })
    }

    /// The requests before an index, and the others.
    pub fn split_at(self, index: usize) -> (Self, Self) {
        match self.0 {
            RangeSource::Kept(requests) => {
                let (first, last) = requests.split_at(index);
                (Self(RangeSource::Kept(first)), Self(RangeSource::Kept(last)))
            }
            RangeSource::Spooled { requests, begin, end } => {
                let cut = (begin + index).min(end);
                let part = |begin, end| Self(RangeSource::Spooled { requests, begin, end });
                (part(begin, cut), part(cut, end))
            }
        }
    }

    /// The requests, if they are in memory.
    pub(super) fn as_kept(self) -> Option<&'a [Request]> {
        match self.0 {
            RangeSource::Kept(requests) => Some(requests),
            RangeSource::Spooled { .. } => None,
        }
    }

    /// The requests that are not known to be copies of others.
    pub(super) fn originals(self) -> Box<dyn Iterator<Item = Cow<'a, Request>> + 'a> {
        match self.0 {
            RangeSource::Kept(requests) => Box::new(requests.iter().map(Cow::Borrowed)),
            RangeSource::Spooled { requests, begin, end } => {
                let mut reader = SpooledReader::new(requests);
                let originals = (begin..end).filter_map(move |index| reader.original(index));
                Box::new(originals.map(Cow::Owned))
            }
        }
    }

    /// The requests that are known to be copies of others, each with the number of bytes of its content.
    pub(super) fn copies(self) -> Box<dyn Iterator<Item = (RequestOutline, usize)> + 'a> {
        match self.0 {
            RangeSource::Kept(_) => Box::new(std::iter::empty()),
            RangeSource::Spooled { requests, begin, end } => {
                let mut reader = SpooledReader::new(requests);
                Box::new((begin..end).filter_map(move |index| reader.copy(index)))
            }
        }
    }
}

impl<'a> From<&'a [Request]> for RequestRange<'a> {
    fn from(requests: &'a [Request]) -> Self {
        Self(RangeSource::Kept(requests))
    }
}

impl<'a> From<&'a Vec<Request>> for RequestRange<'a> {
    fn from(requests: &'a Vec<Request>) -> Self {
        Self(RangeSource::Kept(requests))
    }
}

impl<'a, const N: usize> From<&'a [Request; N]> for RequestRange<'a> {
    fn from(requests: &'a [Request; N]) -> Self {
        Self(RangeSource::Kept(requests))
    }
}

impl From<&Request> for RequestOutline {
    fn from(request: &Request) -> Self {
        Self {
            prompt_tokens: request.prompt_tokens,
            max_tokens: request.max_tokens,
            is_later_turn: request.is_later_turn(),
        }
    }
}

/// Requests in order.
#[derive(Debug)]
pub struct RequestIter<'a>(IterSource<'a>);

#[derive(Debug)]
enum IterSource<'a> {
    Kept(std::slice::Iter<'a, Request>),
    Spooled(SpooledIter<'a>),
}

impl<'a> Iterator for RequestIter<'a> {
    type Item = Cow<'a, Request>;

    fn next(&mut self) -> Option<Cow<'a, Request>> {
        match &mut self.0 {
            IterSource::Kept(requests) => requests.next().map(Cow::Borrowed),
            IterSource::Spooled(requests) => requests.next().map(Cow::Owned),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.0 {
            IterSource::Kept(requests) => requests.size_hint(),
            IterSource::Spooled(requests) => requests.size_hint(),
        }
    }
}

/// Reads requests at any index, and fast in about ascending order.
#[derive(Debug)]
pub struct RequestReader<'a>(ReaderSource<'a>);

#[derive(Debug)]
enum ReaderSource<'a> {
    Kept(&'a [Request]),
    Spooled { reader: SpooledReader<'a>, begin: usize, len: usize },
}

impl<'a> RequestReader<'a> {
    /// The request at an index.
    ///
    /// # Panics
    /// If there is none.
    pub fn get(&mut self, index: usize) -> Cow<'a, Request> {
        match &mut self.0 {
            ReaderSource::Kept(requests) => Cow::Borrowed(&requests[index]),
            ReaderSource::Spooled { reader, begin, len } => {
                assert!(index < *len, "there is no request {index} of {len}");
                Cow::Owned(reader.request(*begin + index))
            }
        }
    }

    /// The request at an index, perhaps without its content; `None` if there is no such request.
    pub(crate) fn without_content(&mut self, index: usize) -> Option<Cow<'a, Request>> {
        match &mut self.0 {
            ReaderSource::Kept(requests) => requests.get(index).map(Cow::Borrowed),
            ReaderSource::Spooled { reader, begin, len } => {
                (index < *len).then(|| Cow::Owned(reader.without_content(*begin + index)))
            }
        }
    }

    /// The outline of the request at an index; `None` if there is no such request.
    pub fn outline(&mut self, index: usize) -> Option<RequestOutline> {
        match &mut self.0 {
            ReaderSource::Kept(requests) => requests.get(index).map(RequestOutline::from),
            ReaderSource::Spooled { reader, begin, len } => {
                (index < *len).then(|| reader.outline(*begin + index))
            }
        }
    }
}

#[cfg(test)]
mod tests;
