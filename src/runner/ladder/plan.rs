//! The plan of a ladder: its loads, and the Spec of each step.

use std::time::Duration;

use crate::model::run::Run;
use crate::model::run_spec::{Load, RateSchedule, Spec};
use crate::model::step_load::{CapFollowers, StepLoad};
use crate::model::stop_rule::StopRule;

/// The number of requests of a step for which neither a number nor a duration is given, as of any run.
const REQUESTS: f64 = 1000.0;

/// The number of requests for each of a closed loop's slots. The ramp at the beginning and the drain at the end are
/// then a small part of the step.
const REQUESTS_A_SLOT: f64 = 20.0;

/// The shortest time of a step at a rate, so that a high rate shows more than a burst.
const SHORTEST: f64 = 30.0;

/// The longest time of a step. One request at a time would otherwise take an hour.
const LONGEST: f64 = 120.0;

/// The number of prompts for each slot of a closed loop that lasts for a given time, if its speed is not known.
const PROMPTS_A_SLOT: f64 = 100.0;

/// The factor by which the prompts exceed what a closed loop is expected to take in a given time.
const SPARE: f64 = 2.0;

/// The most prompts that are made for a given time.
const MOST_PROMPTS: f64 = 100_000.0;

/// The warm-up of a step at a rate.
const WARMUP: Duration = Duration::from_secs(10);

/// The loads of a ladder, and what its steps do not take from the Spec.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LadderPlan {
    /// The loads, in order.
    pub loads: Vec<StepLoad>,
    /// The number of requests of a step.
    pub prompts: StepPrompts,
    /// Whether each step has a warm-up that fits its load, because the user gave none.
    pub adds_warmup: bool,
    /// What follows the cap.
    pub followers: CapFollowers,
    /// The rules that end the ladder early.
    pub until: Vec<StopRule>,
}

/// The number of requests of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StepPrompts {
    /// The Spec's number, for each step.
    Given,
    /// This number for each request in flight.
    PerSlot(usize),
    /// As many as the Spec's duration takes.
    ForDuration,
    /// About a thousand, within two minutes.
    Default,
}

/// A load that was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct MeasuredLoad {
    /// The load.
    pub load: StepLoad,
    /// The answered requests per second.
    pub rate: f64,
}

impl LadderPlan {
    /// The Spec of the step at this position, given the last step that was measured.
    pub(crate) fn step_spec(&self, base: &Spec, position: usize, previous: Option<MeasuredLoad>) -> Spec {
        let mut spec = base.clone();
        spec.seed = base.seed.wrapping_add(position as u64);
        let Some(step) = self.loads.get(position) else { return spec };
        spec.load = step.apply(&base.load, self.followers);
        if self.adds_warmup {
            add_warmup(&mut spec.load);
        }
        if let Some(prompts) = self.prompts(&mut spec.load, *step, previous) {
            spec.load.cycle = false;
            spec.workload.num_prompts = spec.workload.dataset.requests_for(prompts);
        }
        spec
    }

    /// The number of prompts of a step; `None` means the number in the Spec. Sets the step's duration if the ladder decides it.
    fn prompts(&self, load: &mut Load, step: StepLoad, previous: Option<MeasuredLoad>) -> Option<usize> {
        match self.prompts {
            StepPrompts::Given => None,
            StepPrompts::PerSlot(each) => load.max_concurrency.map(|cap| cap.get().saturating_mul(each)),
            StepPrompts::ForDuration => {
                let time = load.duration?;
                let by_rate = load.is_paced().then(|| load.requests_within(time)).flatten();
                by_rate.or_else(|| Some(closed_loop_prompts(slots(load)?, time, step, previous)))
            }
            StepPrompts::Default if load.is_paced() => {
                let time = (REQUESTS / load.request_rate.get()).clamp(SHORTEST, LONGEST);
                let time = Duration::from_secs_f64(time.ceil());
                load.duration = Some(time);
                load.requests_within(time)
            }
            StepPrompts::Default => {
                let slots = slots(load)?;
                load.duration = Some(Duration::from_secs_f64(LONGEST));
                Some((REQUESTS_A_SLOT * slots).max(REQUESTS) as usize)
            }
        }
    }

    /// The rule that ends the ladder after a step, and the rules that the step cannot answer. A step without a Run
    /// answers none.
    pub(super) fn stop(&self, run: Option<&Run>) -> (Option<StopRule>, Vec<StopRule>) {
        let Some(run) = run.filter(|run| !run.interrupted) else { return (None, Vec::new()) };
        let ends = self.until.iter().find(|rule| rule.is_true(run) == Some(true)).cloned();
        let unknown = self.until.iter().filter(|rule| rule.is_true(run).is_none());
        (ends, unknown.cloned().collect())
    }
}

/// The number of a closed loop's slots.
fn slots(load: &Load) -> Option<f64> {
    load.closed_loop_size().map(|size| size.get() as f64)
}

/// Adds a warm-up: as many requests as are in flight, or some seconds of a rate. Rates that change have none.
fn add_warmup(load: &mut Load) {
    match (&load.pace, load.is_paced(), load.closed_loop_size()) {
        (RateSchedule::Steady, true, _) => load.warmup = Some(WARMUP),
        (RateSchedule::Steady, false, Some(size)) => load.num_warmups = size.get(),
        _ => {}
    }
}

