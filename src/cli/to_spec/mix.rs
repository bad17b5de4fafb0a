//! Reads the file of a mixed workload.

use std::path::Path;

use clap::{Args, FromArgMatches as _};
use toml::{Table, Value};

use super::dataset::dataset;
use super::dataset_flags::{bounds, dataset_name, form};
use super::{sampling, slo};
use crate::cli::args::values::{self, Objective};
use crate::cli::args::{FormArgs, RunArgs, SamplingArgs, TraceArgs, WorkloadArgs};
use crate::client::protocol::Protocol;
use crate::model::bounded_file::{self, FileLimit};
use crate::model::run_spec::{Backend, Dataset, Trace, WorkloadClass};

/// The flags that a class may have as keys.
#[derive(Debug, Args)]
struct ClassArgs {
    #[command(flatten)]
    workload: WorkloadArgs,
    #[command(flatten)]
    trace: TraceArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
    #[arg(long, num_args = 1.., value_parser = values::objective)]
    goodput: Vec<Objective>,
}

/// Dataset flags that belong to the run, not to a class.
const OF_THE_RUN: [&str; 13] = [
    "workload",
    "num-prompts",
    "seed",
    "dry-run",
    "tokenizer",
    "trace-speed",
    "help",
    "no-stream",
    "rng",
    "disable-shuffle",
    "no-oversample",
    "lora-modules",
    "lora-assignment",
];

const SHAPE: &str =
    "a workload is [[class]] tables with `name`, `weight` and the flags of its dataset as keys";

/// What the run decides for all classes.
struct Common<'a> {
    backend: Backend,
    /// Whether responses are streams, so that a limit on the first token makes sense.
    streams: bool,
    form: &'a FormArgs,
}

/// Reads a mixed workload.
pub(super) fn mix(path: &Path, run: &RunArgs) -> Result<Dataset, String> {
    let shown = path.display();
    let text = bounded_file::read(path, FileLimit::CONFIG)
        .map_err(|error| format!("--workload {shown}: {error}"))?;
    let text =
        String::from_utf8(text).map_err(|_| format!("{shown}: not UTF-8; convert the file to UTF-8"))?;
    let table: Table = text.parse().map_err(|error| format!("{shown}: {}", not_toml(&text, &error)))?;
    let common = Common { backend: run.target.backend, streams: slo::streams(run), form: &run.workload.form };
    let classes = classes(&table, &common).map_err(|error| format!("{shown}: {error}"))?;
    Ok(Dataset::Mix { path: path.to_owned(), classes })
}

fn not_toml(text: &str, error: &toml::de::Error) -> String {
    let at = error.span().map_or(0, |span| span.start);
    let line = text.bytes().take(at).filter(|&byte| byte == b'\n').count() + 1;
    let message: Vec<&str> = error.message().split_whitespace().collect();
    format!("line {line}: not TOML: {}", message.join(" "))
}

fn classes(file: &Table, common: &Common<'_>) -> Result<Vec<WorkloadClass>, String> {
    if let Some(other) = file.keys().find(|key| *key != "class") {
        return Err(format!("unknown key `{other}`; {SHAPE}"));
    }
    let tables = match file.get("class") {
        Some(Value::Array(tables)) if !tables.is_empty() => tables,
        _ => return Err(format!("no class; {SHAPE}")),
    };
    let mut classes: Vec<WorkloadClass> = Vec::new();
    for (number, table) in (1..).zip(tables) {
        let table = table.as_table().ok_or_else(|| format!("class {number} is not a table; {SHAPE}"))?;
        let name = match table.get("name") {
            Some(Value::String(name)) if !name.trim().is_empty() => name.clone(),
            _ => return Err(format!("class {number}: `name` must be a string; {SHAPE}")),
        };
        if classes.iter().any(|class| class.name == name) {
            return Err(format!("class `{name}` exists twice; give each class a unique name"));
        }
        classes.push(class(&name, table, common).map_err(|error| format!("class `{name}`: {error}"))?);
    }
    Ok(classes)
}

