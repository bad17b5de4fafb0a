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

    /// The row as bytes, for a temporary file.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut put = |number: u64| bytes.extend_from_slice(&number.to_le_bytes());
        put(self.at.as_secs().cast_unsigned());
        put(u64::from(self.at.subsec_nanos().cast_unsigned()) << 32 | u64::from(self.duration.subsec_nanos()));
        put(self.duration.as_secs());
        put(self.line as u64);
        put(u64::from(self.input) << 32 | u64::from(self.output));
        for name in [self.session, self.text] {
            put(u64::from(name.is_some()));
            put(name.unwrap_or_default());
        }
        self.hashes.iter().copied().for_each(put);
        bytes
    }

    /// The row that these bytes encode.
    pub(super) fn decode(bytes: &[u8]) -> Self {
        let mut numbers = bytes
            .chunks_exact(8)
            .map(|number| u64::from_le_bytes(number.try_into().expect("a chunk has eight bytes")));
        let mut next = || numbers.next().unwrap_or_default();
        let (seconds, nanos, duration) = (next().cast_signed(), next(), next());
        let at = SignedDuration::new(seconds, ((nanos >> 32) as u32).cast_signed());
        let duration = Duration::new(duration, nanos as u32);
        let (line, lengths) = (next() as usize, next());
        let mut name = || {
            let is_some = next() == 1;
            Some(next()).filter(|_| is_some)
        };
        let (session, text) = (name(), name());
        let (input, output) = ((lengths >> 32) as u32, lengths as u32);
        Self { at, line, input, output, session, text, duration, hashes: numbers.collect() }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_the_same_after_a_temporary_file() {
        let row = TraceRow {
            at: SignedDuration::new(-7, -3),
            line: 1 << 40,
            input: 3,
            output: u32::MAX,
            hashes: [1, u64::MAX].into(),
            session: Some(0),
            text: None,
            duration: Duration::new(4, 999_999_999),
        };
        for row in [TraceRow { hashes: Box::default(), text: Some(9), ..row.clone() }, row] {
            assert_eq!(TraceRow::decode(&row.encode()), row);
        }
    }
}
