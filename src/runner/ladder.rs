//! A ladder: one run after the other, each under the next load of a list.

use super::error::Error;
use super::event::Event;
use super::options::Invocation;
use super::prepared_run::{PreparedRun, Runner};
use super::series::RunSeries;
use crate::model::metric_id::MetricId;
use crate::model::run::Run;
use crate::model::run_records::RunRecords;
use crate::model::run_spec::Spec;
use crate::model::step_load::StepLoad;
use crate::model::stop_rule::StopRule;

mod plan;

pub(crate) use plan::{LadderPlan, MeasuredLoad, StepPrompts};

/// The number of steps without any answer, one after the other, that end a ladder: the server is gone.
const MAX_FAILURES: usize = 2;

/// How a step alone would be requested, given its load and its Spec.
pub(crate) type InvocationFn<'a> = dyn Fn(StepLoad, &Spec) -> Invocation + 'a;

/// Runs under one load after the other. Each has prompts of its own.
pub(crate) struct Ladder<'a> {
    series: RunSeries<'a>,
    runner: &'a Runner<'a>,
    /// The Spec of all steps, except for what the plan changes.
    base: Spec,
    plan: &'a LadderPlan,
    invocation: &'a InvocationFn<'a>,
    /// The last step that was measured.
    previous: Option<MeasuredLoad>,
    /// The number of steps without any answer since the last one with answers.
    failures: usize,
    is_ended: bool,
}

/// One step of a ladder.
pub(crate) struct LadderStep {
    /// The load of the step.
    pub load: StepLoad,
    /// How this step alone would be requested.
    pub invocation: Invocation,
    /// The Run and its Records, or why there is none.
    pub measured: Result<(Run, RunRecords), Error>,
    /// The rule that ends the ladder after this step.
    pub ended_by: Option<StopRule>,
    /// The rules that this step cannot answer, because it does not have their metrics.
    pub undecided: Vec<StopRule>,
}

impl<'a> Ladder<'a> {
    /// Creates a ladder. Its first step is already prepared; `base` is the Spec before the plan's changes.
    pub(crate) fn new(
        runner: &'a Runner<'a>,
        (base, first): (Spec, PreparedRun),
        plan: &'a LadderPlan,
        invocation: &'a InvocationFn<'a>,
    ) -> Self {
        let series = RunSeries::new(runner, first);
        Self { series, runner, base, plan, invocation, previous: None, failures: 0, is_ended: false }
    }

    /// Notes what a step says about the steps to come.
    fn learn(&mut self, load: StepLoad, step: &LadderStep) {
        let throughput = MetricId::scalar("request_throughput");
        let answered =
            step.measured.as_ref().ok().map(|(run, _)| run).filter(|run| run.metrics.completed > 0);
        match answered {
            Some(run) => {
                let rate = throughput.and_then(|id| id.value(run));
                self.previous = rate.map(|rate| MeasuredLoad { load, rate }).or(self.previous);
                self.failures = 0;
            }
            None => self.failures += 1,
        }
        self.is_ended = step.ended_by.is_some() || self.failures == MAX_FAILURES;
    }
}

impl Iterator for Ladder<'_> {
    type Item = LadderStep;

    /// Measures the next step; `None` after the last one, after one that ends the ladder, or when the user has asked
    /// for the end.
    fn next(&mut self) -> Option<LadderStep> {
        let begun = self.series.begun();
        let load = *self.plan.loads.get(begun)?;
        if self.is_ended || self.runner.session().stop_handle().is_requested() {
            return None;
        }
        let spec = self.plan.step_spec(&self.base, begun, self.previous);
        let invocation = (self.invocation)(load, &spec);
        let name = load.to_string();
        let begins = Event::Step { number: begun + 1, of: self.plan.loads.len(), load: &name };
        let measured = self.series.measure_next(spec, &begins, &invocation)?;
        let (ended_by, undecided) = self.plan.stop(measured.as_ref().ok().map(|(run, _)| run));
        let step = LadderStep { load, invocation, measured, ended_by, undecided };
        self.learn(load, &step);
        Some(step)
    }
}
