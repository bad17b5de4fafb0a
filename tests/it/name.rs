//! The program had another name until version 0.1. These tests check what remains of the old name.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::Program;

/// The files in which the old name may stand: the reader of old results, the fixture it is tested with, and the history.
const MAY_NAME_IT: [&str; 4] = [
    "src/model/run/json.rs",
    "src/model/stated/read.rs",
    "tests/fixtures/results/before-the-new-name.json",
    "CHANGELOG.md",
];

const OLD_NAME: &str = concat!("serve", "bench");

#[test]
fn the_old_name_is_nowhere_but_in_what_reads_old_results() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in
        [".cargo", ".ci", ".github", "benches", "datasets", "docs", "examples", "scripts", "src", "tests"]
    {
        collect_files(&root.join(folder), &mut files);
    }
    files
        .extend(fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()));
    assert!(files.len() > 300, "the files were not found");
    let name = |path: &PathBuf| path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
    let with_it: Vec<String> = files
        .iter()
        .filter(|path| {
            let text = String::from_utf8_lossy(&fs::read(path).unwrap()).to_lowercase();
            text.contains(OLD_NAME) || name(path).contains(OLD_NAME)
        })
        .map(name)
        .filter(|name| !MAY_NAME_IT.contains(&name.as_str()))
        .collect();
    assert!(with_it.is_empty(), "{with_it:?}");
}

#[test]
fn results_saved_under_the_old_name_load() {
    let old = "tests/fixtures/results/before-the-new-name.json";
    let old = Path::new(env!("CARGO_MANIFEST_DIR")).join(old);
    let ended = Program::new("compare --anyway").arg(&old).arg(&old).end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("TTFT"), "{}", ended.stdout);
}

fn collect_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        match path.file_name() {
            Some(name) if name == "__pycache__" => {}
            _ if path.is_dir() => collect_files(&path, files),
            _ => files.push(path),
        }
    }
}
