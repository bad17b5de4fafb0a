//! Makes the workload before the clock starts, with a bar.

use std::sync::Mutex;

use crate::cli::exit::Halt;
use crate::core::rng::Dice;
use crate::core::spec::{self, Spec};
use crate::drive::client::wire::Wire;
use crate::drive::tokenizer::Tokenizer;
use crate::drive::workload::sessions::{self, Manners};
use crate::drive::workload::{self, Progress as Step, Workload};
use crate::report::progress::{Medium, Progress, Unit};

/// The measured requests, and behind them those of the warm-up: prompts of their own, so that no measured prompt is in
/// the server's prefix cache already.
pub fn workload(
    spec: &Spec,
    dice: &mut Dice,
    tokenizer: &Tokenizer,
    medium: Medium,
) -> Result<Workload, Halt> {
    let wanted = spec::Workload { spare: spec.load.warmup_prompts(), ..spec.workload.clone() };
    let display = Mutex::new(Preparing::new(medium));
    let show = |step: Step| display.lock().expect("a bar does not panic").show(step);
    let workload = workload::prepare(&wanted, dice, tokenizer, &show);
    display.into_inner().expect("a bar does not panic").clear();
    workload.map_err(Halt::usage)
}

/// Whether the endpoint takes what the dataset gives: found out before the first request.
pub fn check(spec: &Spec, workload: &Workload) -> Result<(), Halt> {
    let wire = Wire::of(spec.target.backend);
    match workload.requests.iter().find_map(|request| wire.cannot_say(request)) {
        None => Ok(()),
        Some(what) => Err(Halt::usage(format!(
            "--backend {} cannot send the dataset's requests: {what} (see `--backend` in --help)",
            spec.target.backend.name(),
        ))),
    }
}

/// Gives the users of the workload their manners.
pub fn behave(spec: &Spec, workload: &mut Workload) {
    let given = spec.sampling.ignore_eos || spec.sampling.extra_body.contains_key("min_tokens");
    let manners = Manners {
        think: spec.sessions.think,
        cancel: spec.cancel,
        whole_answers: !given && sessions::asks_for_whole_answers(&spec.workload.dataset),
    };
    sessions::behave(workload, &manners, spec.seed);
}

/// One bar after the other: reading, then counting.
pub struct Preparing {
    medium: Medium,
    bar: Option<(Unit, Progress)>,
}

impl Preparing {
    /// Nothing is shown yet.
    pub fn new(medium: Medium) -> Self {
        Self { medium, bar: None }
    }

    /// Shows how far the preparation is.
    pub fn show(&mut self, step: Step) {
        let (name, unit, position, total) = match step {
            Step::Reading { bytes, total } => ("reading", Unit::Bytes, bytes, total),
            Step::Tokenizing { done, of } => ("tokenizing", Unit::Count, done as u64, Some(of as u64)),
        };
        if self.bar.as_ref().is_none_or(|(shown, _)| *shown != unit) {
            self.clear();
            self.bar = Some((unit, Progress::new(name, total, unit, self.medium)));
        }
        if let Some((_, bar)) = &mut self.bar {
            bar.show(position, String::new);
        }
    }

    /// Takes the bar off the screen.
    pub fn clear(&mut self) {
        if let Some((_, bar)) = self.bar.take() {
            bar.finish();
        }
    }
}
