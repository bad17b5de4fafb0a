use std::path::Path;

use super::setting::{FlagValue, SettingOrigin};
use super::*;

fn flags() -> FlagSet {
    crate::cli::commands::run::run_flags()
}

/// Returns the settings of a file with this content, or the error message after the file's name.
fn read(content: &str) -> Result<Vec<FlagSetting>, String> {
    read_as("bench.toml", content)
}

fn read_as(name: &str, content: &str) -> Result<Vec<FlagSetting>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    file::read(&path, &flags()).map_err(|error| {
        let path = format!("{}", path.display());
        assert_eq!((error.matches(&path).count() > 0, error.lines().count()), (true, 1), "{error}");
        error.replace(&path, name)
    })
}

fn words(settings: &[FlagSetting]) -> Vec<String> {
    let mut words: Vec<_> = settings.iter().flat_map(|setting| setting.words(&flags())).collect();
    words.sort();
    words
}

fn setting(flag: &str, value: &str) -> FlagSetting {
    let given = FlagValue::Values(vec![value.to_owned()]);
    FlagSetting { flag: flag.into(), given, origin: SettingOrigin::Environment(value.into()) }
}

#[test]
fn a_file_gives_any_flag_by_its_name_with_dashes_or_underscores_in_a_group_or_not() {
    let settings = read(
        "model = \"m\"\nrequest_rate = 20\nignore-eos = true\nsave-result = false\n\
         [load]\nburstiness = 0.5\nmax-concurrency = 64\n[target]\ntimeout = \"30s\"\n",
    );
    let expected = [
        "--burstiness=0.5",
        "--ignore-eos",
        "--max-concurrency=64",
        "--model=m",
        "--request-rate=20",
        "--timeout=30s",
    ];
    assert_eq!(words(&settings.unwrap()), expected);
}

#[test]
fn lists_are_several_values_or_one_with_commas_and_tables_are_json() {
    let settings = read(
        "goodput = [\"ttft:500\", \"tpot:50\"]\nheader = \"x-a=1\"\nmetric-percentiles = [50, 99.9]\n\
         extra-body = { user = \"me\", n = 1 }\nrandom-range-ratio = { input = 0.2 }\nrequest-rate = inf\npreconnect = true\n",
    );
    let expected = [
        "--extra-body={\"n\":1,\"user\":\"me\"}",
        "--goodput=tpot:50",
        "--goodput=ttft:500",
        "--header=x-a=1",
        "--metric-percentiles=50,99.9",
        "--preconnect",
        "--random-range-ratio={\"input\":0.2}",
        "--request-rate=inf",
    ];
    assert_eq!(words(&settings.unwrap()), expected);
}

#[test]
fn what_is_wrong_in_a_file_is_told_with_its_line_and_a_cure() {
    let cases = [
        (
            "seed = 1\nrequest-rat = 20\n",
            "bench.toml line 2: there is no flag `request-rat`; is it `request-rate`?",
        ),
        ("seed = 1\n[loaf]\nx = 1\n", "bench.toml line 2: there is no flag `loaf`"),
        (
            "\nrequest-rate = \"fast\"\n",
            "bench.toml line 2: invalid value 'fast' for '--request-rate <RATE>'",
        ),
        ("backend = \"opnai\"", "bench.toml line 1: invalid value 'opnai' for '--backend"),
        ("ignore-eos = 3", "bench.toml line 1: `ignore-eos` is a switch: write true or false"),
        ("seed = 1\n[workload]\nseed = 2", "is set already, in bench.toml line"),
        ("seed = 1\nrequest-rate: 20\n", "bench.toml line 2: not TOML ("),
        ("config = \"other.toml\"", "bench.toml line 1: there is no flag `config`"),
        ("help = true", "bench.toml line 1: there is no flag `help`"),
        ("seed = [[1]]", "bench.toml line 1: invalid value"),
    ];
    for (content, expected) in cases {
        let error = read(content).unwrap_err();
        assert!(error.contains(expected), "{content:?}: {error}");
    }
    let missing = file::read(Path::new("/nowhere/bench.toml"), &flags()).unwrap_err();
    assert!(missing.starts_with("--config /nowhere/bench.toml: "), "{missing}");
}

#[test]
fn a_file_in_yaml_says_what_one_in_toml_does() {
    let yaml = "# as vLLM's\nmodel: m\nrequest_rate: inf\nburstiness: .inf\nignore-eos: true\nsave-result: false\nlabel:\n\
                goodput:\n  - ttft:500\n  - \"tpot:50\"\nmetric-percentiles: [50, 99.9]\n\
                extra-body: {user: me, n: 1}\nload:\n  max-concurrency: 64\noutput:\n";
    let expected = [
        "--burstiness=inf",
        "--extra-body={\"n\":1,\"user\":\"me\"}",
        "--goodput=tpot:50",
        "--goodput=ttft:500",
        "--ignore-eos",
        "--max-concurrency=64",
        "--metric-percentiles=50,99.9",
        "--model=m",
        "--request-rate=inf",
    ];
    assert_eq!(words(&read_as("bench.yaml", yaml).unwrap()), expected);
    assert_eq!(words(&read_as("bench.YML", "---\nseed: 3\n").unwrap()), ["--seed=3"]);
    for nothing in ["", "# seed: 1\n"] {
        assert_eq!(read_as("bench.yml", nothing).unwrap(), []);
    }
}

