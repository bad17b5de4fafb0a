//! Checks the layering of the source files: which modules may name which, no dependency cycles between files, what only
//! the command line may do, and what is public. The layers and their directions are those of `shared/design.md`.

mod source;
mod tree;

use std::collections::BTreeSet;

use source::Source;
use tree::Tree;

/// A room: some modules with everything in them, and the rooms that it may name.
struct Room {
    name: &'static str,
    /// Where two rooms' modules hold a file, the longer path counts.
    modules: &'static [&'static str],
    may_name: &'static [&'static str],
}

/// The rooms.
const ROOMS: &[Room] = &[
    Room { name: "stats", modules: &["seconds", "stats"], may_name: &[] },
    Room { name: "model", modules: &["model"], may_name: &["stats"] },
    Room { name: "client", modules: &["client"], may_name: &["model", "stats"] },
    Room { name: "server", modules: &["server"], may_name: &["client", "model", "stats"] },
    Room { name: "tokenizer", modules: &["tokenizer"], may_name: &["client", "model", "stats"] },
    Room { name: "dataset", modules: &["dataset"], may_name: &["tokenizer", "client", "model", "stats"] },
    Room {
        name: "loadgen",
        modules: &["loadgen"],
        may_name: &["client", "dataset", "tokenizer", "model", "stats"],
    },
    Room { name: "analysis", modules: &["analysis"], may_name: &["server", "model", "stats"] },
    Room {
        name: "report",
        modules: &["report"],
        may_name: &["analysis", "predict", "server", "model", "stats"],
    },
    Room {
        name: "runner",
        modules: &["runner"],
        may_name: &["loadgen", "dataset", "tokenizer", "client", "server", "model", "stats"],
    },
    Room { name: "benchmark", modules: &["benchmark"], may_name: &["runner", "model", "stats"] },
    Room { name: "storage", modules: &["storage"], may_name: &["client", "model"] },
    Room {
        name: "shards",
        modules: &["shards"],
        may_name: &["runner", "loadgen", "storage", "client", "model"],
    },
    Room { name: TESTING, modules: &["testing"], may_name: &[] },
    Room { name: "scheduler", modules: &["sim::scheduler"], may_name: &[] },
    Room { name: "sim", modules: &["sim"], may_name: &["scheduler"] },
    Room { name: "predict", modules: &["predict"], may_name: &["dataset", "model", "stats", "scheduler"] },
    Room {
        name: "cli",
        modules: &["cli"],
        may_name: &[
            "runner",
            "shards",
            "storage",
            "report",
            "analysis",
            "predict",
            "loadgen",
            "dataset",
            "tokenizer",
            "client",
            "server",
            "model",
            "stats",
            "sim",
        ],
    },
];

/// The room that is compiled for tests only: every room's tests may name it, and it may name them all.
const TESTING: &str = "testing";

/// Rooms that tests may name although their own room may not: tests of `tokenizer` use the bundled one, of `dataset`.
const TESTS_MAY_NAME: &[(&str, &str)] = &[("tokenizer", "dataset")];

/// The public modules: the simulator, and what benches and tests use. Everything else is named by the crate's root.
const PUBLIC: &[&str] = &["internals", "sim"];

/// The macros that only the command line calls: those that print.
const PRINTING: &[&str] = &["println", "print", "eprintln", "eprint", "dbg"];

/// Items that only the command line may name.
const ONLY_CLI: &[&str] = &["clap", "process::exit"];

/// Items that the rooms `model` and `stats` may not name, because values and arithmetic need no sockets and clocks.
const NOT_VALUES: &[&str] =
    &["tokio", "reqwest", "std::net", "Instant::now", "SystemTime::now", "Zoned::now"];

