//! Writes a Run's files and report to where the flags say.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Zoned;

use super::log_ending::LogEnding;
use super::other_files::OtherFiles;
use crate::cli::advice;
use crate::cli::args::{OutputArgs, ReportStyle};
use crate::cli::exit::{CliError, print_stderr, print_stderr_lines};
use crate::cli::kept_runs::KeptRuns;
use crate::cli::stdout::{print, print_report, print_streaming};
use crate::model::record::Record;
use crate::model::run::{Run, RunError, file, file_name, pytorch};
use crate::model::run_records::RunRecords;
use crate::model::run_spec::Spec;
use crate::report::plot::{lengths, timeline};
use crate::report::{repeats, text, vllm};
use crate::runner::{LogFile, RecordDetail, numbered, suffixed};

/// vLLM's variable: if it is set, the result is also written in PyTorch's benchmark format.
const PYTORCH: &str = "SAVE_TO_PYTORCH_BENCHMARK_FORMAT";

/// The outputs of a run. Creating it checks that they can be written, before anything is sent.
pub(super) struct Delivery {
    report: ReportStyle,
    /// Whether the result goes to stdout as JSON; the report then goes to stderr.
    prints_json: bool,
    /// How the result is saved; `None` if it is not.
    saves: Option<SaveMode>,
    /// Whether to save every request with the result.
    detailed: bool,
    pytorch: bool,
    folder: PathBuf,
    /// The result's file name; vLLM's naming scheme if `None`.
    name: Option<PathBuf>,
    plots: Vec<Plot>,
    others: OtherFiles,
    kept: Option<KeptRuns>,
}

/// The files of a run.
struct WrittenFiles {
    /// The paths of the files that were written.
    saved: Vec<PathBuf>,
    /// The file of the run as the user's last one.
    kept: Option<PathBuf>,
    /// Whether all files were written.
    outcome: Result<(), CliError>,
}

impl WrittenFiles {
    /// Names the written files on stderr.
    fn announce(self) -> Result<(), CliError> {
        self.saved.iter().for_each(|path| print_stderr(format_args!("saved {}", path.display())));
        self.outcome
    }
}

/// How the result's file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SaveMode {
    Replace,
    Append,
}

/// A plot beside the result, written even if the result is not saved.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Plot {
    Timeline(Vec<Duration>),
    Lengths,
}

impl Delivery {
    /// Reads the output flags.
    pub(super) fn of(args: &OutputArgs) -> Result<Self, CliError> {
        let name = args.result_filename.clone().filter(|name| name.as_os_str() != "-");
        let is_stdout = args.result_filename.is_some() && name.is_none();
        let is_asked_for = args.save_result || args.save_detailed || args.append_result;
        let mode = if args.append_result { SaveMode::Append } else { SaveMode::Replace };
        let timeline =
            args.plot_timeline.then(|| Plot::Timeline(args.timeline_itl_thresholds.0.clone())).into_iter();
        let delivery = Self {
            report: if args.report == ReportStyle::Json { ReportStyle::Full } else { args.report },
            prints_json: is_stdout || args.json || args.report == ReportStyle::Json,
            saves: (name.is_some() || (is_asked_for && !is_stdout)).then_some(mode),
            detailed: args.save_detailed,
            pytorch: std::env::var_os(PYTORCH).is_some_and(|value| !value.is_empty()),
            folder: args.result_dir.clone().unwrap_or_default(),
            name,
            plots: timeline.chain(args.plot_dataset_stats.then_some(Plot::Lengths)).collect(),
            others: OtherFiles::new(args)?,
            kept: KeptRuns::to_write().filter(|_| !args.no_keep),
        };
        delivery.probe()?;
        Ok(delivery)
    }

    /// Returns the outputs of a run recovered from its record log. The result is saved beside that log unless the
    /// flags name another place.
    pub(super) fn recovered(args: &OutputArgs, log: &Path) -> Result<Self, CliError> {
        let delivery = Self::of(args)?;
        if delivery.saves.is_some() || delivery.prints_json {
            return Ok(delivery);
        }
        let name = Some(log.with_extension("json"));
        let delivery = Self { saves: Some(SaveMode::Replace), folder: PathBuf::new(), name, ..delivery };
        delivery.probe()?;
        Ok(delivery)
    }

    /// Returns the path of the record log: beside a saved result, unless the flags name another place.
    pub(super) fn record_log(&self, args: &OutputArgs, spec: &Spec) -> Result<Option<LogFile>, CliError> {
        if let Some(path) = &args.record_log {
            return Ok(Some(LogFile::asked_for(path.clone())?));
        }
        if self.saves.is_none() {
            return Ok(self.others.beside().map(LogFile::beside));
        }
        let name =
            self.name.clone().unwrap_or_else(|| file_name(spec, args.label.as_deref(), &Zoned::now()).into());
        Ok(Some(LogFile::beside(&self.folder.join(name))))
    }

