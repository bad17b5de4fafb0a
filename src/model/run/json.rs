//! A result file as JSON, written and read without building a JSON tree in memory.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use serde::ser::{Error as _, SerializeMap as _};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use serde_json::ser::Formatter;
use serde_json::value::RawValue;

use super::flat_record::FlatRecord;
use super::nested_record::NestedRecord;
use super::{Run, VllmRequestColumns, vllm};
use crate::model::record::Record;
use crate::model::record_log::details::LoggedDetails;

/// The version of the `servegauge` object; it changes when a field is removed or changes its meaning. In version 1
/// Records were nested objects, and `steady` was under `Ok` or `Err`.
const SCHEMA: u64 = 2;

/// Writes a Run as one JSON object in one line.
pub(super) fn write(run: &Run, out: impl Write) -> serde_json::Result<()> {
    RunFile(run).serialize(&mut serde_json::Serializer::with_formatter(out, PrintableJson))
}

/// Compact JSON whose characters are all printable: others, which models generate, are escaped. JSON allows them, but
/// readers of YAML, which some tools read JSON with, refuse them.
struct PrintableJson;

impl Formatter for PrintableJson {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, found)) = rest.char_indices().find(|(_, found)| !is_printable(*found)) {
            out.write_all(&rest.as_bytes()[..at])?;
            write!(out, "\\u{:04x}", u32::from(found))?;
            rest = &rest[at + found.len_utf8()..];
        }
        out.write_all(rest.as_bytes())
    }
}

/// Whether YAML takes a character as it is. Those that it does not are below U+10000.
fn is_printable(character: char) -> bool {
    !matches!(character, '\u{7f}'..='\u{84}' | '\u{86}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}')
}

struct RunFile<'a>(&'a Run);

impl Serialize for RunFile<'_> {
    /// Writes the keys in alphabetical order; a later group wins, as in [`vllm::keys`].
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let run = self.0;
        let keys = vllm::keys(run).into_iter().map(|(key, value)| (key, RunJsonValue::Value(value)));
        let mut parts: BTreeMap<String, RunJsonValue<'_>> = keys.collect();
        if run.sampled.is_none() {
            parts.extend(
                VLLM_COLUMNS.map(|(key, value)| (key.to_owned(), RunJsonValue::Always(&run.always, value))),
            );
        }
        if let Some(records) = &run.records {
            let details = run.details.as_ref();
            parts.extend(
                DETAIL_COLUMNS
                    .map(|(key, detail)| (key.to_owned(), RunJsonValue::Detail(records, detail, details))),
            );
        }
        parts.insert("servegauge".to_owned(), RunJsonValue::Run(run));
        let mut map = serializer.serialize_map(Some(parts.len()))?;
        for (key, part) in &parts {
            map.serialize_entry(key, part)?;
        }
        map.end()
    }
}

/// Extracts one number of a request.
type VllmColumnFn = fn(&VllmRequestColumns) -> f64;

/// The numbers that vLLM saves for each request even without details.
const VLLM_COLUMNS: [(&str, VllmColumnFn); 2] =
    [("latencies", |always| always.latency), ("queue_times", |always| always.queue_time)];

/// The arrays of `--save-detailed`, in the order of the schedule; a failed request has vLLM's zeros.
const DETAIL_COLUMNS: [(&str, DetailColumn); 7] = [
    ("input_lens", DetailColumn::Count(|record| record.prompt_tokens.count)),
    (
        "output_lens",
        DetailColumn::Count(|record| if record.is_success() { record.output_tokens.count } else { 0 }),
    ),
    ("ttfts", DetailColumn::Time(Record::ttft)),
    ("start_times", DetailColumn::Time(|record| record.times.sent())),
    ("itls", DetailColumn::Gaps),
    ("generated_texts", DetailColumn::Text),
    ("errors", DetailColumn::Error),
];

