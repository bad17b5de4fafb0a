//! Writes the page of saved runs: `--html`.

use std::io;
use std::path::Path;

use crate::cli::exit::CliError;
use crate::cli::setting_flags::with_flags;
use crate::model::run::{Run, file};
use crate::report::html;

/// The most runs of a page, which stays below a megabyte.
pub(super) const MAX_RUNS: usize = 100;

/// Writes the page of these runs, each with its name, completely or not at all.
pub(super) fn write(path: &Path, runs: &[(&str, &Run)]) -> Result<(), CliError> {
    save(path, |page| match runs {
        [(_, run)] => html::render(run, page),
        _ => html::render_several(runs, page),
    })
}

fn save(path: &Path, render: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> Result<(), CliError> {
    let mut page = Vec::new();
    render(&mut page)
        .map_err(|error| CliError::io(format_args!("cannot write {}: {error}", path.display())))?;
    // The failures' texts come from the library.
    let page = with_flags(&String::from_utf8_lossy(&page));
    file::write(path, page.as_bytes()).map_err(CliError::io)
}