/// Enough prompts for a closed loop of this duration, so that none is sent twice. The speed of the step before tells
/// how many the server takes.
fn closed_loop_prompts(slots: f64, time: Duration, step: StepLoad, previous: Option<MeasuredLoad>) -> usize {
    let expected = previous.map_or(0.0, |known| {
        let growth = (step.value() / known.load.value()).max(1.0);
        SPARE * known.rate * growth * time.as_secs_f64()
    });
    expected.min(MOST_PROMPTS).max(PROMPTS_A_SLOT * slots).max(REQUESTS).ceil() as usize
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;
    use crate::model::units::Rate;
    use crate::testing::sample_run;

    const MINUTE: Duration = Duration::from_secs(60);

    fn cap(number: usize) -> StepLoad {
        StepLoad::Concurrency(NonZeroUsize::new(number).unwrap())
    }

    fn rate(per_second: f64) -> StepLoad {
        StepLoad::Rate(Rate::per_second(per_second).unwrap())
    }

    fn plan(loads: &[StepLoad], prompts: StepPrompts) -> LadderPlan {
        let followers = CapFollowers::default();
        LadderPlan { loads: loads.to_vec(), prompts, adds_warmup: true, followers, until: Vec::new() }
    }

    /// A Spec of 10 requests with this load.
    fn base(load: Load) -> Spec {
        let mut spec = Spec { load, ..sample_run::run(false).spec };
        spec.workload.num_prompts = 10;
        spec
    }

    #[test]
    fn steps_differ_in_their_load_seed_and_warm_up_only() {
        let base = base(Load::closed(1));
        let plan = plan(&[cap(1), cap(8)], StepPrompts::Given);
        let second = plan.step_spec(&base, 1, None);
        let expected = Load { num_warmups: 8, ..Load::closed(8) };
        assert_eq!(second, Spec { seed: base.seed + 1, load: expected, ..base.clone() });
        let own = LadderPlan { adds_warmup: false, ..plan };
        assert_eq!(own.step_spec(&base, 1, None).load, Load::closed(8));
    }

    #[test]
    fn a_step_has_about_a_thousand_requests_within_two_minutes() {
        let number = |step: StepLoad, load: Load| {
            let spec = plan(&[step], StepPrompts::Default).step_spec(&base(load), 0, None);
            (spec.workload.num_prompts, spec.load.duration.map(|time| time.as_secs()))
        };
        assert_eq!(number(cap(1), Load::closed(1)), (1000, Some(120)));
        assert_eq!(number(cap(256), Load::closed(1)), (5120, Some(120)));
        assert_eq!(number(rate(1.0), Load::default()), (120, Some(120)));
        assert_eq!(number(rate(20.0), Load::default()), (1000, Some(50)));
        assert_eq!(number(rate(200.0), Load::default()), (6000, Some(30)));
        assert_eq!(
            number(rate(f64::INFINITY), Load::default()),
            (10, None),
            "all at once, as without a ladder"
        );
    }

    #[test]
    fn a_step_of_a_given_time_has_prompts_for_all_of_it() {
        let plan = plan(&[cap(1), cap(64)], StepPrompts::ForDuration);
        let base = base(Load { cycle: true, ..Load::closed(1).duration(MINUTE) });
        let number = |position, previous| {
            let spec = plan.step_spec(&base, position, previous);
            assert!(!spec.load.cycle && spec.load.duration == Some(MINUTE));
            spec.workload.num_prompts
        };
        assert_eq!((number(0, None), number(1, None)), (1000, 6400));
        // 5 req/s of one user are at most 320 of 64, for a minute, and as many to spare.
        assert_eq!(number(1, Some(MeasuredLoad { load: cap(1), rate: 5.0 })), 38_400);
        assert_eq!(number(1, Some(MeasuredLoad { load: cap(1), rate: 1e6 })), 100_000);
        let rates = LadderPlan { loads: vec![rate(20.0)], ..plan };
        let spec = rates.step_spec(&self::base(Load::default().duration(MINUTE)), 0, None);
        assert_eq!((spec.workload.num_prompts, spec.load.warmup), (1200, Some(WARMUP)));
    }

    #[test]
    fn a_factor_counts_requests_for_each_in_flight() {
        let plan = plan(&[cap(1), cap(8)], StepPrompts::PerSlot(10));
        let number = |position| plan.step_spec(&base(Load::closed(1)), position, None).workload.num_prompts;
        assert_eq!((number(0), number(1)), (10, 80));
    }

    #[test]
    fn rules_end_a_ladder_and_those_without_an_answer_are_named() {
        let until = ["ttft.mean>1s", "goodput_ratio<90%", "ttft.mean>50ms"].map(|rule| rule.parse().unwrap());
        let plan = LadderPlan { until: until.to_vec(), ..plan(&[cap(1)], StepPrompts::Given) };
        let mut run = sample_run::run(false);
        let (ended_by, undecided) = plan.stop(Some(&run));
        assert_eq!((ended_by, undecided), (Some(until[2].clone()), vec![until[1].clone()]));
        assert_eq!(plan.stop(None), (None, Vec::new()));
        run.interrupted = true;
        assert_eq!(plan.stop(Some(&run)), (None, Vec::new()));
    }
}
