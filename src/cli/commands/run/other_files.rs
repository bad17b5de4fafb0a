//! The files of a run besides its result: `--html` and `--save-records`.

use std::path::{Path, PathBuf};

use super::part_destination::PartDestination;
use crate::cli::args::{OutputArgs, RecordsPlace};
use crate::cli::exit::CliError;
use crate::cli::{html_page, records_file};
use crate::model::run::{Run, file};
use crate::model::run_records::RunRecords;

/// The files that show every request, whether the result has them or not.
#[derive(Clone)]
pub(super) struct OtherFiles {
    /// The page with charts.
    pub html: Option<PathBuf>,
    /// The requests as Parquet.
    pub records: Option<PathBuf>,
    /// The folder or bucket of the files of requests that are written while the run goes on.
    pub parts: Option<PartDestination>,
}

impl OtherFiles {
    /// Reads the output flags.
    pub(super) fn new(args: &OutputArgs) -> Result<Self, CliError> {
        let records = match &args.save_records {
            Some(RecordsPlace::File(file)) => Some(file.clone()),
            _ => None,
        };
        Ok(Self { html: args.html.clone(), records, parts: PartDestination::open(args)? })
    }

    /// Checks that the files can be written.
    pub(super) fn probe(&self) -> Result<(), CliError> {
        let mut files = self.html.iter().chain(&self.records);
        files.try_for_each(|path| file::check_writable(path).map_err(CliError::io))?;
        self.parts.as_ref().map_or(Ok(()), PartDestination::check)
    }

    /// The path beside which the record log of a run is that saves nothing else.
    pub(super) fn beside(&self) -> Option<&Path> {
        let folder = || self.parts.as_ref().and_then(PartDestination::folder);
        self.records.as_deref().or_else(folder).filter(|path| path.file_name().is_some())
    }

    /// The files of one of several runs.
    pub(super) fn rename(&self, rename: impl Fn(&Path) -> PathBuf) -> Self {
        Self {
            html: self.html.as_deref().map(&rename),
            records: self.records.as_deref().map(&rename),
            parts: self.parts.clone(),
        }
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