/// Flags of servers and of other programs that are not ours, and the files that speak of them.
const FLAGS_OF_OTHERS: &[(&str, &[&str])] = &[
    ("model/server/signal.rs", &["--enable-prefix-caching", "--max-model-len", "--max-num-seqs"]),
    ("client/protocol/multipart.rs", &["--"]),
    ("tokenizer/hub.rs", &["--"]),
    ("dataset/hub.rs", &["--"]),
    ("runner/metrics_client.rs", &["--disable-log-stats", "--enable-metrics", "--metrics"]),
    ("runner/profiler.rs", &["--profiler-config"]),
    (
        "analysis/diagnose/levers.rs",
        &[
            "--enable-chunked-prefill",
            "--enable-prefix-caching",
            "--enforce-eager",
            "--gpu-memory-utilization",
            "--kv-cache-dtype",
            "--max-model-len",
            "--max-num-batched-tokens",
            "--max-num-seqs",
            "--quantization",
            "--scheduler-delay-factor",
            "--swap-space",
            "--tensor-parallel-size",
        ],
    ),
    ("analysis/diagnose/rules.rs", &["--max-loras", "--max-num-seqs", "--speculative-config"]),
    ("analysis/diagnose/rules/flags.rs", &["--enforce-eager", "--scheduler-delay-factor", "--swap-space"]),
    (
        "server/log_summary/rules.rs",
        &["--gpu-memory-utilization", "--kv-cache-dtype", "--max-model-len", "--max-num-seqs"],
    ),
    ("analysis/plan/memory.rs", &["--gpu-memory-utilization", "--max-num-batched-tokens", "--max-num-seqs"]),
    ("report/dashboard/alerts.rs", &["--max-model-len", "--max-num-seqs"]),
    ("report/plan.rs", &["--max-num-seqs"]),
    ("server/launch/gpu.rs", &["--format", "--query-gpu"]),
    ("server/launch/template.rs", &["--port"]),
];

/// The table of the settings that texts below the command line name, each with its flag.
const SETTING_FLAGS: &str = "cli/setting_flags.rs";

#[test]
fn imports_point_downwards_only() {
    assert_none("forbidden", &upward(&Tree::read()));
}

#[test]
fn no_files_name_each_other_in_a_circle() {
    assert_none("circles", &circles(&Tree::read()));
}

#[test]
fn only_the_command_line_knows_clap_prints_and_exits_and_values_have_no_clock() {
    assert_none("forbidden", &misplaced(&Tree::read()));
}

#[test]
fn only_the_command_line_names_flags() {
    assert_none("flags", &flags(&Tree::read()));
}

#[test]
fn every_setting_that_a_text_names_has_a_flag() {
    let tree = Tree::read();
    assert_eq!(
        settings(&tree),
        with_flags(&tree),
        "left: named below the command line, right: rows with a flag"
    );
}

#[test]
fn what_is_public_is_listed() {
    assert_none("public", &public(&Tree::read()));
}

#[test]
fn an_upward_import_is_found() {
    let cases = [
        ("stats.rs", "use crate::model::units::Rate;"),
        ("stats/share.rs", "use crate::loadgen;"),
        ("model/run_spec.rs", "use crate::{model::run::Run, report::text};"),
        ("loadgen.rs", "use crate::report::text;"),
        ("loadgen.rs", "use crate::cli::exit::Exit;"),
        ("loadgen.rs", "fn f() { crate::sim::serve(); }"),
        ("loadgen.rs", "fn f() { assert!(crate::sim::serve().is_ok()); }"),
        ("client.rs", "use super::dataset::PreparedWorkload;"),
        ("runner/session.rs", "use crate::cli::exit::Halt;"),
        ("runner/session.rs", "use crate::sim;"),
        ("runner/measure.rs", "use crate::report::progress::Medium;"),
        ("report/text.rs", "use crate::dataset::Workload;"),
        ("report/text.rs", "#[cfg(test)] mod tests { use super::super::super::client::tls; }"),
        ("report/text.rs", "#[derive(Serialize)] struct A { #[serde(with = \"crate::loadgen::a\")] a: u8 }"),
        ("sim.rs", "use crate::stats::Tally;"),
        ("sim.rs", "use servegauge::stats::Tally;"),
        ("sim/engine.rs", "use super::super::stats::Tally;"),
        ("sim/scheduler.rs", "use super::engine::EngineHandle;"),
        ("predict/fleet.rs", "use crate::sim::SimSpec;"),
        ("analysis/ab.rs", "use crate::testing::queue::Queue;"),
        ("attic/mod.rs", "struct A;"),
    ];
    for (path, text) in cases {
        assert_eq!(upward(&Tree::of(&[(path, text)])).len(), 1, "`{text}` in {path}");
    }
}

