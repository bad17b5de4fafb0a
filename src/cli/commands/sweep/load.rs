//! A load of a sweep: flags of `run`, and flags of `search` if its cells are searches.

use serde_json::{Map, json};

use crate::cli::commands::run::RunCommandLine;
use crate::cli::commands::search::{self, SearchArgs};
use crate::cli::config::as_words;
use crate::model::run_spec::Spec;
use crate::model::secrets;

/// The percentiles of a cell's Run, unless the flags name others.
const PERCENTILES: &str = "50,90,95,99";

/// A load, parsed when the sweep is read.
#[derive(Debug, Clone)]
pub(super) struct Load {
    /// The load's name.
    pub name: String,
    /// The flags of `run` as written, with those of `[base]` first.
    pub words: Vec<String>,
    /// The parsed flags of `run`.
    pub run: RunCommandLine,
    /// The search, if the load's cells are searches.
    pub search: Option<LoadSearch>,
    /// Whether the flags name the percentiles.
    names_percentiles: bool,
}

/// The flags of `search` that a load has.
#[derive(Debug, Clone)]
pub(super) struct LoadSearch {
    /// The flags as written, without those after `--`.
    pub words: Vec<String>,
    /// The parsed flags of `search`.
    pub args: SearchArgs,
    /// The seed among the flags.
    seed: Option<u64>,
}

/// Splits a search's words at `--` into its own and those of `run`.
pub(super) fn split(mut words: Vec<String>) -> (Vec<String>, Vec<String>) {
    let Some(at) = words.iter().position(|word| word == "--") else { return (words, Vec::new()) };
    let run = words.split_off(at + 1);
    words.truncate(at);
    (words, run)
}

impl Load {
    /// Parses the flags of `run`, and those of `search` for a load whose cells are searches.
    ///
    /// # Errors
    /// The flags are wrong; the message names the load.
    pub(super) fn new(name: String, words: Vec<String>, search: Option<Vec<String>>) -> Result<Self, String> {
        // From here on, output masks the secrets in the flags.
        secrets::mask_args(&words);
        let wrong = |why: String| format!("load `{name}`: {why}");
        let mut run = RunCommandLine::parse(&words)
            .map_err(|why| wrong(format!("{why}; see `servegauge run --help`")))?;
        if let Some(flag) = run.first_of(&["config", "like"]) {
            return Err(wrong(format!("--{flag} is for the command line: write the flags themselves")));
        }
        if let Some(flag) = run.first_of(&["dry-run", "repeats"]) {
            return Err(wrong(format!("--{flag} is a flag of the sweep itself")));
        }
        run.refuse_records_file().map_err(wrong)?;
        run.refuse_shards().map_err(wrong)?;
        if run.gives("sim") {
            return Err(wrong(
                "--sim is a server: a set's command `servegauge sim --port {port}` starts it".into(),
            ));
        }
        let search = search.map(LoadSearch::new).transpose().map_err(wrong)?;
        let names_percentiles = run.gives("metric-percentiles");
        if !names_percentiles && search.is_none() {
            PERCENTILES.clone_into(&mut run.args.measure.metric_percentiles);
            run.record("metric-percentiles", PERCENTILES);
        }
        Ok(Self { name, words, run, search, names_percentiles })
    }

    /// Checks the flags as far as that is possible without a server.
    pub(super) fn check(&self) -> Result<(), String> {
        self.spec()?;
        let Some(LoadSearch { args, .. }) = &self.search else { return Ok(()) };
        search::check(args, self.run.clone()).map_err(|halt| {
            let why = halt.message();
            format!("load `{}`: a search with these flags, those of [base] among them: {why}", self.name)
        })
    }

    /// Returns the Spec of the load's run, as far as that is possible without a server.
    pub(super) fn spec(&self) -> Result<Spec, String> {
        self.run.spec().map_err(|why| format!("load `{}`: {why}", self.name))
    }

    /// Returns the flags of `run` for a cell. A target among the flags takes precedence, since vLLM's commands name
    /// one.
    pub(super) fn at(&self, base_url: &str) -> RunCommandLine {
        if self.names_its_target() { self.run.clone() } else { self.run.at(base_url) }
    }

    /// Whether the flags name a server.
    pub(super) fn names_its_target(&self) -> bool {
        self.run.first_of(&["base-url", "host", "port"]).is_some()
    }

