//! A result file as JSON, written and read without a tree of it in memory.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Always, Run, SCHEMA, vllm};
use crate::core::record::Record;

/// Writes a Run as one JSON object in one line.
pub(super) fn write(run: &Run, out: impl Write) -> serde_json::Result<()> {
    serde_json::to_writer(out, &File(run))
}

struct File<'a>(&'a Run);

impl Serialize for File<'_> {
    /// The keys in alphabetical order; a later group wins, as in [`vllm::keys`].
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let run = self.0;
        let keys = vllm::keys(run).into_iter().map(|(key, value)| (key, Part::Value(value)));
        let mut parts: BTreeMap<String, Part<'_>> = keys.collect();
        parts.extend(ALWAYS.map(|(key, value)| (key.to_owned(), Part::Always(&run.always, value))));
        if let Some(records) = &run.records {
            parts.extend(DETAILS.map(|(key, detail)| (key.to_owned(), Part::Detail(records, detail))));
        }
        parts.insert("servebench".to_owned(), Part::Run(run));
        let mut map = serializer.serialize_map(Some(parts.len()))?;
        for (key, part) in &parts {
            map.serialize_entry(key, part)?;
        }
        map.end()
    }
}

/// One number of each request.
type Number = fn(&Always) -> f64;

/// What vLLM saves of each request even without details.
const ALWAYS: [(&str, Number); 2] =
    [("latencies", |always| always.latency), ("queue_times", |always| always.queue_time)];

/// The arrays of `--save-detailed`, in the order of the schedule; a failed request has vLLM's zeros.
const DETAILS: [(&str, Detail); 7] = [
    ("input_lens", Detail::Count(|record| record.prompt_tokens.count)),
    ("output_lens", Detail::Count(|record| if record.succeeded() { record.output_tokens.count } else { 0 })),
    ("ttfts", Detail::Time(Record::ttft)),
    ("start_times", Detail::Time(|record| record.times.sent)),
    ("itls", Detail::Gaps),
    ("generated_texts", Detail::Text),
    ("errors", Detail::Error),
];

/// One value of a key of the file.
enum Part<'a> {
    Value(Value),
    Always(&'a [Always], Number),
    Detail(&'a [Record], Detail),
    Run(&'a Run),
}

/// One number, text or list of each request.
#[derive(Clone, Copy)]
enum Detail {
    Count(fn(&Record) -> u32),
    Time(fn(&Record) -> Option<Duration>),
    Gaps,
    Text,
    Error,
}

impl Serialize for Part<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let seconds = |time: Option<Duration>| time.unwrap_or_default().as_secs_f64();
        match *self {
            Self::Value(ref value) => value.serialize(serializer),
            Self::Run(run) => run.serialize(serializer),
            Self::Always(all, value) => serializer.collect_seq(all.iter().map(value)),
            Self::Detail(records, detail) => match detail {
                Detail::Count(count) => serializer.collect_seq(records.iter().map(count)),
                Detail::Time(time) => serializer.collect_seq(records.iter().map(time).map(seconds)),
                Detail::Gaps => serializer.collect_seq(records.iter().map(Gaps)),
                Detail::Text => {
                    let texts = records.iter().map(|record| record.text.as_deref().unwrap_or_default());
                    serializer.collect_seq(texts)
                }
                Detail::Error => {
                    let error = |record: &Record| record.failure().map(ToString::to_string);
                    serializer.collect_seq(records.iter().map(|record| error(record).unwrap_or_default()))
                }
            },
        }
    }
}

struct Gaps<'a>(&'a Record);

impl Serialize for Gaps<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let gaps = self.0.events.gaps.iter().flatten();
        serializer.collect_seq(gaps.map(Duration::as_secs_f64))
    }
}

/// What is read back of a file: the `servebench` object, and from vLLM's arrays what that would repeat.
#[derive(Deserialize)]
struct Saved<'a> {
    #[serde(borrow)]
    servebench: Option<&'a RawValue>,
    #[serde(default)]
    latencies: Vec<Option<f64>>,
    #[serde(default)]
    queue_times: Vec<Option<f64>>,
    #[serde(default)]
    itls: Vec<Option<Vec<f64>>>,
    #[serde(default)]
    generated_texts: Vec<Option<String>>,
}

/// Reads the last of the Runs in a text.
pub(super) fn read(text: &[u8]) -> Result<Run, String> {
    let words = |error: serde_json::Error| error.to_string();
    let last = last_of(text).map_err(words)?;
    if last.starts_with('[') {
        return Err("it has no key `servebench`".to_owned());
    }
    let saved: Saved<'_> = serde_json::from_str(last).map_err(words)?;
    let ours = saved.servebench.ok_or("it has no key `servebench`")?.get();
    check_schema(ours)?;
    let mut run: Run = serde_json::from_str(ours).map_err(words)?;
    run.always = saved
        .latencies
        .into_iter()
        .zip(saved.queue_times)
        .filter_map(|(latency, queue_time)| Some(Always { latency: latency?, queue_time: queue_time? }))
        .collect();
    let mut gaps = saved.itls.into_iter();
    let mut texts = saved.generated_texts.into_iter();
    for record in run.records.iter_mut().flatten() {
        record.text = texts.next().flatten();
        record.events.gaps = gaps
            .next()
            .flatten()
            .map(|gaps| gaps.into_iter().filter_map(|gap| Duration::try_from_secs_f64(gap).ok()).collect());
    }
    Ok(run)
}

fn check_schema(ours: &str) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Schema {
        schema: Option<Value>,
    }
    let found = serde_json::from_str::<Schema>(ours).map_err(|error| error.to_string())?;
    match found.schema.as_ref().and_then(Value::as_u64) {
        Some(schema) if schema == u64::from(SCHEMA) => Ok(()),
        Some(schema) => Err(format!("its schema is {schema}, this program reads {SCHEMA}")),
        None => Err("its key `servebench` has no `schema`".to_owned()),
    }
}

/// The last JSON value in a text that holds one run per value.
fn last_of(text: &[u8]) -> serde_json::Result<&str> {
    let mut last = None;
    for run in serde_json::Deserializer::from_slice(text).into_iter::<&RawValue>() {
        last = Some(run?);
    }
    Ok(last.map_or("", RawValue::get))
}