#[test]
fn what_only_the_command_line_may_do_is_found_elsewhere() {
    let cases = [
        ("stats/share.rs", "use tokio::time;"),
        ("model/run_spec.rs", "fn f() { let t = Instant::now(); }"),
        ("model/run_spec.rs", "fn f() { assert!(std::time::Instant::now() > t); }"),
        ("report/text.rs", "fn f() { println!(\"hello\"); }"),
        ("report/text.rs", "fn f() { assert!({ print!(\"hello\"); true }); }"),
        ("loadgen.rs", "fn f() { std::process::exit(1); }"),
        ("loadgen.rs", "use std::process::exit;"),
        ("analysis/gate.rs", "use clap::Args;"),
        ("analysis/gate.rs", "#[derive(clap::Args)] struct A;"),
    ];
    for (path, text) in cases {
        assert_eq!(misplaced(&Tree::of(&[(path, text)])).len(), 1, "`{text}` in {path}");
    }
}

#[test]
fn a_circle_is_found_with_its_files() {
    let two = [("model/a.rs", "use super::b::B;"), ("model/b.rs", "fn f() { super::a::g(); }")];
    assert_eq!(circles(&Tree::of(&two)), ["model/a.rs (names model/b.rs), model/b.rs (names model/a.rs)"]);
    // By way of a name that the parent makes known again, and a file that is in no circle.
    let three = [
        ("model.rs", "mod a;\nmod b;\nmod c;\nmod d;\npub use c::{C as Sea, D};"),
        ("model/a.rs", "use crate::model::b;"),
        ("model/b.rs", "use crate::model::Sea;"),
        ("model/c.rs", "use super::a::A;\nuse super::d;"),
        ("model/d.rs", "use std::fmt;"),
    ];
    let found = circles(&Tree::of(&three));
    assert_eq!(found.len(), 1);
    assert!(
        found[0].contains("model/b.rs (names model/c.rs)") && !found[0].contains("model/d.rs"),
        "{found:?}"
    );
}

#[test]
fn a_flag_in_a_text_is_found_below_the_command_line() {
    let cases = [
        ("loadgen.rs", "const ADVICE: &str = \"raise --max-concurrency\";"),
        ("loadgen.rs", "fn f() { let word = format!(\"--{name}={value}\"); }"),
        ("loadgen.rs", "#[derive(Error)] enum E { #[error(\"check --tokenizer\")] A }"),
        ("report/text.rs", "fn f() { write!(out, \"see {}\", concat!(\"a \", r#\"--json\"#)); }"),
        ("sim/spec.rs", "static A: [&str; 1] = [\"--port\"];"),
    ];
    for (path, text) in cases {
        assert_eq!(flags(&Tree::of(&[(path, text)])).len(), 1, "`{text}` in {path}");
    }
}

#[test]
fn a_setting_in_a_text_is_found() {
    let rows = r#"const FLAGS: A = &[("load.workers", "--workers"), ("hf.split = a", "--hf-split")];"#;
    let text = "#[error(\"`hf.split = a` and `load.worker`, not `x.json` or `load.run(x)`\")] struct E;";
    let tree = Tree::of(&[(SETTING_FLAGS, rows), ("loadgen.rs", text)]);
    assert_eq!(settings(&tree), BTreeSet::from(["hf.split = a", "load.worker"]));
    assert_eq!(with_flags(&tree), BTreeSet::from(["hf.split = a", "load.workers"]));
}

#[test]
fn a_public_module_that_is_not_listed_is_found() {
    let text =
        "pub mod sim;\npub mod attic;\nmod seconds;\npub(crate) mod own;\npub mod cellar { fn f() {} }";
    let tree = Tree::of(&[("lib.rs", text)]);
    assert_eq!(public(&tree), ["lib.rs: `attic` is public", "lib.rs: `cellar` is public"]);
}

