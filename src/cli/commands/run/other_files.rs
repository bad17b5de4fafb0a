//! The files of a run besides its result: `--html` and `--save-records`.

use std::path::{Path, PathBuf};

use crate::cli::exit::CliError;
use crate::cli::{html_page, records_file};
use crate::model::run::Run;
use crate::model::run_records::RunRecords;

/// The files that show every request, whether the result has them or not.
#[derive(Debug, Clone)]
pub(super) struct OtherFiles {
    /// The page with charts.
    pub html: Option<PathBuf>,
    /// The requests as Parquet.
    pub records: Option<PathBuf>,
}

impl OtherFiles {
    /// The files of one of several runs.
    pub(super) fn rename(&self, rename: impl Fn(&Path) -> PathBuf) -> Self {
        Self { html: self.html.as_deref().map(&rename), records: self.records.as_deref().map(&rename) }
    }

    /// Writes the files of a Run with these Records, and adds their paths to `saved`. Leaves the Records in the Run if
    /// they are to be saved with it.
    pub(super) fn write(
        &self,
        run: &mut Run,
        records: RunRecords,
        detailed: bool,
        saved: &mut Vec<PathBuf>,
    ) -> Result<(), CliError> {
        let recorded = self.records.as_ref().map(|file| {
            let written = records_file::write(file, run, &mut |take| records.for_each(take), detailed);
            (file, written)
        });
        run.records = Some(records.into_sample());
        let paged = self.html.as_ref().map(|page| (page, html_page::write(page, &[("", run)])));
        if !detailed {
            run.records = None;
        }
        let mut outcome = Ok(());
        for (path, written) in paged.into_iter().chain(recorded) {
            saved.extend(written.is_ok().then(|| path.clone()));
            outcome = outcome.and(written);
        }
        outcome
    }
}
