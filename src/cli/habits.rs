//! The right name for what people type from habit: the flags of other tools, a bare address, vLLM's `bench serve`.

use std::ffi::OsString;

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Flags of `wrk`, `hey`, `guidellm`, `aiperf` and others, and what stands for them here.
const FLAGS: [(&str, &str); 21] = [
    ("--rate", "--request-rate"),
    ("--qps", "--request-rate"),
    ("--rps", "--request-rate"),
    ("-r", "--request-rate"),
    ("--concurrency", "--max-concurrency"),
    ("-c", "--max-concurrency"),
    ("--num-requests", "--num-prompts"),
    ("--requests", "--num-prompts"),
    ("--request-count", "--num-prompts"),
    ("-n", "--num-prompts"),
    ("--max-seconds", "--duration"),
    ("-d", "--duration"),
    ("-m", "--model"),
    ("-u", "--base-url"),
    ("--target", "--base-url"),
    ("--output-path", "--out"),
    ("-o", "--out"),
    ("--max-tokens", "--output-len"),
    ("--output-tokens", "--output-len"),
    ("--input-tokens", "--input-len"),
    ("--prompt-tokens", "--input-len"),
];

/// Commands that accept an address without its flag. `watch` takes addresses as they are.
const TAKE_AN_ADDRESS: [&str; 4] = ["run", "plan", "diagnose", "dashboard"];

/// Commands that take flags of `run` after `--`.
const TAKE_RUN_FLAGS: [&str; 6] = ["ab", "gate", "search", "plan", "quick", "launch"];

/// The same words with `--base-url` before an address that stands right after the command.
pub(super) fn name_bare_address(mut words: Vec<OsString>) -> Vec<OsString> {
    let takes =
        words.get(1).and_then(|word| word.to_str()).is_some_and(|word| TAKE_AN_ADDRESS.contains(&word));
    if takes && words.get(2).and_then(|word| word.to_str()).is_some_and(is_address) {
        words.insert(2, "--base-url".into());
    }
    words
}

/// Returns what to write instead of the word that clap rejects; `None` if that is unknown.
pub(super) fn right_words(error: &clap::Error, typed: &[String], program: &Command) -> Option<String> {
    let word = |kind| match error.get(kind) {
        Some(ContextValue::String(word)) => Some(word.as_str()),
        _ => None,
    };
    let command = typed.get(1)?;
    match error.kind() {
        ErrorKind::UnknownArgument => unknown_word(word(ContextKind::InvalidArg)?, command, program),
        ErrorKind::MissingRequiredArgument
            if command == "gate" && typed.get(2).is_none_or(|word| word != "init") =>
        {
            Some(missing_side(error, typed))
        }
        ErrorKind::InvalidSubcommand => match word(ContextKind::InvalidSubcommand)? {
            "bench" => Some("`vllm bench serve` is `servegauge run` here, with the same flags".to_owned()),
            word if is_address(word) => {
                Some(format!("to measure this server: servegauge run --base-url {word}"))
            }
            _ => None,
        },
        _ => None,
    }
}

/// Names the side that a gate lacks: its candidate, or the baseline that another flag is about.
fn missing_side(error: &clap::Error, typed: &[String]) -> String {
    let lacks = |name: &str| match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::Strings(missing)) => missing.iter().any(|flag| flag.starts_with(name)),
        _ => false,
    };
    let about_baseline = ["--same-start", "--update-baseline"];
    match about_baseline.iter().find(|flag| typed.iter().any(|word| word == *flag)) {
        Some(flag) if lacks("--baseline") && !lacks("--candidate") => {
            format!("{flag} is about a baseline: give --baseline FILE too, or leave {flag} out")
        }
        _ => "no candidate is given: use --candidate FILE, or measure it now: servegauge gate --baseline FILE -- run \
              --base-url URL"
            .to_owned(),
    }
}

