//! Sets `SERVEGAUGE_VERSION`: the version, the commit of an optimized build from the repository, and enabled features.
#![allow(clippy::print_stdout, reason = "Cargo reads a build script's stdout")]

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let mut details = Vec::new();
    // A commit causes a rebuild, which development builds must not cost.
    if env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        details.extend(commit());
    }
    let features = features();
    if !features.is_empty() {
        details.push(format!("features: {}", features.join(", ")));
    }
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let details = if details.is_empty() { String::new() } else { format!(" ({})", details.join("; ")) };
    println!("cargo::rustc-env=SERVEGAUGE_VERSION={version}{details}");
}

/// The commit of this package's own repository; `None` in a source archive.
fn commit() -> Option<String> {
    let package = env::var("CARGO_MANIFEST_DIR").ok()?;
    let top = git(&["rev-parse", "--show-toplevel"])?;
    if Path::new(&top).canonicalize().ok()? != Path::new(&package).canonicalize().ok()? {
        return None;
    }
    // The log of HEAD grows with every commit and checkout.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    println!("cargo::rerun-if-changed={log}");
    git(&["rev-parse", "--short=9", "HEAD"])
}

fn git(words: &[&str]) -> Option<String> {
    let output = Command::new("git").args(words).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn features() -> Vec<String> {
    let names = env::vars()
        .filter_map(|(name, _)| Some(name.strip_prefix("CARGO_FEATURE_")?.to_lowercase().replace('_', "-")));
    let mut features: Vec<String> = names.filter(|name| name != "default").collect();
    features.sort();
    features
}