fn class(name: &str, table: &Table, common: &Common<'_>) -> Result<WorkloadClass, String> {
    let weight = match table.get("weight") {
        None => 1.0,
        Some(Value::Integer(weight)) if *weight > 0 => *weight as f64,
        Some(Value::Float(weight)) if *weight > 0.0 && weight.is_finite() => *weight,
        Some(other) => return Err(format!("`weight` must be a number above 0, not {other}")),
    };
    let adapter = match table.get("lora") {
        None => None,
        Some(Value::String(adapter)) => Some(adapter.clone()),
        Some(other) => return Err(format!("`lora` must be the name of an adapter, not {other}")),
    };
    let args = flags(table)?;
    let kind = dataset_name(&args.workload, false);
    let dataset = dataset(kind, &args.workload, &args.trace, false)?;
    if let Dataset::Trace(trace) = &dataset {
        of_a_mix(trace, &args.trace)?;
    }
    let backend = common.backend;
    let body = Protocol::for_backend(backend).sampling_overrides(&sampling::sampling(
        &args.sampling,
        &dataset,
        backend,
    )?);
    let slo = match args.goodput.as_slice() {
        [] => None,
        goodput => Some(slo::limits(goodput, common.streams)?),
    };
    let flags = args.workload.form.or(common.form);
    let (form, bounds) = (form(&flags, backend, &dataset), bounds(&flags));
    Ok(WorkloadClass { name: name.to_owned(), weight, dataset, body, adapter, slo, form, bounds })
}

/// Checks that a trace can be a class. A mix draws each request independently, and the run's arrivals decide when it
/// is sent.
fn of_a_mix(trace: &Trace, args: &TraceArgs) -> Result<(), String> {
    let name = trace.kind.name();
    if trace.has_sessions() {
        return Err(format!(
            "the requests of a mix are drawn one by one, which would split the sessions of {name}: leave out `session`, or \
             replay the trace in a separate run"
        ));
    }
    if args.self_timed || !args.no_self_timed {
        return Err(format!(
            "{name} has its own times, but --request-rate and the weights set those of the classes of a mix: \
             `no-self-timed = true` uses only its lengths; replay its times in a separate run"
        ));
    }
    Ok(())
}

/// Parses the keys as flags. Each key is first parsed alone, so that an error names it.
fn flags(table: &Table) -> Result<ClassArgs, String> {
    let mut all = Vec::new();
    for (key, value) in table.iter().filter(|(key, _)| !["name", "weight", "lora"].contains(&key.as_str())) {
        let flag = key.replace('_', "-");
        if OF_THE_RUN.contains(&flag.as_str()) {
            return Err(format!("`{key}` is the run's, not a class's: give it on the command line"));
        }
        let words = words(&flag, value);
        parse(&words).map_err(|error| format!("`{key}`: {error}"))?;
        all.extend(words);
    }
    parse(&all)
}

fn parse(words: &[String]) -> Result<ClassArgs, String> {
    let command = ClassArgs::augment_args(clap::Command::new("class").no_binary_name(true));
    let matches =
        command.try_get_matches_from(words).and_then(|matches| ClassArgs::from_arg_matches(&matches));
    matches.map_err(|error| {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        first.trim_start_matches("error: ").replace("unexpected argument", "unknown key")
    })
}

/// Formats `key = value` as words of a command line.
fn words(flag: &str, value: &Value) -> Vec<String> {
    let flag = format!("--{flag}");
    match value {
        Value::Boolean(true) => vec![flag],
        Value::Boolean(false) => Vec::new(),
        Value::Array(values) => std::iter::once(flag).chain(values.iter().map(word)).collect(),
        value => vec![format!("{flag}={}", word(value))],
    }
}

fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Table(_) => serde_json::to_string(value).unwrap_or_default(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::run_spec::{LengthBounds, PromptFormat};

    fn read(text: &str) -> Result<Vec<WorkloadClass>, String> {
        let run = parse(&["--min-prompt-len=3".into(), "--max-model-len=900".into()]).unwrap().workload.form;
        let common = Common { backend: Backend::Openai, streams: true, form: &run };
        classes(&text.parse().map_err(|error| not_toml(text, &error))?, &common)
    }

    #[test]
    fn a_class_has_a_dataset_sampling_an_adapter_and_limits() {
        let text = r#"
            [[class]]
            name = "chat"
            weight = 3
            dataset-name = "random"
            random_input_len = 40
            random-range-ratio = { input = 0.5, output = 0.0 }
            temperature = 0.7
            lora = "sql"
            goodput = ["ttft:500", "e2el:5s"]
            [[class]]
            name = "batch"
            dataset-name = "sharegpt"
            ignore-eos = true
        "#;
        let classes = read(text).unwrap();
        let [chat, batch] = classes.as_slice() else { panic!("{classes:?}") };
        let Dataset::Random(lengths) = &chat.dataset else { panic!("{chat:?}") };
        assert_eq!((lengths.input_len, lengths.input_range_ratio, chat.weight), (40, 0.5, 3.0));
        assert_eq!((&chat.body["temperature"], chat.adapter.as_deref()), (&0.7.into(), Some("sql")));
        assert!(chat.slo.as_ref().is_some_and(|slo| slo.ttft.is_some() && slo.e2e.is_some()));
        assert_eq!((batch.weight, &batch.body["ignore_eos"], &batch.slo), (1.0, &true.into(), &None));
    }

    #[test]
    fn a_class_is_put_to_the_endpoint_as_its_dataset_would_be_by_itself() {
        let text = r#"
            [[class]]
            name = "rendered"
            dataset-name = "custom"
            dataset-path = "a.jsonl"
            chat-template-kwargs = { thinking = true }
            max-prompt-len = 100
            [[class]]
            name = "plain"
            dataset-name = "custom"
            dataset-path = "a.jsonl"
            skip-chat-template = true
            min-prompt-len = 5
            [[class]]
            name = "made"
        "#;
        let classes = read(text).unwrap();
        let kwargs = serde_json::from_str(r#"{"thinking": true}"#).unwrap();
        let forms: Vec<_> = classes.iter().map(|class| &class.form).collect();
        assert_eq!(forms, [&PromptFormat::Rendered { kwargs }, &PromptFormat::Text, &PromptFormat::Text]);
        let bounds = classes.iter().map(|class| {
            let LengthBounds { min_prompt_len, max_prompt_len, max_model_len, .. } = class.bounds;
            (min_prompt_len, max_prompt_len, max_model_len)
        });
        let expected =
            [(Some(3), Some(100), Some(900)), (Some(5), None, Some(900)), (Some(3), None, Some(900))];
        assert_eq!(bounds.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_mistake_is_named_with_its_class_and_key_in_one_line() {
        let with = |line: &str| format!("[[class]]\nname = \"chat\"\n{line}\n");
        for (text, parts) in [
            (with("random-input-len = \"many\""), ["class `chat`", "`random-input-len`", "many"]),
            (with("random-inptu-len = 5"), ["class `chat`", "`random-inptu-len`", "unknown key"]),
            (with("seed = 5"), ["class `chat`", "`seed`", "command line"]),
            (with("weight = -1"), ["class `chat`", "`weight`", "-1"]),
            (with("goodput = \"itl:5\""), ["class `chat`", "`goodput`", "itl"]),
            (with("dataset-name = \"azure\""), ["class `chat`", "azure", "--dataset-path"]),
            (
                with("dataset-name = \"azure\"\ndataset-path = \"a.csv\""),
                ["class `chat`", "azure has its own times", "no-self-timed = true"],
            ),
            (
                with("dataset-name = \"trace\"\ndataset-path = \"a.csv\"\ntrace-columns = \"session=s\""),
                ["class `chat`", "split the sessions of trace", "session"],
            ),
            (with("[[class]]\nname = \"chat\""), ["class `chat`", "twice", "name"]),
            ("[[class]]\nweight = 1".to_owned(), ["class 1", "`name`", "[[class]]"]),
            ("[class]\nname = 1".to_owned(), ["no class", "[[class]]", "weight"]),
            ("a = 1".to_owned(), ["unknown key", "`a`", "[[class]]"]),
            (String::new(), ["no class", "name", "weight"]),
            ("[[class]\nname".to_owned(), ["line 1", "not TOML", ""]),
        ] {
            let error = read(&text).unwrap_err();
            assert!(parts.iter().all(|part| error.contains(part)), "{text}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}
