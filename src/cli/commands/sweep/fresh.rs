//! The result of a cell that was just measured.

use jiff::Timestamp;

use super::load::{Load, LoadSearch};
use super::plan::Cell;
use crate::cli::commands::run::failure_reason;
use crate::cli::commands::search::{self, Found};
use crate::cli::exit::CliError;
use crate::cli::interrupt::InterruptSignal;
use crate::model::run::Run;
use crate::model::secrets;

/// A result that is not saved yet.
pub(super) enum Fresh {
    /// The Run of a load that consists of `run`'s flags.
    Run(Box<Run>),
    /// The search of a load that is a search.
    Search {
        /// The search's result.
        found: Box<Found>,
        /// The command line that repeats the search.
        command: Vec<String>,
    },
}

impl Fresh {
    /// Measures or searches a cell's load on its server.
    pub(super) fn of(
        load: &Load,
        cell: &Cell,
        base_url: &str,
        interrupts: &InterruptSignal,
    ) -> Result<Self, CliError> {
        let (line, command) = (load.at(base_url), load.command(cell.seed, base_url));
        let Some(LoadSearch { args, .. }) = &load.search else {
            return line.measure(cell.seed, command, interrupts).map(Box::new).map(Self::Run);
        };
        let mut args = args.clone();
        args.seed = cell.seed;
        // The trials of every search have the same numbers, so each search needs its own folder.
        let own = cell.file.trim_end_matches(".json");
        args.save_trials = args.save_trials.map(|folder| folder.join(own));
        let found = Box::new(search::find(&args, line, interrupts)?);
        Ok(Self::Search { found, command: secrets::mask_args(&command) })
    }

    /// Records when the server was launched.
    pub(super) fn launched(&mut self, at: Option<Timestamp>) {
        if let Self::Run(run) = self {
            run.environment.server_launched = at;
        }
    }

    /// Whether the user interrupted it.
    pub(super) fn is_interrupted(&self) -> bool {
        match self {
            Self::Run(run) => run.interrupted,
            Self::Search { found, .. } => found.is_interrupted(),
        }
    }

    /// Returns why there is nothing to save; `None` if there is something.
    pub(super) fn why_nothing(&self) -> Option<String> {
        match self {
            Self::Run(run) => (run.metrics.completed == 0).then(|| failure_reason(run)),
            Self::Search { found, .. } => found.why_nothing().map(ToOwned::to_owned),
        }
    }
}
