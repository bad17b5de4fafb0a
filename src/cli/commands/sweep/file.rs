//! Reads a sweep from TOML.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::load::{self, Load};
use super::plan::{Caches, Naming, Order, Plan, Set, Source};
use crate::cli::commands::run::seconds;
use crate::cli::defaults::HEALTH_TIMEOUT;
use crate::model::bounded_file::{self, FileLimit};
use crate::model::rule::MetricRule;
use crate::model::secrets;
use crate::server::launch::CommandTemplate;

/// The default number of repeats: fewer do not show how much runs differ.
pub(super) const REPEATS: usize = 3;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    #[serde(default)]
    set: Vec<SetTable>,
    #[serde(default)]
    load: Vec<LoadTable>,
    #[serde(default)]
    base: Base,
    repeats: Option<usize>,
    order: Option<Order>,
    #[serde(default)]
    seed: u64,
    caches: Option<Caches>,
    #[serde(default)]
    slo: Vec<MetricRule>,
    #[serde(alias = "health_timeout")]
    health_timeout: Option<Time>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Base {
    #[serde(default)]
    flags: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetTable {
    name: String,
    command: Option<String>,
    url: Option<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default = "one")]
    gpus: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LoadTable {
    name: String,
    flags: Option<String>,
    search: Option<String>,
}

/// A duration: a number of seconds, or text in the notation of flags.
#[derive(Deserialize)]
#[serde(untagged)]
enum Time {
    Seconds(f64),
    Written(String),
}

fn one() -> f64 {
    1.0
}

/// Reads a sweep. The error names the file.
pub(super) fn read(path: &Path) -> Result<Plan, String> {
    let place = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let text = bounded_file::read_text(path, FileLimit::CONFIG).map_err(|error| place(&error))?;
    parse(&text).map_err(|why| place(&why))
}

fn parse(text: &str) -> Result<Plan, String> {
    let file: File = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
    let base = words("[base]", &file.base.flags)?;
    let sets: Vec<Set> = file.set.into_iter().map(set).collect::<Result<_, _>>()?;
    let loads: Vec<Load> = file.load.into_iter().map(|table| load(&base, table)).collect::<Result<_, _>>()?;
    let health_timeout = file.health_timeout.map(time).transpose()?.unwrap_or(HEALTH_TIMEOUT);
    Ok(Plan {
        pairs: Plan::all_pairs(sets.len(), loads.len()),
        sets,
        loads,
        repeats: file.repeats.unwrap_or(REPEATS),
        order: file.order.unwrap_or(Order::Random),
        seed: file.seed,
        caches: file.caches.unwrap_or(Caches::Reset),
        slo: file.slo,
        health_timeout,
        pass_env: Vec::new(),
        naming: Naming::Ours,
    })
}

fn set(table: SetTable) -> Result<Set, String> {
    let SetTable { name, command, url, env, gpus } = table;
    let place = |why: String| format!("set `{name}`: {why}");
    named("set", &name)?;
    let server = match (command, url) {
        (Some(command), None) => {
            Source::Command(CommandTemplate::new(&command).map_err(|error| place(error.to_string()))?, env)
        }
        (None, Some(_)) if !env.is_empty() => {
            return Err(place("env is for a command: the server at a URL has its own".into()));
        }
        (None, Some(url)) => Source::Url(checked(&url).map_err(place)?),
        _ => {
            return Err(place(
                "give it either a command that starts it, or the url of a running server".into(),
            ));
        }
    };
    Ok(Set { name, server, gpus })
}

fn load(base: &[String], table: LoadTable) -> Result<Load, String> {
    let place = |why: &str| format!("load `{}`: {why}", table.name);
    named("load", &table.name)?;
    if table.flags.is_none() && table.search.is_none() {
        return Err(place(
            "give it flags of `servegauge run`, such as flags = \"--request-rate 20\", or a search = \"--slo 'ttft.p95<1s'\"",
        ));
    }
    let split =
        |text: &Option<String>| words(&format!("load `{}`", table.name), text.as_deref().unwrap_or_default());
    let flags = split(&table.flags)?;
    let (own, after) = load::split(split(&table.search)?);
    let search = table.search.is_some().then_some(own);
    let load = Load::new(table.name.clone(), [base, &flags, &after].concat(), search)?;
    match load.names_its_target() {
        true => Err(place("--base-url, --host and --port are the set's: its url, or its command's port")),
        false => Ok(load),
    }
}

fn named(what: &str, name: &str) -> Result<(), String> {
    if name.trim().is_empty() { Err(format!("a {what} has an empty name")) } else { Ok(()) }
}

