//! The columns of saved Records: one row a request, one plain value a column. JSON and Parquet have the same.

use std::borrow::Cow;
use std::time::Duration;

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::metrics::Latency;
use super::record::{FinishReason, Milestone, Record, RequestLabels, TokenCount};

/// A column of saved Records. A name that ends in `_s` is of seconds.
pub(crate) struct RecordColumn {
    /// The name in every format.
    pub name: &'static str,
    /// The values, by their type.
    pub values: ColumnValues,
}

/// The type of a column, with the function that returns the value of a Record. An absent value is null.
#[derive(Clone, Copy)]
pub(crate) enum ColumnValues {
    /// True or false; never null.
    Flag(fn(&Record) -> bool),
    /// A whole number.
    Count(fn(&Record) -> Option<u64>),
    /// A duration, in seconds.
    Seconds(fn(&Record) -> Option<Duration>),
    /// A text.
    Text(fn(&Record) -> Option<Cow<'_, str>>),
}

/// The columns, in the order in which they are written.
pub(crate) const COLUMNS: [RecordColumn; 42] = [
    count("ordinal", |record| Some(record.ordinal as u64)),
    text("id", |record| record.id.as_ref().map(|id| id.to_string().into())),
    RecordColumn { name: "success", values: ColumnValues::Flag(Record::is_success) },
    text("finish_reason", finish_reason),
    text("failure_class", |record| record.failure().map(|failure| failure.class.key().into())),
    text("failure_message", |record| record.failure().map(|failure| failure.detail.as_str().into())),
    count("prompt_tokens", |record| Some(record.prompt_tokens.count.into())),
    text("prompt_tokens_source", |record| source(record.prompt_tokens)),
    count("cached_tokens", |record| record.cached_tokens.map(u64::from)),
    count("output_tokens", |record| Some(record.output_tokens.count.into())),
    text("output_tokens_source", |record| source(record.output_tokens)),
    count("unstreamed_tokens", |record| Some(record.hidden_tokens.into())),
    count("first_event_tokens", |record| record.first_event_tokens.map(|tokens| tokens.count.into())),
    text("first_event_tokens_source", |record| record.first_event_tokens.and_then(source)),
    count("output_events", |record| Some(record.events.count.into())),
    seconds("ttft_s", |record| Latency::Ttft.counted_value(record)),
    seconds("tpot_s", |record| Latency::Tpot.counted_value(record)),
    seconds("e2el_s", |record| Latency::E2e.counted_value(record)),
    seconds("lag_s", |record| Latency::Lag.counted_value(record)),
    seconds("due_s", |record| Some(record.times.due())),
    seconds("released_s", |record| record.times.get(Milestone::Released)),
    seconds("sent_s", |record| record.times.get(Milestone::Sent)),
    seconds("resolved_s", |record| record.times.get(Milestone::Resolved)),
    seconds("connected_s", |record| record.times.get(Milestone::Connected)),
    seconds("secured_s", |record| record.times.get(Milestone::Secured)),
    seconds("written_s", |record| record.times.get(Milestone::Written)),
    seconds("headers_s", |record| record.times.get(Milestone::Headers)),
    seconds("first_chunk_s", |record| record.times.get(Milestone::FirstChunk)),
    seconds("first_token_s", |record| record.times.get(Milestone::FirstToken)),
    seconds("last_token_s", |record| record.times.get(Milestone::LastToken)),
    seconds("done_s", |record| record.times.get(Milestone::Done)),
    seconds("server_queue_s", |record| record.server_times().queue.get()),
    seconds("server_prefill_s", |record| record.server_times().prefill.get()),
    seconds("server_decode_s", |record| record.server_times().decode.get()),
    seconds("leaves_after_s", |record| record.leaves_after()),
    count("input_sequences", |record| Some(record.traits().sequences.into())),
    seconds("audio_s", |record| record.traits().audio.get()),
    text("workload_class", |record| labels(record)?.class.as_deref().map(Cow::Borrowed)),
    text("adapter", |record| labels(record)?.adapter.as_deref().map(Cow::Borrowed)),
    count("session", |record| labels(record)?.session.map(u64::from)),
    count("turn", |record| labels(record)?.turn.map(u64::from)),
    count("turns", |record| labels(record)?.turns.map(u64::from)),
];

const fn count(name: &'static str, value: fn(&Record) -> Option<u64>) -> RecordColumn {
    RecordColumn { name, values: ColumnValues::Count(value) }
}

const fn seconds(name: &'static str, value: fn(&Record) -> Option<Duration>) -> RecordColumn {
    RecordColumn { name, values: ColumnValues::Seconds(value) }
}

const fn text(name: &'static str, value: fn(&Record) -> Option<Cow<'_, str>>) -> RecordColumn {
    RecordColumn { name, values: ColumnValues::Text(value) }
}

/// The finish reason of a success; `None` too where the server gave none.
fn finish_reason(record: &Record) -> Option<Cow<'_, str>> {
    let reason = record.outcome.as_ref().ok()?;
    (*reason != FinishReason::Unsaid).then(|| reason.name().into())
}

