//! The truth log: what happened to each request, told by the one who made it happen.
//!
//! A file of JSON lines. The first is the header
//! `{"clock":"monotonic","base_unix_ns":N,"version":...}`: every `*_ns` of the other lines is nanoseconds of the monotonic clock
//! since an instant at which the wall clock said `base_unix_ns`. Then one line for each
//! request for text, embeddings or scores, written when its answer has ended or its client has left:
//!
//! - `id` (the request's `x-request-id`, or made up), `ordinal` (requests are numbered as they are read), `fault`;
//! - `path`, `model` (as asked for), `session` (the request's `x-session-id`), `max_tokens` (as asked for);
//! - `arrived_ns`: the kernel had received the request's last byte (`null` where the server does not ask it);
//! - `read_ns`: the request's body had been read;
//! - `prompt_tokens`, `cached_tokens` (of the prompt, from the prefix cache), `output_tokens` (handed out, the
//!   end-of-sequence token included), `finish_reason` (`null` if the answer did not get that far);
//! - `cancelled`: the client left before the answer was complete;
//! - `prompt_blocks`, if it was switched on: a hash for each of the prompt's first full blocks, in hexadecimal. A hash stands for
//!   its block and all before it, so two prompts of one log share a beginning as far as their hashes are equal. A request of
//!   several prompts has the hashes of one after the other;
//! - `tokens_ns`: for each event that carries output text, when it was handed to the connection for writing;
//!   `step_ns`: when the step that made the event's last token ended; `first_token_ns`: the first of `tokens_ns`;
//! - `done_ns`: the answer's last frame was handed over, or the client was gone.
//!
//! An order to the profiler is a line of its own, `{"order":"/start_profile","at_ns":N}`: when it was read.
//!
//! A token without text (the end of the sequence) has no entry in `tokens_ns`, as no client can see it.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    ops::{Deref, DerefMut},
    path::Path,
    sync::{Arc, Mutex},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use serde::{Serialize, Serializer};

use super::{VERSION, blocks::content_hash, fault::FaultKind, plan::Finish};

/// Where stories go; without a file they are dropped. Clones write to the same file.
#[derive(Clone)]
pub(super) struct TruthLog {
    base: Instant,
    book: Option<Arc<Mutex<Book>>>,
}

struct Book {
    name: String,
    file: BufWriter<File>,
    /// The first write that failed.
    failure: Option<io::Error>,
}

/// One line of the log.
#[derive(Debug, Default, Serialize)]
pub(super) struct Story {
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
    pub finish_reason: Option<Finish>,
    pub cancelled: bool,
    pub first_token_ns: Option<u64>,
    pub done_ns: u64,
    pub tokens_ns: Vec<u64>,
    pub step_ns: Vec<u64>,
}

/// A line for what the server was told to do.
#[derive(Serialize)]
struct Order<'a> {
    order: &'a str,
    at_ns: u64,
}

/// A story that is still being told. Dropping it writes its line.
pub(super) struct Entry {
    log: TruthLog,
    story: Story,
}

impl Entry {
    /// The client of a story that goes on is taken to have left until `cancelled` is set otherwise: who leaves is gone
    /// without a word.
    pub(super) fn new(log: &TruthLog, story: Story) -> Self {
        Self { log: log.clone(), story: Story { cancelled: true, ..story } }
    }
}

impl Deref for Entry {
    type Target = Story;

    fn deref(&self) -> &Story {
        &self.story
    }
}

impl DerefMut for Entry {
    fn deref_mut(&mut self) -> &mut Story {
        &mut self.story
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.story.done_ns = self.log.stamp(Instant::now());
        self.log.append(&self.story);
    }
}

/// The chained hashes of the first full blocks of a prompt, `most` of them at most.
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
    /// Opens the log, or none; an existing file is overwritten.
    pub(super) fn create(path: Option<&Path>) -> io::Result<Self> {
        let (base, wall) = (Instant::now(), SystemTime::now());
        let Some(path) = path else { return Ok(Self { base, book: None }) };
        let name = path.display().to_string();
        let mut file = BufWriter::new(File::create(path).map_err(|error| cannot_write(&name, error))?);
        let base_unix_ns = wall.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let header = format!(
            "{{\"clock\":\"monotonic\",\"base_unix_ns\":{base_unix_ns},\"version\":\"{VERSION}\"}}\n"
        );
        file.write_all(header.as_bytes()).map_err(|error| cannot_write(&name, error))?;
        let book = Book { name, file, failure: None };
        Ok(Self { base, book: Some(Arc::new(Mutex::new(book))) })
    }

    /// Nanoseconds from the log's base to `instant`.
    pub(super) fn stamp(&self, instant: Instant) -> u64 {
        u64::try_from(instant.saturating_duration_since(self.base).as_nanos()).unwrap_or(u64::MAX)
    }

    /// Adds a line for an order that was just read.
    pub(super) fn order(&self, path: &str) {
        self.append(&Order { order: path, at_ns: self.stamp(Instant::now()) });
    }

    /// Adds a line. What cannot be written is reported by [`flush`](Self::flush), as the answer is given anyway.
    pub(super) fn append(&self, line: &impl Serialize) {
        let Some(book) = &self.book else { return };
        let mut book = book.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let written = serde_json::to_vec(line).map_err(io::Error::other).and_then(|mut line| {
            line.push(b'\n');
            book.file.write_all(&line)
        });
        if let Err(error) = written {
            book.failure.get_or_insert(error);
        }
    }

    /// Writes out what is buffered; the error is the first that any write met.
    pub(super) fn flush(&self) -> io::Result<()> {
        let Some(book) = &self.book else { return Ok(()) };
        let mut book = book.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let flushed = book.file.flush();
        book.failure.take().map_or(flushed, Err).map_err(|error| cannot_write(&book.name, error))
    }
}

fn cannot_write(name: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot write the truth log {name}: {error}"))
}
