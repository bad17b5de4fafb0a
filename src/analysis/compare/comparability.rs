//! Whether two runs used the same configuration: what they sent, when, and what counts as good.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::Value;

use crate::model::run::{Run, RunInputs};
use crate::model::run_spec::Spec;

/// The fields that may differ between compared runs: the server's address, the client, and the seed of the load. Paths
/// of files and tokenizers may differ too, because the comparison uses their content.
const IGNORED_FIELDS: [&str; 15] = [
    "load.workers",
    "max_failure_rate",
    "seed",
    "steadiness",
    "target.base_url",
    "target.connection.ca_cert",
    "target.connection.client_cert",
    "target.connection.client_key",
    "target.headers",
    "target.insecure",
    "target.request_id_prefix",
    "target.no_request_id",
    "target.served_model_name",
    "workload.tokenizer",
    "workload.unique.salt",
];

/// A field in which two runs differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SpecDifference {
    /// The field's path in the saved run, such as `load.request_rate`.
    pub field: String,
    /// The baseline's value.
    pub base: String,
    /// The candidate's value.
    pub candidate: String,
}

impl fmt::Display for SpecDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} in the baseline, {} in the candidate", self.field, self.base, self.candidate)
    }
}

impl SpecDifference {
    /// Returns the fields that differ between two runs and should not.
    pub(crate) fn between(base: &Run, candidate: &Run) -> Vec<Self> {
        let mut found = Self::between_specs(&base.spec, &candidate.spec);
        found.extend(Self::between_inputs((&base.spec, &base.inputs), (&candidate.spec, &candidate.inputs)));
        found
    }

    /// Returns the fields that differ between two specs and should not, before the candidate runs.
    pub(crate) fn between_specs(base: &Spec, candidate: &Spec) -> Vec<Self> {
        let [mut base, mut candidate] = [base, candidate].map(fields);
        let names: Vec<String> = base.keys().chain(candidate.keys()).cloned().collect();
        let mut field = |field: String| {
            let [base, candidate] = [&mut base, &mut candidate].map(|fields| fields.remove(&field));
            Self::field(field, base, candidate)
        };
        let mut found: Vec<Self> = names.into_iter().filter_map(&mut field).collect();
        found.sort_unstable_by(|a, b| a.field.cmp(&b.field));
        found
    }

    /// Returns the inputs that differ: the tokenizer, the data, and, when both sides have the same seed, the prompts.
    pub(crate) fn between_inputs(base: (&Spec, &RunInputs), candidate: (&Spec, &RunInputs)) -> Vec<Self> {
        let same_draw = (base.0.seed, base.0.rng) == (candidate.0.seed, candidate.0.rng);
        let of = |inputs: &RunInputs| {
            let origin = &inputs.tokenizer.origin;
            let tokenizer = match &inputs.tokenizer.sha256 {
                Some(sha256) => sha256.to_string(),
                // The server's address does not matter.
                None if origin.ends_with("/tokenize") => "the server's".into(),
                None => origin.clone(),
            };
            [
                ("inputs.tokenizer", Some(tokenizer)),
                ("inputs.dataset.sha256", inputs.dataset.sha256.as_ref().map(ToString::to_string)),
                ("inputs.prompts", inputs.prompts.as_ref().filter(|_| same_draw).map(ToString::to_string)),
            ]
        };
        let pairs = of(base.1).into_iter().zip(of(candidate.1));
        pairs.filter_map(|((name, base), (_, candidate))| Self::field(name.into(), base, candidate)).collect()
    }

    fn field(field: String, base: Option<String>, candidate: Option<String>) -> Option<Self> {
        let said = |value: Option<String>| value.unwrap_or_else(|| "nothing".into());
        (base != candidate).then(|| Self { field, base: said(base), candidate: said(candidate) })
    }
}

/// Returns each value of a spec that must be equal, by its path.
fn fields(spec: &Spec) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let spec = serde_json::to_value(spec).expect("a Spec has only string keys");
    collect_fields(String::new(), &spec, &mut found);
    found.retain(|field, _| !is_ignored(field));
    found
}

fn is_ignored(field: &str) -> bool {
    let within =
        |place: &str| field.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    IGNORED_FIELDS.into_iter().any(within)
        || (field.starts_with("workload.dataset.") && field.ends_with(".path"))
}

fn collect_fields(place: String, value: &Value, found: &mut BTreeMap<String, String>) {
    let inner = |key: &str| if place.is_empty() { key.to_owned() } else { format!("{place}.{key}") };
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(key, value)| collect_fields(inner(key), value, found))
        }
        Value::Array(values) => {
            values
                .iter()
                .enumerate()
                .for_each(|(i, value)| collect_fields(inner(&i.to_string()), value, found));
        }
        // A null field is equivalent to an absent one.
        Value::Null => {}
        Value::String(text) => _ = found.insert(place, text.clone()),
        other => _ = found.insert(place, other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::digest::Digest;
    use crate::model::run_spec::{Salt, SaltScope, UniquePrefix};
    use crate::model::units::Rate;
    use crate::testing::sample_run;

    fn names(base: &Run, candidate: &Run) -> Vec<String> {
        SpecDifference::between(base, candidate).into_iter().map(|unlike| unlike.field).collect()
    }

    #[test]
    fn where_the_server_is_and_which_draw_it_was_makes_no_run_unlike() {
        let base = sample_run::run(false);
        let mut candidate = base.clone();
        candidate.spec.target.base_url = "http://elsewhere:1".into();
        candidate.spec.seed = 99;
        candidate.inputs.prompts = Some(Digest::from_bytes(b"another draw"));
        candidate.notes.label = Some("b".into());
        let unique = |salt| Some(UniquePrefix { salt: Salt(salt), scope: SaltScope::Session });
        let mut base = base;
        (base.spec.workload.unique, candidate.spec.workload.unique) = (unique(1), unique(2));
        assert_eq!(names(&base, &candidate), Vec::<String>::new());
        let [mut here, mut there] = [base, candidate];
        here.inputs.tokenizer.origin = "http://here:1/tokenize".into();
        there.inputs.tokenizer.origin = "http://there:2/tokenize".into();
        assert_eq!(names(&here, &there), Vec::<String>::new());
    }

    #[test]
    fn another_load_model_or_limit_is_named_with_both_values() {
        let base = sample_run::run(false);
        let mut candidate = base.clone();
        candidate.spec.load.request_rate = Rate::per_second(40.0).unwrap();
        candidate.spec.target.model = "other".into();
        candidate.spec.slo.ttft = Some(std::time::Duration::from_millis(500));
        candidate.spec.sampling.ignore_eos = !candidate.spec.sampling.ignore_eos;
        let expected = ["load.request_rate", "sampling.ignore_eos", "slo.ttft_s", "target.model"];
        assert_eq!(names(&base, &candidate), expected);
        let lines: Vec<String> =
            SpecDifference::between(&base, &candidate).iter().map(ToString::to_string).collect();
        assert_eq!(lines[0], "load.request_rate: 20.0 in the baseline, 40.0 in the candidate");
        assert_eq!(lines[2], "slo.ttft_s: nothing in the baseline, 0.5 in the candidate");
    }

    #[test]
    fn other_prompts_for_the_same_seed_and_another_tokenizer_are_unlike() {
        let base = sample_run::run(false);
        let mut candidate = base.clone();
        candidate.inputs.prompts = Some(Digest::from_bytes(b"other prompts"));
        candidate.inputs.tokenizer.origin = "another".into();
        assert_eq!(names(&base, &candidate), ["inputs.tokenizer", "inputs.prompts"]);
    }
}
