//! A load that is a search: its cells find the highest load that each set bears.

use super::plan::Load;
use crate::cli::search::{self, SearchArgs};
use crate::cli::search_args;

/// A search's own words, and those of `run` after its `--`.
pub fn split(mut words: Vec<String>) -> (Vec<String>, Vec<String>) {
    let Some(at) = words.iter().position(|word| word == "--") else { return (words, Vec::new()) };
    let run = words.split_off(at + 1);
    words.truncate(at);
    (words, run)
}

impl Load {
    /// The search of one cell, or what is wrong with its flags.
    pub fn search_args(&self, base_url: &str, seed: u64) -> Result<SearchArgs, String> {
        let place = |why: &str| format!("load `{}`: {why}", self.name);
        let args = search_args(&self.search_words(base_url));
        let mut args = *args.map_err(|why| place(&format!("{why}; see `servebench search --help`")))?;
        if args.json || args.result_filename.is_some() {
            let why = "--json and --result-filename are the sweep's: it saves each search's JSON as the cell's file";
            return Err(place(why));
        }
        args.seed = seed;
        search::check(&args).map_err(|halt| {
            place(&format!("a search with these flags, those of [base] among them: {}", halt.message()))
        })?;
        Ok(args)
    }

    /// The words of `servebench search` for a server; the seed is not among them.
    pub fn search_words(&self, base_url: &str) -> Vec<String> {
        let own = self.search.iter().flatten().cloned();
        let target = ["--base-url".to_owned(), base_url.to_owned()];
        own.chain(["--".to_owned()]).chain(self.words.iter().cloned()).chain(target).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(search: &str, run: &str) -> Load {
        let words = |text| shlex::split(text).unwrap();
        Load { name: "knee".into(), words: words(run), search: Some(words(search)) }
    }

    #[test]
    fn a_searchs_words_are_its_own_and_runs() {
        let words = |text| shlex::split(text).unwrap();
        assert_eq!(split(words("--max 5 -- --model m")), (words("--max 5"), words("--model m")));
        assert_eq!(split(words("--max 5")), (words("--max 5"), words("")));
    }

    #[test]
    fn a_cells_search_has_the_cells_server_and_seed() {
        let args = load("--slo 'ttft.p95<1s' --seed 3", "--model m").search_args("http://h:1", 9).unwrap();
        assert_eq!(args.seed, 9);
        assert_eq!(args.run, ["--model", "m", "--base-url", "http://h:1"]);
    }

    #[test]
    fn what_cannot_work_is_refused_with_a_reason() {
        let cases = [
            (
                "--max 5",
                "",
                "load `knee`: a search with these flags, those of [base] among them: what must hold",
            ),
            ("--slo 'ttft.p95<1s'", "--num-prompts 5", "--num-prompts is for the search to decide"),
            ("--slo 'ttft.p95<1s' --json", "", "it saves each search's JSON as the cell's file"),
            ("--slo 'ttft.p95<1s' --no-such", "", "load `knee`: unexpected argument"),
            ("--slo 'ttft.p95<1s'", "--no-such", "after `--`: unexpected argument"),
        ];
        for (search, run, expected) in cases {
            let error = load(search, run).search_args("http://h:1", 0).map(drop).unwrap_err();
            assert!(error.contains(expected), "{search} -- {run}: {error}");
        }
    }
}
