//! Parses the lines of a server's log: every released version of vLLM, SGLang, and TensorRT-LLM.
//!
//! A [`LogLine`] is parsed from any bytes, independently of other lines. [`YearInference`] and
//! [`log_summary`](crate::server::log_summary) combine lines: years, durations, alerts. vLLM's formats are those of
//! its sources from v0.1.7 to v0.32, for both of its frontends; the tests cover each of them.

mod access;
mod key_values;
mod lines;
mod preemption;
mod severity;
mod sglang;
mod spec_decode;
mod startup;
mod stats;
mod timestamp;
mod trtllm;

use std::borrow::Cow;
use std::sync::LazyLock;

use memchr::memmem::Finder;

pub(crate) use crate::server::log::spec_decode::SpecDecodeLine;
pub(crate) use crate::server::log::startup::StartupInfo;
pub(crate) use crate::server::log::timestamp::{LogTime, LogTimestamp, YearInference};
pub(crate) use access::AccessLine;
pub use lines::LogLines;
pub(crate) use stats::{EngineId, PrefixHitRates, StatsLine};

/// One line of a log.
#[derive(Debug, Clone, PartialEq)]
pub struct LogLine {
    /// The time at which the line was written; `None` for a line without one, such as inside a traceback.
    pub stamp: Option<LogTimestamp>,
    /// The number of the engine core that wrote the line, if vLLM has several (data parallelism).
    pub engine_core: Option<u16>,
    /// The line's content.
    pub entry: LogEvent,
}

/// The content of a line.
#[derive(Debug, Clone, PartialEq)]
pub enum LogEvent {
    /// The periodic statistics line.
    Stats(StatsLine),
    /// V0's prefix cache hit rates, on a separate line.
    HitRate(PrefixHitRates),
    /// Speculative decoding, on a separate line.
    Drafts(SpecDecodeLine),
    /// A request was preempted (V0). V1 counts preemptions in the periodic line.
    Preempted {
        /// Preemptions since the server's start. vLLM logs only every fiftieth.
        total: u64,
    },
    /// Requests were preempted (SGLang): how many at this moment.
    Retracted(u64),
    /// The periodic line of a rank that repeats another rank's statistics.
    Repeated,
    /// An HTTP request.
    Access(AccessLine),
    /// A line with an error level, or the start of a traceback.
    Error,
    /// A process ran out of memory.
    OutOfMemory,
    /// The GPUs of a tensor-parallel group have no fast connection: no NVLink, or not even peer-to-peer copies.
    SlowLinks,
    /// Facts about the server's start.
    StartUp(Box<StartupInfo>),
    /// The line begins like one of the above but is incomplete.
    Damaged,
    /// Any other line.
    Unknown,
}

/// Parses the text before and after a mark; returns `None` if the line is incomplete.
type ParseLogFn = fn(&[u8], &str) -> Option<LogEvent>;

/// The marks that identify a line's type, each with its parser. The first mark that a line contains decides.
const LINE_MARKS: [(&str, ParseLogFn); 33] = [
    // These lines contain a request's prompt, which may hold anything, such as another server's log.
    ("Received request ", |_, _| Some(LogEvent::Unknown)),
    ("Receive: obj=", |_, _| Some(LogEvent::Unknown)),
    ("Finish: obj=", |_, _| Some(LogEvent::Unknown)),
    // Most lines of most logs. Checked early, so that the other marks need not be searched for.
    (" HTTP/1.", |before, text| {
        Some(access::parse_access(before, text.as_bytes()).map_or(LogEvent::Unknown, LogEvent::Access))
    }),
    ("Avg prompt throughput: ", |before, text| stats::parse_stats(before, text).map(LogEvent::Stats)),
    ("Avg prompt tput: ", |_, text| stats::parse_rust_stats(text).map(LogEvent::Stats)),
    ("Decode batch", parse_batch_line),
    ("Prefill batch", parse_batch_line),
    (" global_rank = ", |_, text| one_of_ranks(trtllm::parse_iteration(text))),
    ("Prefix cache hit rate: GPU: ", |_, text| stats::parse_hit_rate(text).map(LogEvent::HitRate)),
    ("SpecDecoding metrics: ", |_, text| spec_decode::parse_spec_decode(text).map(LogEvent::Drafts)),
    ("Speculative metrics: ", |_, text| spec_decode::parse_spec_decode_v0(text).map(LogEvent::Drafts)),
    ("#retracted_reqs: ", |_, text| sglang::retracted(text).map(LogEvent::Retracted)),
    (" is preempted by ", |_, text| {
        preemption::parse_preemption(text).map(|total| LogEvent::Preempted { total })
    }),
    ("CUDA out of memory", |_, _| Some(LogEvent::OutOfMemory)),
    ("HIP out of memory", |_, _| Some(LogEvent::OutOfMemory)),
    ("failure 'out of memory'", |_, _| Some(LogEvent::OutOfMemory)),
    ("OutOfMemoryError", |_, _| Some(LogEvent::OutOfMemory)),
    ("No available memory for the cache blocks", |_, _| Some(LogEvent::OutOfMemory)),
    ("not supported on more than two PCIe-only GPUs", |_, _| Some(LogEvent::SlowLinks)),
    ("your platform lacks GPU P2P capability", |_, _| Some(LogEvent::SlowLinks)),
    ("KV cache size: ", |_, text| startup_event(startup::kv_cache(text))),
    ("# GPU blocks: ", |_, text| startup_event(startup::blocks(text))),
    ("Maximum concurrency for ", |_, text| startup_event(startup::concurrency(text))),
    ("non-default args: ", |_, text| startup_event(startup::arguments(text))),
    ("args: Namespace(", |_, text| startup_event(startup::namespace(text))),
    ("Chunked prefill is enabled with ", |_, text| startup_event(startup::chunked_prefill(text))),
    (" LLM engine with config: ", |_, text| startup_event(startup::configuration(text))),
    (" LLM engine (v", |_, text| startup_event(startup::engine(text))),
    ("LLM API server version ", |_, text| startup_event(startup::server(text))),
    ("Traceback (most recent call last)", |_, _| Some(LogEvent::Error)),
    ("Received sigquit from a child process", |_, _| Some(LogEvent::Error)),
    ("Fatal Python error: ", |_, _| Some(LogEvent::Error)),
];

