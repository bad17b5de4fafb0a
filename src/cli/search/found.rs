//! What a search found, and where that goes.

use std::io::Write as _;

use super::SearchArgs;
use crate::cli::exit::{Exit, Halt, say};
use crate::cli::run::redact;
use crate::cli::stdout::print;
use crate::core::run::file;
use crate::judge::search::{Answer, End, Search};
use crate::report::search::Report;

/// A search that has ended.
pub struct Found {
    /// The question and the trials.
    pub search: Search,
    /// The answer.
    pub answer: Answer,
    /// Whether trials that are not to be believed are let pass.
    pub allow_invalid: bool,
}

impl Found {
    /// Saves and prints the answer.
    pub fn deliver(&self, args: &SearchArgs, typed: Vec<String>) -> Result<Exit, Halt> {
        let command = redact::secrets(typed);
        let report = self.report(&command);
        let saved = args.result_file().map(|path| (path, file::write(path, report.json().as_bytes())));
        let printed = print(|out| match args.json {
            true => writeln!(out, "{}", report.json()),
            false => report.render(out),
        });
        if let Some((path, outcome)) = saved {
            outcome.map_err(Halt::io)?;
            say(format_args!("saved {}", path.display()));
        }
        printed?;
        if let Some(why) = self.why_nothing() {
            say(format_args!("error: {why}"));
        }
        Ok(self.exit())
    }

    /// For people and for machines, with the command line that it is from.
    pub fn report<'a>(&'a self, command: &'a [String]) -> Report<'a> {
        Report { search: &self.search, answer: &self.answer, command }
    }

    /// Whether the user ended it.
    pub fn is_interrupted(&self) -> bool {
        self.answer.end == End::Interrupted
    }

    /// Why it found nothing at all, if it did not.
    pub fn why_nothing(&self) -> Option<&'static str> {
        let unanswered =
            self.search.trials().iter().all(|trial| trial.service.requests == trial.service.failed);
        (unanswered && !self.is_interrupted()).then_some("not one request of any trial was answered")
    }

    fn exit(&self) -> Exit {
        if self.is_interrupted() {
            Exit::Interrupted
        } else if self.why_nothing().is_some() {
            Exit::Failed
        } else if self.answer.doubtful > 0 && !self.allow_invalid {
            Exit::Invalid
        } else {
            Exit::Fine
        }
    }
}

/// Finds out whether the answer can be saved, before anything is sent.
pub fn probe(args: &SearchArgs) -> Result<(), Halt> {
    args.result_file().map_or(Ok(()), |path| file::probe(path).map_err(Halt::usage))
}