#[test]
fn what_is_allowed_is_not_reported() {
    let tree = Tree::of(&[
        ("model.rs", "pub mod a;\npub mod b;\n#[cfg(test)] mod c;"),
        (
            "model/a.rs",
            "use super::b::B;\nuse std::sync::Arc;\n#[cfg(test)] mod tests { use crate::model::c::C; }",
        ),
        ("model/b.rs", "pub struct B;\n#[cfg(test)] fn f() { super::a::g(); println!(\"--seed\"); }"),
        ("model/c.rs", "use super::a::A;\nuse crate::model::b::B;"),
        ("predict/fleet.rs", "use crate::sim::scheduler::Scheduler;"),
        (
            "model/d.rs",
            "/// Say `--seed`.\nconst RULE: &str = \"-----\"; // --seed\nconst A: &str = \"a--b -- c --1\";",
        ),
        ("loadgen.rs", "use crate::model::record::Record;\nuse super::client::Client;\nuse crate::seconds;"),
        ("tokenizer.rs", "#[cfg(test)] mod tests { use crate::dataset::bundled; }"),
        ("lib.rs", "#[cfg(test)] mod testing;"),
        ("model/steady_state.rs", "#[cfg(test)] mod tests { use crate::testing::queue::Queue; }"),
        ("testing/studies/gate.rs", "use crate::analysis::gate;\nfn f() { println!(\"--seed {failed}\"); }"),
        ("report/text.rs", "fn f() { writeln!(to, \"x\"); } // like println!(\"x\")"),
        ("cli/args.rs", "use crate::{loadgen, report::text};\nuse super::super::exit::Exit;"),
        ("cli/exit.rs", "fn f() { println!(\"--seed\"); std::process::exit(1); }"),
        ("sim.rs", "//! Imports nothing of crate::core, says this comment.\npub(in crate::sim) struct A;"),
    ]);
    let found = [upward(&tree), circles(&tree), misplaced(&tree), flags(&tree), public(&tree)].concat();
    assert!(found.is_empty(), "{found:#?}");
}

fn assert_none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

/// The room of a path from the crate's root.
fn room_of(path: &[String]) -> Option<&'static Room> {
    let length = |module: &&str| {
        let module: Vec<&str> = module.split("::").collect();
        path.iter().map(String::as_str).zip(&module).all(|(a, b)| a == *b).then_some(module.len())
    };
    let fits = |room: &&Room| {
        let lengths = room.modules.iter().filter_map(length);
        lengths.filter(|length| *length <= path.len()).max().unwrap_or_default()
    };
    ROOMS.iter().max_by_key(fits).filter(|room| fits(room) > 0)
}

/// Names of rooms that a file's room may not name.
fn upward(tree: &Tree) -> Vec<String> {
    let of = |source: &Source| {
        let Some(room) = room_of(&source.module) else {
            return vec![format!("{}: is in no room", source.path)];
        };
        if room.name == TESTING {
            return Vec::new();
        }
        let is_test_file = tree.is_for_tests(source);
        let mut found: Vec<String> = Vec::new();
        for name in source.names.iter().filter(|name| name.is_ours) {
            let Some(named) = room_of(&name.path).filter(|named| named.name != room.name) else { continue };
            let is_test = is_test_file || name.is_in_test;
            let for_tests = named.name == TESTING || TESTS_MAY_NAME.contains(&(room.name, named.name));
            let allowed = room.may_name.contains(&named.name) || is_test && for_tests;
            if !allowed {
                let path = name.path.join("::");
                found.push(format!(
                    "{}: names `{path}`, but `{}` may not name `{}`",
                    source.path, room.name, named.name
                ));
            }
        }
        found.dedup();
        found
    };
    tree.sources.iter().filter(|source| !source.module.is_empty()).flat_map(of).collect()
}

/// Circles of files.
fn circles(tree: &Tree) -> Vec<String> {
    let circles = tree.circles().into_iter();
    let file = |(path, names): &(&str, Vec<&str>)| format!("{path} (names {})", names.join(" and "));
    circles.map(|circle| circle.iter().map(file).collect::<Vec<_>>().join(", ")).collect()
}