    /// Returns what each request must record for these outputs.
    pub(super) fn keep(&self) -> RecordDetail {
        let timeline = self.plots.iter().any(|plot| matches!(plot, Plot::Timeline(_)));
        match (self.detailed, timeline) {
            (true, _) => RecordDetail { in_log: !timeline, ..RecordDetail::ALL },
            (false, true) => RecordDetail::GAPS,
            (false, false) => RecordDetail::NONE,
        }
    }

    /// Writes the files, then prints the report. Moves the Records into the Run if they are to be saved. Removes the
    /// record log once the result is saved, unless the user asked for the log.
    pub(super) fn deliver(
        &self,
        run: &mut Run,
        records: RunRecords,
        log: Option<&LogFile>,
    ) -> Result<(), CliError> {
        let path = self.path(run);
        let ending = self.log_ending(log, run, &path);
        ending.settle(self.deliver_to(&path, &self.others, run, records))
    }

    /// Writes the files of one of several runs, then prints its report. The file names contain the run's number (from
    /// 1).
    pub(super) fn deliver_one_of(
        &self,
        number: usize,
        run: &mut Run,
        records: RunRecords,
        log: Option<&LogFile>,
    ) -> Result<(), CliError> {
        let path = self.path(run);
        // Lines appended to one file need no separate file names.
        let path = match self.saves {
            Some(SaveMode::Append) => path,
            _ => numbered(&path, number),
        };
        let others = self.others.rename(|path| numbered(path, number));
        let ending = self.log_ending(log, run, &path);
        ending.settle(self.deliver_to(&path, &others, run, records))
    }

    /// Prints how much several runs differ.
    pub(super) fn sum_up(&self, runs: &[Run]) -> Result<(), CliError> {
        if !self.prints_json {
            return print_report(|out| repeats::render(runs, out), text::colored);
        }
        print_stderr_lines(|out| repeats::render(runs, out));
        Ok(())
    }