fn source(tokens: TokenCount) -> Option<Cow<'static, str>> {
    Some(tokens.source.key().into())
}

fn labels(record: &Record) -> Option<&RequestLabels> {
    record.facets.as_deref()
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut row = to.serialize_map(Some(COLUMNS.len()))?;
        for RecordColumn { name, values } in &COLUMNS {
            match values {
                ColumnValues::Flag(value) => row.serialize_entry(name, &value(self)),
                ColumnValues::Count(value) => row.serialize_entry(name, &value(self)),
                ColumnValues::Seconds(value) => {
                    row.serialize_entry(name, &value(self).map(|time| time.as_secs_f64()))
                }
                ColumnValues::Text(value) => row.serialize_entry(name, &value(self)),
            }?;
        }
        row.end()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::*;
    use crate::model::record::{Failure, FailureClass, TokenSource};
    use crate::testing::sample_run;

    #[test]
    fn a_record_is_a_flat_object_of_plain_values_in_seconds() {
        let records = serde_json::to_value(sample_run::records()).unwrap();
        for record in records.as_array().unwrap() {
            let row = record.as_object().unwrap();
            assert_eq!(row.len(), COLUMNS.len(), "every row has every column");
            assert!(row.values().all(|value| !value.is_object() && !value.is_array()), "{record}");
        }
        let [good, bad] = [&records[0], &records[1]];
        assert_eq!((&good["success"], &good["finish_reason"]), (&json!(true), &json!("stop")));
        assert_eq!((&good["due_s"], &good["done_s"]), (&json!(0.01), &json!(0.213)));
        assert_eq!(
            (&good["ttft_s"], &good["tpot_s"], &good["e2el_s"]),
            (&json!(0.1), &json!(0.05), &json!(0.2))
        );
        assert_eq!((&good["prompt_tokens"], &good["prompt_tokens_source"]), (&json!(9), &json!("tokenizer")));
        assert_eq!((&bad["success"], &bad["finish_reason"]), (&json!(false), &Value::Null));
        assert_eq!((&bad["failure_class"], &bad["failure_message"]), (&json!("status_503"), &json!("busy")));
        assert_eq!((&bad["ttft_s"], &bad["lag_s"]), (&Value::Null, &json!(0.001)));
    }

    #[test]
    fn columns_have_names_of_their_own_and_seconds_say_so() {
        assert_eq!(COLUMNS.iter().map(|column| column.name).collect::<BTreeSet<_>>().len(), COLUMNS.len());
        for RecordColumn { name, values } in &COLUMNS {
            assert_eq!(name.ends_with("_s"), matches!(values, ColumnValues::Seconds(_)), "{name}");
        }
    }

    #[test]
    fn the_manual_lists_the_columns_with_their_types_in_this_order() {
        let manual = include_str!("../../docs/records.md");
        let rows = manual.lines().filter(|line| line.starts_with("| `")).map(|line| {
            let cells: Vec<&str> = line.split(" | ").collect();
            (cells[0].trim_matches(['|', ' ', '`']), cells[1])
        });
        let columns = COLUMNS.iter().map(|RecordColumn { name, values }| {
            let kind = match values {
                ColumnValues::Flag(_) => "boolean",
                ColumnValues::Count(_) => "int64",
                ColumnValues::Seconds(_) => "double",
                ColumnValues::Text(_) => "string",
            };
            (*name, kind)
        });
        assert!(rows.take(COLUMNS.len()).eq(columns), "docs/records.md has another table of columns");
    }

    #[test]
    fn a_latency_that_reports_do_not_count_is_null() {
        let mut record = sample_run::records().remove(0);
        record.outcome = Err(Failure::new(FailureClass::BrokenStream, "").into());
        let row = serde_json::to_value(&record).unwrap();
        assert_eq!((&row["ttft_s"], &row["first_token_s"]), (&Value::Null, &json!(0.112)));
    }

    #[test]
    fn a_source_of_counts_has_one_name() {
        for source in [TokenSource::Usage, TokenSource::Tokenizer, TokenSource::Events, TokenSource::Estimate]
        {
            assert_eq!(serde_json::to_value(source).unwrap(), source.key());
        }
    }
}
