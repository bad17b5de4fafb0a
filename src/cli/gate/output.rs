//! Where the outcome of a gate goes.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::args::OutputArgs;
use crate::cli::exit::{Halt, say};
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

    /// Writes everything. The files come before what is printed, so that nothing that is said of them is untrue.
    pub fn write(&self, ruling: &Ruling) -> Result<(), Halt> {
        if let Some(path) = &self.junit {
            let mut xml = Vec::new();
            junit::render(ruling, &mut xml).map_err(Halt::failed)?;
            file::write(path, &xml).map_err(Halt::failed)?;
        }
        let json = serde_json::to_string_pretty(ruling).expect("a ruling has only string keys");
        if let Some(Json::File(path)) = &self.json {
            file::write(path, json.as_bytes()).map_err(Halt::failed)?;
        }
        if let Some(path) = &self.summary {
            summarise(ruling, path)
                .map_err(|error| Halt::failed(format!("cannot write {}: {error}", path.display())))?;
        }
        if !matches!(self.json, Some(Json::Stdout)) {
            return self.print(ruling, &mut io::stdout().lock());
        }
        self.print(ruling, &mut io::stderr().lock())?;
        writeln!(io::stdout(), "{json}").map_err(unwritable)
    }

    fn print(&self, ruling: &Ruling, to: &mut impl Write) -> Result<(), Halt> {
        let write = |to: &mut _| {
            gate::render(ruling, to)?;
            if self.annotate { github::annotations(ruling, to) } else { Ok(()) }
        };
        write(to).and_then(|()| to.flush()).map_err(unwritable)
    }
}

/// GitHub's file has what other steps wrote.
fn summarise(ruling: &Ruling, path: &Path) -> io::Result<()> {
    let mut text = Vec::new();
    markdown::render(ruling, &mut text)?;
    File::options().create(true).append(true).open(path)?.write_all(&text)
}

fn unwritable(error: io::Error) -> Halt {
    Halt::failed(format!("cannot write the outcome: {error}"))
}