/// Printing, exits, clap, sockets and clocks in rooms that are to have none.
fn misplaced(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for source in &tree.sources {
        let Some(room) = room_of(&source.module) else { continue };
        let is_test_file = tree.is_for_tests(source);
        let mut report = |what: &str| found.push(format!("{}: uses `{what}`", source.path));
        if room.name != "cli" && !is_test_file {
            source
                .macros
                .iter()
                .filter(|name| PRINTING.contains(&name.as_str()))
                .for_each(|name| report(name));
        }
        for name in source.names.iter().filter(|name| !name.is_ours) {
            let only_cli =
                ONLY_CLI.iter().filter(|_| room.name != "cli" && !is_test_file && !name.is_in_test);
            let not_values = NOT_VALUES.iter().filter(|_| ["model", "stats"].contains(&room.name));
            only_cli.chain(not_values).filter(|what| holds(&name.path, what)).for_each(|what| report(what));
        }
    }
    found.dedup();
    found
}

/// Whether a path has these parts in a row: a crate's name by itself only at the beginning.
fn holds(path: &[String], parts: &str) -> bool {
    let parts: Vec<&str> = parts.split("::").collect();
    match parts[..] {
        [one] => path[0] == one,
        _ => path.windows(parts.len()).any(|window| window == parts),
    }
}

/// Returns the flags in texts below the command line, except those of other programs.
fn flags(tree: &Tree) -> Vec<String> {
    let sources = tree.sources.iter().filter(|source| is_below(tree, source));
    let of = |source: &Source| {
        let others = FLAGS_OF_OTHERS.iter().filter(|(path, _)| *path == source.path);
        let others: Vec<&str> = others.flat_map(|(_, flags)| flags.iter().copied()).collect();
        let mut found: Vec<String> = source.texts.iter().flat_map(|text| flags_in(text)).collect();
        found.retain(|flag| !others.contains(&flag.as_str()));
        found.dedup();
        (!found.is_empty()).then(|| format!("{}: names {}", source.path, found.join(", ")))
    };
    sources.filter_map(of).collect()
}

/// Finds texts that look like flags: two dashes and a name, or two dashes at the beginning of a format string.
fn flags_in(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("--") {
        let is_within = rest[..at].ends_with(|c: char| c.is_alphanumeric() || c == '-');
        rest = &rest[at + 2..];
        let name: String =
            rest.chars().take_while(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-').collect();
        if !is_within && name.len() > 1 && name.starts_with(|c: char| c.is_ascii_lowercase()) {
            found.push(format!("--{name}"));
        }
        rest = rest.trim_start_matches('-');
    }
    let is_begun = text.strip_prefix("--").is_some_and(|rest| rest.is_empty() || rest.starts_with('{'));
    if is_begun && found.is_empty() {
        found.push("--".to_owned());
    }
    found
}

/// The settings that have a flag.
fn with_flags(tree: &Tree) -> BTreeSet<&str> {
    let rows = tree.sources.iter().filter(|source| source.path == SETTING_FLAGS);
    let texts = rows.flat_map(|source| &source.texts).map(String::as_str);
    texts.filter(|text| !text.starts_with("--")).collect()
}

/// The settings that texts below the command line name in back quotes.
fn settings(tree: &Tree) -> BTreeSet<&str> {
    let group = |setting: &'_ str| setting.split_once('.').map(|(group, _)| group.to_owned());
    let groups: BTreeSet<_> = with_flags(tree).into_iter().filter_map(group).collect();
    let is_setting = |quoted: &&str| {
        let is_plain = quoted.chars().all(|c| c.is_ascii_lowercase() || "._-= ".contains(c));
        is_plain && group(quoted).is_some_and(|group| groups.contains(&group))
    };
    let sources = tree.sources.iter().filter(|source| is_below(tree, source));
    sources
        .flat_map(|source| &source.texts)
        .flat_map(|text| text.split('`').skip(1).step_by(2))
        .filter(is_setting)
        .collect()
}

/// Whether a file is below the command line, and not for tests.
fn is_below(tree: &Tree, source: &Source) -> bool {
    room_of(&source.module).is_some_and(|room| room.name != "cli") && !tree.is_for_tests(source)
}

/// Public modules that are not listed.
fn public(tree: &Tree) -> Vec<String> {
    let root = tree.sources.iter().filter(|source| source.path == "lib.rs");
    let unlisted =
        root.flat_map(|source| &source.public_modules).filter(|name| !PUBLIC.contains(&name.as_str()));
    unlisted.map(|name| format!("lib.rs: `{name}` is public")).collect()
}
