//! The messages between the clients of one run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::loadgen::LoadEnd;
use crate::model::run::RunInputs;
use crate::model::run_spec::Spec;
use crate::model::shard::Shard;
use crate::runner::SharedWorkload;

/// The beginning of every path.
pub(super) const PATH: &str = "/servegauge/shards";

/// The version of the messages.
pub(super) const PROTOCOL: u32 = 5;

/// A client asks to join.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Join {
    pub protocol: u32,
    pub shard: Shard,
    /// The version of the client's program.
    pub version: String,
    /// The client's host name.
    pub host: String,
    /// The process, so that it may ask again if the answer is lost.
    pub process: Uuid,
}

/// The first client's clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Clocks {
    /// Monotonic nanoseconds since the first client began to listen.
    pub monotonic_ns: u64,
    /// Nanoseconds since the Unix epoch.
    pub wall_ns: u64,
}

/// A client asks for the run after the one with this number. The first run is number 1.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Next {
    pub shard: Shard,
    pub after: u64,
}

/// What a client is to do next.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum NextRun {
    /// Ask again: the first client has not begun a run yet.
    Wait,
    /// Prepare this run.
    Begin(Box<RunOrder>),
    /// There is no further run.
    Over,
}

/// A run that all clients send together.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct RunOrder {
    pub number: u64,
    pub run: Uuid,
    /// The Spec, without secrets.
    pub spec: Spec,
    /// The index of the server among those that the clients measure in turn.
    pub server: usize,
}

/// A client asks for the requests of a run, which the process of shard 0 prepares for those that it started.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct WorkloadQuery {
    pub shard: Shard,
    pub number: u64,
}

/// How a client gets the requests of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum WorkloadOffer {
    /// Ask again: they are not prepared yet.
    Wait,
    /// The client is to prepare them.
    Prepare,
    /// They are prepared.
    Take(Box<SharedWorkload>),
}

/// A client has prepared the requests of a run. The answer is the start, once all clients are ready.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Ready {
    pub shard: Shard,
    pub number: u64,
    pub identity: RunIdentity,
}

/// When the load begins, on the first client's monotonic clock.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Start {
    pub monotonic_ns: u64,
}

/// A client cannot take part in a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Failed {
    pub shard: Shard,
    pub number: u64,
    pub error: String,
}

/// A client is alive, and this is the state of its load. The message has the next bytes of its record log after this.
/// All numbers are totals, so a message that is lost or repeated changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Beat {
    pub shard: Shard,
    pub number: u64,
    /// The measured requests sent, and the gaps between output events.
    pub sent: u64,
    pub gaps: u64,
    /// The position of the bytes in the log.
    pub offset: u64,
    /// Whether the log ends with these bytes.
    pub is_end: bool,
}

impl Beat {
    /// The message with these bytes of the log.
    pub(super) fn encode(&self, log: &[u8]) -> serde_json::Result<Vec<u8>> {
        let mut message = serde_json::to_vec(self)?;
        message.push(b'\n');
        message.extend_from_slice(log);
        Ok(message)
    }

    /// Reads a message; `None` if it is none.
    pub(super) fn decode(message: &[u8]) -> Option<(Self, &[u8])> {
        let end = message.iter().position(|byte| *byte == b'\n')?;
        Some((serde_json::from_slice(&message[..end]).ok()?, &message[end + 1..]))
    }
}

/// The answer to a beat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Order {
    /// How the load is to end.
    pub end: LoadEnd,
    /// Whether the user asked for the end of everything.
    pub is_interrupted: bool,
    /// The length of the client's record log that has arrived.
    pub received: u64,
}

/// Why a request is refused.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Refusal {
    pub error: String,
}

/// What must be equal in all clients of a run, by its name for the user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunIdentity(BTreeMap<String, String>);

impl RunIdentity {
    /// The identity of what the flags ask for. The address of the server may differ: each host has its own network.
    pub(crate) fn from_spec(spec: &Spec) -> Self {
        let fields = [
            ("model", spec.target.model.clone()),
            ("backend", spec.target.backend.name().to_owned()),
            ("seed", spec.seed.to_string()),
            ("load", json(&spec.load)),
            ("sampling parameters", json(&spec.sampling)),
        ];
        Self(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// Adds a value under a name for the user.
    pub(crate) fn add(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), value.to_owned());
    }

    /// The identity of a run with these inputs, which was prepared with these flags.
    pub(super) fn with_inputs(&self, inputs: &RunInputs) -> Self {
        let fields = [
            ("dataset", json(&inputs.dataset)),
            // Where it is may differ: a folder of the host, or the host's address of the server.
            ("tokenizer", json(&(inputs.tokenizer.source, &inputs.tokenizer.sha256))),
            ("prompts", inputs.prompts.as_ref().map(ToString::to_string).unwrap_or_default()),
        ];
        let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value));
        Self(self.0.clone().into_iter().chain(fields).collect())
    }

    /// The first name whose value differs, with both values; `None` if all are equal.
    pub(super) fn difference<'a>(&'a self, other: &'a Self) -> Option<(&'a str, &'a str, &'a str)> {
        let mut names = self.0.iter();
        names.find_map(|(name, value)| {
            let other = other.0.get(name).map_or("", String::as_str);
            (value != other).then_some((name.as_str(), value.as_str(), other))
        })
    }

    /// An identity of these values.
    #[cfg(test)]
    pub(super) fn of(fields: &[(&str, &str)]) -> Self {
        Self(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::record::TokenSource;
    use crate::model::run::TokenizerOrigin;
    use crate::testing::sample_run::log_header;

    #[test]
    fn one_tokenizer_may_be_at_another_place_in_each_client() {
        let identity = |origin: &str, source| {
            let mut inputs = log_header().inputs;
            inputs.tokenizer = TokenizerOrigin { origin: origin.to_owned(), sha256: None, source };
            RunIdentity::default().with_inputs(&inputs)
        };
        let first = identity("http://10.0.0.1:8000/tokenize", TokenSource::Tokenizer);
        let other = identity("http://vllm:8000/tokenize", TokenSource::Tokenizer);
        assert_eq!(first.difference(&other), None);
        let estimate = identity("estimate", TokenSource::Estimate);
        assert_eq!(first.difference(&estimate).map(|(name, ..)| name), Some("tokenizer"));
    }

    #[test]
    fn a_beat_carries_bytes_of_the_log_as_they_are() {
        let shard = "1/2".parse().unwrap();
        let beat = Beat { shard, number: 3, sent: 7, gaps: 70, offset: 900, is_end: false };
        let message = beat.encode(b"\n\x00{}\n").unwrap();
        assert_eq!(Beat::decode(&message), Some((beat, &b"\n\x00{}\n"[..])));
        assert_eq!(Beat::decode(b"{}\n"), None);
        assert_eq!(Beat::decode(b"no line"), None);
    }
}
