//! `--help`, `--version`, and what is said of wrong values.

use clap::Command;
use servegauge::internals::command;

use crate::support::Program;

/// Lines on two screens of 25 lines.
const TWO_SCREENS: usize = 50;

/// Every command with its words, such as `dataset stats`.
fn commands() -> Vec<(String, Command)> {
    let mut open = vec![(String::new(), command())];
    let mut all = Vec::new();
    while let Some((words, command)) = open.pop() {
        let below = command.get_subcommands().filter(|below| below.get_name() != "help");
        open.extend(below.map(|below| (format!("{words} {}", below.get_name()), below.clone())));
        all.push((words, command));
    }
    all
}

#[test]
fn every_short_help_fits_on_two_screens() {
    for (words, _) in commands() {
        let help = Program::new(&format!("{words} -h")).end().well().stdout;
        assert!(help.lines().count() <= TWO_SCREENS, "{} lines:\n{help}", help.lines().count());
        let examples = help.split_once("\nExample").expect("examples").0;
        let widest =
            examples.lines().filter(|line| !line.starts_with("Usage:")).map(|line| line.chars().count());
        assert!(widest.max().unwrap() <= 100, "{help}");
    }
}

#[test]
fn the_short_help_of_run_has_three_examples() {
    let help = Program::new("run -h").end().well().stdout;
    let examples = help.split_once("Examples:\n").expect("examples").1;
    assert_eq!(examples.lines().filter(|line| line.starts_with("  servegauge run")).count(), 3, "{examples}");
}

#[test]
fn every_command_has_an_example_in_its_short_and_long_help() {
    let all = commands();
    assert!(all.len() > 14);
    for (words, mut command) in all {
        for help in [command.render_help(), command.render_long_help()] {
            let help = help.to_string();
            let examples = help.split_once("\nExample").map(|(_, rest)| rest).unwrap_or_default();
            assert!(examples.contains(&format!("\n  servegauge{words}")), "servegauge{words}:\n{help}");
        }
    }
}

#[test]
fn the_long_help_of_run_has_every_flag_under_a_heading() {
    let run = command().find_subcommand("run").unwrap().clone();
    for flag in run.get_arguments() {
        let is_headed = flag.get_help_heading().is_some();
        assert!(is_headed, "--{} has no heading", flag.get_id());
    }
    let heading = |id: &str| {
        let flag = run.get_arguments().find(|flag| flag.get_id() == id).unwrap();
        flag.get_help_heading().unwrap().to_owned()
    };
    for (id, expected) in [("dry_run", "Workload"), ("repeats", "Measuring"), ("no_keep", "Output")] {
        assert_eq!(heading(id), expected, "--{id}");
    }
}

#[test]
fn what_is_wrong_with_a_value_is_not_said_in_rusts_words() {
    let wrong = ["x", "", "-1", "0", "1.5", "1e999", "99999999999999999999999", "1,2,4", "nan"];
    let rust = [
        "invalid digit found",
        "invalid float literal",
        "non-zero type",
        "empty string",
        "target type",
        "relative URL",
        "expected number",
        "float seconds",
        "Err(",
        "None",
        "Some(",
        "std::",
        "core::",
    ];
    for (words, command) in commands() {
        for flag in command.get_arguments().filter(|flag| flag.get_action().takes_values()) {
            let Some(name) = flag.get_long() else { continue };
            for value in wrong {
                let line = format!("servegauge{words}");
                let typed = line.split(' ').map(ToOwned::to_owned).chain([format!("--{name}={value}")]);
                let Err(error) = servegauge::internals::command().try_get_matches_from(typed) else {
                    continue;
                };
                let error = error.to_string();
                let said = error.lines().next().unwrap();
                let found = rust.iter().find(|part| said.contains(**part));
                assert!(found.is_none(), "servegauge{words} --{name}={value}: {said}");
            }
        }
    }
}

#[test]
fn the_version_is_the_packages() {
    let version = Program::new("--version").end().well().stdout;
    assert!(version.starts_with(concat!("servegauge ", env!("CARGO_PKG_VERSION"))), "{version}");
}
