//! What a sweep is to measure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::order::{self, Order};
use crate::cli::run::Line;
use crate::cli::run_line;
use crate::core::digest::Digest;
use crate::core::rule::Rule;
use crate::core::spec::Spec;
use crate::server::launch::Template;

/// Flag sets, loads and how often.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The servers.
    pub sets: Vec<Set>,
    /// What they are to bear.
    pub loads: Vec<Load>,
    /// Which load each set is measured under: indices of both, in the order of the sets.
    pub pairs: Vec<(usize, usize)>,
    /// How often.
    pub repeats: usize,
    /// In which order.
    pub order: Order,
    /// Of the order, and the first of the loads' seeds.
    pub seed: u64,
    /// How a cell is kept from finding what another left in the cache.
    pub caches: Caches,
    /// What good service is.
    pub slo: Vec<Rule>,
    /// How long a server may take to start.
    pub health_timeout: Duration,
    /// How files are named.
    pub naming: Naming,
}

/// A server with certain flags.
#[derive(Debug, Clone)]
pub struct Set {
    /// Its name.
    pub name: String,
    /// Where it comes from.
    pub server: Source,
    /// Over how many GPUs its throughput is shared.
    pub gpus: f64,
}

/// Where a server comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// We start it, with these variables, in an environment that is ours otherwise.
    Command(Template, BTreeMap<String, String>),
    /// It runs already.
    Url(String),
}

/// Flags of `servebench run`, and of `servebench search` where the cells are searches.
#[derive(Debug, Clone)]
pub struct Load {
    /// Its name.
    pub name: String,
    /// The flags, those of the base first.
    pub words: Vec<String>,
    /// For a search its own flags; what stands after its `--` is among `words`.
    pub search: Option<Vec<String>>,
}

/// What is done between cells of one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Caches {
    /// `/reset_prefix_cache`, and where that is refused another start.
    Reset,
    /// Another start.
    Restart,
    /// Nothing: prompts differ from cell to cell all the same.
    Keep,
}

/// How files are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// `SET-LOAD-r1.json`.
    Ours,
    /// `SERVE-SET-BENCH-LOAD/run=0.json`.
    Vllm,
}

/// One Run of a sweep, or one search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// Which set.
    pub set: usize,
    /// Which load.
    pub load: usize,
    /// Which time, from 0.
    pub repeat: usize,
    /// The run's seed: the same for all sets, so that they get the same requests.
    pub seed: u64,
    /// The file of the Run or of the search, in the sweep's folder.
    pub file: String,
    /// Of everything that determines it, but for a port that is chosen anew each time.
    pub digest: Digest,
}

/// Seeds of one load; the next load's are as far away, so that more repeats can be added to a sweep that is finished.
const SEEDS: u64 = 1000;

/// From one repeat of a search to the next: each of its trials has another seed.
const SEARCH_SEEDS: u64 = 1_000_000;

impl Plan {
    /// Every pair of a set and a load.
    pub fn all_pairs(sets: usize, loads: usize) -> Vec<(usize, usize)> {
        (0..sets).flat_map(|set| (0..loads).map(move |load| (set, load))).collect()
    }

    /// All cells in the order in which they are measured.
    pub fn cells(&self) -> Vec<Cell> {
        order::cells(self)
    }

    /// One cell.
    pub fn cell(&self, set: usize, load: usize, repeat: usize) -> Cell {
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

    /// What is wrong with it as a whole, before anything is started.
    pub fn check(&self) -> Result<(), String> {
        if self.sets.is_empty() || self.loads.is_empty() || self.pairs.is_empty() {
            return Err("a sweep needs at least one set and one load that go together".into());
        }
        if self.repeats == 0 {
            return Err("repeats must be at least 1".into());
        }
        if let Some(rule) = self.slo.iter().find(|rule| rule.needs_baseline()) {
            return Err(format!("slo `{rule}`: a sweep has no baseline; `servebench gate` does"));
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

    /// What the set's name is in files.
    pub fn log(&self, set: usize) -> String {
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
            Some(search) => json!([name, server, words, seed, search]),
        };
        Digest::of(all.to_string().as_bytes())
    }
}

impl Load {
    /// The flags for one cell, or what is wrong with them.
    pub fn line(&self, base_url: &str, seed: u64) -> Result<Line, String> {
        let place = |why| format!("load `{}`: {why}; see `servebench run --help`", self.name);
        let line = run_line(&self.cell_words(base_url, seed)).map_err(place)?;
        match () {
            () if line.args.configuration.config.is_some() || line.args.configuration.like.is_some() => {
                Err(place("--config and --like are for the command line: write the flags themselves".into()))
            }
            () if line.args.workload.dry_run => Err(place("--dry-run is a flag of the sweep itself".into())),
            () if line.args.measure.repeats.get() > 1 => {
                Err(place("--repeats is a flag of the sweep itself".into()))
            }
            () => Ok(line),
        }
    }

    /// The words of `servebench run` for one cell. The flags' own target and seed win: vLLM's commands have them.
    pub fn cell_words(&self, base_url: &str, seed: u64) -> Vec<String> {
        let first = ["--metric-percentiles", "50,90,95,99"].map(ToOwned::to_owned);
        let mut words: Vec<String> = first.into_iter().chain(self.words.iter().cloned()).collect();
        if !self.names_its_target() {
            words.extend(["--base-url".to_owned(), base_url.to_owned()]);
        }
        words.extend(["--seed".to_owned(), seed.to_string()]);
        words
    }

    /// What they ask for, as far as that is known without a server.
    pub fn spec(&self) -> Result<Spec, String> {
        let spec = self.line("http://127.0.0.1:8000", 0)?.spec();
        spec.map_err(|why| format!("load `{}`: {why}", self.name))
    }

    /// What is wrong with the flags, as far as that is known without a server.
    fn check(&self) -> Result<(), String> {
        self.spec()?;
        match &self.search {
            None => Ok(()),
            Some(_) => self.search_args("http://127.0.0.1:8000", 0).map(drop),
        }
    }

    /// Whether the flags say where the server is.
    pub fn names_its_target(&self) -> bool {
        ["base-url", "host", "port"].iter().any(|flag| value(&self.words, flag).is_some())
    }

    fn given_seed(&self) -> Option<u64> {
        let own = self.search.as_deref().and_then(|search| value(search, "seed"));
        own.or_else(|| value(&self.words, "seed"))?.parse().ok()
    }
}

/// The last value of a flag among words.
fn value(words: &[String], flag: &str) -> Option<String> {
    let is_flag = |word: &str| word.strip_prefix("--").is_some_and(|name| name.replace('_', "-") == flag);
    words.iter().enumerate().rev().find_map(|(at, word)| match word.split_once('=') {
        Some((name, value)) if is_flag(name) => Some(value.to_owned()),
        _ if is_flag(word) => words.get(at + 1).cloned(),
        _ => None,
    })
}

fn unique<'a>(what: &str, names: impl Iterator<Item = &'a String>) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for name in names {
        // vLLM's only set may have no flags, and so no name.
        if !seen.insert(in_files(name)) {
            return Err(format!("there are two {what}s whose files would be called `{}`", in_files(name)));
        }
    }
    Ok(())
}

/// A name as a part of a file's name.
fn in_files(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_alphanumeric() || "._=-+".contains(c) { c } else { '_' })
        .collect::<String>()
        .replace("..", "__")
}

#[cfg(test)]
mod tests;
