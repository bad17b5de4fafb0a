//! What an installation has besides the program: manual pages, completions, and `install.sh`.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use sha2::{Digest, Sha256};

use crate::support::Program;

const INSTALL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/install.sh");

/// The names in the list of commands of `--help`.
fn commands() -> Vec<String> {
    let help = Program::new("--help").end().well().stdout;
    let list = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let names = list.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names.filter(|name| !name.is_empty() && *name != "help").map(ToOwned::to_owned).collect()
}

#[test]
fn every_shell_completes_every_command() {
    let commands = commands();
    assert!(commands.len() > 15, "{commands:?}");
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = Program::new("completions").arg(shell).end().well().stdout;
        for name in commands.iter().map(String::as_str).chain(["request-rate"]) {
            assert!(script.contains(name), "{shell} does not know {name}");
        }
    }
    let unknown = Program::new("completions tcsh").end().with_code(2);
    assert!(unknown.stderr.contains("bash, elvish, fish, powershell, zsh"), "{}", unknown.stderr);
}

#[test]
fn every_command_has_a_manual_page_with_its_flags() {
    let ended = Program::new("man --dir pages/man1").end().well();
    let pages = ended.files("pages/man1");
    for name in commands() {
        assert!(pages.contains(&format!("servegauge-{name}.1")), "{name}: {pages:?}");
    }
    let run = ended.read("pages/man1/servegauge-run.1");
    assert!(run.contains(r"\-\-request\-rate") && run.starts_with(".ie"), "{run}");
    assert_eq!(Program::new("man run").end().well().stdout, run);
    let below = Program::new("man dataset stats").end().well().stdout;
    assert!(below.contains(".TH servegauge-dataset-stats 1"), "{below}");

    let unknown = Program::new("man dataset nope").end().with_code(2);
    assert!(
        unknown.stderr.contains("`dataset` has no command `nope`; its commands: stats"),
        "{}",
        unknown.stderr
    );
}

/// A folder as a release has it: an archive for every kind of machine, and SHA256SUMS. The program in it is a script.
fn release(folder: &Path) {
    let mut sums = String::new();
    for target in [
        "x86_64-unknown-linux-gnu",
        "aarch64-unknown-linux-gnu",
        "x86_64-apple-darwin",
        "aarch64-apple-darwin",
    ] {
        let name = format!("servegauge-9.9.9-{target}");
        let inner = folder.join(&name);
        fs::create_dir(&inner).unwrap();
        fs::write(inner.join("servegauge"), format!("#!/bin/sh\necho servegauge 9.9.9 for {target}\n"))
            .unwrap();
        let archive = format!("{name}.tar.gz");
        let mut pack = Command::new("tar");
        assert!(pack.current_dir(folder).args(["-czf", &archive, &name]).status().unwrap().success());
        let digest = Sha256::digest(fs::read(folder.join(&archive)).unwrap());
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        sums += &format!("{digest}  {archive}\n");
    }
    fs::write(folder.join("SHA256SUMS"), sums).unwrap();
}

fn install(release: &Path, into: &Path) -> Output {
    let mut command = Command::new("sh");
    command.arg(INSTALL).env("INSTALL_URL", format!("file://{}", release.display()));
    command.env("INSTALL_DIR", into).output().unwrap()
}

#[test]
fn install_sh_installs_the_archive_of_this_machine_and_refuses_a_damaged_one() {
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("SKIPPED: install.sh needs curl to read a folder");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (source, into) = (folder.path().join("release"), folder.path().join("bin"));
    fs::create_dir(&source).unwrap();
    release(&source);
    let installed = install(&source, &into);
    let printed = String::from_utf8_lossy(&installed.stdout).into_owned();
    assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
    assert!(
        printed.starts_with("servegauge 9.9.9 for ") && printed.contains(std::env::consts::ARCH),
        "{printed}"
    );
    assert!(into.join("servegauge").exists());

    for archive in fs::read_dir(&source).unwrap().map(|entry| entry.unwrap().path()) {
        if archive.extension().is_some_and(|extension| extension == "gz") {
            fs::write(archive, "another content").unwrap();
        }
    }
    let into = folder.path().join("other");
    let refused = install(&source, &into);
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && why.contains("is damaged: its SHA-256 is"), "{why}");
    assert!(!into.exists());

    let refused = install(folder.path(), &into);
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && why.contains("install.sh: cannot read file://"), "{why}");
}
