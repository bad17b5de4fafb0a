//! README and docs are correct: every command in them runs, every link works, and their tables are those of the
//! program.
//!
//! The commands are the lines of the `sh` blocks. Each page runs in its own folder, with the files of
//! [`folder::Folder`] and the blocks of the page that name a file (```` ```toml file=mix.toml ````).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use servegauge::internals::DEFINITIONS;

use folder::{Folder, program};
use page::{Page, ROOT};

mod folder;
mod page;
mod small;

/// Commands of the pages that no test runs: they build or test the crate itself, or need tools that are not here.
const NOT_RUN: [&str; 7] = [
    "cargo install --path .",
    "cargo test",
    "cargo bench",
    "cargo doc --open",
    "cargo install mdbook",
    "mdbook build",
    "scripts/",
];

#[test]
fn every_command_of_readme_and_docs_runs() {
    let template = Folder::with_fixtures();
    let mut pages: Vec<Page> = Page::all().into_iter().filter(|page| !page.is_translation()).collect();
    pages.sort_by_key(|page| page.commands().len());
    let queue = Mutex::new(pages);
    let faults = Mutex::new(Vec::new());
    let mut runs = 0;
    // They mostly wait.
    std::thread::scope(|scope| {
        let work = || {
            let mut runs = 0;
            while let Some(page) = { queue.lock().unwrap().pop() } {
                runs += run_page(&page, &template, &faults);
            }
            runs
        };
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
        runs = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
    });
    let faults = faults.into_inner().unwrap();
    assert!(faults.is_empty(), "{} commands:\n{}", faults.len(), faults.join("\n"));
    assert!(runs >= 80, "only {runs} commands were found");
}

/// Runs the commands of a page, one after the other; returns how many there are.
fn run_page(page: &Page, template: &Folder, faults: &Mutex<Vec<String>>) -> usize {
    let commands = page.commands();
    if commands.is_empty() {
        return 0;
    }
    let folder = template.copy_for(page);
    let server = folder.simulator(&["sim", "--port", "0", "--served-model-name", "*", "--profiler"]);
    let mut runs = 0;
    for command in &commands {
        let Some(arguments) = command.arguments() else {
            let line = command.words.join(" ");
            if !NOT_RUN.iter().any(|known| line.starts_with(known)) {
                faults.lock().unwrap().push(format!("{}: neither run nor known: {line}", command.place));
            }
            continue;
        };
        runs += 1;
        if arguments[0] == "sim" {
            drop(folder.simulator(&small::on_a_free_port(arguments)));
            continue;
        }
        let small = small::command(arguments, &server.base_url);
        let output = program(&small, folder.path()).output().unwrap();
        let printed_nothing = output.stdout.is_empty() && arguments[0] == "run";
        if !output.status.success() || printed_nothing {
            let stderr = String::from_utf8_lossy(&output.stderr);
            faults.lock().unwrap().push(format!(
                "{}: {}\n  run as: {}\n  {}: {stderr}",
                command.place,
                command.words.join(" "),
                small.join(" "),
                output.status
            ));
        }
    }
    runs
}

#[test]
fn the_first_two_commands_of_the_readme_are_the_main_job_and_the_tests() {
    let commands = Page::named("README.md").commands();
    assert_eq!(commands[0].words.join(" "), "cargo run --release -- run --sim");
    assert_eq!(commands[1].words.join(" "), "cargo test");
}

#[test]
fn the_readme_is_a_front_page() {
    let readme = Page::named("README.md");
    assert!(readme.text.lines().count() < 200, "{} lines", readme.text.lines().count());
    for (number, line) in readme.text.lines().enumerate() {
        let width = line.chars().count();
        assert!(width <= 120, "line {} has {width} columns", number + 1);
    }
}

#[test]
fn commands_stand_in_sh_blocks_only() {
    for page in Page::all() {
        for block in
            page.blocks().filter(|block| ["", "bash", "shell", "console"].contains(&&*block.language))
        {
            let commands =
                block.text.lines().filter(|line| line.starts_with("servegauge ") || line.starts_with("$ "));
            assert_eq!(commands.count(), 0, "{}:{}: not in an sh block, so not run", page.name, block.line);
        }
    }
}

#[test]
fn translated_pages_have_the_commands_of_the_english_ones() {
    let pages = Page::all();
    for page in pages.iter().filter(|page| page.is_translation()) {
        let english = Page::named(&page.name.replace(".zh-CN.md", ".md"));
        let lines =
            |page: &Page| page.commands().iter().map(|command| command.words.join(" ")).collect::<Vec<_>>();
        assert_eq!(lines(page), lines(&english), "{}", page.name);
    }
}

