//! The plan of a sweep: what it measures.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::load::Load;
use crate::model::digest::Digest;
use crate::model::rule::MetricRule;
use crate::server::launch::CommandTemplate;

/// The server sets, the loads and the number of repeats.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// The server sets.
    pub sets: Vec<Set>,
    /// The loads.
    pub loads: Vec<Load>,
    /// The combinations to measure: indices into sets and loads, in the order of the sets.
    pub pairs: Vec<(usize, usize)>,
    /// The number of repeats of each pair.
    pub repeats: usize,
    /// The order of the cells.
    pub order: Order,
    /// The seed of the order, and the first seed of the loads.
    pub seed: u64,
    /// How caches are emptied between cells.
    pub caches: Caches,
    /// The service levels of the report.
    pub slo: Vec<MetricRule>,
    /// The limit of a server's start.
    pub health_timeout: Duration,
    /// Secret environment variables that servers receive.
    pub pass_env: Vec<String>,
    /// The naming scheme of files.
    pub naming: Naming,
}

/// The order in which the cells are measured. A machine drifts: it warms up, and other work comes and goes. Measuring
/// in rounds spreads the drift over all cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Order {
    /// In rounds, one for each repeat: sets in random order, and the loads of each set too
    Random,
    /// In rounds: sets forward in one round and backward in the next, loads in order
    Interleaved,
    /// Set by set, each on one server start: differences between starts, and a drift of the machine, then
    /// count as the set's
    Grouped,
}

/// A server with certain flags.
#[derive(Debug, Clone)]
pub(super) struct Set {
    /// The set's name.
    pub name: String,
    /// The set's server.
    pub server: Source,
    /// The number of GPUs; the throughput per GPU is the throughput divided by it.
    pub gpus: f64,
}

/// A server that runs, or the command that starts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// A command that starts the server, and variables added to our environment.
    Command(CommandTemplate, BTreeMap<String, String>),
    /// The URL of a running server.
    Url(String),
}

/// What happens between two cells of one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Caches {
    /// Calls `/reset_prefix_cache`; restarts the server if it rejects that.
    Reset,
    /// Restarts the server.
    Restart,
    /// Does nothing. Prompts still differ from cell to cell.
    Keep,
}

/// The naming scheme of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Naming {
    /// `SET-LOAD-r1.json`.
    Ours,
    /// `SERVE-SET-BENCH-LOAD/run=0.json`.
    Vllm,
}

/// One Run or one search of a sweep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cell {
    /// The index of the set.
    pub set: usize,
    /// The index of the load.
    pub load: usize,
    /// The number of the repeat, from 0.
    pub repeat: usize,
    /// The run's seed. It is the same for all sets, so that they receive the same requests.
    pub seed: u64,
    /// The file of the Run or the search, within the sweep's folder.
    pub file: String,
    /// The digest of everything that determines the cell, except a port that each start chooses.
    pub digest: Digest,
}

/// The distance between the seeds of two loads. It leaves room to add repeats to a finished sweep.
const SEEDS: u64 = 1000;

/// The distance between the seeds of two repeats of a search: each of its trials needs its own seed.
const SEARCH_SEEDS: u64 = 1_000_000;

impl Plan {
    /// Returns every pair of a set and a load.
    pub(super) fn all_pairs(sets: usize, loads: usize) -> Vec<(usize, usize)> {
        (0..sets).flat_map(|set| (0..loads).map(move |load| (set, load))).collect()
    }

    /// Returns one cell.
    pub(super) fn cell(&self, set: usize, load: usize, repeat: usize) -> Cell {
        let own = self.loads[load].given_seed();
        let first = own.unwrap_or(self.seed.wrapping_add(SEEDS * load as u64));
        let apart = if self.loads[load].search.is_some() { SEARCH_SEEDS } else { 1 };
        let seed = first.wrapping_add(apart.wrapping_mul(repeat as u64));
        Cell {
            set,
            load,
            repeat,
            seed,
            file: self.file(set, load, repeat),
            digest: self.digest(set, load, seed),
        }
    }

    /// Checks the whole plan before anything is started.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.sets.is_empty() || self.loads.is_empty() || self.pairs.is_empty() {
            return Err("a sweep needs at least one set and one load that go together".into());
        }
        if self.repeats == 0 {
            return Err("repeats must be at least 1".into());
        }
        if let Some(rule) = self.slo.iter().find(|rule| rule.needs_baseline()) {
            return Err(format!("slo `{rule}`: a sweep has no baseline; `servegauge gate` does"));
        }
        unique("set", self.sets.iter().map(|set| &set.name))?;
        unique("load", self.loads.iter().map(|load| &load.name))?;
        let one = |set: &Set| {
            (!(set.gpus > 0.0 && set.gpus.is_finite()))
                .then(|| format!("set `{}`: gpus must be above 0", set.name))
        };
        if let Some(wrong) = self.sets.iter().find_map(one) {
            return Err(wrong);
        }
        self.loads.iter().try_for_each(Load::check)
    }

    /// Returns the name of a set's log.
    pub(super) fn log(&self, set: usize) -> String {
        format!("{}.log", in_files(&self.sets[set].name))
    }

    fn file(&self, set: usize, load: usize, repeat: usize) -> String {
        let (set, load) = (in_files(&self.sets[set].name), in_files(&self.loads[load].name));
        match self.naming {
            Naming::Ours => format!("{set}-{load}-r{}.json", repeat + 1),
            Naming::Vllm => {
                let parts =
                    [("SERVE-", set), ("BENCH-", load)].into_iter().filter(|(_, name)| !name.is_empty());
                let parts: Vec<_> = parts.map(|(kind, name)| format!("{kind}-{name}")).collect();
                format!("{}/run={repeat}.json", parts.join("-"))
            }
        }
    }

    fn digest(&self, set: usize, load: usize, seed: u64) -> Digest {
        let Set { name, server, .. } = &self.sets[set];
        let server = match server {
            Source::Command(template, env) => json!([template.words(), env]),
            Source::Url(url) => json!(url),
        };
        let Load { words, search, .. } = &self.loads[load];
        let all = match search {
            None => json!([name, server, words, seed]),
            Some(search) => json!([name, server, words, seed, search.words]),
        };
        Digest::from_bytes(all.to_string().as_bytes())
    }
}

fn unique<'a>(what: &str, names: impl Iterator<Item = &'a String>) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for name in names {
        // vLLM's only set may have no flags, and then no name.
        if !seen.insert(in_files(name)) {
            return Err(format!("there are two {what}s whose files would be called `{}`", in_files(name)));
        }
    }
    Ok(())
}

/// Returns a name in a form that a file name may contain.
fn in_files(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_alphanumeric() || "._=-+".contains(c) { c } else { '_' })
        .collect::<String>()
        .replace("..", "__")
}

#[cfg(test)]
mod tests;
