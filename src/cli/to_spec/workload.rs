//! Converts the workload flags.

use super::dataset::dataset;
use super::dataset_flags::{bounds, dataset_name, form};
use super::{mix, sessions};
use crate::cli::args::values::Amount;
use crate::cli::args::{LoraAssignmentName, RngName, RunArgs, WorkloadArgs};
use crate::model::run_spec::{
    Backend, Dataset, DatasetSampling, Load, LoraAdapters, LoraAssignment, RateSchedule, RngKind, Salt,
    SaltScope, UniquePrefix, WorkloadSpec,
};

/// vLLM's default for `--num-prompts`.
const NUM_PROMPTS: usize = 1000;

/// Builds the workload.
pub(super) fn workload(args: &RunArgs, backend: Backend, load: &Load) -> Result<WorkloadSpec, String> {
    let flags = &args.workload;
    let dataset = match &flags.workload {
        Some(path) => mix::mix(path, args)?,
        None => {
            let name = dataset_name(flags, args.target.sim);
            match sessions::dataset(args, name)? {
                Some(sessions) => sessions,
                None => {
                    let plain = dataset(name, flags, &args.trace, load.pace == RateSchedule::Trace)?;
                    sessions::with_history(plain, &args.sessions)?
                }
            }
        }
    };
    if flags.num_prompts == Some(Amount::All) && !dataset.is_finite() {
        return Err(format!(
            "--num-prompts -1 sends all that a file has, and {} prompts have no end: give a number",
            dataset.name()
        ));
    }
    let num_prompts = dataset.requests_for(num_prompts(args, load));
    Ok(WorkloadSpec {
        form: form(&flags.form, backend, &dataset),
        bounds: bounds(&flags.form),
        tokenizer: flags.tokenizer.clone(),
        draw: DatasetSampling { shuffle: !flags.disable_shuffle, oversample: !flags.no_oversample },
        strict: flags.strict,
        lora: lora(flags),
        unique: flags.unique_prompts.then(|| unique(&dataset)),
        ..WorkloadSpec::new(dataset, num_prompts)
    })
}

/// Returns the unique prefix without a salt: each run draws its own when it is prepared.
fn unique(dataset: &Dataset) -> UniquePrefix {
    let scope = if dataset.has_shared_prefixes() { SaltScope::Run } else { SaltScope::Session };
    UniquePrefix { salt: Salt::default(), scope }
}

/// Returns the kind of random numbers.
pub(super) fn rng(args: &WorkloadArgs) -> RngKind {
    match args.rng {
        RngName::Python => RngKind::Python,
        RngName::Native => RngKind::Native,
    }
}

fn lora(args: &WorkloadArgs) -> Option<LoraAdapters> {
    let assignment = match args.lora_assignment {
        LoraAssignmentName::Random => LoraAssignment::Random,
        LoraAssignmentName::RoundRobin => LoraAssignment::RoundRobin,
        LoraAssignmentName::Zipf => LoraAssignment::Zipf,
    };
    let modules = args.lora_modules.clone();
    (!modules.is_empty()).then_some(LoraAdapters { modules, assignment })
}

/// Whether a flag gives the number of prompts.
pub(super) fn is_counted(args: &RunArgs) -> bool {
    args.workload.num_prompts.is_some() || by_factor(args).is_some()
}

/// Returns the number of prompts by `--num-prompts-factor`, which takes precedence over `--num-prompts` as in vLLM, and
/// has nothing to multiply without a cap.
fn by_factor(args: &RunArgs) -> Option<usize> {
    let factor = args.ladder.num_prompts_factor?;
    args.load.first_cap().map(|cap| cap.get().saturating_mul(factor.get()))
}

/// Returns the given number of prompts; else the number due within the duration, or all of a trace; else vLLM's
/// default of a thousand.
fn num_prompts(args: &RunArgs, load: &Load) -> usize {
    if let Some(prompts) = by_factor(args) {
        return prompts;
    }
    let stretch = load.duration.is_some() || args.trace.trace_window.is_some();
    match (args.workload.num_prompts, load.duration) {
        (Some(Amount::Exactly(asked)), _) => asked.get(),
        (Some(Amount::All), _) => WorkloadSpec::ALL,
        (None, _) if load.pace == RateSchedule::Trace && stretch => WorkloadSpec::ALL,
        (None, Some(duration)) => load.requests_within(duration).unwrap_or(NUM_PROMPTS),
        (None, None) => NUM_PROMPTS,
    }
}
