//! A search's result, and its outputs.

use std::io::Write as _;

use super::SearchArgs;
use crate::analysis::search::{Search, SearchAnswer, SearchEnd};
use crate::cli::exit::{CliError, ExitReason, print_stderr};
use crate::cli::html_page;
use crate::cli::setting_flags::with_flags;
use crate::cli::stdout::print;
use crate::model::run::file;
use crate::model::secrets;
use crate::report::search::SearchReport;

/// A search that has ended.
pub(crate) struct Found {
    /// The question and the trials.
    pub search: Search,
    /// The answer.
    pub answer: SearchAnswer,
    /// Whether INVALID trials are accepted.
    pub allow_invalid: bool,
}

impl Found {
    /// Saves and prints the answer.
    pub(crate) fn deliver(&self, args: &SearchArgs, typed: Vec<String>) -> Result<ExitReason, CliError> {
        let command = secrets::mask_args(&typed);
        let report = self.report(&command);
        let saved =
            args.result_file().map(|path| (path, file::write(path, with_flags(&report.json()).as_bytes())));
        let printed = print(|out| match args.json.is_wanted() {
            true => writeln!(out, "{}", report.json()),
            false => report.render(out),
        });
        if let Some((path, outcome)) = saved {
            outcome.map_err(CliError::io)?;
            print_stderr(format_args!("saved {}", path.display()));
        }
        if let Some(page) = &args.html {
            html_page::write_search(page, &report)?;
            print_stderr(format_args!("saved {}", page.display()));
        }
        printed?;
        if let Some(why) = self.why_nothing() {
            print_stderr(format_args!("error: {why}"));
        }
        Ok(self.exit())
    }

    /// Returns the report for the text and JSON renderers, with the command line that produced it.
    pub(crate) fn report<'a>(&'a self, command: &'a [String]) -> SearchReport<'a> {
        SearchReport { search: &self.search, answer: &self.answer, command }
    }

    /// Whether the user interrupted the search.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.answer.end == SearchEnd::Interrupted
    }

    /// Returns why the search has no answer; `None` if it has one.
    pub(crate) fn why_nothing(&self) -> Option<&'static str> {
        let unanswered =
            self.search.trials().iter().all(|trial| trial.service.requests == trial.service.failed);
        (unanswered && !self.is_interrupted()).then_some("no request of any trial was answered")
    }

    /// Returns the exit code of the search.
    pub(crate) fn exit(&self) -> ExitReason {
        if self.is_interrupted() {
            ExitReason::Interrupted
        } else if self.why_nothing().is_some() {
            ExitReason::Failed
        } else if self.answer.doubtful > 0 && !self.allow_invalid {
            ExitReason::Invalid
        } else {
            ExitReason::Success
        }
    }
}

/// Checks that the answer can be saved, before anything is sent.
pub(super) fn probe(args: &SearchArgs) -> Result<(), CliError> {
    let mut files = args.result_file().into_iter().chain(args.html.as_deref());
    files.try_for_each(|path| file::check_writable(path).map_err(CliError::usage))
}
