//! Measures the cells, one after the other.

use std::collections::BTreeMap;
use std::time::Instant;

use super::budget::{self, Budget, shown};
use super::folder::Folder;
use super::fresh::Fresh;
use super::host::Host;
use super::plan::{Cell, Plan};
use crate::cli::exit::{Halt, say};
use crate::cli::interrupt::Interrupts;
use crate::report;
use crate::server::launch::LaunchError;

/// A sweep under way, and what became of it.
pub struct Performance<'a> {
    plan: &'a Plan,
    interrupts: &'a Interrupts,
    /// What is measured.
    pub folder: Folder,
    /// Why a cell is not, by its file.
    pub failures: BTreeMap<String, String>,
    /// Whether the user ended it.
    pub interrupted: bool,
    budget: Budget,
}

/// What became of one cell.
enum Outcome {
    Measured,
    /// Only this cell.
    Failed(String),
    /// The server: no cell of its set can be measured.
    NoServer(String),
    Interrupted,
}

impl<'a> Performance<'a> {
    /// Nothing is measured yet but what is in the folder.
    pub fn new(plan: &'a Plan, folder: Folder, interrupts: &'a Interrupts) -> Result<Self, Halt> {
        folder.probe()?;
        let budget = Budget::new(plan, &folder);
        Ok(Self { plan, interrupts, folder, failures: BTreeMap::new(), interrupted: false, budget })
    }

    /// Measures what is not there. An interrupt, or a failure of some cells, still leaves the others.
    pub fn perform(mut self) -> Result<Self, Halt> {
        let cells = budget::to_do(self.plan, &self.folder);
        say(budget::summary(self.plan, &self.folder));
        let path = self.folder.path().to_owned();
        let mut host = Host::new(self.plan, &path, self.interrupts)?;
        let mut broken: BTreeMap<usize, String> = BTreeMap::new();
        for (at, cell) in cells.iter().enumerate() {
            if self.interrupts.asked() {
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
                    // Once is enough for the log.
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

    fn one(&mut self, cell: &Cell, host: &mut Host<'_>) -> Result<Outcome, Halt> {
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
            // What is wrong with the flags is wrong for every cell; but a server that is gone answers no question about them.
            Err(halt) if halt.is_usage() && host.ended().is_none() => return Err(halt),
            Err(_) if self.interrupts.asked() => return Ok(Outcome::Interrupted),
            Err(halt) => return Ok(Outcome::Failed(halt.message().to_owned())),
        };
        if fresh.is_interrupted() || self.interrupts.asked() {
            return Ok(Outcome::Interrupted);
        }
        if let Some(why) = fresh.why_nothing() {
            return Ok(Outcome::Failed(why));
        }
        if let (Fresh::Search { .. }, Some(status)) = (&fresh, host.ended()) {
            // Every load is too much for a server that is gone.
            return Ok(Outcome::Failed(format!("its server ended by itself during the search ({status})")));
        }
        fresh.launched(ready.launched);
        self.budget.took(cell.load, begun.elapsed());
        self.folder.keep(self.plan, cell, fresh)?;
        if let Some(found) = self.folder.found(cell) {
            say(format_args!("  {}", report::sweep::line(found)));
        }
        Ok(Outcome::Measured)
    }

    fn announce(&self, cell: &Cell, (at, of): (usize, usize)) {
        let (set, load) = (shown(&self.plan.sets[cell.set].name), shown(&self.plan.loads[cell.load].name));
        say(format_args!("[{at}/{of}] {set} under {load}, repeat {}, seed {}", cell.repeat + 1, cell.seed));
    }

    fn tell_left(&self, cells: &[Cell], running: &Cell) {
        let left = self.budget.left(self.plan, cells, Some(running));
        if !cells.is_empty() {
            say(format_args!("  left: {}: {left}", budget::counted(cells.len(), "cell")));
        }
    }

    fn failed(&mut self, cell: &Cell, why: String) {
        say(format_args!("  failed: {why}"));
        self.failures.insert(cell.file.clone(), why);
    }
}
