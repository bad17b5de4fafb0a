//! From the outcome to a Run, and from the Run to wherever it was asked to go.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;

use super::args::OutputArgs;
use crate::cli::exit::{Halt, say};
use crate::core::metrics::{Latency, Metrics, samples};
use crate::core::probes::Probes;
use crate::core::record::Record;
use crate::core::run::{Always, Environment, Inputs, Notes, Run, SCHEMA, Selection, Steady};
use crate::core::series::Series;
use crate::core::spec::Spec;
use crate::core::stats::Tally;
use crate::core::validity::{Evidence, Verdict};
use crate::drive::client::stopwatch::Meters;
use crate::drive::engine::Outcome;
use crate::report::text;

/// What a Run holds beside its measurements.
pub struct Assembly {
    pub command: Vec<String>,
    pub spec: Spec,
    pub notes: Notes,
    pub selection: Selection,
    pub inputs: Inputs,
    pub evidence: Evidence,
    pub probes: Option<Probes>,
    pub server_version: Option<String>,
}

impl Assembly {
    /// Sums the outcome up.
    pub fn run(self, outcome: Outcome, details: bool) -> Run {
        let Outcome { started, records, meters, interrupted, .. } = outcome;
        let Meters { itl, itl_by_second, .. } = meters;
        let percents = &self.selection.percents;
        let metrics = Metrics::of(&records, &itl, &self.spec.slo, percents);
        Run {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started,
            command: self.command,
            interrupted,
            steady: Steady::of(&self.spec, &records, percents),
            series: Series::of(&records, &itl_by_second),
            validity: Verdict::of(&self.evidence, &self.spec, &records, &metrics),
            metrics,
            probes: self.probes,
            histograms: histograms(&records, &itl),
            spec: self.spec,
            notes: self.notes,
            selection: self.selection,
            inputs: self.inputs,
            environment: environment(self.server_version),
            always: records.iter().map(Always::of).collect(),
            records: details.then_some(records),
        }
    }
}

/// Of the latencies that people compare; those without samples have none.
fn histograms(records: &[Record], itl: &Tally) -> BTreeMap<Latency, String> {
    let tally = |latency: Latency| match latency {
        Latency::Itl => itl.clone(),
        _ => samples(records, latency).collect(),
    };
    Latency::SELECTABLE
        .into_iter()
        .map(|latency| (latency, tally(latency)))
        .filter(|(_, tally)| !tally.is_empty())
        .map(|(latency, tally)| (latency, tally.encode()))
        .collect()
}

fn environment(server_version: Option<String>) -> Environment {
    let names = rustix::system::uname();
    let text = |name: &std::ffi::CStr| name.to_string_lossy().into_owned();
    Environment {
        host: text(names.nodename()),
        system: [names.sysname(), names.release(), names.machine()].map(text).join(" "),
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
        server_version,
    }
}

/// Where the result goes.
#[derive(Debug, PartialEq, Eq)]
pub enum Destination {
    /// Only the report, on stdout.
    Report,
    /// The report on stdout, and a file in a folder; without a name, vLLM's.
    File { folder: PathBuf, name: Option<PathBuf> },
    /// The JSON on stdout, the report on stderr.
    Stdout,
}

impl Destination {
    /// What the flags say. A folder that cannot be made is found out now, not after the run.
    pub fn of(args: &OutputArgs) -> Result<Self, Halt> {
        if args.result_filename.as_ref().is_some_and(|name| name.as_os_str() == "-") {
            return Ok(Self::Stdout);
        }
        if !(args.save_result || args.save_detailed || args.result_filename.is_some()) {
            return Ok(Self::Report);
        }
        let folder = args.result_dir.clone().unwrap_or_default();
        if !folder.as_os_str().is_empty() {
            std::fs::create_dir_all(&folder)
                .map_err(|error| Halt::usage(format!("--result-dir {}: {error}", folder.display())))?;
        }
        Ok(Self::File { folder, name: args.result_filename.clone() })
    }

    /// Prints the report and saves the Run.
    pub fn deliver(&self, run: &Run) -> Result<(), Halt> {
        match self {
            Self::Report => print(|to| text::render(run, to)),
            Self::File { folder, name } => {
                print(|to| text::render(run, to))?;
                let path = folder.join(name.clone().unwrap_or_else(|| run.file_name().into()));
                run.save(&path).map_err(Halt::failed)?;
                say(format_args!("saved {}", path.display()));
                Ok(())
            }
            Self::Stdout => {
                text::render(run, &mut io::stderr().lock()).map_err(Halt::failed)?;
                print(|to| writeln!(to, "{}", run.to_json()))
            }
        }
    }
}

fn print(render: impl FnOnce(&mut io::StdoutLock<'_>) -> io::Result<()>) -> Result<(), Halt> {
    let mut stdout = io::stdout().lock();
    render(&mut stdout)
        .and_then(|()| stdout.flush())
        .map_err(|error| Halt::failed(format!("cannot write to stdout: {error}")))
}