    fn log_ending<'a>(&self, log: Option<&'a LogFile>, run: &mut Run, path: &Path) -> LogEnding<'a> {
        let result = self.saves.map(|_| path);
        LogEnding::new(log, run, result, self.saves == Some(SaveMode::Append))
    }

    /// Whether the result is saved.
    pub(super) fn saves(&self) -> bool {
        self.saves.is_some()
    }

    fn path(&self, run: &Run) -> PathBuf {
        self.folder.join(self.name.clone().unwrap_or_else(|| run.file_name().into()))
    }

    /// Writes the files of a step of a ladder. Their names end with the suffix, unless they already differ by the load
    /// or are lines of one file. Returns the path of the result, if it is saved.
    pub(super) fn deliver_step(
        &self,
        suffix: &str,
        run: &mut Run,
        records: RunRecords,
        log: Option<&LogFile>,
    ) -> Result<Option<PathBuf>, CliError> {
        let path = self.step_path(suffix, run);
        // The page of a ladder shows all steps.
        let others = OtherFiles { html: None, ..self.others.rename(|path| suffixed(path, suffix)) };
        let ending = self.log_ending(log, run, &path);
        let written = self.write_files(&path, &others, run, records);
        ending.settle(written.announce())?;
        Ok(self.saves.map(|_| path))
    }

    /// Returns the path of a step's result.
    fn step_path(&self, suffix: &str, run: &Run) -> PathBuf {
        let path = self.path(run);
        let differs = self.name.is_none() || self.saves == Some(SaveMode::Append);
        if differs { path } else { suffixed(&path, suffix) }
    }

    /// Returns the path of the index of a ladder whose first result is at `first`; `None` if it is not to be saved.
    /// Lines of one file need no index.
    pub(super) fn index_path(&self, first: &Path) -> Option<PathBuf> {
        let path = match &self.name {
            Some(name) => self.folder.join(name),
            None => first.to_owned(),
        };
        (self.saves == Some(SaveMode::Replace)).then(|| path.with_extension("ladder.json"))
    }

    /// The file of the page with charts.
    pub(super) fn html(&self) -> Option<&Path> {
        self.others.html.as_deref()
    }

    /// Whether the result goes to stdout as JSON.
    pub(super) fn prints_json(&self) -> bool {
        self.prints_json
    }

    /// Whether each run is kept as the user's last one.
    pub(super) fn keeps_runs(&self) -> bool {
        self.kept.is_some()
    }

    fn deliver_to(
        &self,
        path: &Path,
        others: &OtherFiles,
        run: &mut Run,
        records: RunRecords,
    ) -> Result<(), CliError> {
        let mut written = self.write_files(path, others, run, records);
        let printed = self.print(run);
        let kept = written.kept.take();
        let announced = written.announce();
        if let (Some(kept), None, false) = (kept, self.saves, self.prints_json) {
            print_stderr(format_args!("kept as `last`: {}", kept.display()));
        }
        announced.and(printed)
    }

    /// Writes the files of a run. Moves the Records into the Run if they are to be saved.
    fn write_files(
        &self,
        path: &Path,
        others: &OtherFiles,
        run: &mut Run,
        records: RunRecords,
    ) -> WrittenFiles {
        advice::add_to_failures(run);
        let drawn = self.plots.iter().map(|plot| plot.draw(run, records.sample()));
        let drawn = drawn.collect::<io::Result<Vec<_>>>();
        let (mut saved, mut shown) = (Vec::new(), Vec::new());
        let showed = others.write(run, records, self.detailed, &mut shown);
        let written = self.save(run, path, &mut saved);
        saved.append(&mut shown);
        let kept = self.keep_run(run);
        let plotted = drawn.map_err(CliError::io).and_then(|pictures| {
            self.plots.iter().zip(pictures).try_for_each(|(plot, picture)| {
                write(path.with_extension(plot.extension()), &picture, &mut saved)
            })
        });
        WrittenFiles { saved, kept, outcome: written.and(showed).and(plotted) }
    }

    /// Keeps a run as the user's last one. A folder that cannot be written costs a note, not the run.
    fn keep_run(&self, run: &mut Run) -> Option<PathBuf> {
        match self.kept.as_ref()?.keep(run) {
            Ok(path) => Some(path),
            Err(error) => {
                print_stderr(format_args!("note: this run is not kept: {error}; --no-keep skips keeping"));
                None
            }
        }
    }

    /// Says that a single run will replace a file. The files of several runs have other names.
    pub(super) fn note_replaced_file(&self) {
        let replaced = self.name.as_ref().filter(|_| self.saves == Some(SaveMode::Replace));
        if let Some(path) = replaced.map(|name| self.folder.join(name)).filter(|path| path.exists()) {
            print_stderr(format_args!("note: {} exists; this run will replace it", path.display()));
        }
    }

    fn probe(&self) -> Result<(), CliError> {
        let files = self.saves.is_some() || !self.plots.is_empty();
        let path = self.folder.join(self.name.as_deref().unwrap_or(Path::new("result.json")));
        if files {
            file::check_writable(&path).map_err(unwritable)?;
        }
        self.others.probe()
    }

    /// Prints the report on stdout. If stdout is taken by the JSON, prints the report on stderr and the JSON on
    /// stdout.
    fn print(&self, run: &Run) -> Result<(), CliError> {
        if !self.prints_json {
            return match self.report {
                ReportStyle::Vllm => {
                    print(|out| self.render(run, out))?;
                    print_stderr_lines(|out| vllm::render_notes(run, out));
                    Ok(())
                }
                _ => print_report(|out| self.render(run, out), text::colored),
            };
        }
        print_stderr_lines(|out| self.render(run, out));
        let printed = print_streaming(|out| {
            let mut out = BufWriter::new(out);
            run.write(&mut out)?;
            writeln!(out)?;
            out.flush()
        });
        printed.map(drop)
    }

    fn render(&self, run: &Run, to: &mut impl Write) -> io::Result<()> {
        match self.report {
            ReportStyle::Full | ReportStyle::Json => text::render(run, to),
            ReportStyle::Short => text::short(run, to),
            ReportStyle::Vllm => vllm::render(run, to),
        }
    }

    /// Writes the result's files, and adds their paths to `saved`.
    fn save(&self, run: &Run, path: &Path, saved: &mut Vec<PathBuf>) -> Result<(), CliError> {
        match self.saves {
            None => return Ok(()),
            Some(SaveMode::Append) => run.append(path).map_err(unwritable)?,
            Some(SaveMode::Replace) => run.save(path).map_err(unwritable)?,
        }
        saved.push(path.to_owned());
        if self.pytorch {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let records = pytorch::benchmark_records(run, &name).to_string();
            write(path.with_extension("pytorch.json"), records.as_bytes(), saved)?;
        }
        Ok(())
    }
}

impl Plot {
    /// The extension that replaces the result's `json`.
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

fn write(path: PathBuf, content: &[u8], saved: &mut Vec<PathBuf>) -> Result<(), CliError> {
    file::write(&path, content).map_err(unwritable)?;
    saved.push(path);
    Ok(())
}

/// Returns the error of a file that cannot be written, with the flags that name another place.
fn unwritable(error: RunError) -> CliError {
    CliError::io(format_args!("{error}; give another --result-dir or --result-filename"))
}