    /// Returns the seed among the flags.
    pub(super) fn given_seed(&self) -> Option<u64> {
        let own = self.search.as_ref().and_then(|search| search.seed);
        own.or_else(|| self.run.gives("seed").then_some(self.run.args.workload.seed))
    }

    /// Returns the command line that measures a cell with this seed.
    pub(super) fn command(&self, seed: u64, base_url: &str) -> Vec<String> {
        let words = |settings: serde_json::Value| as_words(settings.as_object().unwrap_or(&Map::new()));
        let (url, seed) = (words(json!({ "base-url": base_url })), words(json!({ "seed": seed })));
        let program = |command: &str| vec!["servegauge".to_owned(), command.to_owned()];
        match &self.search {
            Some(search) => {
                let own = [program("search"), seed, search.words.clone(), vec!["--".to_owned()]].concat();
                [own, self.words.clone(), url].concat()
            }
            None => {
                let percentiles = words(json!({ "metric-percentiles": PERCENTILES }));
                let first = if self.names_percentiles { Vec::new() } else { percentiles };
                let url = if self.names_its_target() { Vec::new() } else { url };
                [program("run"), first, self.words.clone(), url, seed].concat()
            }
        }
    }
}

impl LoadSearch {
    fn new(words: Vec<String>) -> Result<Self, String> {
        let (args, seed) =
            SearchArgs::parse(&words).map_err(|why| format!("{why}; see `servegauge search --help`"))?;
        if args.json.is_wanted() || args.result_filename.is_some() {
            let why = "--json and --result-filename are the sweep's: it saves each search's JSON as the cell's file";
            return Err(why.to_owned());
        }
        Ok(Self { words, args, seed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        shlex::split(text).unwrap()
    }

    fn load(search: &str, run: &str) -> Result<Load, String> {
        Load::new("knee".into(), words(run), Some(words(search)))
    }

    #[test]
    fn a_searchs_words_are_its_own_and_runs() {
        assert_eq!(split(words("--max 5 -- --model m")), (words("--max 5"), words("--model m")));
        assert_eq!(split(words("--max 5")), (words("--max 5"), words("")));
    }

    #[test]
    fn a_cells_search_has_the_cells_server_and_seed() {
        let load = load("--slo 'ttft.p95<1s' --seed 3", "--model m").unwrap();
        assert_eq!(load.given_seed(), Some(3));
        assert_eq!(load.at("http://h:1").args.target.base_url.as_deref(), Some("http://h:1"));
        let command =
            "servegauge search --seed 9 --slo 'ttft.p95<1s' --seed 3 -- --model m --base-url http://h:1";
        assert_eq!(load.command(9, "http://h:1"), words(command));
    }

    #[test]
    fn a_cells_run_has_the_cells_server_seed_and_percentiles() {
        let load = |flags: &str| Load::new("l".into(), words(flags), None).unwrap();
        let command = load("--model m").command(9, "http://h:1");
        let expected =
            "servegauge run --metric-percentiles 50,90,95,99 --model m --base-url http://h:1 --seed 9";
        assert_eq!(command, words(expected));
        let own = load("--metric-percentiles 1 --port 80");
        assert_eq!(own.run.args.measure.metric_percentiles, "1");
        assert_eq!(own.at("http://h:1").args.target.base_url, None, "the flags' own target wins");
    }

    #[test]
    fn what_cannot_work_is_refused_with_a_reason() {
        let cases = [
            (
                "--max 5",
                "",
                "load `knee`: a search with these flags, those of [base] among them: no service level",
            ),
            ("--slo 'ttft.p95<1s'", "--num-prompts 5", "--num-prompts is set by the search"),
            ("--slo 'ttft.p95<1s' --json", "", "it saves each search's JSON as the cell's file"),
            ("--slo 'ttft.p95<1s' --no-such", "", "load `knee`: unexpected argument"),
            ("--slo 'ttft.p95<1s'", "--no-such", "load `knee`: unexpected argument"),
            ("--slo 'ttft.p95<1s'", "--sim", "load `knee`: --sim is a server"),
            ("--slo 'ttft.p95<1s'", "--num-runs", "--num-runs does not work"),
        ];
        for (search, run, expected) in cases {
            let error = load(search, run).and_then(|load| load.check()).unwrap_err();
            assert!(error.contains(expected), "{search} -- {run}: {error}");
        }
    }
}
