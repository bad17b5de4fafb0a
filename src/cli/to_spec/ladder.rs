//! Converts the flags of a ladder.

use crate::cli::args::RunArgs;
use crate::cli::args::values::ValueList;
use crate::model::run_spec::{RateSchedule, Spec};
use crate::model::step_load::{CapFollowers, StepLoad};
use crate::runner::{LadderPlan, StepPrompts};

/// Builds the plan of a ladder with this Spec of its first step; `None` if no flag has a list.
pub(in crate::cli) fn ladder(args: &RunArgs, spec: &Spec) -> Result<Option<LadderPlan>, String> {
    let Some(loads) = loads(args)? else {
        return match args.ladder.until.first() {
            Some(rule) => Err(format!(
                "--until '{rule}' ends a ladder: give --max-concurrency or --request-rate a list, such as 1,2,4,8"
            )),
            None => Ok(None),
        };
    };
    if args.measure.repeats.get() > 1 {
        return Err("--repeats measures one load several times, and a ladder several loads once: leave out \
                    --repeats, or repeat every load with `servegauge sweep`"
            .into());
    }
    let caps_differ = matches!(loads.first(), Some(StepLoad::Concurrency(_)));
    Ok(Some(LadderPlan {
        prompts: prompts(args, spec, caps_differ),
        adds_warmup: args.load.num_warmups.is_none() && args.load.warmup.is_none(),
        followers: cap_followers(args),
        until: args.ladder.until.clone(),
        loads,
    }))
}

/// Returns the settings that follow the cap, because no flag sets them.
pub(in crate::cli) fn cap_followers(args: &RunArgs) -> CapFollowers {
    CapFollowers {
        sessions: args.sessions.max_active_sessions.is_none(),
        connections: args.load.preconnect == Some(0),
    }
}

/// Lists the flags of a ladder that were given and have no effect, with the reason.
pub(super) fn idle(args: &RunArgs) -> Vec<String> {
    let ladder = &args.ladder;
    let factor = (ladder.num_prompts_factor.is_some() && args.load.max_concurrency.is_none()).then(|| {
        "--num-prompts-factor changes nothing without --max-concurrency, which it multiplies".to_owned()
    });
    let table =
        (ladder.sweep_summary_percentiles.is_some() && args.load.ladder_flag().is_none()).then(|| {
            "--sweep-summary-percentiles changes nothing without a ladder, whose table it extends".to_owned()
        });
    factor.into_iter().chain(table).collect()
}

/// The loads of the steps; `None` if no flag has a list.
fn loads(args: &RunArgs) -> Result<Option<Vec<StepLoad>>, String> {
    let caps = args.load.max_concurrency.as_ref().filter(|caps| caps.is_list());
    let rates = args.load.request_rate.as_ref().filter(|rates| rates.is_list());
    match (caps, rates) {
        (Some(_), Some(_)) => {
            Err("--max-concurrency and --request-rate both have a list: give one of them a single \
                                   value, which holds for every step (`servegauge sweep` measures a grid)"
                .into())
        }
        (Some(caps), None) => Ok(Some(caps.all().map(StepLoad::Concurrency).collect())),
        (None, rates) => Ok(rates.map(|rates| ValueList::all(rates).map(StepLoad::Rate).collect())),
    }
}

fn prompts(args: &RunArgs, spec: &Spec, caps_differ: bool) -> StepPrompts {
    match args.ladder.num_prompts_factor {
        Some(factor) if caps_differ => return StepPrompts::PerSlot(factor.get()),
        Some(_) if args.load.max_concurrency.is_some() => return StepPrompts::Given,
        _ => {}
    }
    let decides_itself = args.workload.num_prompts.is_some() || spec.load.pace != RateSchedule::Steady;
    match (decides_itself, args.load.duration) {
        (true, _) => StepPrompts::Given,
        (false, Some(_)) => StepPrompts::ForDuration,
        (false, None) => StepPrompts::Default,
    }
}
