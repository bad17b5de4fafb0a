//! From the Run to wherever it was asked to go.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Zoned;

use super::args::{OutputArgs, ReportStyle};
use super::measure::Details;
use super::record_log::LogFile;
use crate::cli::exit::{Halt, say, say_lines};
use crate::cli::stdout::print;
use crate::core::record::Record;
use crate::core::run::{Run, file, file_name, pytorch};
use crate::core::spec::Spec;
use crate::drive::client::stopwatch::KeepGaps;
use crate::report::plot::{lengths, timeline};
use crate::report::{repeats, text, vllm};

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

    /// Of a run that is put together from its record log: saved beside that, unless the flags say where.
    pub fn recovered(args: &OutputArgs, log: &Path) -> Result<Self, Halt> {
        let delivery = Self::of(args)?;
        if delivery.result != Destination::Nowhere {
            return Ok(delivery);
        }
        let name = Some(log.with_extension("json"));
        let delivery =
            Self { result: Destination::File { append: false }, folder: PathBuf::new(), name, ..delivery };
        delivery.probe()?;
        Ok(delivery)
    }

    /// Where the record log of a run goes: beside a result that is saved, unless the flags say where.
    pub fn record_log(&self, args: &OutputArgs, spec: &Spec) -> Result<Option<LogFile>, Halt> {
        if let Some(path) = &args.record_log {
            return LogFile::asked_for(path.clone()).map(Some);
        }
        if !matches!(self.result, Destination::File { .. }) {
            return Ok(None);
        }
        let name =
            self.name.clone().unwrap_or_else(|| file_name(spec, args.label.as_deref(), &Zoned::now()).into());
        Ok(Some(LogFile::beside(&self.folder.join(name))))
    }

    /// What the requests must keep for it.
    pub fn keep(&self) -> Details {
        let timeline = self.plots.iter().any(|plot| matches!(plot, Plot::Timeline(_)));
        Details {
            text: self.detailed,
            gaps: if self.detailed || timeline { KeepGaps::Always } else { KeepGaps::Never },
        }
    }

    /// Writes the files, then prints the report. Takes the Records, and gives them to the Run if they are to be saved.
    pub fn deliver(&self, run: &mut Run, records: Vec<Record>) -> Result<(), Halt> {
        let path = self.path(run);
        self.deliver_to(&path, run, records)
    }

    /// The same of one of several runs, counted from 1: its files say which.
    pub fn deliver_one_of(&self, number: usize, run: &mut Run, records: Vec<Record>) -> Result<(), Halt> {
        let path = self.path(run);
        // Lines of one file need no names.
        let path = match self.result {
            Destination::File { append: true } => path,
            _ => numbered(&path, number),
        };
        self.deliver_to(&path, run, records)
    }

    /// Prints how much several runs differ.
    pub fn sum_up(&self, runs: &[Run]) -> Result<(), Halt> {
        match self.result {
            Destination::Stdout => {
                say_lines(|out| repeats::render(runs, out));
                Ok(())
            }
            _ => print(|out| repeats::render(runs, out)),
        }
    }

    fn path(&self, run: &Run) -> PathBuf {
        self.folder.join(self.name.clone().unwrap_or_else(|| run.file_name().into()))
    }

    fn deliver_to(&self, path: &Path, run: &mut Run, records: Vec<Record>) -> Result<(), Halt> {
        let drawn = self.plots.iter().map(|plot| plot.draw(run, &records)).collect::<io::Result<Vec<_>>>();
        run.records = self.detailed.then_some(records);
        let mut saved = Vec::new();
        let kept = self.save(run, path, &mut saved);
        let plotted = drawn.map_err(Halt::io).and_then(|pictures| {
            self.plots.iter().zip(pictures).try_for_each(|(plot, picture)| {
                write(path.with_extension(plot.extension()), &picture, &mut saved)
            })
        });
        let printed = self.print(run);
        saved.iter().for_each(|path| say(format_args!("saved {}", path.display())));
        kept.and(plotted).and(printed)
    }

    fn probe(&self) -> Result<(), Halt> {
        let files = matches!(self.result, Destination::File { .. }) || !self.plots.is_empty();
        let path = self.folder.join(self.name.as_deref().unwrap_or(Path::new("result.json")));
        let replaces = matches!(self.result, Destination::File { append: false }) && self.name.is_some();
        if replaces && path.exists() {
            say(format_args!("note: {} exists; this run will replace it", path.display()));
        }
        if files { file::probe(&path).map_err(Halt::usage) } else { Ok(()) }
    }

    /// The report on stdout; where that is for the JSON, the report on stderr and the JSON on stdout.
    fn print(&self, run: &Run) -> Result<(), Halt> {
        if self.result != Destination::Stdout {
            return print(|out| self.render(run, out));
        }
        say_lines(|out| self.render(run, out));
        print(|out| {
            let mut out = BufWriter::new(out);
            run.write(&mut out)?;
            writeln!(out)?;
            out.flush()
        })
    }

    fn render(&self, run: &Run, to: &mut impl Write) -> io::Result<()> {
        match self.report {
            ReportStyle::Servebench => text::render(run, to),
            ReportStyle::Vllm => {
                vllm::render(run, to)?;
                to.flush()?;
                say_lines(|out| vllm::aside(run, out));
                Ok(())
            }
        }
    }

    /// Writes the result's files, and notes which.
    fn save(&self, run: &Run, path: &Path, saved: &mut Vec<PathBuf>) -> Result<(), Halt> {
        match self.result {
            Destination::Nowhere | Destination::Stdout => return Ok(()),
            Destination::File { append: true } => run.append(path).map_err(Halt::io)?,
            Destination::File { append: false } => run.save(path).map_err(Halt::io)?,
        }
        saved.push(path.to_owned());
        if self.pytorch {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let records = pytorch::records(run, &name).to_string();
            write(path.with_extension("pytorch.json"), records.as_bytes(), saved)?;
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

/// `last.json` as `last-r2.json`.
pub(super) fn numbered(path: &Path, number: usize) -> PathBuf {
    let part = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let name = match path.extension() {
        Some(extension) => format!("{}-r{number}.{}", part(path.file_stem()), extension.to_string_lossy()),
        None => format!("{}-r{number}", part(path.file_name())),
    };
    path.with_file_name(name)
}

fn write(path: PathBuf, content: &[u8], saved: &mut Vec<PathBuf>) -> Result<(), Halt> {
    file::write(&path, content).map_err(Halt::io)?;
    saved.push(path);
    Ok(())
}
