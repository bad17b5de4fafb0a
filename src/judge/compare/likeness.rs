//! Whether two runs asked the same of their servers: what was sent, when, and what counts as good.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::Value;

use crate::core::run::{Inputs, Run};
use crate::core::spec::Spec;

/// What may differ between runs that are compared: where the server is, who asks, and which draw of the load it is. Files
/// and tokenizers may lie elsewhere: their content is compared.
const FREE: [&str; 14] = [
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
    "target.served_model_name",
    "workload.tokenizer",
    "workload.unique.salt",
];

/// A field in which two runs differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unlike {
    /// Its place in the saved run: `load.request_rate`.
    pub field: String,
    /// What the baseline has.
    pub base: String,
    /// What the candidate has.
    pub candidate: String,
}

impl fmt::Display for Unlike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} in the baseline, {} in the candidate", self.field, self.base, self.candidate)
    }
}

impl Unlike {
    /// The fields in which two runs differ and should not.
    pub fn between(base: &Run, candidate: &Run) -> Vec<Self> {
        let mut found = Self::between_specs(&base.spec, &candidate.spec);
        found.extend(Self::between_inputs((&base.spec, &base.inputs), (&candidate.spec, &candidate.inputs)));
        found
    }

    /// The same before a candidate has run.
    pub fn between_specs(base: &Spec, candidate: &Spec) -> Vec<Self> {
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

    /// The fields in which what they were fed differs: the tokenizer, the data, and, drawn with the same seed, the prompts.
    pub fn between_inputs(base: (&Spec, &Inputs), candidate: (&Spec, &Inputs)) -> Vec<Self> {
        let same_draw = (base.0.seed, base.0.rng) == (candidate.0.seed, candidate.0.rng);
        let of = |inputs: &Inputs| {
            let origin = &inputs.tokenizer.origin;
            let tokenizer = match &inputs.tokenizer.sha256 {
                Some(sha256) => sha256.to_string(),
                // Wherever it is.
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

/// Every value of a spec that must be alike, by its place.
fn fields(spec: &Spec) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let spec = serde_json::to_value(spec).expect("a Spec has only string keys");
    walk(String::new(), &spec, &mut found);
    found.retain(|field, _| !is_free(field));
    found
}

fn is_free(field: &str) -> bool {
    let within =
        |place: &str| field.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    FREE.into_iter().any(within) || (field.starts_with("workload.dataset.") && field.ends_with(".path"))
}

fn walk(place: String, value: &Value, found: &mut BTreeMap<String, String>) {
    let inner = |key: &str| if place.is_empty() { key.to_owned() } else { format!("{place}.{key}") };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| walk(inner(key), value, found)),
        Value::Array(values) => {
            values.iter().enumerate().for_each(|(i, value)| walk(inner(&i.to_string()), value, found));
        }
        // As good as absent.
        Value::Null => {}
        Value::String(text) => _ = found.insert(place, text.clone()),
        other => _ = found.insert(place, other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::digest::Digest;
    use crate::core::run::sample;
    use crate::core::spec::{Salt, SaltScope, Unique};
    use crate::core::units::Rate;

    fn names(base: &Run, candidate: &Run) -> Vec<String> {
        Unlike::between(base, candidate).into_iter().map(|unlike| unlike.field).collect()
    }

    #[test]
    fn where_the_server_is_and_which_draw_it_was_makes_no_run_unlike() {
        let base = sample::run(false);
        let mut candidate = base.clone();
        candidate.spec.target.base_url = "http://elsewhere:1".into();
        candidate.spec.seed = 99;
        candidate.inputs.prompts = Some(Digest::of(b"another draw"));
        candidate.notes.label = Some("b".into());
        let unique = |salt| Some(Unique { salt: Salt(salt), scope: SaltScope::Session });
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
        let base = sample::run(false);
        let mut candidate = base.clone();
        candidate.spec.load.request_rate = Rate::per_second(40.0).unwrap();
        candidate.spec.target.model = "other".into();
        candidate.spec.slo.ttft = Some(std::time::Duration::from_millis(500));
        candidate.spec.sampling.ignore_eos = !candidate.spec.sampling.ignore_eos;
        let expected = ["load.request_rate", "sampling.ignore_eos", "slo.ttft_s", "target.model"];
        assert_eq!(names(&base, &candidate), expected);
        let lines: Vec<String> = Unlike::between(&base, &candidate).iter().map(ToString::to_string).collect();
        assert_eq!(lines[0], "load.request_rate: 20.0 in the baseline, 40.0 in the candidate");
        assert_eq!(lines[2], "slo.ttft_s: nothing in the baseline, 0.5 in the candidate");
    }

    #[test]
    fn other_prompts_for_the_same_seed_and_another_tokenizer_are_unlike() {
        let base = sample::run(false);
        let mut candidate = base.clone();
        candidate.inputs.prompts = Some(Digest::of(b"other prompts"));
        candidate.inputs.tokenizer.origin = "another".into();
        assert_eq!(names(&base, &candidate), ["inputs.tokenizer", "inputs.prompts"]);
    }
}
