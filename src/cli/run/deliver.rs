//! From the Run to wherever it was asked to go.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::args::{OutputArgs, ReportStyle};
use super::measure::Details;
use crate::cli::exit::{Halt, say};
use crate::core::record::Record;
use crate::core::run::{Run, file, pytorch};
use crate::drive::client::stopwatch::KeepGaps;
use crate::report::plot::{lengths, timeline};
use crate::report::{text, vllm};

/// If set to anything, a result has its PyTorch form beside it. vLLM's name.
const PYTORCH: &str = "SAVE_TO_PYTORCH_BENCHMARK_FORMAT";

/// Where a Run goes. That it can go there is found out before anything is sent.
pub struct Delivery {
    report: ReportStyle,
    result: Destination,
    /// Save every request with the result.
    detailed: bool,
    pytorch: bool,
    folder: PathBuf,
    /// vLLM's name if not given.
    name: Option<PathBuf>,
    plots: Vec<Plot>,
}

/// Where the JSON goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Destination {
    Nowhere,
    /// The report then goes to stderr.
    Stdout,
    File {
        append: bool,
    },
}

/// A file beside the result, whether or not that is saved.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Plot {
    Timeline(Vec<Duration>),
    Lengths,
}

impl Delivery {
    /// What the flags say.
    pub fn of(args: &OutputArgs) -> Result<Self, Halt> {
        let name = args.result_filename.clone().filter(|name| name.as_os_str() != "-");
        let result = match &args.result_filename {
            Some(_) if name.is_none() => Destination::Stdout,
            None if !(args.save_result || args.save_detailed || args.append_result) => Destination::Nowhere,
            _ => Destination::File { append: args.append_result },
        };
        let timeline =
            args.plot_timeline.then(|| Plot::Timeline(args.timeline_itl_thresholds.0.clone())).into_iter();
        let delivery = Self {
            report: args.report,
            result,
            detailed: args.save_detailed,
            pytorch: std::env::var_os(PYTORCH).is_some_and(|value| !value.is_empty()),
            folder: args.result_dir.clone().unwrap_or_default(),
            name,
            plots: timeline.chain(args.plot_dataset_stats.then_some(Plot::Lengths)).collect(),
        };
        delivery.probe()?;
        Ok(delivery)
    }

    /// What the requests must keep for it.
    pub fn keep(&self) -> Details {
        let timeline = self.plots.iter().any(|plot| matches!(plot, Plot::Timeline(_)));
        Details {
            text: self.detailed,
            gaps: if self.detailed || timeline { KeepGaps::Always } else { KeepGaps::Never },
        }
    }

    /// Prints the report, then writes the files. Takes the Records, and gives them to the Run if they are to be saved.
    pub fn deliver(&self, run: &mut Run, records: Vec<Record>) -> Result<(), Halt> {
        self.report(run)?;
        let path = self.folder.join(self.name.clone().unwrap_or_else(|| run.file_name().into()));
        let drawn = self.plots.iter().map(|plot| plot.draw(run, &records)).collect::<io::Result<Vec<_>>>();
        run.records = self.detailed.then_some(records);
        self.save(run, &path)?;
        for (plot, picture) in self.plots.iter().zip(drawn.map_err(Halt::failed)?) {
            write(&path.with_extension(plot.extension()), &picture)?;
        }
        Ok(())
    }

    fn probe(&self) -> Result<(), Halt> {
        let files = matches!(self.result, Destination::File { .. }) || !self.plots.is_empty();
        let path = self.folder.join(self.name.as_deref().unwrap_or(Path::new("result.json")));
        if files { file::probe(&path).map_err(Halt::usage) } else { Ok(()) }
    }

    fn report(&self, run: &Run) -> Result<(), Halt> {
        if self.result == Destination::Stdout {
            return self.render(run, &mut io::stderr().lock()).map_err(Halt::failed);
        }
        print(|to| self.render(run, to))
    }

    fn render(&self, run: &Run, to: &mut impl Write) -> io::Result<()> {
        match self.report {
            ReportStyle::Servebench => text::render(run, to),
            ReportStyle::Vllm => {
                vllm::render(run, to)?;
                to.flush()?;
                vllm::aside(run, &mut io::stderr())
            }
        }
    }

    fn save(&self, run: &Run, path: &Path) -> Result<(), Halt> {
        match self.result {
            Destination::Nowhere => return Ok(()),
            Destination::Stdout => return print(|to| writeln!(to, "{}", run.to_json())),
            Destination::File { append: true } => run.append(path).map_err(Halt::failed)?,
            Destination::File { append: false } => run.save(path).map_err(Halt::failed)?,
        }
        say(format_args!("saved {}", path.display()));
        if self.pytorch {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            write(&path.with_extension("pytorch.json"), pytorch::records(run, &name).to_string().as_bytes())?;
        }
        Ok(())
    }
}

impl Plot {
    /// In place of the result's `json`.
    fn extension(&self) -> &'static str {
        match self {
            Self::Timeline(_) => "timeline.html",
            Self::Lengths => "dataset_stats.svg",
        }
    }

    fn draw(&self, run: &Run, records: &[Record]) -> io::Result<Vec<u8>> {
        let mut picture = Vec::new();
        match self {
            Self::Timeline(thresholds) => timeline::render(run, records, thresholds, &mut picture)?,
            Self::Lengths => lengths::render(records, &mut picture)?,
        }
        Ok(picture)
    }
}

fn write(path: &Path, content: &[u8]) -> Result<(), Halt> {
    file::write(path, content).map_err(Halt::failed)?;
    say(format_args!("saved {}", path.display()));
    Ok(())
}

fn print(render: impl FnOnce(&mut io::StdoutLock<'_>) -> io::Result<()>) -> Result<(), Halt> {
    let mut stdout = io::stdout().lock();
    render(&mut stdout)
        .and_then(|()| stdout.flush())
        .map_err(|error| Halt::failed(format!("cannot write to stdout: {error}")))
}