/// The value of a key in the file.
enum RunJsonValue<'a> {
    Value(Value),
    Always(&'a [VllmRequestColumns], VllmColumnFn),
    /// A column of the Records, with the log that has their gaps and texts if the Records do not.
    Detail(&'a [Record], DetailColumn, Option<&'a LoggedDetails>),
    Run(&'a Run),
}

/// Extracts one number, text or list of a request.
#[derive(Clone, Copy)]
enum DetailColumn {
    Count(fn(&Record) -> u32),
    Time(fn(&Record) -> Option<Duration>),
    Gaps,
    Text,
    Error,
}

impl Serialize for RunJsonValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let seconds = |time: Option<Duration>| time.unwrap_or_default().as_secs_f64();
        match *self {
            Self::Value(ref value) => value.serialize(serializer),
            Self::Run(run) => ServegaugeObject::new(run).serialize(serializer),
            Self::Always(all, value) => serializer.collect_seq(all.iter().map(value)),
            Self::Detail(records, detail, details) => match detail {
                DetailColumn::Count(count) => serializer.collect_seq(records.iter().map(count)),
                DetailColumn::Time(time) => serializer.collect_seq(records.iter().map(time).map(seconds)),
                DetailColumn::Gaps => match details {
                    None => serializer.collect_seq(records.iter().map(GapSeconds)),
                    Some(details) => serializer.collect_seq(logged(records, details, GapSeconds)),
                },
                DetailColumn::Text => match details {
                    None => serializer.collect_seq(records.iter().map(Text)),
                    Some(details) => serializer.collect_seq(logged(records, details, Text)),
                },
                DetailColumn::Error => {
                    let error = |record: &Record| record.failure().map(ToString::to_string);
                    serializer.collect_seq(records.iter().map(|record| error(record).unwrap_or_default()))
                }
            },
        }
    }
}

/// The `servegauge` object. What a Record has lists of is beside the Records, which are rows of plain values.
#[derive(Serialize)]
struct ServegaugeObject<'a> {
    schema: u64,
    #[serde(flatten)]
    run: &'a Run,
    #[serde(skip_serializing_if = "Option::is_none")]
    records: Option<&'a [Record]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    events_by_second: Option<EventsBySecond<'a>>,
}

impl<'a> ServegaugeObject<'a> {
    fn new(run: &'a Run) -> Self {
        let records = run.records.as_deref();
        Self { schema: SCHEMA, run, records, events_by_second: records.map(EventsBySecond) }
    }
}

/// The output events of each request by second: pairs of the second since t0 and the events in it.
struct EventsBySecond<'a>(&'a [Record]);

impl Serialize for EventsBySecond<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|record| &record.events.by_second))
    }
}

struct GapSeconds<R>(R);

impl<R: Borrow<Record>> Serialize for GapSeconds<R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let gaps = self.0.borrow().events.gaps.iter().flatten();
        serializer.collect_seq(gaps.map(|gap| gap.as_secs_f64()))
    }
}

struct Text<R>(R);

impl<R: Borrow<Record>> Serialize for Text<R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.borrow().text.as_deref().unwrap_or_default())
    }
}

/// Extracts a detail of each Record from the log that has it.
fn logged<D>(
    records: &[Record],
    details: &LoggedDetails,
    detail: impl Fn(Record) -> D,
) -> impl Iterator<Item = Logged<D>> {
    let mut reader = details.reader();
    records.iter().map(move |record| Logged(reader.record(record.ordinal).map(&detail)))
}

struct Logged<D>(io::Result<D>);

impl<D: Serialize> Serialize for Logged<D> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_ref().map_err(S::Error::custom)?.serialize(serializer)
    }
}

