//! Traces: requests with the times at which they came.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::units::seconds;

/// A trace and how it is replayed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// Whose it is.
    pub kind: TraceKind,
    /// The file.
    pub path: PathBuf,
    /// Where it has what.
    pub columns: TraceColumns,
    /// How many seconds the unit of a numeric time stamp is.
    pub unit_s: f64,
    /// How many tokens a block hash stands for; `None` is what fits the rows.
    pub block_tokens: Option<NonZeroU32>,
    /// Send at the time stamps; else only the lengths are taken.
    pub timed: bool,
    /// How many times as fast as it was.
    pub speed: f64,
    /// Only this stretch of it.
    pub window: Option<TraceWindow>,
    /// Send token ids instead of text.
    pub token_ids: bool,
    /// Of sessions, send each turn's whole prompt instead of what it adds to what was said: for a history of none.
    #[serde(default)]
    pub whole_turns: bool,
}

impl Trace {
    /// Whether its rows are turns of sessions.
    pub fn has_sessions(&self) -> bool {
        self.columns.session.is_some()
    }

    /// Whether the rows' times matter: for when they are sent, which are, in which order, or how long users think.
    pub fn needs_times(&self) -> bool {
        self.timed || self.window.is_some() || self.has_sessions()
    }
}

/// Whose trace it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TraceKind {
    /// vLLM's `timed_trace`: JSONL as of Mooncake.
    TimedTrace,
    /// The Azure LLM inference traces.
    Azure,
    /// BurstGPT.
    Burstgpt,
    /// Anything with columns.
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
    /// The time of arrival.
    pub timestamp: String,
    /// The prompt's tokens.
    pub input: String,
    /// The output's tokens.
    pub output: String,
    /// The hashes of the prompt's blocks; `None` where the trace has none.
    pub hashes: Option<String>,
    /// The session that a request is a turn of; `None` where each is by itself.
    pub session: Option<String>,
    /// How long an answer took, in the unit of the time stamps; `None` where the trace does not say.
    #[serde(default)]
    pub duration: Option<String>,
    /// What requests have in common whose prompts continue one text, each sent at its own time; `None` where the trace has
    /// none.
    #[serde(default)]
    pub prefix: Option<String>,
}

/// A stretch of a trace, by its own time from its first row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceWindow {
    /// Where it begins.
    #[serde(rename = "from_s", with = "seconds")]
    pub from: Duration,
    /// Where it ends, itself not in it; `None` is the end of the trace.
    #[serde(rename = "to_s", with = "seconds::option")]
    pub to: Option<Duration>,
}
