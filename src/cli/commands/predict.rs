//! `servegauge predict`: what a run would show, from a calibrated model and without a server.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Zoned;
use serde_json::json;

use crate::analysis::prediction_check::PredictionCheck;
use crate::cli::exit::{CliError, ExitReason, print_stderr};
use crate::cli::saved_results;
use crate::cli::stdout;
use crate::model::prediction::{
    COVERAGE, FleetSize, PredictedFleet, Prediction, RouterComparison, SplitComparison,
};
use crate::model::run::Run;
use crate::predict::autoscale::AutoscaleRule;
use crate::predict::fleet_size::least_replicas;
use crate::predict::predicted_run::{PredictedRunHeader, assemble};
use crate::predict::prediction::predict;
use crate::predict::router::RouterPolicy;
use crate::predict::router_comparison::compare_routers;
use crate::predict::split_comparison::compare_splits;
use crate::predict::ticks::Ticks;
use crate::predict::what_if::{FleetSetup, WhatIf};
use crate::report;

mod args;
mod load_point;
mod model;
mod source;
mod split;
mod values;

pub(crate) use args::{EngineArgs, PredictArgs};
use load_point::LoadPoint;
pub(crate) use model::LoadedModel;
use source::RequestSource;
pub(crate) use source::prepared_shapes;
use split::SplitFleets;

/// Runs the command; `typed` is the command line.
pub(crate) fn execute(args: &PredictArgs, typed: &[String]) -> Result<ExitReason, CliError> {
    if let Some(rule) = args.fleet.slo.iter().find(|rule| rule.needs_baseline()) {
        return Err(CliError::usage(format!("--slo {rule}: a service level has a fixed limit")));
    }
    let points = LoadPoint::all(&args.requests);
    let splits = SplitFleets::read(&args.split, args.fleet.autoscale.is_some(), args.fleet.fleet)?;
    let model = LoadedModel::load(&args.model, &args.engine)?;
    let routers = args.fleet.router.as_ref().map_or_else(|| vec![model.fleet.1], |list| list.0.clone());
    check_combination(args, &points, &routers, &splits)?;
    let source = RequestSource::read(&args.requests, model.block_tokens)?;
    let router = routers[0];
    let case = PredictCase { args, typed, model: &model, source: &source, router, splits: &splits };
    let mut runs = Vec::with_capacity(points.len());
    for point in &points {
        runs.push((point.name(), case.run(*point)?));
    }
    let check = args.output.check.as_deref().map(|path| check(path, &runs)).transpose()?;
    let routers = if routers.len() > 1 { case.routers(points[0], &routers)? } else { None };
    let splits = if splits.setups.len() > 1 { Some(case.splits(points[0])?) } else { None };
    let size = if args.fleet.fleet { Some(case.fleet_size(points[0])?) } else { None };
    if args.output.strict {
        refuse_extrapolation(&runs, size.as_ref())?;
    }
    if let Some(out) = &args.output.out {
        save(out, &runs)?;
    }
    let answers = Answers { runs: &runs, check, routers, splits, size };
    answers.print(args.output.json.is_wanted())?;
    Ok(ExitReason::Success)
}

/// Refuses combinations of flags that have no answer.
fn check_combination(
    args: &PredictArgs,
    points: &[LoadPoint],
    routers: &[RouterPolicy],
    splits: &SplitFleets,
) -> Result<(), CliError> {
    let has_splits = splits.setups.len() > 1;
    let several = points.len() > 1;
    let lists = [
        (several && args.output.check.is_some(), "--check compares one load: give one"),
        (several && args.fleet.fleet, "--fleet sizes a fleet for one load: give one"),
        (several && routers.len() > 1, "routers are compared under one load: give one load, or one router"),
        (several && has_splits, "splits are compared under one load: give one load, or one split"),
        (has_splits && routers.len() > 1, "routers or splits are compared: give one router, or one split"),
    ];
    let wrong = lists.into_iter().find(|(is_wrong, _)| *is_wrong);
    wrong.map_or(Ok(()), |(_, why)| Err(CliError::usage(why)))
}

/// One command's predictions.
struct PredictCase<'a> {
    args: &'a PredictArgs,
    typed: &'a [String],
    model: &'a LoadedModel,
    source: &'a RequestSource,
    router: RouterPolicy,
    splits: &'a SplitFleets,
}

