//! The workflows, the scripts and the contributor pages agree with each other.

use std::fs;
use std::path::{Path, PathBuf};

const CARGO: &str = include_str!("../../Cargo.toml");
const CI: &str = include_str!("../../.ci/run");
const CONTRIBUTING: &str = include_str!("../../CONTRIBUTING.md");
const README: &str = include_str!("../../README.md");
const HONESTY: &str = include_str!("../../docs/honesty.md");
const NIGHTLY: &str = include_str!("../../scripts/nightly.sh");
const WORKFLOW: &str = include_str!("../../.github/workflows/ci.yml");
const RELEASE_WORKFLOW: &str = include_str!("../../.github/workflows/release.yml");
const NIGHTLY_WORKFLOW: &str = include_str!("../../.github/workflows/nightly.yml");

/// The words between two marks.
fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(start).unwrap_or_else(|| panic!("`{start}` is not there"));
    rest.split(end).next().unwrap()
}

#[test]
fn the_nightly_workflow_runs_every_study_of_the_script() {
    let mut names: Vec<&str> = studies().iter().map(|[name, ..]| *name).collect();
    names.push("gateways");
    let matrix: Vec<&str> = between(NIGHTLY_WORKFLOW, "study: [", "]").split(',').map(str::trim).collect();
    assert_eq!(matrix, names);
}

#[test]
fn the_script_runs_every_study_that_the_suite_leaves_out() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let paths: Vec<&str> = studies().iter().map(|[_, _, path, _]| *path).collect();
    let listed = |module: &str| paths.contains(&module);
    let mut files: Vec<(PathBuf, String)> = vec![(root.join("tests/it/search.rs"), "search::".into())];
    for file in fs::read_dir(root.join("src/testing/studies")).unwrap() {
        let path = file.unwrap().path();
        let module = format!("testing::studies::{}::", path.file_stem().unwrap().to_str().unwrap());
        files.push((path, module));
    }
    assert_eq!(files.len(), paths.len());
    for (path, module) in files {
        let leaves_out = fs::read_to_string(&path).unwrap().contains("#[ignore = ");
        assert!(leaves_out && listed(&module), "{}: {module}", path.display());
    }
}

/// The page of results has a section of each study, with its bound, and either its last output or that there is none.
#[test]
fn the_page_of_results_has_each_study_with_its_bound_date_and_commit() {
    for [name, _, _, bound] in studies() {
        let section = between(HONESTY, &format!("\n## {name}\n\n"), "\n## ");
        let rest = section.strip_prefix(&format!("Bound: {bound}.\n\n"));
        let rest = rest.unwrap_or_else(|| panic!("{name}: not the script's bound: {section}"));
        let Some(last) = rest.strip_prefix("Last run: ") else {
            assert!(rest.starts_with("Not run yet."), "{name}: {rest}");
            continue;
        };
        let (line, output) = last.split_once("\n\n```text\n").unwrap_or_else(|| panic!("{name}: {last}"));
        let (date, commit) = line.split_once(", commit ").unwrap();
        assert!(date.parse::<jiff::civil::Date>().is_ok() && commit.contains("The bound was **"), "{line}");
        assert!(output.contains("test result: "), "{name}: {output}");
    }
}

/// Name, test binary, path and bound of each study of the script.
fn studies() -> Vec<[&'static str; 4]> {
    let study = |line: &'static str| {
        let cells: Vec<&str> = line.trim().trim_matches('"').split('|').map(str::trim).collect();
        cells.try_into().unwrap()
    };
    between(NIGHTLY, "studies=(\n", "\n)").lines().map(study).collect()
}

#[test]
fn the_workflow_runs_every_step_of_ci_run() {
    let steps = between(CI, "|| set -- ", "\n").split(' ');
    let commands: Vec<&str> =
        WORKFLOW.lines().filter_map(|line| line.trim().strip_prefix("- run: .ci/run ")).collect();
    let run: Vec<&str> = commands.iter().flat_map(|command| command.split(' ')).collect();
    for step in steps {
        assert!(run.contains(&step), "no job runs `.ci/run {step}`");
    }
}

#[test]
fn the_pages_name_the_minimum_rust_version() {
    let version = between(CARGO, "rust-version = \"", "\"");
    for page in [CONTRIBUTING, README] {
        assert!(page.contains(&format!("Rust {version} or newer")), "{version}");
    }
}

#[test]
fn every_action_is_pinned_to_a_major_version() {
    for workflow in [WORKFLOW, NIGHTLY_WORKFLOW, RELEASE_WORKFLOW] {
        for action in workflow.lines().filter_map(|line| line.trim().strip_prefix("- uses: ")) {
            let version = action.split_once("@v").map(|(_, version)| version.parse::<u32>());
            assert!(matches!(version, Some(Ok(_))), "{action}");
        }
    }
}