#[test]
fn translated_pages_have_the_tables_of_the_english_ones() {
    let pages = Page::all();
    let translations: Vec<&Page> = pages.iter().filter(|page| page.is_translation()).collect();
    assert!(!translations.is_empty(), "there are no translations");
    for page in translations {
        let english = Page::named(&page.name.replace(".zh-CN.md", ".md"));
        let (ours, theirs) = (page.table_rows(), english.table_rows());
        assert_eq!(ours.len(), theirs.len(), "{}: rows of tables", page.name);
        for (row, original) in ours.iter().zip(&theirs) {
            assert_eq!(row, original, "{}: the names in code of a row", page.name);
        }
    }
}

#[test]
fn every_link_of_the_pages_leads_somewhere() {
    let mut faults = Vec::new();
    let contributors = ["CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"].map(Page::named);
    let pages: BTreeMap<String, Page> =
        Page::all().into_iter().chain(contributors).map(|page| (page.name.clone(), page)).collect();
    for page in pages.values() {
        for (link, line) in page.links() {
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if path.is_empty() { page.name.clone() } else { page.beside(path) };
            if !Path::new(ROOT).join(&target).exists() {
                faults.push(format!("{}:{line}: {link}: no such file", page.name));
            } else if !anchor.is_empty()
                && !pages
                    .get(&target)
                    .is_some_and(|target| target.anchors().iter().any(|known| known == anchor))
            {
                faults.push(format!("{}:{line}: {link}: no such heading", page.name));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_summary_lists_every_page_once() {
    let summary = std::fs::read_to_string(Path::new(ROOT).join("docs/SUMMARY.md")).unwrap();
    for page in Page::all().iter().filter(|page| page.name != "README.md" && page.name != "README.zh-CN.md") {
        let name = page.name.strip_prefix("docs/").unwrap();
        assert_eq!(summary.matches(&format!("({name})")).count(), 1, "{name} in docs/SUMMARY.md");
    }
}

#[test]
fn the_definitions_are_the_programs() {
    let page = Page::named("docs/numbers.md");
    let help = program(&["run".into(), "--help".into()], Path::new(".")).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for (word, meaning) in DEFINITIONS {
        assert!(
            page.text.contains(&format!("| {word} | {meaning} |")),
            "{} defines `{word}` otherwise",
            page.name
        );
        assert!(flat(&help).contains(&flat(meaning)), "--help defines `{word}` otherwise");
    }
}

#[test]
fn the_page_of_the_result_has_every_key() {
    let page = Page::named("docs/json.md");
    let folder = Folder::with_fixtures();
    let text = std::fs::read_to_string(folder.path().join("results/last.json")).unwrap();
    let result: serde_json::Value = serde_json::from_str(&text).unwrap();
    let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let lacks = |keys: Vec<String>| -> Vec<String> {
        keys.into_iter().filter(|key| !page.text.contains(&format!("`{key}`"))).collect()
    };
    assert_eq!(lacks(keys(&result)), Vec::<String>::new(), "keys of the result that {} lacks", page.name);
    assert_eq!(lacks(keys(&result["servegauge"])), Vec::<String>::new(), "keys under servegauge");
    assert_eq!(lacks(keys(&result["servegauge"]["metrics"])), Vec::<String>::new(), "keys of metrics");
}

#[test]
fn the_table_of_checks_has_every_check_of_a_run() {
    let page = Page::named("docs/numbers.md").text.to_lowercase();
    let folder = Folder::with_fixtures();
    let text = std::fs::read_to_string(folder.path().join("results/last.json")).unwrap();
    let result: serde_json::Value = serde_json::from_str(&text).unwrap();
    let checks = result["servegauge"]["validity"]["checks"].as_array().unwrap();
    assert!(checks.len() >= 16, "{} checks", checks.len());
    for check in checks {
        let name = check["name"].as_str().unwrap().replace('_', " ");
        assert!(page.contains(&format!("\n| {name} |")), "docs/numbers.md lacks the check `{name}`");
    }
}

#[test]
fn the_librarys_example_is_the_one_that_is_tested() {
    let tested = include_str!("../../src/lib.rs");
    for block in Page::named("docs/library.md").blocks().filter(|block| block.language == "rust") {
        for line in block.text.lines().filter(|line| !line.is_empty()) {
            assert!(tested.contains(&format!("//! {line}\n")), "src/lib.rs does not have: {line}");
        }
    }
}
