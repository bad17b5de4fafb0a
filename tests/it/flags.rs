//! Every flag of vLLM's two clients exists: under its name and its aliases, with dashes or underscores, with its
//! default, or on the list of deliberate differences. The lists in `tests/flags/` contain those flags.

use std::process::{Command, Output};

use clap::{Arg, ArgAction};
use servegauge::internals::{FLAG_DIFFERENCES, command};

/// The lists of vLLM's flags, and the client that each is of.
const LISTS: [(&str, &str); 2] =
    [("Python", include_str!("../flags/python-0.33.txt")), ("Rust", include_str!("../flags/rust-0.33.txt"))];

/// A flag of vLLM's.
struct Theirs<'a> {
    name: &'a str,
    aliases: Vec<&'a str>,
    default: &'a str,
}

fn listed(list: &str) -> impl Iterator<Item = Theirs<'_>> {
    list.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let [name, aliases, default] = line.split('|').map(str::trim).collect::<Vec<_>>()[..] else {
            panic!("not `flag | aliases | default`: {line}")
        };
        Theirs { name, aliases: aliases.split_whitespace().collect(), default }
    })
}

fn run() -> clap::Command {
    let mut command = command();
    command.build();
    command.find_subcommand("run").unwrap().clone()
}

fn find<'a>(run: &'a clap::Command, name: &str) -> Option<&'a Arg> {
    let name = name.trim_start_matches("--");
    run.get_arguments()
        .find(|arg| arg.get_long() == Some(name) || arg.get_all_aliases().unwrap_or_default().contains(&name))
}

/// The default that `--help` states: clap's, or the first value in brackets.
fn default(arg: &Arg) -> String {
    let values: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let written = help.split_once("[default: ").map(|(_, rest)| rest.split([']', ',', ';']).next().unwrap());
    match (arg.get_action(), written) {
        (ArgAction::SetTrue, _) => "off".to_owned(),
        (_, Some(written)) => written.trim().to_owned(),
        (_, None) if values.is_empty() => "none".to_owned(),
        (_, None) => values.join(","),
    }
}

/// Whether two defaults are the same, however they are spelled: numbers, quotes, blanks, the order of a list.
fn same(ours: &str, theirs: &str) -> bool {
    let spelled = |text: &str| -> Vec<String> {
        let text: String = text.chars().filter(|c| !matches!(c, ' ' | '\'' | '"')).collect();
        let mut items: Vec<_> = text.split(',').map(ToOwned::to_owned).collect();
        items.sort();
        items
    };
    // A value that the program derives from another flag or from the server counts as no default.
    let none = |text: &str| text == "none" || text.starts_with("the ") || text == "here";
    match (ours.parse::<f64>(), theirs.parse::<f64>()) {
        (Ok(ours), Ok(theirs)) => ours == theirs,
        _ => spelled(ours) == spelled(theirs) || (none(ours) && theirs == "none"),
    }
}

fn differs(name: &str) -> bool {
    FLAG_DIFFERENCES.iter().any(|difference| difference.flags.contains(&name.trim_start_matches("--")))
}

#[test]
fn every_flag_of_both_clients_is_here_with_its_aliases_and_its_default() {
    let run = run();
    let mut wrong = Vec::new();
    for (client, list) in LISTS {
        for Theirs { name, aliases, default: theirs } in listed(list) {
            let names = std::iter::once(&name).chain(&aliases);
            let found: Vec<_> = names.map(|name| (name, find(&run, name))).collect();
            wrong.extend(
                found
                    .iter()
                    .filter(|(_, arg)| arg.is_none())
                    .map(|(name, _)| format!("{client}: {name} is missing")),
            );
            // A name that is an alias here has the default of the flag that it stands for, which is of the list too.
            let is_alias = |arg: &Arg| {
                let long = arg.get_long().unwrap_or_default();
                long != &name[2..] && listed(list).any(|theirs| &theirs.name[2..] == long)
            };
            if let Some((_, Some(arg))) = found.first()
                && !differs(name)
                && !is_alias(arg)
                && !same(&default(arg), theirs)
            {
                wrong.push(format!("{client}: {name} is by default `{theirs}`, here `{}`", default(arg)));
            }
        }
    }
    assert!(wrong.is_empty(), "{} flags:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_flag_may_be_written_with_underscores() {
    let run = run();
    // The words of clap's error for an unknown flag, which the loop below looks for.
    let unknown = program(&["--dump-config", "--no_such_flag=@"]);
    assert!(String::from_utf8(unknown.stderr).unwrap().contains("unexpected argument"));
    let names = LISTS
        .iter()
        .flat_map(|(_, list)| listed(list))
        .flat_map(|theirs| std::iter::once(theirs.name).chain(theirs.aliases));
    for name in names.filter(|name| name[2..].contains('-') && find(&run, name).is_some()) {
        let word = format!("--{}=@", name[2..].replace('-', "_"));
        // The program sends nothing. It may reject the value, but it must know the flag.
        let output = program(&["--dump-config", &word]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!error.contains("unexpected argument"), "{word}: {error}");
    }
}

#[test]
fn there_are_at_most_ten_differences_and_the_help_of_each_flag_says_why() {
    assert!(FLAG_DIFFERENCES.len() <= 10);
    let run = run();
    let theirs =
        |flag: &str| LISTS.iter().flat_map(|(_, list)| listed(list)).any(|theirs| theirs.name[2..] == *flag);
    for (flag, reason) in FLAG_DIFFERENCES.iter().flat_map(|it| it.flags.iter().map(|flag| (flag, it.reason)))
    {
        assert!(theirs(flag), "--{flag} is no flag of vLLM's");
        let flag_help = find(&run, flag).unwrap();
        let help = flag_help.get_long_help().or(flag_help.get_help()).unwrap().to_string();
        assert!(help.contains(reason), "--{flag}: {help}");
    }
}

#[test]
fn a_flag_that_does_not_work_is_refused_with_the_reason() {
    let absent = FLAG_DIFFERENCES.iter().filter(|difference| !difference.works);
    for (flag, reason) in absent.flat_map(|it| it.flags.iter().map(|flag| (flag, it.reason))) {
        let error = mistake(&[&format!("--{flag}"), "1"]);
        assert!(error.contains(reason), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn an_unknown_flag_suggests_the_nearest_however_it_is_written() {
    for words in
        [&["--num-promts", "5"][..], &["--num_promts", "5"], &["--num_promts=5"], &["--num-promts=-5"]]
    {
        let error = mistake(words);
        assert!(error.contains("--num-prompts"), "{words:?}: {error}");
    }
}

#[test]
fn a_value_may_be_negative_and_the_last_of_two_holds() {
    let run =
        |words: &str| command().try_get_matches_from(format!("servegauge run {words}").split_whitespace());
    assert!(
        run("--top-k -1 --presence-penalty=-0.5 --frequency-penalty -2 --temperature 0 --temperature 1")
            .is_ok()
    );
    // Not `unexpected argument`: what is wrong is the number.
    let error = run("--max-concurrency -5").unwrap_err().to_string();
    assert!(error.contains("invalid value '-5' for '--max-concurrency"), "{error}");
}

fn program(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_servegauge")).arg("run").args(words).env_clear().output().unwrap()
}

/// Returns the error message for a wrong command line.
fn mistake(words: &[&str]) -> String {
    let output = program(words);
    assert_eq!(output.status.code(), Some(2), "{words:?}");
    String::from_utf8(output.stderr).unwrap()
}