impl PredictCase<'_> {
    /// The predicted run under a load.
    fn run(&self, point: LoadPoint) -> Result<Run, CliError> {
        let spec = point.spec(self.source);
        let predicted = predict(&self.question(point)).map_err(CliError::usage)?;
        let prediction = Prediction {
            model: self.model.origin.clone(),
            coverage: COVERAGE,
            members: self.args.output.members.get(),
            fleet: self.fleet(),
            metrics: predicted.metrics,
            utilization: predicted.utilization,
            stages: predicted.stages,
            knee: predicted.knee,
            extrapolations: predicted.extrapolations,
            saturated_extrapolations: predicted.saturated_extrapolations,
            notes: self.notes(point, predicted.preemptions),
        };
        let header = PredictedRunHeader {
            at: Zoned::now(),
            command: self.typed.to_vec(),
            spec,
            inputs: self.source.inputs.clone(),
            selection: self.source.selection.clone(),
        };
        Ok(assemble(header, prediction, predicted.central.records, &predicted.central.itl))
    }

    fn routers(
        &self,
        point: LoadPoint,
        policies: &[RouterPolicy],
    ) -> Result<Option<RouterComparison>, CliError> {
        compare_routers(&self.question(point), policies).map_err(CliError::usage)
    }

    fn splits(&self, point: LoadPoint) -> Result<SplitComparison, CliError> {
        compare_splits(&self.question(point), &self.splits.setups).map_err(CliError::usage)
    }

    fn fleet_size(&self, point: LoadPoint) -> Result<FleetSize, CliError> {
        least_replicas(&self.question(point)).map_err(CliError::usage)
    }

    fn question(&self, point: LoadPoint) -> WhatIf<'_> {
        WhatIf {
            servers: &self.model.servers,
            fleet: self.setup(),
            load: point.draw(self.source),
            slo: &self.source.spec.slo,
            levels: &self.args.fleet.slo,
            percents: &self.source.selection.percents,
            members: self.args.output.members,
            seed: self.args.requests.seed,
        }
    }

    /// The servers of the simulations: by default as many as the calibration had. Autoscaling aims at full batches.
    fn setup(&self) -> FleetSetup {
        let args = &self.args.fleet;
        let ticks = |time: Duration| Ticks::from_seconds(time.as_secs_f64());
        let autoscale = args.autoscale.map(|scale| AutoscaleRule {
            min: scale.min.get(),
            max: scale.max.get(),
            delay: ticks(scale.delay),
            target: self.model.servers.central.limits.max_num_seqs,
        });
        let split = self.splits.first();
        let whole = args.replicas.map_or(self.model.fleet.0, usize::from);
        let replicas = if split.is_some() { self.splits.servers } else { whole };
        FleetSetup {
            split,
            replicas: autoscale.map_or(replicas, |rule| rule.max),
            router: self.router,
            signal_delay: ticks(args.signal_delay),
            autoscale,
        }
    }

    fn fleet(&self) -> PredictedFleet {
        let fleet = &self.args.fleet;
        let setup = self.setup();
        let scaled = fleet.autoscale.map(|scale| {
            format!(
                "autoscaled from {} to {}, ready after {} s",
                scale.min,
                scale.max,
                scale.delay.as_secs_f64()
            )
        });
        let reports = self
            .router
            .uses_reports()
            .then(|| format!("reports read every {} ms", fleet.signal_delay.as_secs_f64() * 1e3));
        PredictedFleet {
            replicas: setup.replicas,
            router: (setup.replicas > 1).then(|| self.router.to_string()),
            properties: self.splits.describe().into_iter().chain(scaled).chain(reports).collect(),
        }
    }

    /// What was assumed.
    fn notes(&self, point: LoadPoint, preemptions: u64) -> Vec<String> {
        let source = self.source;
        let mut notes = [self.model.notes.clone(), source.notes.clone()].concat();
        let reuses = self.model.servers.central.limits.prefix_caching;
        if reuses && !source.knows_contents {
            notes.push("no reuse known: the requests have no texts or block hashes, so every prompt is computed whole".into());
        }
        if self.router.needs_contents() && !source.knows_contents {
            notes.push(format!("the router {} sees no prefixes here, and goes by the load", self.router));
        }
        match point {
            LoadPoint::Times(factor) if factor != 1.0 && source.knows_contents && reuses => {
                notes.push(
                    "copies of requests share no blocks with the originals, as those of other users".into(),
                );
            }
            _ => {}
        }
        if self.splits.first().is_some() {
            notes.push(
                "prefill and decode servers are alike, the calibrated one; clients get all tokens from decode servers, and \
                 the network takes time only for keys and values"
                    .into(),
            );
        }
        if preemptions > 0 {
            notes.push(format!(
                "the KV pool runs out: sequences are preempted {preemptions} times, and their prompts are computed again"
            ));
        }
        if point.draws_arrivals(source) {
            notes.push(
                "arrivals are drawn anew in each simulation, and their chance is in the intervals".into(),
            );
        }
        notes
    }
}

