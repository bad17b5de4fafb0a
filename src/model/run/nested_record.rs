//! Reads the Records of results of schema 1, in which times, token counts and outcomes were objects.

use std::time::Duration;

use serde::Deserialize;

use crate::model::record::{
    Events, Failure, FinishReason, Milestone, OptionalDuration, Record, RequestLabels, RequestTraits,
    Timestamps, TokenCount,
};
use crate::model::request_id::RequestId;
use crate::seconds;

/// A Record that was read from its nested form.
#[derive(Deserialize)]
#[serde(from = "NestedFields")]
pub(super) struct NestedRecord(pub Record);

#[derive(Deserialize)]
struct NestedFields {
    ordinal: usize,
    id: Option<RequestId>,
    times: NestedTimes,
    prompt_tokens: TokenCount,
    cached_tokens: Option<u32>,
    output_tokens: TokenCount,
    #[serde(default)]
    hidden_tokens: u32,
    first_event_tokens: Option<TokenCount>,
    events: Events,
    outcome: Result<FinishReason, Box<Failure>>,
    #[serde(default)]
    leaves_after_s: OptionalDuration,
    input: Option<NestedInput>,
    facets: Option<Box<RequestLabels>>,
}

#[derive(Deserialize)]
struct NestedInput {
    sequences: u32,
    #[serde(default)]
    audio_s: OptionalDuration,
}

#[derive(Deserialize)]
struct NestedTimes {
    #[serde(with = "seconds")]
    due: Duration,
    #[serde(default)]
    released: OptionalDuration,
    sent: OptionalDuration,
    #[serde(default)]
    resolved: OptionalDuration,
    #[serde(default)]
    connected: OptionalDuration,
    #[serde(default)]
    secured: OptionalDuration,
    #[serde(default)]
    written: OptionalDuration,
    headers: OptionalDuration,
    first_chunk: OptionalDuration,
    first_token: OptionalDuration,
    last_token: OptionalDuration,
    done: OptionalDuration,
}

impl From<NestedTimes> for Timestamps {
    fn from(named: NestedTimes) -> Self {
        let mut times = Self::new(named.due);
        for (milestone, at) in [
            (Milestone::Released, named.released),
            (Milestone::Sent, named.sent),
            (Milestone::Resolved, named.resolved),
            (Milestone::Connected, named.connected),
            (Milestone::Secured, named.secured),
            (Milestone::Written, named.written),
            (Milestone::Headers, named.headers),
            (Milestone::FirstChunk, named.first_chunk),
            (Milestone::FirstToken, named.first_token),
            (Milestone::LastToken, named.last_token),
            (Milestone::Done, named.done),
        ] {
            times.set(milestone, at.get());
        }
        times
    }
}

impl From<NestedFields> for NestedRecord {
    fn from(saved: NestedFields) -> Self {
        let traits = RequestTraits { leaves_after: saved.leaves_after_s, ..RequestTraits::default() };
        let traits = saved.input.map_or(traits, |input| RequestTraits {
            sequences: input.sequences,
            audio: input.audio_s,
            ..traits
        });
        Self(Record {
            ordinal: saved.ordinal,
            id: saved.id,
            times: saved.times.into(),
            prompt_tokens: saved.prompt_tokens,
            cached_tokens: saved.cached_tokens,
            output_tokens: saved.output_tokens,
            hidden_tokens: saved.hidden_tokens,
            first_event_tokens: saved.first_event_tokens,
            server_times: None,
            events: saved.events,
            outcome: saved.outcome,
            traits: traits.boxed(),
            facets: saved.facets,
            text: None,
        })
    }
}
