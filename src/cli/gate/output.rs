//! Where the outcome of a gate goes.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::args::OutputArgs;
use crate::cli::exit::{Halt, say, say_lines};
use crate::cli::stdout::print;
use crate::core::run::file;
use crate::judge::gate::Ruling;
use crate::report::gate::{self, github, junit, markdown};

/// GitHub's: the file that is shown as the job's summary.
const SUMMARY: &str = "GITHUB_STEP_SUMMARY";

/// GitHub's: set in every workflow.
const ACTIONS: &str = "GITHUB_ACTIONS";

/// The places. That files can be written there is found out before anything is measured.
pub struct Output {
    junit: Option<PathBuf>,
    json: Option<Json>,
    /// Annotate.
    annotate: bool,
    summary: Option<PathBuf>,
}

enum Json {
    Stdout,
    File(PathBuf),
}

impl Output {
    /// What the flags and GitHub's variables say.
    pub fn of(args: &OutputArgs) -> Result<Self, Halt> {
        let variable = |name| std::env::var_os(name).filter(|value| args.github && !value.is_empty());
        let output = Self {
            junit: args.junit.clone(),
            json: args.json.as_ref().map(|path| match path.as_os_str() == "-" {
                true => Json::Stdout,
                false => Json::File(path.clone()),
            }),
            annotate: variable(ACTIONS).is_some(),
            summary: variable(SUMMARY).map(PathBuf::from),
        };
        if args.github && !output.annotate && output.summary.is_none() {
            say(format_args!("note: --github has no effect here: neither {ACTIONS} nor {SUMMARY} is set"));
        }
        let json = output.json.iter().filter_map(|json| match json {
            Json::File(path) => Some(path),
            Json::Stdout => None,
        });
        output.junit.iter().chain(json).try_for_each(|path| file::probe(path)).map_err(Halt::usage)?;
        if let Some(folder) = &args.save {
            file::probe(&folder.join("run.json")).map_err(Halt::usage)?;
        }
        Ok(output)
    }

    /// Writes the files. One that cannot be written does not keep the others from it; the first error is returned.
    pub fn save(&self, ruling: &Ruling) -> Result<(), Halt> {
        let junit = self.junit.iter().map(|path| {
            let mut xml = Vec::new();
            junit::render(ruling, &mut xml).map_err(Halt::io)?;
            file::write(path, &xml).map_err(Halt::io)
        });
        let json = self.json.iter().map(|json| match json {
            Json::File(path) => file::write(path, json_text(ruling).as_bytes()).map_err(Halt::io),
            Json::Stdout => Ok(()),
        });
        let summary = self.summary.iter().map(|path| {
            summarise(ruling, path)
                .map_err(|error| Halt::io(format_args!("cannot write {}: {error}", path.display())))
        });
        junit.chain(json).chain(summary).fold(Ok(()), Result::and)
    }

    /// Prints the outcome.
    pub fn print(&self, ruling: &Ruling) -> Result<(), Halt> {
        if !matches!(self.json, Some(Json::Stdout)) {
            return print(|out| self.render(ruling, out));
        }
        say_lines(|out| self.render(ruling, out));
        print(|out| writeln!(out, "{}", json_text(ruling)))
    }

    fn render(&self, ruling: &Ruling, out: &mut impl Write) -> io::Result<()> {
        gate::render(ruling, out)?;
        if self.annotate { github::annotations(ruling, out) } else { Ok(()) }
    }
}

fn json_text(ruling: &Ruling) -> String {
    serde_json::to_string_pretty(ruling).expect("a ruling has only string keys")
}

/// GitHub's file has what other steps wrote.
fn summarise(ruling: &Ruling, path: &Path) -> io::Result<()> {
    let mut text = Vec::new();
    markdown::render(ruling, &mut text)?;
    File::options().create(true).append(true).open(path)?.write_all(&text)
}
