//! Repeats a run with other seeds, because a single run does not show how much runs differ.

use serde_json::{Map, Value};

use super::error::Error;
use super::event::Event;
use super::options::Invocation;
use super::prepared_run::{PreparedRun, Runner};
use super::series::RunSeries;
use crate::model::run::Run;
use crate::model::run_records::RunRecords;
use crate::model::run_spec::Spec;

/// Runs that differ only in their seeds.
pub(crate) struct Repeats<'a> {
    series: RunSeries<'a>,
    /// The Spec of the first run. Each later run has the next seed.
    spec: Spec,
    invocation: Invocation,
    count: usize,
}

/// One run of the repetition.
pub(crate) struct Repeat {
    /// The number of the run, from 1.
    pub number: usize,
    /// How this run alone would be requested.
    pub invocation: Invocation,
    /// The Run and its Records, or why there is none.
    pub measured: Result<(Run, RunRecords), Error>,
}

impl<'a> Repeats<'a> {
    /// Creates `count` runs. The first one is already prepared, and `spec` is its Spec before the preparation.
    pub(crate) fn new(
        runner: &'a Runner<'a>,
        (spec, first): (Spec, PreparedRun),
        invocation: Invocation,
        count: usize,
    ) -> Self {
        Self { series: RunSeries::new(runner, first), spec, invocation, count }
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
        let begun = self.series.begun();
        if begun == self.count {
            return None;
        }
        let number = begun + 1;
        let seed = self.spec.seed.wrapping_add(begun as u64);
        let invocation = self.invocation(number, seed);
        let begins = Event::Repeat { number, of: self.count, seed };
        let spec = Spec { seed, ..self.spec.clone() };
        let measured = self.series.measure_next(spec, &begins, &invocation)?;
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
