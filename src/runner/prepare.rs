//! Makes the requests before the clock starts.

use tracing::info;
use uuid::Uuid;

use super::error::Error;
use super::event::{Event, Phase, Warning};
use super::session::Session;
use crate::client::protocol::Protocol;
use crate::dataset::fingerprint::RequestHasher;
use crate::dataset::salt::PromptSalter;
use crate::dataset::sessions::{self, UserBehavior};
use crate::dataset::{self, PreparedWorkload, ProgressFn, hub};
use crate::model::dataset::Provenance;
use crate::model::digest::Digest;
use crate::model::rng::RunRng;
use crate::model::run_spec::{self, Dataset, PromptFormat, Salt, Spec, UniquePrefix};
use crate::tokenizer::HfHub;

/// Makes the measured requests, followed by those of the warm-up. The warm-up has its own prompts, so that no measured
/// prompt is already in the server's prefix cache.
///
/// A trace, or a file of sessions, may have fewer requests than the Spec asks for. Then the number in the Spec is
/// reduced.
pub(super) fn workload(
    spec: &mut Spec,
    dice: &mut RunRng,
    session: &Session,
) -> Result<PreparedWorkload, Error> {
    session.emit(&Event::Phase(Phase::Preparing));
    let mut wanted = run_spec::WorkloadSpec { spare: spec.load.warmup_prompts(), ..spec.workload.clone() };
    let progress = |progress| session.emit(&Event::Preparing(progress));
    let fetched = fetch(&mut wanted, session, &progress);
    let workload =
        fetched.and_then(|()| Ok(dataset::prepare(&wanted, dice, session.tokenizer(), &progress)?));
    session.emit(&Event::Phase(Phase::Prepared));
    let workload = workload?;
    for remark in workload.provenance.notes() {
        session.emit(&Event::Warning(Warning::Dataset(remark)));
    }
    let measured = sessions::session_count(sessions::split_last(workload.requests.all(), wanted.spare).0);
    if measured == 0 {
        return Err(Error::NothingToMeasure);
    }
    spec.workload.num_prompts = measured;
    let Provenance { dataset, path, .. } = &workload.provenance;
    info!(dataset, path, requests = workload.requests.len(), measured, "the requests are prepared");
    Ok(workload)
}

/// Downloads the parts of a hub dataset that the run needs.
fn fetch(
    wanted: &mut run_spec::WorkloadSpec,
    session: &Session,
    progress: &ProgressFn<'_>,
) -> Result<(), Error> {
    let rows = wanted
        .num_prompts
        .saturating_add(wanted.spare)
        .saturating_mul(ROWS_A_PROMPT)
        .saturating_add(SPARE_ROWS);
    let hub = HfHub::from_env();
    match &mut wanted.dataset {
        Dataset::Hf(hf) => {
            *hf = session.wait_for(hub::fetch(hf, rows, &hub, progress))??;
        }
        Dataset::SpeedBench(bench) => {
            *bench = session.wait_for(hub::fetch_speed_bench(bench, rows, &hub, progress))??;
        }
        _ => {}
    }
    Ok(())
}

/// The number of rows of a hub dataset to download for each prompt, because some rows are out of bounds.
const ROWS_A_PROMPT: usize = 3;
/// The number of additional rows to download for a run.
const SPARE_ROWS: usize = 1000;

/// Disables the chat template if the tokenizer has none: prompts then stay unchanged. The Run stores that.
pub(super) fn resolve_chat_template(spec: &mut Spec, session: &Session) -> Result<(), Error> {
    let rendered: Vec<&mut PromptFormat> = spec
        .workload
        .prompt_formats_mut()
        .filter(|form| matches!(form, PromptFormat::Rendered { .. }))
        .collect();
    let tokenizer = session.tokenizer();
    if !rendered.is_empty() && tokenizer.chat_config()?.is_none() {
        rendered.into_iter().for_each(|form| *form = PromptFormat::Text);
        let tokenizer = tokenizer.describe().origin;
        session.emit(&Event::Warning(Warning::NoChatTemplate { tokenizer }));
    }
    Ok(())
}

/// Checks before the first request whether the endpoint accepts what the dataset provides. Returns the digest of the
/// requests, which may be too many to read twice.
pub(super) fn check(spec: &Spec, workload: &PreparedWorkload) -> Result<Digest, Error> {
    let wire = Protocol::for_target(&spec.target);
    let mut hasher = RequestHasher::default();
    for request in &workload.requests {
        if let Some(what) = wire.unsupported_feature(&request) {
            return Err(Error::UnsupportedRequest { backend: spec.target.backend.name(), what });
        }
        hasher.add(&request);
    }
    Ok(hasher.finish())
}

/// Creates the unique prefixes of this run's prompts, if the Spec asks for them. The prefix counts toward the prompt's
/// length. All clients of a run have the same prefixes.
pub(super) fn salter(
    spec: &mut Spec,
    workload: &mut PreparedWorkload,
    session: &Session,
    run: Uuid,
) -> Result<Option<PromptSalter>, Error> {
    let Some(unique) = new_salt(spec, run) else { return Ok(None) };
    let salter = PromptSalter::new(unique, spec.sessions.history, session.tokenizer())?;
    workload.requests.update(|request| salter.count_into(request))?;
    Ok(Some(salter))
}

/// Sets a new salt for a run that has one: each run has another id.
pub(super) fn new_salt(spec: &mut Spec, run: Uuid) -> Option<UniquePrefix> {
    let unique = spec.workload.unique.as_mut()?;
    unique.salt = Salt(run.as_u64_pair().0);
    Some(*unique)
}

/// Sets the users' think times, and which users leave early.
pub(super) fn apply_user_behavior(spec: &Spec, workload: &mut PreparedWorkload) -> Result<(), Error> {
    let given = spec.sampling.ignore_eos || spec.sampling.extra_body.contains_key("min_tokens");
    let behavior = UserBehavior {
        think: spec.sessions.think,
        cancel: spec.cancel,
        whole_answers: !given && sessions::asks_for_whole_answers(&spec.workload.dataset),
    };
    Ok(sessions::apply_behavior(workload, &behavior, spec.seed)?)
}
