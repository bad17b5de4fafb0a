//! What a cell has just yielded.

use jiff::Timestamp;

use super::plan::{Cell, Load};
use crate::cli::exit::Halt;
use crate::cli::interrupt::Interrupts;
use crate::cli::run::{redact, why_nothing};
use crate::cli::search::{self, Found};
use crate::core::run::Run;

/// Not saved yet.
pub enum Fresh {
    /// Of a load of `run`'s flags.
    Run(Box<Run>),
    /// Of a load that is a search.
    Search {
        /// What it found.
        found: Box<Found>,
        /// The command line that would find the same.
        command: Vec<String>,
    },
}

impl Fresh {
    /// Measures or searches a cell's load against its server.
    pub fn of(load: &Load, cell: &Cell, base_url: &str, interrupts: &Interrupts) -> Result<Self, Halt> {
        let command = |name: &str, words: Vec<String>| {
            ["servebench", name].into_iter().map(ToOwned::to_owned).chain(words).collect()
        };
        if load.search.is_none() {
            let line = load.line(base_url, cell.seed).map_err(Halt::usage)?;
            let command = command("run", load.cell_words(base_url, cell.seed));
            return line.measure(command, interrupts).map(Box::new).map(Self::Run);
        }
        let mut args = load.search_args(base_url, cell.seed).map_err(Halt::usage)?;
        // Each search has trials of the same numbers.
        let own = cell.file.trim_end_matches(".json");
        args.save_trials = args.save_trials.map(|folder| folder.join(own));
        let found = Box::new(search::find(&args, interrupts)?);
        let seed = ["--seed".to_owned(), cell.seed.to_string()];
        let words = seed.into_iter().chain(load.search_words(base_url)).collect();
        Ok(Self::Search { found, command: redact::secrets(command("search", words)) })
    }

    /// Notes when the server was launched.
    pub fn launched(&mut self, at: Option<Timestamp>) {
        if let Self::Run(run) = self {
            run.environment.server_launched = at;
        }
    }

    /// Whether the user ended it early.
    pub fn is_interrupted(&self) -> bool {
        match self {
            Self::Run(run) => run.interrupted,
            Self::Search { found, .. } => found.is_interrupted(),
        }
    }

    /// Why there is nothing to keep, if there is not.
    pub fn why_nothing(&self) -> Option<String> {
        match self {
            Self::Run(run) => (run.metrics.completed == 0).then(|| why_nothing(run)),
            Self::Search { found, .. } => found.why_nothing().map(ToOwned::to_owned),
        }
    }
}