#[test]
fn what_is_wrong_in_yaml_is_told_with_its_line_and_a_cure() {
    let cases = [
        (
            "seed: 1\nrequest-rat: 20\n",
            "bench.yaml line 2: there is no flag `request-rat`; is it `request-rate`?",
        ),
        ("\nrequest-rate: fast\n", "bench.yaml line 2: invalid value 'fast' for '--request-rate <RATE>'"),
        ("seed: 1\nlabel: [a\n", "not YAML ("),
        ("seed = 1\n", "bench.yaml line 1: not a flag; write flags as `request-rate: 20`"),
        ("seed: 1\nseed: 2\n", "bench.yaml line 2"),
        ("seed: 1\nworkload:\n  seed: 2\n", "bench.yaml line 3: `seed` is set already, in bench.yaml line 1"),
        ("seed: 1\n---\nseed: 2\n", "bench.yaml line 3: a second document"),
        ("seed: !!int x\n", "bench.yaml line 1"),
        ("load: 5\n", "bench.yaml line 1: not a flag"),
        ("seed: *x\n", "not YAML ("),
    ];
    for (content, expected) in cases {
        let error = read_as("bench.yaml", content).unwrap_err();
        assert!(error.contains(expected), "{content:?}: {error}");
    }
}

#[test]
fn every_flag_is_an_environment_variable() {
    let variables = [
        ("SERVEGAUGE_REQUEST_RATE", "20"),
        ("SERVEGAUGE_IGNORE_EOS", "1"),
        ("SERVEGAUGE_SAVE_RESULT", "no"),
        ("SERVEGAUGE_HEADER", "Authorization=Bearer me"),
        ("SERVEGAUGE_GOODPUT", "[\"ttft:500\", \"tpot:50\"]"),
        ("SERVEGAUGE_METADATA", "[\"gpu=[1]\"]"),
        ("OTHER_SEED", "1"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let settings = environment::read(variables.into_iter(), &flags()).unwrap();
    let expected = [
        "--goodput=tpot:50",
        "--goodput=ttft:500",
        "--header=Authorization=Bearer me",
        "--ignore-eos",
        "--metadata=gpu=[1]",
        "--request-rate=20",
    ];
    assert_eq!(words(&settings), expected);
}

#[test]
fn a_variable_that_a_flag_does_not_take_is_named() {
    let variable = ("SERVEGAUGE_MAX_CONCURRENCY".to_owned(), "0".to_owned());
    let error = environment::read([variable].into_iter(), &flags()).unwrap_err();
    let number = ("SERVEGAUGE_GOODPUT".to_owned(), "[500]".to_owned());
    let message = environment::read([number].into_iter(), &flags()).unwrap_err();
    assert!(message.contains("ttft:500"), "{message}");
    assert!(
        error.starts_with("environment variable SERVEGAUGE_MAX_CONCURRENCY: invalid value '0'"),
        "{error}"
    );
}

#[test]
fn the_weightiest_layer_decides_and_what_it_excludes_is_dropped() {
    let layers = vec![
        vec![setting("seed", "environment"), setting("model", "environment")],
        vec![setting("seed", "file"), setting("base-url", "file"), setting("label", "file")],
    ];
    let settled = merge_layers(&flags(), vec!["model".into(), "sim".into()], layers);
    let left: Vec<_> = settled.iter().map(|setting| (&*setting.flag, setting.origin.to_string())).collect();
    // `--sim` was typed, and a run against the simulator has no base URL.
    assert_eq!(
        left,
        [("seed", "environment variable environment".into()), ("label", "environment variable file".into())]
    );
}

#[test]
fn what_is_printed_is_taken_back() {
    let words = "servegauge run --request-rate 20 --goodput ttft:500 tpot:50 --metric-percentiles 50,90 --preconnect \
                 --ignore-eos --extra-body {\"a\":1} --label 007 --burstiness inf --header x-key=hidden --seed 3";
    let command = crate::cli::command();
    let matches = command.clone().get_matches_from(words.split_whitespace());
    let settings = effective_settings(&flags(), matches.subcommand_matches("run").unwrap());
    let mut printed = Vec::new();
    dump::write(&settings, &flags(), &mut printed).unwrap();
    let printed = String::from_utf8(printed).unwrap();
    assert!(
        !printed.contains("hidden") && printed.contains("# header = [\"x-key=***\"] # masked"),
        "{printed}"
    );
    assert!(printed.contains("# port = 8000\n"), "{printed}");
    let expected = [
        "--burstiness=inf",
        "--extra-body={\"a\":1}",
        "--goodput=tpot:50",
        "--goodput=ttft:500",
        "--ignore-eos",
        "--label=007",
        "--metric-percentiles=50,90",
        "--preconnect=0",
        "--request-rate=20",
        "--seed=3",
    ];
    assert_eq!(self::words(&read(&printed).unwrap()), expected, "{printed}");
}

#[test]
fn no_flag_of_ours_is_taken_for_a_secret_but_headers() {
    let flags = flags();
    let names: Vec<&str> =
        flags.all().filter_map(clap::Arg::get_long).filter(|name| secrets::is_secret_key(name)).collect();
    assert_eq!(names, [""; 0]);
    assert_eq!(secrets::mask_flag_value("header", "x=1"), "x=***");
}

#[test]
fn a_masked_secret_is_never_given_again() {
    let setting = |name: &str, value: Value| {
        FlagSetting::new(&flags(), name, &value, setting::SettingOrigin::Environment("X".to_owned())).unwrap()
    };
    assert!(setting("header", serde_json::json!(["x-key=***", "x-plain=1"])).is_masked());
    assert!(setting("metrics-url", serde_json::json!(["http://***@h/metrics"])).is_masked());
    assert!(!setting("header", serde_json::json!(["x-plain=1"])).is_masked());
    assert!(!setting("seed", 20.into()).is_masked());
}
