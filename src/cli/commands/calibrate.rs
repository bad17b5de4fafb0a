//! `servegauge calibrate`: from saved results to a model of the server, with its errors.

use std::io::Write as _;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use clap::Args;

use super::run::RunCommandLine;
use crate::cli::args::{JsonArgs, values};
use crate::cli::exit::{CliError, ExitReason, print_stderr};
use crate::cli::interrupt::InterruptSignal;
use crate::cli::saved_results::{self, SavedResult};
use crate::cli::setting_flags::with_flags;
use crate::cli::stdout;
use crate::model::digest::Digest;
use crate::model::run::file;
use crate::model::stated::StatedResult;
use crate::predict::calibration::load_point::LoadPoint;
use crate::predict::calibration::measured::MeasuredRun;
use crate::predict::calibration::replay::CalibrationFleet;
use crate::predict::calibration::reported::ReportedLoad;
use crate::predict::calibration::{CalibrationInput, calibrate};
use crate::predict::router::RouterPolicy;
use crate::predict::server_model::ServerModel;
use crate::report;

mod facts;
mod probe;

use facts::{FactArgs, FactSources};
use probe::{ProbeSize, ProbedServer};

/// Calibrate a model of a server from its results, for `predict`
///
/// Results with the times of each request tell most: servegauge's, or vllm bench serve's, with --save-detailed. Several
/// runs at different loads, prompt lengths and concurrencies tell more than one. Of a closed loop, means are enough for
/// TPOT.
#[derive(Debug, Args)]
pub(crate) struct CalibrateArgs {
    /// Result files of any tool, or names of kept runs
    #[arg(value_name = "RUN", required_unless_present_any = ["print_probe", "probe"])]
    runs: Vec<PathBuf>,
    /// File to write the model to
    #[arg(short, long, value_name = "FILE", required_unless_present = "print_probe")]
    output: Option<PathBuf>,
    /// Results to check the model on; they are not fitted
    #[arg(long, value_name = "RUN", num_args = 1.., help_heading = "Check")]
    holdout: Vec<PathBuf>,
    /// Fit the first N requests of each run only, and check the model on the others
    #[arg(long, value_name = "N", help_heading = "Check", value_parser = values::number::<u32>)]
    fit_first: Option<u32>,
    #[command(flatten)]
    facts: FactArgs,
    /// Number of servers behind the runs
    #[arg(long, value_name = "N", default_value = "1", help_heading = "Server", value_parser = values::number::<NonZeroU16>)]
    replicas: NonZeroU16,
    /// How requests reached the servers: a router of `predict`
    ///
    /// A Kubernetes Service chooses at `random` for each connection.
    #[arg(long, value_name = "NAME", default_value_t = RouterPolicy::RoundRobin, help_heading = "Server", value_parser = RouterPolicy::from_str)]
    router: RouterPolicy,
    /// Print the measurements of a probe, and do not run it
    ///
    /// With --probe, its requests fit that server.
    #[arg(long, conflicts_with_all = ["runs", "output", "holdout"], help_heading = "Probe")]
    print_probe: bool,
    /// Measure this server with a probe of about two minutes, and calibrate on it
    ///
    /// The probe varies the prompt length and the number of requests in flight apart from each other, which the load of
    /// users rarely does. RUN may add more runs.
    #[arg(long, value_name = "URL", help_heading = "Probe")]
    probe: Option<String>,
    /// Most requests in flight of the probe
    #[arg(long, value_name = "N", default_value_t = 32, help_heading = "Probe", value_parser = values::number::<u16>)]
    probe_max: u16,
    /// Most tokens of a prompt with its answer in the probe [default: what the server takes, and at most 2900]
    ///
    /// vLLM and SGLang list their limit with their models. Another server's must be given if it is below 2900.
    #[arg(long, value_name = "TOKENS", help_heading = "Probe", value_parser = values::number::<u32>)]
    probe_max_len: Option<u32>,
    /// After `--`: more flags of the probe's runs, such as --model
    #[arg(last = true, value_name = "RUN'S FLAGS", help_heading = "Probe")]
    probe_flags: Vec<String>,
    /// Seed of the ensemble
    #[arg(long, default_value_t = 0, value_parser = values::number::<u64>)]
    seed: u64,
    #[command(flatten)]
    json: JsonArgs,
}

