//! Reads a sweep in vLLM's form: two commands, and JSON files with changes to them.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::VllmArgs;
use super::file::REPEATS;
use super::load::Load;
use super::plan::{Caches, Naming, Order, Plan, Set, Source};
use crate::cli::defaults::HEALTH_TIMEOUT;
use crate::model::bounded_file::{self, FileLimit};
use crate::server::launch::CommandTemplate;

/// vLLM's key for a set's name, which is not a flag.
const NAME: &str = "_benchmark_name";

/// Changes to a command: flags with their values.
type Changes = Map<String, Value>;

/// Reads the flags and their files.
pub(super) fn read(args: &VllmArgs) -> Result<Plan, String> {
    let (serve, bench) =
        args.serve_cmd.as_deref().zip(args.bench_cmd.as_deref()).ok_or("--bench-cmd is missing")?;
    let serve = split("--serve-cmd", serve)?;
    let bench = run_flags(&split("--bench-cmd", bench)?)?;
    let serve_params = changes(args.serve_params.as_deref())?;
    let bench_params = changes(args.bench_params.as_deref())?;
    let links = links(args.link_vars.as_deref().unwrap_or_default())?;
    let set = |changes: &Changes| {
        let template = CommandTemplate::from_words(applied(&serve, changes))
            .map_err(|error| format!("--serve-cmd: {error}"))?;
        Ok::<_, String>(Set {
            name: name(changes),
            server: Source::Command(template, Default::default()),
            gpus: 1.0,
        })
    };
    let load = |changes: &Changes| Load::new(name(changes), applied(&bench, changes), None);
    let pairs = Plan::all_pairs(serve_params.len(), bench_params.len());
    let go_together = |&(set, load): &(usize, usize)| linked(&serve_params[set], &bench_params[load], &links);
    Ok(Plan {
        sets: serve_params.iter().map(set).collect::<Result<_, _>>()?,
        loads: bench_params.iter().map(load).collect::<Result<_, _>>()?,
        pairs: pairs.into_iter().filter(go_together).collect(),
        repeats: REPEATS,
        order: Order::Random,
        seed: 0,
        caches: Caches::Reset,
        slo: Vec::new(),
        health_timeout: HEALTH_TIMEOUT,
        pass_env: Vec::new(),
        naming: Naming::Vllm,
    })
}

/// Returns the experiment's folder. As in vLLM, an existing one needs `--resume`, and `--resume` needs an existing
/// one.
pub(super) fn folder(args: &VllmArgs, dry_run: bool) -> Result<PathBuf, String> {
    let now = || jiff::Zoned::now().strftime("%Y%m%d_%H%M%S").to_string();
    let folder = args.output_dir.join(args.experiment_name.clone().unwrap_or_else(now));
    match (args.resume, folder.exists()) {
        (true, false) => Err(format!("--resume: {} does not exist", folder.display())),
        (false, true) if !dry_run => Err(format!(
            "{} exists already: --resume continues it, or give another --experiment-name",
            folder.display()
        )),
        _ => Ok(folder),
    }
}

fn split(flag: &str, text: &str) -> Result<Vec<String>, String> {
    let template = CommandTemplate::new(text).map_err(|error| format!("{flag}: {error}"))?;
    Ok(template.words().to_vec())
}

/// Returns the flags of a client command, vLLM's or ours.
fn run_flags(words: &[String]) -> Result<Vec<String>, String> {
    let ends = |word: &str, name: &str| word == name || word.ends_with(&format!("/{name}"));
    let at = words.windows(2).position(|pair| match (pair[0].as_str(), pair[1].as_str()) {
        ("bench", "serve") => true,
        (program, "run") => ends(program, "servegauge"),
        _ => false,
    });
    let script = |word: &String| ends(word, "benchmark_serving.py") || ends(word, "vllm-bench");
    let after = at.map(|at| at + 2).or_else(|| words.iter().position(script).map(|at| at + 1));
    let after = after.ok_or(
        "--bench-cmd must be `vllm bench serve ...` or `servegauge run ...`: its flags are what is run",
    )?;
    Ok(words[after..].to_vec())
}

fn changes(path: Option<&Path>) -> Result<Vec<Changes>, String> {
    // Without a file, the command runs unchanged.
    let Some(path) = path else { return Ok(vec![Changes::new()]) };
    let place = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let text = bounded_file::read_text(path, FileLimit::CONFIG).map_err(|error| place(&error))?;
    let value: Value = serde_json::from_str(&text).map_err(|error| place(&error))?;
    records(value).map_err(|why| place(&why))
}

fn records(value: Value) -> Result<Vec<Changes>, String> {
    let object = |value: Value| match value {
        Value::Object(changes) => Ok(changes),
        other => Err(format!("`{other}` is not an object of flags and values")),
    };
    match value {
        Value::Array(records) => records.into_iter().map(object).collect(),
        Value::Object(named) => named
            .into_iter()
            .map(|(name, changes)| {
                let mut changes = object(changes)?;
                // A name within the object takes precedence over its key.
                changes.entry(NAME).or_insert(Value::String(name));
                Ok(changes)
            })
            .collect(),
        _ => Err("it must be a list of objects, or an object of them by name".into()),
    }
}

/// Applies changes to a command: replaces the value of a flag in any spelling, or appends the flag.
fn applied(command: &[String], changes: &Changes) -> Vec<String> {
    let mut words = command.to_vec();
    for (key, value) in changes.iter().filter(|(key, _)| *key != NAME) {
        let new = flag(key, value);
        let there = spellings(key).iter().find_map(|name| words.iter().position(|word| word == name));
        match there {
            Some(at) => {
                let end = (at + new.len()).min(words.len());
                words.splice(at..end, new);
            }
            None => words.extend(new),
        }
    }
    words
}

