//! The requests of a run that several processes on one host send: the first process prepares them for all.

use std::io;
use std::os::unix::process::parent_id;

use serde::{Deserialize, Serialize};
use tracing::info;

use crate::dataset::PreparedWorkload;
use crate::dataset::requests::{Requests, RequestsHandle};
use crate::model::dataset::Provenance;
use crate::model::digest::Digest;
use crate::model::rng::RunRng;
use crate::model::run_spec::Spec;

/// The requests that a process has prepared, as the processes that it started can read them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SharedWorkload {
    /// The id of the process that has prepared them.
    process: u32,
    requests: RequestsHandle,
    provenance: Provenance,
    prompts: Option<Digest>,
    /// The number of measured requests or sessions.
    num_prompts: usize,
    /// Keeps the files in the process that has prepared the requests.
    #[serde(skip)]
    _files: Option<Requests>,
}

impl SharedWorkload {
    /// Whether the requests of a Spec may be shared: each process adds nothing of its own to them.
    pub(super) fn may_be_of(spec: &Spec) -> bool {
        spec.workload.unique.is_none()
    }

    /// The requests that were prepared for a Spec, with their digest and the random generator after that; `None` if other
    /// processes have to prepare them themselves, because they would lack something: due times of a trace, or the state
    /// of the generator.
    pub(super) fn of(
        spec: &Spec,
        workload: &PreparedWorkload,
        prompts: Option<&Digest>,
        dice: &RunRng,
    ) -> Option<Self> {
        let is_all = workload.arrivals.is_none() && *dice == RunRng::new(spec.rng, spec.seed);
        if !is_all || !Self::may_be_of(spec) {
            return None;
        }
        let shared = workload.requests.share();
        let (files, requests) =
            shared.inspect_err(|error| info!(%error, "each process prepares the requests")).ok()?;
        Some(Self {
            process: std::process::id(),
            requests,
            provenance: workload.provenance.clone(),
            prompts: prompts.cloned(),
            num_prompts: spec.workload.num_prompts,
            _files: Some(files),
        })
    }

    /// Opens the requests, which the process that started this one has prepared for this Spec. Also returns their digest.
    ///
    /// # Errors
    /// If another process than that has prepared them, or if this process cannot open its files.
    pub(super) fn open(self, spec: &mut Spec) -> io::Result<(PreparedWorkload, Option<Digest>)> {
        let Self { process, requests, provenance, prompts, num_prompts, .. } = self;
        if process != parent_id() {
            return Err(io::Error::other("another process than the one that started this one prepared them"));
        }
        let requests = Requests::open(requests, process)?;
        spec.workload.num_prompts = num_prompts;
        Ok((PreparedWorkload { requests, arrivals: None, provenance }, prompts))
    }
}
