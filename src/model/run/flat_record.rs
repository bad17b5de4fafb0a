//! Reads the flat Records of a result: the columns of [`record_columns`](crate::model::record_columns), which writes
//! them. Latencies are computed from the times again.

use std::time::Duration;

use serde::Deserialize;

use crate::model::record::{
    Events, Failure, FailureClass, FinishReason, Milestone, OptionalDuration, Record, RequestLabels,
    RequestTraits, ServerTimes, Timestamps, TokenCount, TokenSource,
};
use crate::model::request_id::RequestId;
use crate::seconds;

/// A Record that was read from its columns.
#[derive(Debug, Deserialize)]
#[serde(try_from = "SavedColumns")]
pub(super) struct FlatRecord(pub Record);

/// The columns of a Record in a file. A column that may be null may also be missing.
#[derive(Deserialize)]
struct SavedColumns {
    ordinal: usize,
    id: Option<RequestId>,
    success: bool,
    finish_reason: Option<String>,
    failure_class: Option<FailureClass>,
    failure_message: Option<String>,
    prompt_tokens: u32,
    prompt_tokens_source: TokenSource,
    cached_tokens: Option<u32>,
    output_tokens: u32,
    output_tokens_source: TokenSource,
    unstreamed_tokens: u32,
    first_event_tokens: Option<u32>,
    first_event_tokens_source: Option<TokenSource>,
    output_events: u32,
    #[serde(with = "seconds")]
    due_s: Duration,
    #[serde(default)]
    released_s: OptionalDuration,
    #[serde(default)]
    sent_s: OptionalDuration,
    #[serde(default)]
    resolved_s: OptionalDuration,
    #[serde(default)]
    connected_s: OptionalDuration,
    #[serde(default)]
    secured_s: OptionalDuration,
    #[serde(default)]
    written_s: OptionalDuration,
    #[serde(default)]
    headers_s: OptionalDuration,
    #[serde(default)]
    first_chunk_s: OptionalDuration,
    #[serde(default)]
    first_token_s: OptionalDuration,
    #[serde(default)]
    last_token_s: OptionalDuration,
    #[serde(default)]
    done_s: OptionalDuration,
    #[serde(default)]
    server_queue_s: OptionalDuration,
    #[serde(default)]
    server_prefill_s: OptionalDuration,
    #[serde(default)]
    server_decode_s: OptionalDuration,
    #[serde(default)]
    leaves_after_s: OptionalDuration,
    input_sequences: u32,
    #[serde(default)]
    audio_s: OptionalDuration,
    workload_class: Option<String>,
    adapter: Option<String>,
    session: Option<u32>,
    turn: Option<u32>,
    turns: Option<u32>,
}

impl SavedColumns {
    fn times(&self) -> Timestamps {
        let mut times = Timestamps::new(self.due_s);
        for (milestone, at) in [
            (Milestone::Released, self.released_s),
            (Milestone::Sent, self.sent_s),
            (Milestone::Resolved, self.resolved_s),
            (Milestone::Connected, self.connected_s),
            (Milestone::Secured, self.secured_s),
            (Milestone::Written, self.written_s),
            (Milestone::Headers, self.headers_s),
            (Milestone::FirstChunk, self.first_chunk_s),
            (Milestone::FirstToken, self.first_token_s),
            (Milestone::LastToken, self.last_token_s),
            (Milestone::Done, self.done_s),
        ] {
            times.set(milestone, at.get());
        }
        times
    }

    fn outcome(&mut self) -> Result<Result<FinishReason, Box<Failure>>, String> {
        if self.success {
            return Ok(Ok(match self.finish_reason.take() {
                None => FinishReason::Unsaid,
                Some(reason) if reason == FinishReason::Stop.name() => FinishReason::Stop,
                Some(reason) if reason == FinishReason::Length.name() => FinishReason::Length,
                Some(reason) => FinishReason::Other(reason.into()),
            }));
        }
        let class = self
            .failure_class
            .ok_or_else(|| format!("request {} has neither `success` nor a `failure_class`", self.ordinal))?;
        Ok(Err(Failure { class, detail: self.failure_message.take().unwrap_or_default() }.into()))
    }

