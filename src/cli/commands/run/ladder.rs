//! A ladder: delivers each step as it ends, then prints the table of all and writes their index.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};

use super::deliver::Delivery;
use super::outcome::{exit_status, worse};
use crate::cli::args::RunArgs;
use crate::cli::config;
use crate::cli::exit::{CliError, ExitReason, print_stderr, print_stderr_lines};
use crate::cli::html_page;
use crate::cli::interrupt::InterruptSignal;
use crate::cli::kept_runs;
use crate::cli::stdout::{print_report, print_streaming};
use crate::model::run::{Run, file};
use crate::model::run_spec::Spec;
use crate::model::step_load::StepLoad;
use crate::model::stop_rule::StopRule;
use crate::report::ladder::{LadderEnd, LadderIndex, LadderReport, StepReport, colored, render, step_line};
use crate::runner::{Invocation, Ladder, LadderPlan, LadderStep, PreparedRun, Runner, StepPrompts};

/// Settings of a ladder that its steps do not have.
const OF_LADDER: [&str; 3] = ["until", "num-prompts-factor", "sweep-summary-percentiles"];

/// A ladder that is being measured.
pub(super) struct LadderCommand<'a> {
    pub args: &'a RunArgs,
    pub plan: &'a LadderPlan,
    pub invocation: &'a Invocation,
    pub delivery: &'a Delivery,
    pub interrupts: &'a InterruptSignal,
}

/// A step that was measured.
struct MeasuredStep {
    load: StepLoad,
    /// The Run without its requests, or why there is none.
    outcome: Result<Run, String>,
    file: Option<PathBuf>,
}

/// The steps of a ladder until now.
#[derive(Default)]
struct MeasuredSteps {
    steps: Vec<MeasuredStep>,
    ended_by: Option<StopRule>,
    /// The rules already reported as undecided, so that each is reported once.
    reported: Vec<StopRule>,
    worst: Option<ExitReason>,
}