fn check(path: &Path, runs: &[(String, Run)]) -> Result<PredictionCheck, CliError> {
    let side = saved_results::load_side(path)?;
    if side.runs().is_some_and(|side| side.runs.iter().any(Run::is_predicted)) {
        return Err(CliError::usage(format!("--check {}: it is predicted, not measured", path.display())));
    }
    let prediction = runs.first().and_then(|(_, run)| run.prediction.as_ref());
    let Some(prediction) = prediction else { return Err(CliError::usage("there is nothing to check")) };
    Ok(PredictionCheck::compute(prediction, side.source()))
}

/// Saves the run, or each of several in a folder.
fn save(out: &Path, runs: &[(String, Run)]) -> Result<(), CliError> {
    let files: Vec<(PathBuf, &Run)> = match runs {
        [(_, run)] => vec![(out.to_owned(), run)],
        _ => runs
            .iter()
            .map(|(name, run)| (out.join(format!("predicted-{}.json", name.replace([' ', '/'], "-"))), run))
            .collect(),
    };
    for (path, run) in files {
        run.save(&path).map_err(CliError::io)?;
        print_stderr(format_args!("saved {}", path.display()));
    }
    Ok(())
}

/// What the command answers.
struct Answers<'a> {
    runs: &'a [(String, Run)],
    check: Option<PredictionCheck>,
    routers: Option<RouterComparison>,
    splits: Option<SplitComparison>,
    size: Option<FleetSize>,
}

impl Answers<'_> {
    fn print(&self, json: bool) -> Result<(), CliError> {
        if json {
            return stdout::print(|out| writeln!(out, "{}", self.to_json()));
        }
        stdout::print_report(
            |out| {
                match self.runs {
                    [(_, run)] => report::text::render(run, out)?,
                    runs => {
                        let rows = runs
                            .iter()
                            .filter_map(|(name, run)| Some((name.clone(), run.prediction.as_ref()?)));
                        report::prediction::load_table(&rows.collect::<Vec<_>>(), out)?;
                    }
                }
                self.check.iter().try_for_each(|check| report::prediction::check_table(check, out))?;
                self.routers.iter().try_for_each(|found| report::prediction::router_table(found, out))?;
                self.splits.iter().try_for_each(|found| report::split::split_table(found, out))?;
                self.size.iter().try_for_each(|size| report::prediction::fleet_size(size, out))
            },
            report::text::colored,
        )
    }

    fn to_json(&self) -> String {
        let loads = self.runs.iter().map(|(name, run)| json!({ "load": name, "prediction": run.prediction }));
        let answer = json!({
            "predicted": true,
            "loads": loads.collect::<Vec<_>>(),
            "check": self.check,
            "routers": self.routers,
            "splits": self.splits,
            "fleet": self.size,
        });
        serde_json::to_string_pretty(&answer).expect("a prediction has only string keys")
    }
}

/// Fails if a prediction extrapolates, its knee or its fleet.
fn refuse_extrapolation(runs: &[(String, Run)], size: Option<&FleetSize>) -> Result<(), CliError> {
    let of_run = runs.iter().find_map(|(name, run)| {
        let (place, beyond) = run.prediction.as_ref()?.all_extrapolations().next()?;
        Some(format!(
            "the prediction for {name} extrapolates{}, {beyond}",
            report::prediction::at_place(place)
        ))
    });
    let of_fleet = || Some(format!("the size of the fleet extrapolates, {}", size?.extrapolations.first()?));
    match of_run.or_else(of_fleet) {
        Some(what) => Err(CliError::failed(format!("--strict: {what}; calibrate on a run that covers it"))),
        None => Ok(()),
    }
}