fn checked(url: &str) -> Result<String, String> {
    match reqwest::Url::parse(url) {
        Ok(parsed) if matches!(parsed.scheme(), "http" | "https") && parsed.has_host() => {
            Ok(url.trim_end_matches('/').trim_end_matches("/v1").to_owned())
        }
        _ => Err(format!("`{}` is not a URL: write it as http://localhost:8000", secrets::mask_url(url))),
    }
}

fn words(place: &str, flags: &str) -> Result<Vec<String>, String> {
    shlex::split(flags).ok_or_else(|| format!("{place}: a quote is not closed in `{flags}`"))
}

fn time(time: Time) -> Result<Duration, String> {
    let text = match time {
        Time::Seconds(seconds) => seconds.to_string(),
        Time::Written(text) => text,
    };
    seconds(&text).map_err(|why| format!("health-timeout: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
        repeats = 2
        order = "interleaved"
        slo = ["ttft.p95 < 500ms"]
        health-timeout = "2m"
        [base]
        flags = "--num-prompts 10 --metadata 'gpu=a 100'"
        [[set]]
        name = "small"
        command = "vllm serve m --port {port} --max-num-seqs 2"
        env = { CUDA_VISIBLE_DEVICES = "1" }
        [[set]]
        name = "there"
        url = "http://localhost:9000/v1"
        gpus = 2
        [[load]]
        name = "slow"
        flags = "--request-rate 1"
    "#;

    #[test]
    fn a_file_has_sets_loads_and_what_they_share() {
        let plan = parse(WHOLE).unwrap();
        plan.check().unwrap();
        assert_eq!((plan.repeats, plan.order, plan.pairs.len()), (2, Order::Interleaved, 2));
        assert_eq!(plan.health_timeout, Duration::from_secs(120));
        assert_eq!(
            plan.loads[0].words,
            ["--num-prompts", "10", "--metadata", "gpu=a 100", "--request-rate", "1"]
        );
        assert_eq!(plan.sets[1].server, Source::Url("http://localhost:9000".into()));
        assert_eq!((plan.sets[0].gpus, plan.sets[1].gpus), (1.0, 2.0));
    }

    #[test]
    fn a_search_has_the_flags_of_the_base_and_of_its_load() {
        let text = "[base]\nflags = '--model m'\n[[load]]\nname = 'l'\nflags = '--ignore-eos'\nsearch = '--max 5 -- --seed 1'";
        let load = &parse(text).unwrap().loads[0];
        assert_eq!(load.words, ["--model", "m", "--ignore-eos", "--seed", "1"]);
        assert_eq!(
            load.search.as_ref().map(|search| &*search.words),
            Some(["--max", "5"].map(String::from).as_slice())
        );
    }

    #[test]
    fn every_mistake_is_told_with_its_place() {
        let cases = [
            ("[[set]]\nname = 'a'", "set `a`: give it either"),
            ("[[set]]\nname = 'a'\ncommand = 'x'\nurl = 'http://h'", "set `a`: give it either"),
            ("[[set]]\nname = 'a'\nurl = 'localhost'", "`localhost` is not a URL"),
            ("[[set]]\nname = ' '\nurl = 'http://h'", "empty name"),
            ("[[load]]\nname = 'l'\nsearch = \"--slo 'x\"", "quote is not closed"),
            ("[[load]]\nname = 'l'\nflags = '--port 80'", "load `l`: --base-url"),
            ("[[load]]\nname = 'l'\nflags = \"--model 'x\"", "quote is not closed"),
            ("slo = ['ttft.p95 > 5']", "reverse the comparison"),
            ("[[load]]\nname = 'l'\nflags = '--no-such'", "load `l`: unexpected argument"),
            ("[[load]]\nname = 'l'\nflags = '--num-runs 2'", "--num-runs does not work"),
            ("health-timeout = 'soon'", "health-timeout"),
            ("repeat = 3", "repeat"),
        ];
        for (text, expected) in cases {
            let error = parse(text).map(|_| ()).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_plan_is_checked_before_anything_starts() {
        let check = |change: fn(&mut Plan)| {
            let mut plan = parse(WHOLE).unwrap();
            change(&mut plan);
            plan.check().unwrap_err()
        };
        assert!(check(|plan| plan.repeats = 0).contains("repeats"));
        assert!(check(|plan| plan.pairs.clear()).contains("at least one set"));
        assert!(check(|plan| plan.sets[1].gpus = 0.0).contains("gpus"));
        assert!(check(|plan| plan.sets[1].name = "small".into()).contains("two sets"));
    }
}
