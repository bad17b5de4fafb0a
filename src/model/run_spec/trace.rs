//! Traces: recorded requests with their arrival times.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::seconds;

/// A trace and the parameters of its replay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// The kind of the trace.
    pub kind: TraceKind,
    /// The path of the file.
    pub path: PathBuf,
    /// The columns of the file.
    pub columns: TraceColumns,
    /// The unit of a numeric timestamp, in seconds.
    pub unit_s: f64,
    /// The number of tokens that a block hash represents; `None` infers it from the rows.
    pub block_tokens: Option<NonZeroU32>,
    /// Send requests at their timestamps; otherwise only the lengths are used.
    pub timed: bool,
    /// The speed of the replay relative to the recording.
    pub speed: f64,
    /// The part of the trace to replay; `None` replays all of it.
    pub window: Option<TraceWindow>,
    /// Send token IDs instead of text.
    pub token_ids: bool,
    /// Send the whole prompt of each turn instead of only its new part. Set with `--history none`, where requests
    /// repeat no earlier turns.
    #[serde(default)]
    pub whole_turns: bool,
    /// The meaning of the lengths in a session's rows; `None` assumes whole prompts, and rows that contradict this are
    /// an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lengths: Option<TraceLengths>,
}

/// The meaning of the length in a session's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TraceLengths {
    /// The length of the whole prompt, history included.
    Prompt,
    /// The length that the turn adds to the history.
    Turn,
}

impl Trace {
    /// Returns whether the trace's rows are turns of sessions.
    pub fn has_sessions(&self) -> bool {
        self.columns.session.is_some()
    }

    /// Returns whether the rows' timestamps matter: for the send times, the selection, the order, or the think times.
    pub fn uses_timestamps(&self) -> bool {
        self.timed || self.window.is_some() || self.has_sessions()
    }
}

/// The kind of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TraceKind {
    /// vLLM's `timed_trace`: JSONL in Mooncake's format.
    TimedTrace,
    /// The Azure LLM inference traces.
    Azure,
    /// BurstGPT.
    Burstgpt,
    /// A file with any columns.
    Trace,
}

impl TraceKind {
    /// The dataset's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::TimedTrace => "timed_trace",
            Self::Azure => "azure",
            Self::Burstgpt => "burstgpt",
            Self::Trace => "trace",
        }
    }
}

/// The names of a trace's columns (CSV) or keys (JSONL).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceColumns {
    /// The arrival time.
    pub timestamp: String,
    /// The number of prompt tokens.
    pub input: String,
    /// The number of output tokens.
    pub output: String,
    /// The hashes of the prompt's blocks; `None` if the trace has none.
    pub hashes: Option<String>,
    /// The session that a request is a turn of; `None` if each request stands alone.
    pub session: Option<String>,
    /// The response time, in the unit of the timestamps; `None` if the trace does not have it.
    #[serde(default)]
    pub duration: Option<String>,
    /// The group of requests whose prompts continue one text, each sent at its own time; `None` if the trace has none.
    #[serde(default)]
    pub prefix: Option<String>,
}

/// A part of a trace, in trace time from its first row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceWindow {
    /// The start of the part.
    #[serde(rename = "from_s", with = "seconds")]
    pub from: Duration,
    /// The end of the part, exclusive; `None` is the end of the trace.
    #[serde(rename = "to_s", with = "seconds::option")]
    pub to: Option<Duration>,
}
