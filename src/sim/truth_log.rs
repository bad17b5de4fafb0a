//! The truth log: the true times and counts of each request, as recorded by the simulated server itself.
//!
//! [`crate::sim`] describes the format.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    ops::{Deref, DerefMut},
    path::Path,
    sync::{Arc, Mutex},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use serde::{Serialize, Serializer};

use super::{VERSION, fault::FaultKind, scheduler::content_hash};
use crate::sim::output_plan::SimFinishReason;

/// Writes traces to a file; without a file, drops them. Clones write to the same file.
#[derive(Clone)]
pub(super) struct TruthLog {
    base: Instant,
    file: Option<Arc<Mutex<TruthLogFile>>>,
}

struct TruthLogFile {
    name: String,
    file: BufWriter<File>,
    /// The first write that failed.
    failure: Option<io::Error>,
}

/// One request's line in the log.
#[derive(Debug, Default, Serialize)]
pub(super) struct RequestTrace {
    pub id: String,
    pub ordinal: u64,
    pub path: String,
    pub model: String,
    pub session: Option<String>,
    #[serde(serialize_with = "fault_name")]
    pub fault: Option<FaultKind>,
    pub stream: bool,
    pub arrived_ns: Option<u64>,
    pub read_ns: u64,
    pub max_tokens: Option<usize>,
    pub prompt_tokens: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_blocks: Option<Vec<String>>,
    pub cached_tokens: usize,
    pub output_tokens: usize,
    pub finish_reason: Option<SimFinishReason>,
    pub cancelled: bool,
    pub queued_ns: Option<u64>,
    pub scheduled_ns: Option<u64>,
    pub first_token_ns: Option<u64>,
    pub done_ns: u64,
    pub tokens_ns: Vec<u64>,
    pub step_ns: Vec<u64>,
}

/// The log's line for an administrative request.
#[derive(Serialize)]
struct AdminLogLine<'a> {
    /// The request's HTTP path.
    #[serde(rename = "order")]
    path: &'a str,
    at_ns: u64,
}

/// An unfinished trace. Dropping it writes its line.
pub(super) struct OpenTrace {
    log: TruthLog,
    story: RequestTrace,
}

impl OpenTrace {
    /// Opens a trace. Its client counts as gone until `cancelled` is reset, since a client that leaves causes no
    /// other event.
    pub(super) fn new(log: &TruthLog, story: RequestTrace) -> Self {
        Self { log: log.clone(), story: RequestTrace { cancelled: true, ..story } }
    }
}

impl Deref for OpenTrace {
    type Target = RequestTrace;

    fn deref(&self) -> &RequestTrace {
        &self.story
    }
}

impl DerefMut for OpenTrace {
    fn deref_mut(&mut self) -> &mut RequestTrace {
        &mut self.story
    }
}

impl Drop for OpenTrace {
    fn drop(&mut self) {
        self.story.done_ns = self.log.offset_ns(Instant::now());
        self.log.append(&self.story);
    }
}

/// Returns the chained hashes of a prompt's first full blocks, at most `most` of them.
pub(super) fn prompt_hashes(prompt: &[u32], block_size: usize, most: usize) -> Vec<String> {
    let blocks = prompt.chunks_exact(block_size).take(most);
    let chain = blocks.scan(None, |before, block| {
        *before = Some(content_hash(*before, block));
        *before
    });
    chain.map(|hash| format!("{hash:016x}")).collect()
}

fn fault_name<S: Serializer>(fault: &Option<FaultKind>, serializer: S) -> Result<S::Ok, S::Error> {
    fault.map(FaultKind::name).serialize(serializer)
}

impl TruthLog {
    /// Creates the log, or one without a file. An existing file is overwritten.
    pub(super) fn create(path: Option<&Path>) -> io::Result<Self> {
        let (base, wall) = (Instant::now(), SystemTime::now());
        let Some(path) = path else { return Ok(Self { base, file: None }) };
        let name = path.display().to_string();
        let mut file = BufWriter::new(File::create(path).map_err(|error| cannot_write(&name, error))?);
        let base_unix_ns = wall.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let header = format!(
            "{{\"clock\":\"monotonic\",\"base_unix_ns\":{base_unix_ns},\"version\":\"{VERSION}\"}}\n"
        );
        file.write_all(header.as_bytes()).map_err(|error| cannot_write(&name, error))?;
        let book = TruthLogFile { name, file, failure: None };
        Ok(Self { base, file: Some(Arc::new(Mutex::new(book))) })
    }

    /// Returns the nanoseconds from the log's base to `instant`.
    pub(super) fn offset_ns(&self, instant: Instant) -> u64 {
        u64::try_from(instant.saturating_duration_since(self.base).as_nanos()).unwrap_or(u64::MAX)
    }

    /// Appends the line of an administrative request that was just read.
    pub(super) fn append_admin_request(&self, path: &str) {
        self.append(&AdminLogLine { path, at_ns: self.offset_ns(Instant::now()) });
    }

    /// Appends a line. [`flush`](Self::flush) reports write errors, since the answer is sent regardless.
    pub(super) fn append(&self, line: &impl Serialize) {
        let Some(book) = &self.file else { return };
        let mut book = book.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let written = serde_json::to_vec(line).map_err(io::Error::other).and_then(|mut line| {
            line.push(b'\n');
            book.file.write_all(&line)
        });
        if let Err(error) = written {
            book.failure.get_or_insert(error);
        }
    }

    /// Flushes the buffer. Returns the first error of any write.
    pub(super) fn flush(&self) -> io::Result<()> {
        let Some(book) = &self.file else { return Ok(()) };
        let mut book = book.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let flushed = book.file.flush();
        book.failure.take().map_or(flushed, Err).map_err(|error| cannot_write(&book.name, error))
    }
}

fn cannot_write(name: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot write the truth log {name}: {error}"))
}