    fn labels(&mut self) -> Option<Box<RequestLabels>> {
        let labels = RequestLabels {
            class: self.workload_class.take(),
            adapter: self.adapter.take(),
            session: self.session,
            turn: self.turn,
            turns: self.turns,
        };
        (labels != RequestLabels::default()).then(|| labels.into())
    }
}

impl TryFrom<SavedColumns> for FlatRecord {
    type Error = String;

    fn try_from(mut row: SavedColumns) -> Result<Self, String> {
        let first = row.first_event_tokens.zip(row.first_event_tokens_source);
        Ok(Self(Record {
            ordinal: row.ordinal,
            times: row.times(),
            prompt_tokens: TokenCount { count: row.prompt_tokens, source: row.prompt_tokens_source },
            cached_tokens: row.cached_tokens,
            output_tokens: TokenCount { count: row.output_tokens, source: row.output_tokens_source },
            hidden_tokens: row.unstreamed_tokens,
            first_event_tokens: first.map(|(count, source)| TokenCount { count, source }),
            server_times: ServerTimes {
                queue: row.server_queue_s,
                prefill: row.server_prefill_s,
                decode: row.server_decode_s,
            }
            .boxed(),
            events: Events { count: row.output_events, ..Events::default() },
            outcome: row.outcome()?,
            traits: RequestTraits {
                sequences: row.input_sequences,
                audio: row.audio_s,
                leaves_after: row.leaves_after_s,
            }
            .boxed(),
            facets: row.labels(),
            id: row.id,
            text: None,
        }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::sample_run;

    fn read(text: &str) -> serde_json::Result<Record> {
        serde_json::from_str::<FlatRecord>(text).map(|FlatRecord(record)| record)
    }

    /// The Record without what a result keeps elsewhere.
    fn flat(record: &Record) -> Record {
        Record {
            events: Events { count: record.events.count, ..Events::default() },
            text: None,
            ..record.clone()
        }
    }

    #[test]
    fn a_record_survives_its_columns() {
        let [good, bad] = <[Record; 2]>::try_from(sample_run::records()).unwrap();
        let labels = RequestLabels {
            class: Some("chat".into()),
            adapter: Some("sql".into()),
            session: Some(1),
            turn: Some(0),
            turns: Some(3),
        };
        let full = Record {
            id: Some(RequestId::from("mine-1".to_owned())),
            times: Milestone::ALL
                .into_iter()
                .fold(good.times, |times, at| times.with_time(at, Duration::from_nanos(7 + at as u64))),
            cached_tokens: Some(4),
            hidden_tokens: 3,
            first_event_tokens: Some(TokenCount { count: 1, source: TokenSource::Estimate }),
            traits: RequestTraits {
                sequences: 2,
                audio: Duration::from_secs(3).into(),
                leaves_after: Duration::from_millis(1500).into(),
            }
            .boxed(),
            facets: Some(labels.into()),
            ..good.clone()
        };
        let unsaid = Record { outcome: Ok(FinishReason::Unsaid), ..good.clone() };
        let other = Record { outcome: Ok(FinishReason::Other("tool_calls".into())), ..good.clone() };
        for record in [good, bad, full, unsaid, other] {
            let text = serde_json::to_string(&record).unwrap();
            assert_eq!(read(&text).unwrap(), flat(&record), "{text}");
        }
    }

    #[test]
    fn a_failure_without_a_class_and_a_negative_time_are_refused() {
        let mut row = serde_json::to_value(&sample_run::records()[1]).unwrap();
        row["failure_class"] = json!(null);
        let refused = read(&row.to_string()).unwrap_err().to_string();
        assert!(refused.starts_with("request 1 has neither `success` nor a `failure_class`"), "{refused}");
        row["success"] = json!(true);
        assert!(read(&row.to_string()).is_ok());
        row["sent_s"] = json!(-1.0);
        assert!(read(&row.to_string()).is_err());
        row.as_object_mut().unwrap().remove("sent_s");
        assert_eq!(read(&row.to_string()).unwrap().times.sent(), None);
    }
}
