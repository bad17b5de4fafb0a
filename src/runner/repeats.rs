//! Repeats a run with other seeds, because a single run does not show how much runs differ.

use serde_json::{Map, Value};

use super::error::Error;
use super::event::{Event, Note};
use super::options::Invocation;
use super::prepared_run::{PreparedRun, Runner};
use crate::model::record::Record;
use crate::model::run::Run;
use crate::model::run_spec::Spec;

/// Runs that differ only in their seeds.
pub(crate) struct Repeats<'a> {
    runner: &'a Runner<'a>,
    /// The Spec of the first run. Each later run has the next seed.
    spec: Spec,
    invocation: Invocation,
    count: usize,
    /// The number of runs that have started.
    begun: usize,
    /// The first run, until it is measured.
    first: Option<PreparedRun>,
    /// Whether to empty the server's prefix cache between runs.
    empties_cache: bool,
}

/// One run of the repetition.
pub(crate) struct Repeat {
    /// The number of the run, from 1.
    pub number: usize,
    /// How this run alone would be requested.
    pub invocation: Invocation,
    /// The Run and its Records, or why there is none.
    pub measured: Result<(Run, Vec<Record>), Error>,
}

impl<'a> Repeats<'a> {
    /// Creates `count` runs. The first one is already prepared, and `spec` is its Spec before the preparation.
    pub(crate) fn new(
        runner: &'a Runner<'a>,
        (spec, first): (Spec, PreparedRun),
        invocation: Invocation,
        count: usize,
    ) -> Self {
        let empties_cache = !runner.options().reset_prefix_cache;
        Self { runner, spec, invocation, count, begun: 0, first: Some(first), empties_cache }
    }

    /// Empties the prefix cache, so that no run finds the prompts of an earlier run. A run with `--reset-prefix-cache`
    /// does this itself.
    fn empty_cache(&self) {
        if let Ok(Err(error)) = self.runner.session().try_empty_cache()
            && self.begun == 1
        {
            self.runner.session().emit(&Event::Note(Note::CacheNotReset(error.to_string())));
        }
    }

    /// How one of the runs alone would be requested.
    fn invocation(&self, number: usize, seed: u64) -> Invocation {
        Invocation {
            command: self.invocation.command.clone(),
            settings: settings(&self.invocation.settings, seed),
            record_log: self.invocation.record_log.as_ref().map(|log| log.of_run(number)),
        }
    }
}

impl Iterator for Repeats<'_> {
    type Item = Repeat;

    /// Measures the next run; `None` after the last one, or when the user has asked for the end.
    fn next(&mut self) -> Option<Repeat> {
        let session = self.runner.session();
        if self.begun == self.count {
            return None;
        }
        if self.begun > 0 && self.empties_cache {
            self.empty_cache();
        }
        let seed = self.spec.seed.wrapping_add(self.begun as u64);
        let prepared = match self.first.take() {
            Some(first) => Ok(first),
            None => self.runner.prepare(Spec { seed, ..self.spec.clone() }),
        };
        if session.stop_handle().is_requested() {
            return None;
        }
        self.begun += 1;
        let number = self.begun;
        session.emit(&Event::Repeat { number, of: self.count, seed });
        let invocation = self.invocation(number, seed);
        let measured =
            prepared.and_then(|prepared| self.runner.measure(prepared, &invocation, &mut |_, _| {}));
        Some(Repeat { number, invocation, measured })
    }
}

/// The settings of one of the runs alone, so that it can be repeated.
fn settings(all: &Map<String, Value>, seed: u64) -> Map<String, Value> {
    let mut settings = all.clone();
    settings.remove("repeats");
    settings.insert("seed".to_owned(), seed.into());
    settings
}