/// Formats a change as a flag: `--max-num-seqs 4`, `--no-prefix-caching`, `--config.flag=true`.
fn flag(key: &str, value: &Value) -> Vec<String> {
    let name = |key: &str| spellings(key).swap_remove(0);
    match value {
        Value::Bool(on) if key.contains('.') => vec![format!("{}={on}", name(key))],
        Value::Bool(true) => vec![name(key)],
        Value::Bool(false) => vec![name(&format!("no-{key}"))],
        value => vec![name(key), text(value)],
    }
}

/// Lists the spellings of a flag, the usual one first. A key within a configuration (`a.b`) has only one.
fn spellings(key: &str) -> Vec<String> {
    let (outer, inner) = match key.split_once('.') {
        Some((outer, inner)) => (outer, format!(".{inner}")),
        None => (key, String::new()),
    };
    let spelled = [outer.replace('_', "-"), outer.replace('-', "_"), outer.to_owned()];
    spelled.into_iter().map(|outer| format!("--{outer}{inner}")).collect()
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn name(changes: &Changes) -> String {
    let given = changes.get(NAME).map(text);
    given.unwrap_or_else(|| {
        let parts: Vec<_> = changes.iter().map(|(key, value)| format!("{key}={}", text(value))).collect();
        parts.join("-")
    })
}

fn links(list: &str) -> Result<Vec<(String, String)>, String> {
    let pairs = list.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    let pair = |pair: &str| {
        let (serve, bench) = pair.split_once('=').ok_or_else(|| {
            format!("--link-vars: `{pair}` is not a pair: write max_num_seqs=max_concurrency")
        })?;
        Ok((serve.trim().to_owned(), bench.trim().to_owned()))
    };
    pairs.map(pair).collect()
}

/// Whether every pair of linked flags has equal values on both sides.
fn linked(serve: &Changes, bench: &Changes, links: &[(String, String)]) -> bool {
    let same = |(left, right): &(String, String)| matches!((serve.get(left), bench.get(right)), (Some(a), Some(b)) if a == b);
    links.iter().all(same)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn words(text: &str) -> Vec<String> {
        shlex::split(text).unwrap()
    }

    fn changed(command: &str, changes: Value) -> String {
        let Value::Object(changes) = changes else { panic!("an object") };
        applied(&words(command), &changes).join(" ")
    }

    #[test]
    fn flags_are_changed_where_they_are_and_added_where_they_are_not() {
        assert_eq!(
            changed("serve m --max-num-seqs 8 -x", json!({"max_num_seqs": 4})),
            "serve m --max-num-seqs 4 -x"
        );
        assert_eq!(
            changed("serve m --max_num_seqs 8", json!({"max-num-seqs": 4})),
            "serve m --max-num-seqs 4"
        );
        assert_eq!(
            changed("serve m", json!({"dtype": "auto", "rate": 0.5})),
            "serve m --dtype auto --rate 0.5"
        );
        assert_eq!(
            changed("serve m", json!({"prefix_caching": false, "eager": true})),
            "serve m --eager --no-prefix-caching"
        );
        assert_eq!(changed("serve m --eager -x", json!({"eager": true})), "serve m --eager -x");
        assert_eq!(
            changed("serve m", json!({"compilation_config.use_x": true})),
            "serve m --compilation-config.use_x=true"
        );
        assert_eq!(
            changed("serve m", json!({"json": {"a": 1}, "_benchmark_name": "n"})),
            "serve m --json {\"a\":1}"
        );
    }

    #[test]
    fn sets_are_a_list_or_have_names() {
        let names = |value: Value| records(value).unwrap().iter().map(name).collect::<Vec<_>>();
        assert_eq!(names(json!([{"a": 1, "b": "x"}, {"_benchmark_name": "n", "a": 2}])), ["a=1-b=x", "n"]);
        assert_eq!(names(json!({"fast": {"a": 1}, "slow": {"a": 2}})), ["fast", "slow"]);
        assert!(records(json!(3)).unwrap_err().contains("list of objects"));
        assert!(records(json!([3])).unwrap_err().contains("`3` is not an object"));
    }

    #[test]
    fn linked_flags_go_together_only_with_equal_values() {
        let object = |value: Value| value.as_object().unwrap().clone();
        let links = links("max_num_seqs=max_concurrency, a=b").unwrap();
        let bench = object(json!({"max_concurrency": 4, "b": 1}));
        assert!(linked(&object(json!({"max_num_seqs": 4, "a": 1})), &bench, &links));
        assert!(!linked(&object(json!({"max_num_seqs": 8, "a": 1})), &bench, &links));
        assert!(!linked(&object(json!({"max_num_seqs": 4})), &bench, &links), "one that is missing");
        assert!(super::links("a").unwrap_err().contains("`a` is not a pair"));
    }

    #[test]
    fn the_clients_command_may_be_vllms_or_ours() {
        for command in [
            "vllm bench serve --model m",
            "/bin/servegauge run --model m",
            "python3 x/benchmark_serving.py --model m",
        ] {
            assert_eq!(run_flags(&words(command)).unwrap(), ["--model", "m"]);
        }
        assert!(run_flags(&words("wrk -c 5")).unwrap_err().contains("vllm bench serve"));
    }
}