/// The parts of a file that are read back: the `servegauge` object, and those of vLLM's arrays that it would otherwise
/// repeat.
///
/// Until version 0.1 the program was called servebench, and so was the object.
#[derive(Deserialize)]
struct RunFileContent<'a> {
    #[serde(borrow, alias = "servebench")]
    servegauge: Option<&'a RawValue>,
    #[serde(default)]
    latencies: Vec<Option<f64>>,
    #[serde(default)]
    queue_times: Vec<Option<f64>>,
    #[serde(default)]
    itls: Vec<Option<Vec<f64>>>,
    #[serde(default)]
    generated_texts: Vec<Option<Box<str>>>,
}

/// Reads the last Run in a text.
pub(super) fn read(text: &[u8]) -> Result<Run, String> {
    if text.iter().all(u8::is_ascii_whitespace) {
        return Err("it is empty".to_owned());
    }
    let words = |error: serde_json::Error| error.to_string();
    let last = last_json_value(text).map_err(words)?;
    if last.starts_with('[') {
        return Err("it has no key `servegauge`".to_owned());
    }
    let saved: RunFileContent<'_> = serde_json::from_str(last).map_err(words)?;
    let ours = saved.servegauge.ok_or("it has no key `servegauge`")?.get();
    let parts = SavedRecords::find(ours)?;
    let mut run: Run = serde_json::from_str(ours).map_err(words)?;
    run.records = parts.read()?;
    run.always = saved
        .latencies
        .into_iter()
        .zip(saved.queue_times)
        .filter_map(|(latency, queue_time)| {
            Some(VllmRequestColumns { latency: latency?, queue_time: queue_time? })
        })
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

/// The parts of the `servegauge` object whose form depends on its schema.
#[derive(Deserialize)]
struct SavedRecords<'a> {
    #[serde(borrow)]
    schema: Option<&'a RawValue>,
    #[serde(borrow)]
    records: Option<&'a RawValue>,
    #[serde(default)]
    events_by_second: Vec<Vec<(u32, u32)>>,
}

impl<'a> SavedRecords<'a> {
    /// Finds the parts, and checks that this program reads the schema.
    fn find(ours: &'a str) -> Result<Self, String> {
        let parts: Self = serde_json::from_str(ours).map_err(|error| error.to_string())?;
        match parts.schema() {
            Some(1..=SCHEMA) => Ok(parts),
            Some(schema) => Err(format!("its schema is {schema}, this program reads 1 to {SCHEMA}")),
            None => Err("its key `servegauge` has no `schema`".to_owned()),
        }
    }

    fn schema(&self) -> Option<u64> {
        self.schema.and_then(|schema| serde_json::from_str(schema.get()).ok())
    }

    /// Reads the Records; `None` if the file has none. Each is converted as it is read, so that a file's rows are in
    /// memory once.
    fn read(self) -> Result<Option<Vec<Record>>, String> {
        let Some(text) = self.records.map(RawValue::get).filter(|text| *text != "null") else {
            return Ok(None);
        };
        let place = |error: serde_json::Error| format!("its `records`: {error}");
        if self.schema() == Some(1) {
            let records: Vec<NestedRecord> = serde_json::from_str(text).map_err(place)?;
            return Ok(Some(records.into_iter().map(|NestedRecord(record)| record).collect()));
        }
        let records: Vec<FlatRecord> = serde_json::from_str(text).map_err(place)?;
        let mut records: Vec<Record> = records.into_iter().map(|FlatRecord(record)| record).collect();
        if records.len() != self.events_by_second.len() {
            return Err(format!(
                "it has {} `records`, and `events_by_second` of {} requests",
                records.len(),
                self.events_by_second.len()
            ));
        }
        let events = self.events_by_second.into_iter();
        records.iter_mut().zip(events).for_each(|(record, events)| record.events.by_second = events);
        Ok(Some(records))
    }
}

/// The last JSON value in a text that holds one run per value.
fn last_json_value(text: &[u8]) -> serde_json::Result<&str> {
    let mut last = None;
    for run in serde_json::Deserializer::from_slice(text).into_iter::<&RawValue>() {
        last = Some(run?);
    }
    Ok(last.map_or("", RawValue::get))
}
