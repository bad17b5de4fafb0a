//! The fixtures of other tools' results.

use std::path::{Path, PathBuf};

use crate::model::stated::{self, StatedResult};

/// The path of a fixture.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/foreign").join(name)
}

/// The only result in a fixture, or the last of several.
pub(crate) fn result(name: &str) -> StatedResult {
    stated::read(&fixture(name)).unwrap().pop().unwrap()
}
