//! Removes secrets from a run before it is stored.

use crate::model::run::RunLabels;
use crate::model::run_spec::Spec;
use crate::model::secrets;

/// Returns a Spec without the secrets in its URL and in the fields added to its bodies.
pub(crate) fn spec(spec: &Spec) -> Spec {
    let mut spec = spec.clone();
    spec.target.base_url = secrets::mask_url(&spec.target.base_url);
    spec.target.endpoint = secrets::mask_url(&spec.target.endpoint);
    spec.sampling.extra_body = secrets::mask_object(&spec.sampling.extra_body);
    spec
}

/// Returns the user's labels without secrets.
pub(crate) fn notes(mut notes: RunLabels) -> RunLabels {
    for (key, value) in &mut notes.metadata {
        *value = secrets::mask_flag_value(key, value);
    }
    notes
}
