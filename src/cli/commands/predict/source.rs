//! The requests of a prediction: those of a saved result, or those that flags of `run` describe.

use std::path::Path;

use super::args::RequestArgs;
use crate::cli::commands::run::{RunCommandLine, RunSession};
use crate::cli::exit::CliError;
use crate::cli::saved_results::{self, SavedResult};
use crate::cli::to_spec;
use crate::dataset::shapes::{self, ShapedWorkload};
use crate::dataset::{is_plain_trace, trace_shapes};
use crate::model::dataset::Provenance;
use crate::model::record::TokenSource;
use crate::model::run::{ReportSelection, Run, RunInputs, TokenizerOrigin};
use crate::model::run_spec::{Dataset, Load, RateSchedule, Spec};
use crate::model::stated::StatedResult;
use crate::predict::offered_load::{OfferedLoad, Pace};
use crate::predict::recorded::RecordedLoad;

/// The requests of a prediction, and the run that they are of.
pub(super) struct RequestSource {
    /// The requests, with the arrivals that are known.
    pub recorded: OfferedLoad,
    /// The distribution of the arrivals, if these are not known.
    pub drawn: Option<Load>,
    /// The run.
    pub spec: Spec,
    /// Where the requests come from.
    pub inputs: RunInputs,
    /// The metrics that reports show.
    pub selection: ReportSelection,
    /// What a reader must know about the requests.
    pub notes: Vec<String>,
    /// Whether it is known what prompts have in common.
    pub knows_contents: bool,
}

impl RequestSource {
    /// Reads the requests. Blocks have `block_tokens` tokens.
    pub(super) fn read(args: &RequestArgs, block_tokens: u32) -> Result<Self, CliError> {
        match &args.like {
            Some(path) => Self::from_result(path, block_tokens),
            None if args.run.is_empty() => Err(CliError::usage(
                "which requests? Give --like RUN for those of a saved run, or flags of `run` after `--`, such as \
                 `-- --dataset-name azure --dataset-path trace.csv`",
            )),
            None => Self::from_flags(&args.run, args.seed, block_tokens),
        }
    }

    fn from_result(path: &Path, block_tokens: u32) -> Result<Self, CliError> {
        let mut results = saved_results::load(path)?;
        let (Some(result), true) = (results.pop(), results.is_empty()) else {
            return Err(CliError::usage(format!("{} has several results: give one", path.display())));
        };
        let unusable =
            |why: &dyn std::fmt::Display| CliError::usage(format!("--like {}: {why}", path.display()));
        match result {
            SavedResult::Run(run) if run.is_predicted() => {
                Err(unusable(&"it is predicted: give the measured run that it was like"))
            }
            SavedResult::Run(run) => {
                let recorded = RecordedLoad::from_run(&run, block_tokens).map_err(|why| unusable(&why))?;
                Ok(Self::like_run(*run, recorded))
            }
            SavedResult::Stated(result) => {
                let recorded = RecordedLoad::from_stated(&result).map_err(|why| unusable(&why))?;
                Self::like_stated(path, &result, recorded)
            }
        }
    }

    fn like_run(run: Run, recorded: RecordedLoad) -> Self {
        let RecordedLoad { load, notes } = recorded;
        let knows_contents = knows_contents(&load);
        let Run { mut spec, inputs, selection, .. } = run;
        spec.workload.num_prompts = load.session_count();
        Self { recorded: load, drawn: None, spec, inputs, selection, notes, knows_contents }
    }

    fn like_stated(path: &Path, result: &StatedResult, recorded: RecordedLoad) -> Result<Self, CliError> {
        let RecordedLoad { load, notes } = recorded;
        let args = RunCommandLine::parse(&[]).map_err(CliError::usage)?.args;
        let mut spec = to_spec::spec(&args).map_err(CliError::usage)?;
        spec.target.model = result.model.clone().unwrap_or_default();
        spec.workload.num_prompts = load.session_count();
        match &load.pace {
            Pace::Closed(users) => spec.load.max_concurrency = Some(*users),
            Pace::Open(_) => match result.load.request_rate.filter(|rate| rate.is_finite()) {
                Some(rate) => {
                    spec.load.request_rate = rate;
                    spec.load.burstiness = result.load.burstiness.unwrap_or(1.0);
                }
                None => spec.load.pace = RateSchedule::Trace,
            },
        }
        let dataset = Provenance {
            path: Some(path.display().to_string()),
            ..Provenance::from_generator("recorded lengths")
        };
        let tokenizer = TokenizerOrigin { origin: result.origin(), sha256: None, source: TokenSource::Usage };
        Ok(Self {
            recorded: load,
            drawn: None,
            spec,
            inputs: RunInputs { dataset, tokenizer, prompts: None },
            selection: to_spec::selection(&args).map_err(CliError::usage)?,
            notes,
            knows_contents: false,
        })
    }

