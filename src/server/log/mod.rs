//! vLLM's log: what its lines say, of every version that was ever released.
//!
//! A [`Line`] is read by itself, from any bytes. What joins lines (years, spans, alerts) is [`Calendar`]'s and the
//! judge's. The forms are those of vLLM's sources from v0.1.7 to v0.32; the tests have each of them.

mod drafts;
mod fields;
mod lines;
mod stamp;
mod start;
mod stats;
mod trouble;

use std::borrow::Cow;
use std::sync::LazyLock;

use memchr::memmem::Finder;

pub use drafts::Drafts;
pub use lines::Lines;
pub use stamp::{Calendar, Moment, Stamp};
pub use start::{Concurrency, StartUp};
pub use stats::{Engine, HitRate, Stats};

/// One line of a log.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// When it was written; `None` in the middle of a traceback, say.
    pub stamp: Option<Stamp>,
    /// What it says.
    pub entry: Entry,
}

/// What a line says, if it is one that means something here.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// The periodic line.
    Stats(Stats),
    /// The hit rates of V0, in a line of their own.
    HitRate(HitRate),
    /// Speculative decoding, in a line of its own.
    Drafts(Drafts),
    /// A request lost its place in the KV cache (V0). V1 counts preemptions in the periodic line.
    Preempted {
        /// Preemptions since the server's start. Only every fiftieth is logged.
        total: u64,
    },
    /// There was not enough memory.
    OutOfMemory,
    /// Facts of the start.
    StartUp(Box<StartUp>),
    /// It begins like one of the above and is not whole.
    Damaged,
    /// Anything else.
    Unknown,
}

/// Reads what follows a mark; `None` if the line is not whole.
type Read = fn(&str) -> Option<Entry>;

/// What tells a kind of line, and how to read it from there. The first that a line has decides.
const MARKS: [(&str, Read); 21] = [
    // Most lines of most logs: a request as uvicorn has it. Known at once, they need not be searched for the rest.
    (" HTTP/1.1\" ", |_| Some(Entry::Unknown)),
    // A request's prompt is in this line, and may hold anything, such as the log of another server.
    ("Received request ", |_| Some(Entry::Unknown)),
    ("Avg prompt throughput: ", |text| stats::read(text).map(Entry::Stats)),
    ("Prefix cache hit rate: GPU: ", |text| stats::read_hit_rate(text).map(Entry::HitRate)),
    ("SpecDecoding metrics: ", |text| drafts::read(text).map(Entry::Drafts)),
    ("Speculative metrics: ", |text| drafts::read_v0(text).map(Entry::Drafts)),
    (" is preempted by ", |text| trouble::preempted(text).map(|total| Entry::Preempted { total })),
    ("CUDA out of memory", |_| Some(Entry::OutOfMemory)),
    ("HIP out of memory", |_| Some(Entry::OutOfMemory)),
    ("failure 'out of memory'", |_| Some(Entry::OutOfMemory)),
    ("OutOfMemoryError", |_| Some(Entry::OutOfMemory)),
    ("No available memory for the cache blocks", |_| Some(Entry::OutOfMemory)),
    ("KV cache size: ", |text| facts(start::kv_cache(text))),
    ("# GPU blocks: ", |text| facts(start::blocks(text))),
    ("Maximum concurrency for ", |text| facts(start::concurrency(text))),
    ("non-default args: ", |text| facts(start::arguments(text))),
    ("args: Namespace(", |text| facts(start::namespace(text))),
    ("Chunked prefill is enabled with ", |text| facts(start::chunked_prefill(text))),
    (" LLM engine with config: ", |text| facts(start::configuration(text))),
    (" LLM engine (v", |text| facts(start::engine(text))),
    ("LLM API server version ", |text| facts(start::server(text))),
];

static FINDERS: LazyLock<Vec<(Finder<'static>, Read)>> =
    LazyLock::new(|| MARKS.iter().map(|&(mark, read)| (Finder::new(mark), read)).collect());

/// Reads a line, without its end. Any bytes will do.
pub fn read(line: &[u8]) -> Line {
    let line = uncoloured(line);
    Line { stamp: stamp::find(&line), entry: entry(&line) }
}

fn entry(line: &[u8]) -> Entry {
    let found =
        FINDERS.iter().find_map(|(finder, read)| Some((finder.find(line)?, finder.needle().len(), read)));
    let Some((at, length, read)) = found else { return Entry::Unknown };
    // The periodic line tells its engine before the mark.
    let from = if at_stats(line, at) { engine_start(line, at) } else { at + length };
    read(&text(&line[from..])).unwrap_or(Entry::Damaged)
}

/// The bytes as text. Whole UTF-8, as nearly all of it is, is checked faster than it is mended.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

fn at_stats(line: &[u8], at: usize) -> bool {
    line[at..].starts_with(b"Avg prompt throughput: ")
}

/// Where `Engine 000: ` or `2 Engines Aggregated: ` begins, in front of `at`; else `at` itself.
fn engine_start(line: &[u8], at: usize) -> usize {
    let head = line[..at].strip_suffix(b": ").unwrap_or_default();
    let from = memchr::memrchr(b']', head).map_or(0, |bracket| bracket + 1);
    if head.len() - from <= stats::LONGEST_ENGINE { from } else { at }
}

fn facts(found: Option<StartUp>) -> Option<Entry> {
    found.map(|start| Entry::StartUp(Box::new(start)))
}

/// The line without the colours that vLLM writes on a terminal.
fn uncoloured(line: &[u8]) -> Cow<'_, [u8]> {
    const ESCAPE: u8 = 0x1b;
    if memchr::memchr(ESCAPE, line).is_none() {
        return Cow::Borrowed(line);
    }
    let mut plain = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = memchr::memchr(ESCAPE, rest) {
        plain.extend_from_slice(&rest[..at]);
        let colour = &rest[at + 1..];
        // A colour is `[`, numbers, and an `m`; of anything else only the escape itself goes.
        let length = colour.iter().take_while(|byte| matches!(byte, b'[' | b';' | b'0'..=b'9')).count();
        rest = if colour.get(length) == Some(&b'm') { &colour[length + 1..] } else { colour };
    }
    plain.extend_from_slice(rest);
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests;