fn unknown_word(word: &str, command: &str, program: &Command) -> Option<String> {
    let name = word.split_once('=').map_or(word, |(name, _)| name);
    if TAKE_RUN_FLAGS.contains(&command) && (name == "run" || has_flag(program.find_subcommand("run")?, name))
    {
        let example = if name == "run" { "--base-url URL" } else { name };
        return Some(format!(
            "`{name}` belongs to `run`, whose flags go after `--`: servegauge {command} … -- run {example} …"
        ));
    }
    if is_address(word) {
        return Some(format!("`{word}` lacks its flag: write --base-url {word}"));
    }
    let (_, ours) = FLAGS.iter().find(|(theirs, _)| *theirs == name)?;
    let is_here = program.find_subcommand(command).is_some_and(|command| has_flag(command, ours));
    is_here.then(|| format!("servegauge has no {name}: the flag is {ours}"))
}

/// Whether a command has a flag of this name or alias.
fn has_flag(command: &Command, name: &str) -> bool {
    let Some(name) = name.strip_prefix("--") else { return false };
    command.get_arguments().any(|flag| {
        flag.get_long() == Some(name) || flag.get_all_aliases().is_some_and(|all| all.contains(&name))
    })
}

fn is_address(word: &str) -> bool {
    word.starts_with("http://") || word.starts_with("https://")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(words: &str) -> Option<String> {
        let (program, typed): (_, Vec<String>) =
            (crate::cli::command(), words.split(' ').map(ToOwned::to_owned).collect());
        right_words(&program.clone().try_get_matches_from(&typed).unwrap_err(), &typed, &program)
    }

    #[test]
    fn flags_of_other_tools_are_answered_with_ours() {
        for (theirs, ours) in FLAGS {
            let expected = format!("servegauge has no {theirs}: the flag is {ours}");
            assert_eq!(answer(&format!("servegauge run {theirs} 5")), Some(expected));
        }
        assert_eq!(
            answer("servegauge run --qps=5").as_deref(),
            Some("servegauge has no --qps: the flag is --request-rate")
        );
    }

    #[test]
    fn our_names_exist() {
        let command = crate::cli::command();
        let run = command.find_subcommand("run").unwrap();
        for (_, ours) in FLAGS {
            assert!(has_flag(run, ours), "{ours}");
        }
    }

    #[test]
    fn vllms_command_and_a_bare_address_are_answered() {
        assert!(answer("servegauge bench serve").unwrap().contains("`servegauge run`"));
        assert!(answer("servegauge http://x:1").unwrap().ends_with("servegauge run --base-url http://x:1"));
        assert!(answer("servegauge run --sim http://x:1").unwrap().ends_with("write --base-url http://x:1"));
        assert_eq!(answer("servegauge run --no-such-flag"), None);
    }

    #[test]
    fn flags_of_run_without_the_dashes_before_them_are_answered() {
        for line in [
            "servegauge ab --a http://a:1 --b http://b:1 --request-rate 5",
            "servegauge gate --baseline b.json --base-url http://x:1",
            "servegauge search --slo ttft.p95<1s --base-url=http://x:1",
            "servegauge gate --baseline b.json run --sim",
        ] {
            let answer = answer(line).unwrap();
            assert!(
                answer.contains("whose flags go after `--`") && answer.contains(" … -- run --"),
                "{answer}"
            );
        }
        for line in ["servegauge gate", "servegauge gate --baseline b.json"] {
            assert!(answer(line).unwrap().ends_with("-- run --base-url URL"), "{line}");
        }
        for flag in ["--same-start", "--update-baseline"] {
            let expected =
                format!("{flag} is about a baseline: give --baseline FILE too, or leave {flag} out");
            assert_eq!(answer(&format!("servegauge gate --candidate a.json {flag}")), Some(expected));
            assert!(answer(&format!("servegauge gate {flag}")).unwrap().starts_with("no candidate is given"));
        }
        assert_eq!(answer("servegauge compare a b -c"), None, "compare has no --max-concurrency");
    }

    #[test]
    fn an_address_after_the_command_is_the_servers() {
        let named = |words: &str| {
            name_bare_address(words.split(' ').map(OsString::from).collect()).join(&OsString::from(" "))
        };
        assert_eq!(
            named("servegauge run http://x:1 --seed 2"),
            "servegauge run --base-url http://x:1 --seed 2"
        );
        for same in ["servegauge watch http://x:1", "servegauge run --seed 2", "servegauge run", "servegauge"]
        {
            assert_eq!(named(same), same);
        }
    }
}