    /// Prepares what the flags of `run` describe. A trace needs no prompts, and so no tokenizer.
    fn from_flags(words: &[String], seed: u64, block_tokens: u32) -> Result<Self, CliError> {
        let wrong = |why| CliError::usage(format!("after `--`: {why}; see `servegauge run --help`"));
        let line = RunCommandLine::parse(words).map_err(wrong)?;
        let mut args = line.args;
        if !line.settings.contains_key("seed") {
            args.workload.seed = seed;
        }
        let mut spec = to_spec::spec(&args).map_err(CliError::usage)?;
        let selection = to_spec::selection(&args).map_err(CliError::usage)?;
        let plain = match &spec.workload.dataset {
            Dataset::Trace(trace) if is_plain_trace(trace, &spec.workload.bounds) => Some(trace.clone()),
            _ => None,
        };
        let (workload, inputs) = match plain {
            Some(trace) => {
                let shaped = trace_shapes(&spec.workload, &trace, spec.seed, block_tokens);
                let shaped = shaped.map_err(CliError::usage)?;
                spec.workload.num_prompts = session_count(&shaped);
                let tokenizer = TokenizerOrigin {
                    origin: "the trace".to_owned(),
                    sha256: None,
                    source: TokenSource::Usage,
                };
                let inputs = RunInputs { dataset: shaped.provenance.clone(), tokenizer, prompts: None };
                (shaped, inputs)
            }
            None => prepare(&args, &mut spec, block_tokens)?,
        };
        let knows_contents = workload.knows_contents();
        let ShapedWorkload { requests, arrivals, provenance } = workload;
        let drawn = arrivals.is_none().then(|| spec.load.clone());
        let recorded = OfferedLoad { requests, pace: Pace::Open(arrivals.unwrap_or_default()) };
        let notes = provenance.notes();
        Ok(Self { recorded, drawn, spec, inputs, selection, notes, knows_contents })
    }
}

/// Prepares the requests as a run does, and keeps their shapes.
fn prepare(
    args: &crate::cli::args::RunArgs,
    spec: &mut Spec,
    block_tokens: u32,
) -> Result<(ShapedWorkload, RunInputs), CliError> {
    prepared_shapes(&RunSession::offline(args, spec)?, spec, block_tokens)
}

/// The shapes of the requests that a session prepares for this Spec, which it completes.
pub(crate) fn prepared_shapes(
    session: &RunSession,
    spec: &mut Spec,
    block_tokens: u32,
) -> Result<(ShapedWorkload, RunInputs), CliError> {
    let prepared = session.lone_runner().prepare(spec.clone())?;
    *spec = prepared.spec.clone();
    let (measured, _) = prepared.requests();
    let behavior = (spec.sessions.history, spec.workload.unique.is_some());
    let requests = shapes::from_requests(measured, session.session.tokenizer(), behavior, block_tokens)
        .map_err(CliError::usage)?;
    let sessions = requests.iter().filter(|request| request.turn.is_none_or(|turn| turn.index == 0)).count();
    let arrivals = prepared.workload.arrivals.as_ref().map(|due| due.iter().take(sessions).collect());
    let provenance = prepared.workload.provenance.clone();
    Ok((ShapedWorkload { requests, arrivals, provenance }, prepared.inputs))
}

fn session_count(shaped: &ShapedWorkload) -> usize {
    shaped.requests.iter().filter(|request| request.turn.is_none_or(|turn| turn.index == 0)).count()
}

fn knows_contents(load: &OfferedLoad) -> bool {
    load.requests.iter().any(|request| !request.contents.is_empty())
}
