//! The direction of imports, as the map in the crate's documentation draws it. A room may name only the rooms below it.

#![allow(clippy::unwrap_used, reason = "a test that cannot read the sources has failed")]

use std::fs;
use std::path::Path;

/// Each room with the rooms that it may name.
const MAY_NAME: [(&str, &[&str]); 7] = [
    ("core", &[]),
    ("server", &["core"]),
    ("judge", &["core", "server"]),
    ("drive", &["core", "server"]),
    ("report", &["core", "judge"]),
    ("sim", &[]),
    ("cli", &["core", "server", "judge", "drive", "report", "sim"]),
];

/// What only the roof may use.
const ONLY_CLI: [&str; 6] = ["clap::", "println!(", "print!(", "eprintln!(", "eprint!(", "process::exit"];

/// What the spine may not use: sockets and clocks.
const NOT_CORE: [&str; 6] =
    ["tokio::", "reqwest::", "std::net", "Instant::now", "SystemTime::now", "Zoned::now"];

/// Files that are compiled for tests only, and are not called `tests.rs`.
const TEST_ONLY: [&str; 5] = [
    "core/stats/coverage.rs",
    "judge/gate/study.rs",
    "judge/search/laws.rs",
    "judge/search/study.rs",
    "judge/start_study.rs",
];

struct Source {
    /// Relative to `src`, such as `drive/engine.rs`.
    path: String,
    text: String,
}

#[test]
fn imports_point_downwards_only() {
    let sources = sources();
    assert!(sources.len() > 30, "the sources were not found");
    let found: Vec<_> = sources.iter().flat_map(violations).collect();
    assert!(found.is_empty(), "forbidden:\n{}", found.join("\n"));
}

#[test]
fn every_forbidden_import_is_found() {
    let cases = [
        ("core/stats.rs", "use crate::drive::engine;"),
        ("core/stats.rs", "use tokio::time;"),
        ("core/stats.rs", "let t = Instant::now();"),
        ("drive/engine.rs", "use crate::report::text;"),
        ("drive/engine.rs", "use crate::cli::exit::Exit;"),
        ("drive/engine.rs", "use crate::{core::run::Run, report::text};"),
        ("drive/engine.rs", "use crate::sim::Spec;"),
        ("report/text.rs", "use crate::drive::workload::Workload;"),
        ("report/text.rs", "println!(\"hello\");"),
        ("sim/mod.rs", "use crate::core::stats::Tally;"),
        ("sim/mod.rs", "use servebench::core::stats::Tally;"),
        ("sim/engine.rs", "use super::super::core::stats::Tally;"),
        ("drive/engine.rs", "    std::process::exit(1);"),
        ("judge/gate.rs", "use clap::Args;"),
    ];
    for (path, text) in cases {
        let source = Source { path: path.into(), text: text.into() };
        assert!(!violations(&source).is_empty(), "not found: `{text}` in {path}");
    }
}

#[test]
fn what_is_allowed_is_not_reported() {
    let cases = [
        ("drive/engine.rs", "use crate::core::record::Record;"),
        ("drive/engine.rs", "use super::client::Client;"),
        ("report/text.rs", "writeln!(to, \"x\")?; // like println!(\"x\")"),
        ("cli/run/args.rs", "use crate::{drive::engine, report::text};\nuse super::super::exit::Exit;"),
        ("sim/mod.rs", "//! Imports nothing of crate::core, says this comment."),
    ];
    for (path, text) in cases {
        let found = violations(&Source { path: path.into(), text: text.into() });
        assert!(found.is_empty(), "{found:?}");
    }
}

fn sources() -> Vec<Source> {
    fn walk(folder: &Path, root: &Path, found: &mut Vec<Source>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
                found.push(Source { path: name, text: fs::read_to_string(&path).unwrap() });
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    walk(&root, &root, &mut found);
    found
}

fn violations(source: &Source) -> Vec<String> {
    let Some((room, _)) = source.path.split_once('/') else { return Vec::new() };
    let Some((_, allowed)) = MAY_NAME.iter().find(|(name, _)| *name == room) else {
        return vec![format!("{}: `{room}` is not a room of the house", source.path)];
    };
    let code = without_comments(&source.text);
    let named = rooms_named(&code, room, depth(&source.path));
    let rooms = named.into_iter().filter(|name| name != room && !allowed.contains(&name.as_str()));
    let mut found: Vec<_> = rooms.map(|name| format!("{}: names `{name}`", source.path)).collect();
    let test_code = source.path.ends_with("/tests.rs") || TEST_ONLY.contains(&source.path.as_str());
    let forbidden = |words: &[&str]| {
        words
            .iter()
            .filter(|word| code.contains(**word))
            .map(|word| format!("{}: uses `{word}`", source.path))
            .collect::<Vec<_>>()
    };
    if room != "cli" && !test_code {
        found.extend(forbidden(&ONLY_CLI));
    }
    if room == "core" {
        found.extend(forbidden(&NOT_CORE));
    }
    found
}

fn without_comments(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// How many modules deep a file is: `drive/engine.rs` is 2.
fn depth(path: &str) -> usize {
    path.trim_end_matches("/mod.rs").split('/').count()
}

/// The rooms named after `crate::`, `servebench::`, or enough `super::` to leave the room.
fn rooms_named(code: &str, room: &str, depth: usize) -> Vec<String> {
    let mut rooms = Vec::new();
    for prefix in ["crate::", "servebench::"] {
        for (at, _) in code.match_indices(prefix) {
            let before = code[..at].chars().next_back();
            if before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':') {
                rooms.extend(heads(&code[at + prefix.len()..]));
            }
        }
    }
    let escape = "super::".repeat(depth.max(2));
    for (at, _) in code.match_indices(&escape) {
        rooms.extend(heads(&code[at + escape.len()..]));
    }
    rooms.retain(|name| name != room);
    rooms
}

/// The first names of a path, or of each path in braces: `{core::run, report}` is `core` and `report`.
fn heads(path: &str) -> Vec<String> {
    let word = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let Some(group) = path.strip_prefix('{') else { return vec![word(path)] };
    let mut level = 0;
    let mut heads = vec![word(group)];
    for (at, c) in group.char_indices() {
        match c {
            '{' => level += 1,
            '}' if level == 0 => break,
            '}' => level -= 1,
            ',' if level == 0 => heads.push(word(&group[at + 1..])),
            _ => {}
        }
    }
    heads.retain(|head| !head.is_empty());
    heads
}