/// Runs the command.
pub(crate) fn execute(args: &CalibrateArgs, interrupts: &InterruptSignal) -> Result<ExitReason, CliError> {
    let server = args.probe.as_deref().map(|url| ProbedServer { url, more: &args.probe_flags, interrupts });
    if args.print_probe {
        let size = probe_size(args, server.as_ref())?;
        stdout::print(|out| probe::print(size, args.probe.as_deref(), out))?;
        return Ok(ExitReason::Success);
    }
    let mut loaded = LoadedRuns::default();
    if let Some(server) = server {
        for (name, run) in server.measure(probe_size(args, Some(&server))?)? {
            loaded.add(name, &SavedResult::Run(Box::new(run)), None)?;
        }
    }
    args.runs.iter().try_for_each(|path| loaded.load(path))?;
    let mut holdout = LoadedRuns { served_model: loaded.served_model.clone(), ..LoadedRuns::default() };
    args.holdout.iter().try_for_each(|path| holdout.load(path))?;
    if let Some(point) = holdout.points.first() {
        return Err(CliError::usage(format!(
            "--holdout {}: it has only means; a check needs the times of each request (--save-detailed)",
            point.name
        )));
    }
    let facts = facts::resolve(&args.facts, &loaded.sources)?;
    let input = CalibrationInput {
        runs: loaded.runs,
        points: loaded.points,
        holdout: holdout.runs,
        facts,
        fleet: CalibrationFleet { replicas: usize::from(args.replicas.get()), router: args.router },
        fit_first: args.fit_first.map(|first| first as usize),
        seed: args.seed,
        served_model: loaded.served_model,
    };
    let model = calibrate(&input).map_err(|error| CliError::usage(with_flags(&error.to_string())))?;
    let saved = args.output.as_deref();
    if let Some(path) = saved {
        file::write(path, model.to_json().as_bytes()).map_err(CliError::io)?;
    }
    print(&model, saved, args.json.is_wanted())?;
    Ok(ExitReason::Success)
}

fn probe_size(args: &CalibrateArgs, server: Option<&ProbedServer<'_>>) -> Result<ProbeSize, CliError> {
    let limit = match server {
        Some(server) => server.context_limit()?,
        None => None,
    };
    ProbeSize::new(args.probe_max, args.probe_max_len, limit)
}

fn print(model: &ServerModel, saved: Option<&Path>, json: bool) -> Result<(), CliError> {
    stdout::print(|out| match json {
        true => write!(out, "{}", model.to_json()),
        false => report::calibration::render(model, saved, out),
    })
}

/// The runs of a calibration.
#[derive(Default)]
struct LoadedRuns {
    runs: Vec<MeasuredRun>,
    /// Results that have only means.
    points: Vec<LoadPoint>,
    sources: FactSources,
    served_model: Option<String>,
}

impl LoadedRuns {
    fn load(&mut self, path: &Path) -> Result<(), CliError> {
        let results = saved_results::load_named(path)?;
        let digest = saved_results::digest(path)?;
        results.into_iter().try_for_each(|(name, result)| self.add(name, &result, Some(&digest)))
    }

    /// Adds a result of a file with this digest, or of no file.
    fn add(&mut self, name: String, result: &SavedResult, digest: Option<&Digest>) -> Result<(), CliError> {
        let (stated, reported): (StatedResult, _) = match result {
            SavedResult::Run(run) if run.is_predicted() => {
                return Err(CliError::usage(format!("{name} was predicted by a model, not measured")));
            }
            SavedResult::Run(run) => {
                self.sources.add_run(run);
                (run.to_stated(), run.server.as_ref().and_then(ReportedLoad::new))
            }
            SavedResult::Stated(stated) => ((**stated).clone(), None),
        };
        let model = stated.model.clone();
        if let Some((one, other)) =
            self.served_model.as_ref().zip(model.as_ref()).filter(|(one, other)| one != other)
        {
            return Err(CliError::usage(format!(
                "{name} is of the model {other}, and the runs before it of {one}: calibrate, and check, one server at a time"
            )));
        }
        self.served_model = self.served_model.take().or(model);
        let Some(run) = MeasuredRun::from_stated(name.clone(), &stated) else {
            self.points.push(LoadPoint::from_stated(name, &stated).map_err(CliError::usage)?);
            return Ok(());
        };
        if run.left_out.total() > 0 {
            let left_out = run.left_out;
            print_stderr(format_args!(
                "warning: {name}: left out {} failed requests, {} without lengths or times, and {} with impossible times",
                left_out.failed, left_out.incomplete, left_out.impossible
            ));
        }
        self.runs.push(MeasuredRun { reported, sha256: digest.cloned(), ..run });
        Ok(())
    }
}

/// The command line of a probe's run.
fn run_line(words: &[String]) -> Result<RunCommandLine, CliError> {
    RunCommandLine::parse(words)
        .map_err(|why| CliError::usage(format!("the probe: {why}; see `servegauge run --help`")))
}
