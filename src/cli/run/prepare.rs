//! Makes the workload before the clock starts, with a bar.

use std::sync::Mutex;

use uuid::Uuid;

use super::stage::Stage;
use crate::cli::exit::{Halt, say};
use crate::core::rng::Dice;
use crate::core::spec::{self, Dataset, Form, Salt, Spec, Unique};
use crate::drive::client::wire::Wire;
use crate::drive::tokenizer::{Hub, Tokenizer};
use crate::drive::workload::salt::Salter;
use crate::drive::workload::sessions::{self, Manners};
use crate::drive::workload::{self, OnProgress, Progress as Step, Workload, WorkloadError, hub};
use crate::report::progress::{Medium, Progress, Unit};

/// The measured requests, and behind them those of the warm-up: prompts of their own, so that no measured prompt is in
/// the server's prefix cache already.
///
/// A trace, or a file of sessions, may have fewer requests than were asked for: then the Spec says how many there are to measure.
pub fn workload(spec: &mut Spec, dice: &mut Dice, stage: &Stage, medium: Medium) -> Result<Workload, Halt> {
    let mut wanted = spec::Workload { spare: spec.load.warmup_prompts(), ..spec.workload.clone() };
    let display = Mutex::new(Preparing::new(medium));
    let show = |step: Step| display.lock().expect("a bar does not panic").show(step);
    let fetched = fetch(&mut wanted, stage, &show);
    let workload = fetched.and_then(|()| workload::prepare(&wanted, dice, stage.tokenizer(), &show));
    display.into_inner().expect("a bar does not panic").clear();
    let workload = workload.map_err(Halt::usage)?;
    let measured = sessions::count(sessions::split_last(&workload.requests, wanted.spare).0);
    if measured == 0 {
        return Err(Halt::usage(
            "the dataset has no more requests than the warm-up takes: lower --num-warmups",
        ));
    }
    spec.workload.num_prompts = measured;
    Ok(workload)
}

/// Downloads what the run needs of a hub dataset.
fn fetch(wanted: &mut spec::Workload, stage: &Stage, progress: &OnProgress<'_>) -> Result<(), WorkloadError> {
    let rows = wanted
        .num_prompts
        .saturating_add(wanted.spare)
        .saturating_mul(ROWS_A_PROMPT)
        .saturating_add(SPARE_ROWS);
    let hub = Hub::from_env();
    match &mut wanted.dataset {
        Dataset::Hf(hf) => *hf = stage.runtime().block_on(hub::fetch(hf, rows, &hub, progress))?,
        Dataset::SpeedBench(bench) => {
            *bench = stage.runtime().block_on(hub::fetch_speed_bench(bench, rows, &hub, progress))?;
        }
        _ => {}
    }
    Ok(())
}

/// Rows of a hub dataset that are downloaded for a prompt: some will be out of bounds.
const ROWS_A_PROMPT: usize = 3;
/// And for a run.
const SPARE_ROWS: usize = 1000;

/// Prompts stay as they are where the model has no chat template; that is said, and stored with the result.
pub fn settle_form(spec: &mut Spec, tokenizer: &Tokenizer) -> Result<(), Halt> {
    let rendered: Vec<&mut Form> =
        spec.workload.forms_mut().filter(|form| matches!(form, Form::Rendered { .. })).collect();
    if !rendered.is_empty() && tokenizer.chat().map_err(Halt::usage)?.is_none() {
        rendered.into_iter().for_each(|form| *form = Form::Text);
        say(format_args!(
            "warning: no chat template beside tokenizer {}: prompts are sent as they are; --skip-chat-template says that \
             this is meant",
            tokenizer.describe().origin
        ));
    }
    Ok(())
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

/// What makes the prompts this run's own, counted into their lengths, where the Spec asks for it.
pub fn salter(
    spec: &mut Spec,
    workload: &mut Workload,
    tokenizer: &Tokenizer,
) -> Result<Option<Salter>, Halt> {
    let Some(unique) = new_salt(spec) else { return Ok(None) };
    let salter = Salter::new(unique, spec.sessions.history, tokenizer).map_err(Halt::usage)?;
    salter.count_into(&mut workload.requests).map_err(Halt::usage)?;
    Ok(Some(salter))
}

/// Draws another salt for a run that has one.
pub fn new_salt(spec: &mut Spec) -> Option<Unique> {
    let unique = spec.workload.unique.as_mut()?;
    unique.salt = Salt(Uuid::new_v4().as_u64_pair().0);
    Some(*unique)
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
