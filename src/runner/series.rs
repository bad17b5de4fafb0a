//! Several runs on one session, one after the other.

use super::error::Error;
use super::event::{Event, Note};
use super::options::Invocation;
use super::prepared_run::{PreparedRun, Runner};
use crate::model::run::Run;
use crate::model::run_records::RunRecords;
use crate::model::run_spec::Spec;

/// Runs that follow each other. Each begins with an empty prefix cache if the server can empty it, so that no run finds
/// the prompts of an earlier one.
pub(super) struct RunSeries<'a> {
    runner: &'a Runner<'a>,
    /// The first run, until it is measured.
    first: Option<PreparedRun>,
    /// The number of runs that have started.
    begun: usize,
    /// Whether the series empties the cache. Runs that do this themselves leave nothing to do.
    empties_cache: bool,
}

impl<'a> RunSeries<'a> {
    /// Creates a series whose first run is already prepared.
    pub(super) fn new(runner: &'a Runner<'a>, first: PreparedRun) -> Self {
        Self { runner, first: Some(first), begun: 0, empties_cache: !runner.options().reset_prefix_cache }
    }

    /// The number of runs that have started.
    pub(super) fn begun(&self) -> usize {
        self.begun
    }

    /// Prepares and measures the next run, and emits `begins` before it; `None` if the user has asked for the end. The first run has
    /// the Spec that it was prepared with.
    pub(super) fn measure_next(
        &mut self,
        spec: Spec,
        begins: &Event<'_>,
        invocation: &Invocation,
    ) -> Option<Result<(Run, RunRecords), Error>> {
        let session = self.runner.session();
        if self.begun > 0 && self.empties_cache {
            self.empty_cache();
        }
        // What the preparation warns of is of this run.
        session.emit(begins);
        let prepared = match self.first.take() {
            Some(first) => Ok(first),
            None => self.runner.prepare(spec),
        };
        if session.stop_handle().is_requested() {
            return None;
        }
        self.begun += 1;
        Some(prepared.and_then(|prepared| self.runner.measure(prepared, invocation, &mut |_, _| {})))
    }

    fn empty_cache(&self) {
        if let Ok(Err(error)) = self.runner.session().try_empty_cache()
            && self.begun == 1
        {
            self.runner.session().emit(&Event::Note(Note::CacheNotReset(error.to_string())));
        }
    }
}