impl LadderCommand<'_> {
    /// Measures and delivers the steps. A step that is INVALID or failed does not end the ladder.
    pub(super) fn execute(
        &self,
        runner: &Runner<'_>,
        (base, first): (Spec, PreparedRun),
    ) -> Result<ExitReason, CliError> {
        let invocation = |load: StepLoad, spec: &Spec| self.step_invocation(load, spec);
        let mut measured = MeasuredSteps::default();
        for step in Ladder::new(runner, (base, first), self.plan, &invocation) {
            if step.measured.is_err() && self.interrupts.is_requested() {
                break;
            }
            self.take(step, &mut measured)?;
            self.write_index(&measured)?;
        }
        self.sum_up(&measured)?;
        let worst = measured.worst.unwrap_or(ExitReason::Success);
        Ok(if self.interrupts.is_requested() { ExitReason::Interrupted } else { worst })
    }

    /// Delivers a step. Without any answer in the first step, its error is that of the ladder.
    fn take(&self, step: LadderStep, all: &mut MeasuredSteps) -> Result<(), CliError> {
        let LadderStep { load, invocation, measured, ended_by, undecided } = step;
        let (outcome, file, exit) = match measured {
            Ok((mut run, records)) => {
                let log = invocation.record_log.as_ref();
                let file = self.delivery.deliver_step(&file_suffix(load), &mut run, records, log)?;
                print_stderr(step_line(load, &run));
                let exit = exit_status(&run, self.args.measure.allow_invalid);
                (Ok(Run { records: None, details: None, ..run }), file, exit)
            }
            Err(error) if all.steps.is_empty() => return Err(error.into()),
            Err(error) => {
                let error = CliError::from(error);
                (Err(error.message().to_owned()), None, error.report())
            }
        };
        for rule in undecided {
            if !all.reported.contains(&rule) {
                let metric = rule.metric();
                print_stderr(format_args!(
                    "note: {load} has no {metric}, so --until '{rule}' has no answer there"
                ));
                all.reported.push(rule);
            }
        }
        all.steps.push(MeasuredStep { load, outcome, file });
        all.ended_by = ended_by.or(all.ended_by.take());
        all.worst = Some(all.worst.map_or(exit, |worst| worse(worst, exit)));
        Ok(())
    }

    /// How a step alone would be requested.
    fn step_invocation(&self, load: StepLoad, spec: &Spec) -> Invocation {
        let Invocation { command, settings, record_log } = self.invocation;
        Invocation {
            command: command.clone(),
            settings: step_settings(settings, load, spec, self.plan),
            record_log: record_log.as_ref().map(|log| log.suffixed(&file_suffix(load))),
        }
    }

    fn report<'m>(&'m self, measured: &'m MeasuredSteps) -> LadderReport<'m> {
        let steps = measured.steps.iter().map(|step| StepReport {
            load: step.load,
            outcome: step.outcome.as_ref().map_err(String::as_str),
            file: step
                .file
                .as_deref()
                .and_then(Path::file_name)
                .map(|name| name.to_string_lossy().into_owned()),
        });
        let open = self.plan.loads[measured.steps.len()..].to_vec();
        let end = match &measured.ended_by {
            _ if self.interrupts.is_requested() => LadderEnd::Interrupted,
            Some(rule) => LadderEnd::Until { rule: rule.clone() },
            None if open.is_empty() => LadderEnd::Complete,
            None => LadderEnd::Failed,
        };
        let percents = self.args.ladder.sweep_summary_percentiles.as_ref();
        let percents = percents.map(|percents| percents.0.as_slice()).unwrap_or_default();
        LadderReport { steps: steps.collect(), open, end, percents }
    }

    /// Writes the index of the steps until now, so that a ladder that is killed leaves one.
    fn write_index(&self, measured: &MeasuredSteps) -> Result<(), CliError> {
        let Some(path) = self.index_path(measured) else { return Ok(()) };
        let index = index_text(&self.report(measured))?;
        file::write(&path, index.as_bytes()).map_err(CliError::io)
    }

    fn index_path(&self, measured: &MeasuredSteps) -> Option<PathBuf> {
        let first = measured.steps.iter().find_map(|step| step.file.as_deref())?;
        self.delivery.index_path(first)
    }

    /// Writes the page, and prints the table and where the files are.
    fn sum_up(&self, measured: &MeasuredSteps) -> Result<(), CliError> {
        if measured.steps.is_empty() {
            return Ok(());
        }
        let report = self.report(measured);
        let runs: Vec<(String, &Run)> = report
            .steps
            .iter()
            .filter_map(|step| Some((step.load.to_string(), step.outcome.ok()?)))
            .collect();
        let runs: Vec<(&str, &Run)> = runs.iter().map(|(name, run)| (name.as_str(), *run)).collect();
        let page = self.delivery.html().filter(|_| !runs.is_empty());
        let paged = page.map_or(Ok(()), |page| html_page::write(page, &runs));
        let printed = self.print(&report);
        let saved =
            self.index_path(measured).into_iter().chain(page.filter(|_| paged.is_ok()).map(Path::to_owned));
        saved.for_each(|path| print_stderr(format_args!("saved {}", path.display())));
        if self.delivery.keeps_runs() && self.index_path(measured).is_none() && !self.delivery.prints_json() {
            let oldest = kept_runs::name(runs.len().saturating_sub(1));
            print_stderr(format_args!("kept as `{oldest}` to `{}`", kept_runs::name(0)));
        }
        paged.and(printed)
    }

    fn print(&self, report: &LadderReport<'_>) -> Result<(), CliError> {
        if !self.delivery.prints_json() {
            return print_report(|out| render(report, out), colored);
        }
        print_stderr_lines(|out| render(report, out));
        let index = index_text(report)?;
        print_streaming(|out| std::io::Write::write_all(out, index.as_bytes())).map(drop)
    }
}

fn index_text(report: &LadderReport<'_>) -> Result<String, CliError> {
    let index = serde_json::to_string_pretty(&LadderIndex::new(report)).map_err(CliError::io)?;
    Ok(index + "\n")
}

/// What the names of a step's files end with, in the words of vLLM's file names.
fn file_suffix(load: StepLoad) -> String {
    match load {
        StepLoad::Concurrency(cap) => format!("concurrency{cap}"),
        StepLoad::Rate(rate) => format!("{rate}qps"),
    }
}

/// The settings of a step alone, so that it can be repeated.
fn step_settings(
    all: &Map<String, Value>,
    load: StepLoad,
    spec: &Spec,
    plan: &LadderPlan,
) -> Map<String, Value> {
    let mut settings = all.clone();
    settings.retain(|flag, _| !OF_LADDER.contains(&flag.as_str()));
    let mut set = |flag: &str, value: String| {
        settings.insert(flag.to_owned(), config::parse_plain_value(&value));
    };
    let seconds = |time: Duration| time.as_secs_f64().to_string();
    match load {
        StepLoad::Concurrency(cap) => set("max-concurrency", NonZeroUsize::to_string(&cap)),
        StepLoad::Rate(rate) => set("request-rate", rate.to_string()),
    }
    set("seed", spec.seed.to_string());
    if plan.prompts != StepPrompts::Given {
        set("num-prompts", spec.workload.num_prompts.to_string());
    }
    if let (StepPrompts::Default, Some(time)) = (plan.prompts, spec.load.duration) {
        set("duration", seconds(time));
    }
    match (plan.adds_warmup, spec.load.warmup, spec.load.num_warmups) {
        (true, Some(time), _) => set("warmup", seconds(time)),
        (true, None, 1..) => set("num-warmups", spec.load.num_warmups.to_string()),
        _ => {}
    }
    settings
}
