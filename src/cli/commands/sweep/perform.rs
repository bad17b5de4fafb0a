//! Measures the cells in sequence.

use std::collections::BTreeMap;
use std::time::Instant;

use super::budget::{self, Budget, shown};
use super::folder::Folder;
use super::fresh::Fresh;
use super::host::Host;
use super::plan::{Cell, Plan};
use crate::cli::exit::{CliError, print_stderr};
use crate::cli::interrupt::InterruptSignal;
use crate::report;
use crate::server::launch::LaunchError;

/// A sweep in progress, and the outcome of its cells.
pub(super) struct Performance<'a> {
    plan: &'a Plan,
    interrupts: &'a InterruptSignal,
    /// The folder with the finished cells.
    pub folder: Folder,
    /// Why a cell was not measured, by its file.
    pub failures: BTreeMap<String, String>,
    /// Whether the user interrupted the sweep.
    pub interrupted: bool,
    budget: Budget,
}

/// The outcome of one cell.
enum Outcome {
    Measured,
    /// This cell failed.
    Failed(String),
    /// The server failed: no cell of its set can be measured.
    NoServer(String),
    Interrupted,
}

impl<'a> Performance<'a> {
    /// Creates a sweep in which only the cells in the folder are finished.
    pub(super) fn new(
        plan: &'a Plan,
        folder: Folder,
        interrupts: &'a InterruptSignal,
    ) -> Result<Self, CliError> {
        folder.probe()?;
        let budget = Budget::new(plan, &folder);
        Ok(Self { plan, interrupts, folder, failures: BTreeMap::new(), interrupted: false, budget })
    }

    /// Measures the missing cells. An interrupt or a failed cell keeps the results of the others.
    pub(super) fn perform(mut self) -> Result<Self, CliError> {
        let cells = budget::to_do(self.plan, &self.folder);
        print_stderr(budget::summary(self.plan, &self.folder));
        let path = self.folder.path().to_owned();
        let mut host = Host::new(self.plan, &path, self.interrupts)?;
        let mut broken: BTreeMap<usize, String> = BTreeMap::new();
        for (at, cell) in cells.iter().enumerate() {
            if self.interrupts.is_requested() {
                self.interrupted = true;
                break;
            }
            if let Some(why) = broken.get(&cell.set) {
                self.failures.insert(cell.file.clone(), format!("not tried: {why}"));
                continue;
            }
            self.announce(cell, (at + 1, cells.len()));
            match self.one(cell, &mut host)? {
                Outcome::Measured => self.tell_left(&cells[at + 1..], cell),
                Outcome::Failed(why) => self.failed(cell, why),
                Outcome::NoServer(why) => {
                    // The server's log is quoted for the first cell only.
                    broken.insert(cell.set, why.split("; ").next().unwrap_or_default().to_owned());
                    self.failed(cell, why);
                    host.stop();
                }
                Outcome::Interrupted => {
                    self.interrupted = true;
                    break;
                }
            }
        }
        host.stop();
        Ok(self)
    }

    fn one(&mut self, cell: &Cell, host: &mut Host<'_>) -> Result<Outcome, CliError> {
        let ready = match host.ready(cell) {
            Ok(ready) => ready,
            Err(LaunchError::Interrupted) => return Ok(Outcome::Interrupted),
            Err(error) => return Ok(Outcome::NoServer(error.to_string())),
        };
        if let Some(start) = ready.start {
            self.budget.started(start);
        }
        let begun = Instant::now();
        let load = &self.plan.loads[cell.load];
        let mut fresh = match Fresh::of(load, cell, &ready.base_url, self.interrupts) {
            Ok(fresh) => fresh,
            // A failure that an interrupt causes is not a failure of the cell.
            Err(_) if self.interrupts.is_requested() => return Ok(Outcome::Interrupted),
            // A usage error applies to every cell, unless it arises because the server has ended and cannot answer a
            // question.
            Err(halt) if halt.is_usage() && host.ended().is_none() => return Err(halt),
            Err(halt) => return Ok(Outcome::Failed(halt.message().to_owned())),
        };
        if fresh.is_interrupted() || self.interrupts.is_requested() {
            return Ok(Outcome::Interrupted);
        }
        if let Some(why) = fresh.why_nothing() {
            return Ok(Outcome::Failed(why));
        }
        if let (Fresh::Search { .. }, Some(status)) = (&fresh, host.ended()) {
            // A server that has ended fails at every load, so the search has no result.
            return Ok(Outcome::Failed(format!(
                "its server exited unexpectedly during the search ({status})"
            )));
        }
        fresh.launched(ready.launched);
        self.budget.took(cell.load, begun.elapsed());
        self.folder.keep(self.plan, cell, fresh)?;
        if let Some(found) = self.folder.found(cell) {
            print_stderr(format_args!("  {}", report::sweep::cell_line(found)));
        }
        Ok(Outcome::Measured)
    }

    fn announce(&self, cell: &Cell, (at, of): (usize, usize)) {
        let (set, load) = (shown(&self.plan.sets[cell.set].name), shown(&self.plan.loads[cell.load].name));
        print_stderr(format_args!(
            "[{at}/{of}] {set} under {load}, repeat {}, seed {}",
            cell.repeat + 1,
            cell.seed
        ));
    }

    fn tell_left(&self, cells: &[Cell], running: &Cell) {
        let left = self.budget.left(self.plan, cells, Some(running));
        if !cells.is_empty() {
            print_stderr(format_args!("  left: {}: {left}", budget::counted(cells.len(), "cell")));
        }
    }

    fn failed(&mut self, cell: &Cell, why: String) {
        print_stderr(format_args!("  failed: {why}"));
        self.failures.insert(cell.file.clone(), why);
    }
}
