use std::time::Duration;

use jiff::SignedDuration;

use crate::dataset::DatasetFault;
use crate::dataset::trace::values::TraceValue;
use crate::model::run_spec::Trace;

/// One request of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::dataset) struct TraceRow {
    /// The time of the request, in the trace's own time base; zero if times are not used.
    pub at: SignedDuration,
    /// The line in the file, counted from 1.
    pub line: usize,
    /// The prompt length, in tokens.
    pub input: u32,
    /// The output length, in tokens.
    pub output: u32,
    /// The hashes of the prompt's blocks, in order.
    pub hashes: Box<[u64]>,
    /// The session of the request; `None` if it has no session.
    pub session: Option<u64>,
    /// Identifies the text that the prompt continues: the session's, or one that requests of the same prefix share.
    pub text: Option<u64>,
    /// The duration of the recorded answer; zero if the trace does not state it.
    pub duration: Duration,
}

impl TraceRow {
    /// Builds a row from the cells of a line, which are looked up by column name.
    pub(super) fn from_values<'c>(
        trace: &Trace,
        line: usize,
        cell: impl Fn(&str) -> Option<TraceValue<'c>>,
    ) -> Result<Self, DatasetFault> {
        let columns = &trace.columns;
        let must = |name: &str| cell(name).ok_or_else(|| missing(name, &cell));
        let at = match trace.uses_timestamps() {
            true => must(&columns.timestamp)?.timestamp(&columns.timestamp, trace.unit_s)?,
            false => SignedDuration::ZERO,
        };
        let hashes = match columns.hashes.as_deref().and_then(|name| Some((name, cell(name)?))) {
            Some((name, cell)) => cell.hashes(name)?,
            None => Box::default(),
        };
        let named = |column: &Option<String>| -> Result<Option<u64>, DatasetFault> {
            let cell = column.as_deref().map(must).transpose()?;
            Ok(cell.filter(|cell| !cell.is_empty()).map(TraceValue::identifier))
        };
        let session = named(&columns.session)?;
        let duration = columns.duration.as_deref().map(|name| must(name)?.duration(name, trace.unit_s));
        Ok(Self {
            at,
            line,
            input: must(&columns.input)?.tokens(&columns.input)?,
            output: must(&columns.output)?.tokens(&columns.output)?,
            hashes,
            session,
            text: session.or(named(&columns.prefix)?),
            duration: duration.transpose()?.unwrap_or_default(),
        })
    }

    /// Whether the prompt or the output has zero tokens.
    pub(crate) fn is_empty(&self) -> bool {
        self.input == 0 || self.output == 0
    }
}

/// Fields that identify other types of trace files, and the remedy for each.
const OTHER_KINDS: [(&str, &str); 5] = [
    (
        "delay",
        "its times are delays after the previous turn, which are not supported; give each row its own time",
    ),
    (
        "text_input",
        "the file holds prompts, not a trace; rename the field to `prompt` and use `dataset.name` custom",
    ),
    ("prompt", "the file holds prompts, not a trace; use `dataset.name` custom"),
    ("messages", "the file holds chats, not a trace; use `dataset.name` sharegpt or hf"),
    ("conversations", "the file holds chats, not a trace; use `dataset.name` sharegpt or hf"),
];

/// The fault for a row without a required column. The row is malformed, unless it shows that the file is another type
/// of trace.
fn missing<'c>(name: &str, cell: impl Fn(&str) -> Option<TraceValue<'c>>) -> DatasetFault {
    let other = OTHER_KINDS.iter().find(|(other, _)| *other != name && cell(other).is_some());
    match other {
        Some((other, what)) => DatasetFault::OtherKind(format!("no `{name}`, but `{other}`: {what}")),
        None => DatasetFault::Shape(format!("no `{name}`")),
    }
}
