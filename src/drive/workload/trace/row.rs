//! One request of a trace.

use std::time::Duration;

use jiff::SignedDuration;

use super::cells::Cell;
use crate::core::spec::Trace;
use crate::drive::workload::Fault;

/// One request of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// Its time, from wherever the trace counts; zero if nobody asks.
    pub at: SignedDuration,
    /// Its line in the file, from 1.
    pub line: usize,
    /// The prompt's tokens.
    pub input: u32,
    /// The output's tokens.
    pub output: u32,
    /// The hashes of the prompt's blocks, from its beginning.
    pub hashes: Box<[u64]>,
    /// The session that it is a turn of, unless it is by itself.
    pub session: Option<u64>,
    /// The text that its prompt continues: its session's, or one that it shares with others.
    pub text: Option<u64>,
    /// How long its answer took; zero where the trace does not say.
    pub duration: Duration,
}

impl Row {
    /// From the cells of a line, asked for by column.
    pub fn of<'c>(
        trace: &Trace,
        line: usize,
        cell: impl Fn(&str) -> Option<Cell<'c>>,
    ) -> Result<Self, Fault> {
        let columns = &trace.columns;
        let must = |name: &str| cell(name).ok_or_else(|| Fault::Shape(format!("no `{name}`")));
        let at = match trace.needs_times() {
            true => must(&columns.timestamp)?.moment(&columns.timestamp, trace.unit_s)?,
            false => SignedDuration::ZERO,
        };
        let hashes = match columns.hashes.as_deref().and_then(|name| Some((name, cell(name)?))) {
            Some((name, cell)) => cell.hashes(name)?,
            None => Box::default(),
        };
        let named = |column: &Option<String>| -> Result<Option<u64>, Fault> {
            let cell = column.as_deref().map(must).transpose()?;
            Ok(cell.filter(|cell| !cell.is_empty()).map(Cell::name))
        };
        let session = named(&columns.session)?;
        let duration = columns.duration.as_deref().map(|name| must(name)?.span(name, trace.unit_s));
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

    /// Whether there is nothing to ask or nothing to answer.
    pub fn is_empty(&self) -> bool {
        self.input == 0 || self.output == 0
    }
}
