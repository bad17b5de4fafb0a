//! Flags that were given and have no effect, as in vLLM, which accepts them silently.

use clap::ValueEnum as _;
use serde_json::{Map, Value};

use super::dataset_flags::dataset_name;
use super::ladder;
use crate::cli::args::{DatasetName, RunArgs};

const RANDOM: &[DatasetName] = &[DatasetName::Random, DatasetName::RandomMm, DatasetName::RandomRerank];
const TRACES: &[DatasetName] =
    &[DatasetName::TimedTrace, DatasetName::Azure, DatasetName::Burstgpt, DatasetName::Trace];

/// The beginnings of the names of flags, with the datasets that read these flags. The first match counts.
const READERS: [(&str, &[DatasetName]); 15] = [
    (
        "input-len",
        &[DatasetName::Random, DatasetName::RandomMm, DatasetName::RandomRerank, DatasetName::Sonnet],
    ),
    ("random-mm-", &[DatasetName::RandomMm]),
    ("random-batch-size", &[DatasetName::Random, DatasetName::RandomRerank]),
    ("random-", RANDOM),
    ("no-reranker", &[DatasetName::RandomRerank]),
    ("sharegpt-", &[DatasetName::Sharegpt]),
    ("custom-", &[DatasetName::Custom, DatasetName::CustomImage, DatasetName::CustomAudio]),
    ("sonnet-", &[DatasetName::Sonnet]),
    ("spec-bench-", &[DatasetName::SpecBench]),
    ("speed-bench-", &[DatasetName::SpeedBench]),
    ("hf-", &[DatasetName::Hf]),
    ("prefix-repetition-", &[DatasetName::PrefixRepetition]),
    ("timed-trace-label-", &[DatasetName::TimedTrace]),
    ("timed-trace-", TRACES),
    ("trace-", TRACES),
];

/// Lists the flags that were given and have no effect here, with the reason. `given` has the names of the given flags.
pub(in crate::cli) fn idle(args: &RunArgs, given: &Map<String, Value>) -> Vec<String> {
    let workload = &args.workload;
    let mode = (workload.tokenizer_mode != "auto").then(|| {
        format!("--tokenizer-mode {} changes nothing: the tokenizer.json is read", workload.tokenizer_mode)
    });
    let trust = workload
        .trust_remote_code
        .then(|| "--trust-remote-code changes nothing: no code of a model is run".to_owned());
    mode.into_iter().chain(trust).chain(ladder::idle(args)).chain(of_other_datasets(args, given)).collect()
}

/// Names the flags of other datasets than the chosen one. A mix and conversations of one's own have flags elsewhere.
fn of_other_datasets(args: &RunArgs, given: &Map<String, Value>) -> Option<String> {
    if args.workload.workload.is_some() || args.sessions.input_file.is_some() {
        return None;
    }
    let name = dataset_name(&args.workload, args.target.sim);
    let idle: Vec<String> =
        given.keys().filter(|flag| !is_read(flag, name)).map(|flag| format!("--{flag}")).collect();
    let has = if idle.len() == 1 { "has" } else { "have" };
    let dataset = name.to_possible_value()?;
    (!idle.is_empty())
        .then(|| format!("{} {has} no effect with --dataset-name {}", idle.join(", "), dataset.get_name()))
}

/// Whether the dataset reads the flag, if it is one of datasets.
fn is_read(flag: &str, name: DatasetName) -> bool {
    if flag == "prompt-token-ids" {
        return RANDOM.contains(&name) || TRACES.contains(&name);
    }
    let readers = READERS.iter().find(|(begin, _)| match begin.strip_suffix('-') {
        Some(_) => flag.starts_with(begin),
        None => flag == *begin,
    });
    readers.is_none_or(|(_, readers)| readers.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::commands::run::{RunCommandLine, run_flags};

    fn warnings(words: &str) -> Vec<String> {
        let words: Vec<String> = words.split_whitespace().map(ToOwned::to_owned).collect();
        let line = RunCommandLine::parse(&words).unwrap();
        idle(&line.args, &line.settings)
    }

    #[test]
    fn flags_of_another_dataset_are_named_if_they_were_given() {
        let sharegpt = "--dataset-name sharegpt --input-len 33 --trace-speed 2x --prompt-token-ids --random-prefix-len 5 \
                        --sonnet-input-len 9 --sharegpt-output-len 3 --output-len 7";
        let expected = "--input-len, --prompt-token-ids, --random-prefix-len, --sonnet-input-len, --trace-speed have no \
                        effect with --dataset-name sharegpt";
        assert_eq!(warnings(sharegpt), [expected]);
        let expected = "--sharegpt-output-len has no effect with --dataset-name random";
        assert_eq!(warnings("--sharegpt-output-len 3 --input-len 5 --random-prefix-len 1"), [expected]);
    }

    #[test]
    fn flags_of_the_chosen_dataset_have_an_effect() {
        for words in [
            "--dataset-name sharegpt --sharegpt-output-len 3 --multi-turn",
            "--dataset-name random-mm --input-len 3 --random-mm-base-items-per-request 2 --random-range-ratio 0.1",
            "--dataset-name trace --dataset-path t --trace-speed 2x --timed-trace-sec-multiplier 0.001 --prompt-token-ids",
            "--dataset-name timed_trace --dataset-path t --timed-trace-label-timestamp t",
            "--workload mix.toml --random-input-len 5",
            "",
        ] {
            assert_eq!(warnings(words), Vec::<String>::new(), "{words}");
        }
    }

    #[test]
    fn the_table_has_flags_that_exist() {
        let flags = run_flags();
        for (begin, _) in READERS {
            assert!(
                flags.all().any(|flag| flag.get_long().is_some_and(|name| name.starts_with(begin))),
                "{begin}"
            );
        }
    }
}