static FINDERS: LazyLock<Vec<(Finder<'static>, ParseLogFn)>> =
    LazyLock::new(|| LINE_MARKS.iter().map(|&(mark, read)| (Finder::new(mark), read)).collect());

/// Parses a line without its line end. Accepts any bytes.
pub fn parse_line(line: &[u8]) -> LogLine {
    let line = without_colors(line);
    LogLine {
        stamp: timestamp::find_timestamp(&line),
        engine_core: engine_core(&line),
        entry: parse_event(&line),
    }
}

fn parse_event(line: &[u8]) -> LogEvent {
    let found =
        FINDERS.iter().find_map(|(finder, read)| Some((finder.find(line)?, finder.needle().len(), read)));
    let entry = found.map_or(LogEvent::Unknown, |(at, length, read)| {
        let rest = without_separator(&line[at + length..]);
        read(&line[..at], &text(rest)).unwrap_or(LogEvent::Damaged)
    });
    if entry == LogEvent::Unknown && severity::is_error(line) { LogEvent::Error } else { entry }
}

/// The bytes without blanks and commas at the end: SGLang ends some of its lines with `, `, and other programs that
/// pass lines on add blanks.
fn without_separator(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| !byte.is_ascii_whitespace() && *byte != b',');
    &bytes[..end.map_or(0, |at| at + 1)]
}

/// The bytes as text. Nearly all lines are valid UTF-8, and validation is faster than repair.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

/// SGLang's batch line. Other lines contain its first words too.
fn parse_batch_line(before: &[u8], text: &str) -> Option<LogEvent> {
    if ![". #", ", #", " ["].iter().any(|next| text.starts_with(next)) {
        return Some(LogEvent::Unknown);
    }
    one_of_ranks(sglang::parse_batch(&self::text(before), text))
}

/// The statistics of a rank, unless the line repeats another rank's.
fn one_of_ranks(read: Option<Option<StatsLine>>) -> Option<LogEvent> {
    read.map(|stats| stats.map_or(LogEvent::Repeated, LogEvent::Stats))
}

/// Returns the engine's number: 1 in `(EngineCore_DP1 pid=9)`, and in v0.10.0's `(EngineCore_1 pid=9)`.
fn engine_core(line: &[u8]) -> Option<u16> {
    const NAME: &[u8] = b"(EngineCore_";
    let head = &line[..line.len().min(128)];
    let rest = &head[memchr::memmem::find(head, NAME)? + NAME.len()..];
    let rest = rest.strip_prefix(b"DP").unwrap_or(rest);
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()
}

fn startup_event(found: Option<StartupInfo>) -> Option<LogEvent> {
    found.map(|start| LogEvent::StartUp(Box::new(start)))
}

/// The line without the colors that vLLM writes on a terminal.
fn without_colors(line: &[u8]) -> Cow<'_, [u8]> {
    const ESCAPE: u8 = 0x1b;
    if memchr::memchr(ESCAPE, line).is_none() {
        return Cow::Borrowed(line);
    }
    let mut plain = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = memchr::memchr(ESCAPE, rest) {
        plain.extend_from_slice(&rest[..at]);
        let colour = &rest[at + 1..];
        // A color is `[`, numbers, and an `m`. Of any other sequence, only the escape byte is removed.
        let length = colour.iter().take_while(|byte| matches!(byte, b'[' | b';' | b'0'..=b'9')).count();
        rest = if colour.get(length) == Some(&b'm') { &colour[length + 1..] } else { colour };
    }
    plain.extend_from_slice(rest);
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests;
