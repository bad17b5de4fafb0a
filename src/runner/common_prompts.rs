//! What the prompts of a workload have in common, which a prefix cache saves.

use serde::{Deserialize, Serialize};

use crate::dataset::PreparedWorkload;
use crate::dataset::shared_prefix::CommonPrefixes;
use crate::model::run_spec::{SaltScope, Spec};
use crate::model::spool::SpoolError;

/// What the prompts of a workload have in common.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct CommonPrompts {
    /// Prompts of the workload that repeat others although none is meant to.
    pub repeated: usize,
    /// The number of tokens that the prompts share by design of the workload.
    pub shared: u64,
}

impl CommonPrompts {
    /// Compares the prompts with each other.
    ///
    /// # Errors
    /// When the prompts fit neither into memory nor into a temporary file.
    pub(super) fn of(spec: &Spec, workload: &PreparedWorkload) -> Result<Self, SpoolError> {
        let prefixes = CommonPrefixes::compute(workload.requests.all())?;
        let shared = prefixes.shared_tokens();
        if are_unique(spec) {
            return Ok(Self { repeated: 0, shared });
        }
        let prefix = spec.workload.dataset.shared_prefix();
        let sharing = prefix.map_or(0, |prefix| prefixes.sharing_blocks(prefix > 0));
        Ok(Self { repeated: workload.provenance.repeated + sharing, shared })
    }
}

/// Whether each session began with a unique prefix.
pub(super) fn are_unique(spec: &Spec) -> bool {
    spec.workload.unique.is_some_and(|unique| unique.scope == SaltScope::Session)
}
