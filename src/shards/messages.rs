//! The messages between the clients of one run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::model::shard::Shard;
use crate::runner::PreparedRun;

/// The beginning of every path.
pub(super) const PATH: &str = "/servegauge/shards";

/// The version of the messages.
pub(super) const PROTOCOL: u32 = 1;

/// A client asks to join.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Join {
    pub protocol: u32,
    pub shard: Shard,
    /// The version of the client's program.
    pub version: String,
    /// The client's host name.
    pub host: String,
}

/// The run that a client has joined.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Joined {
    pub run: Uuid,
}

/// The first client's clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Clocks {
    /// Monotonic nanoseconds since the first client began to listen.
    pub monotonic_ns: u64,
    /// Nanoseconds since the Unix epoch.
    pub wall_ns: u64,
}

/// A client has prepared its requests.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Ready {
    pub shard: Shard,
    pub identity: RunIdentity,
}

/// When the load begins, on the first client's monotonic clock.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Start {
    pub monotonic_ns: u64,
}

/// A client is alive.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Beat {
    pub shard: Shard,
}

/// Whether a client goes on.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Order {
    pub stop: bool,
}

/// Why a request is refused.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Refusal {
    pub error: String,
}

/// What must be equal in all clients of a run, by its name for the user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunIdentity(BTreeMap<String, String>);

impl RunIdentity {
    /// The identity of a prepared run. The address of the server may differ: each host has its own network.
    pub(crate) fn from_prepared(prepared: &PreparedRun) -> Self {
        let PreparedRun { spec, inputs, .. } = prepared;
        let json = |value: serde_json::Result<String>| value.unwrap_or_default();
        let fields = [
            ("model", spec.target.model.clone()),
            ("backend", spec.target.backend.name().to_owned()),
            ("seed", spec.seed.to_string()),
            ("load", json(serde_json::to_string(&spec.load))),
            ("sampling parameters", json(serde_json::to_string(&spec.sampling))),
            ("dataset", json(serde_json::to_string(&inputs.dataset))),
            ("tokenizer", json(serde_json::to_string(&inputs.tokenizer))),
            ("prompts", inputs.prompts.as_ref().map(ToString::to_string).unwrap_or_default()),
        ];
        Self(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
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
