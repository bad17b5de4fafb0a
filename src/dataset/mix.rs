//! Mixes several datasets. Each request belongs to a class, and classes are drawn by weight.

use std::path::Path;

use rand::distr::Distribution as _;
use rand::distr::weighted::WeightedIndex;

use super::{DatasetError, PrepareContext, PreparedWorkload};
use crate::dataset::requests::RequestReader;
use crate::dataset::rng_stream::RngStream;
use crate::model::dataset::{Provenance, larger_deviation};
use crate::model::digest::DigestHasher;
use crate::model::request::Request;
use crate::model::rng::RunRng;
use crate::model::run_spec::WorkloadClass;

/// Draws the class of each request, prepares each class, and merges the requests in the drawn order.
pub(super) fn prepare(
    path: &Path,
    classes: &[WorkloadClass],
    job: &PrepareContext<'_>,
) -> Result<PreparedWorkload, DatasetError> {
    let path = path.display().to_string();
    let drawn = ClassDraws::new(&path, classes, job)?;
    let by_class = PrepareContext { kept: job.kept / classes.len().max(1), ..*job };
    let mut workloads = Vec::new();
    let mut provenance = Provenance { path: Some(path.clone()), ..Provenance::from_generator("mix") };
    let mut digests = DigestHasher::default();
    for (index, class) in classes.iter().enumerate() {
        let wanted = drawn.iter().filter(|drawn| *drawn == index).count();
        let workload = prepare_class(class, index, wanted, &by_class).map_err(|source| {
            DatasetError::Class { path: path.clone(), class: class.name.clone(), source: Box::new(source) }
        })?;
        let digest = workload.provenance.sha256.as_ref();
        digests.update(digest.map(ToString::to_string).unwrap_or_default().as_bytes());
        add_provenance(&mut provenance, &workload.provenance, wanted.saturating_sub(workload.requests.len()));
        workloads.push(workload);
    }
    provenance.sha256 = Some(digests.finish());
    let mut queues: Vec<ClassQueue<'_>> = workloads.iter().map(ClassQueue::new).collect();
    let mut requests = job.request_sink();
    requests.extend(drawn.iter().filter_map(|class| queues[class].next()))?;
    drop(queues);
    Ok(PreparedWorkload { requests: requests.finish()?, arrivals: None, provenance })
}

/// Draws the class of each request by weight.
struct ClassDraws {
    weights: WeightedIndex<f64>,
    seed: u64,
    count: usize,
}

impl ClassDraws {
    fn new(path: &str, classes: &[WorkloadClass], job: &PrepareContext<'_>) -> Result<Self, DatasetError> {
        let weights = WeightedIndex::new(classes.iter().map(|class| class.weight));
        let weights = weights.map_err(|error| DatasetError::Unmakeable {
            dataset: "mix",
            cause: format!("{path}: the weights of the classes: {error}"),
        })?;
        Ok(Self { weights, seed: job.seed, count: job.num_prompts })
    }

    /// The drawn classes in order. Each call draws the same ones again, so that they need not be kept.
    fn iter(&self) -> impl Iterator<Item = usize> {
        let mut rng = RngStream::Class.rng(self.seed);
        (0..self.count).map(move |_| self.weights.sample(&mut rng))
    }
}

fn add_provenance(sum: &mut Provenance, part: &Provenance, again: usize) {
    sum.candidates += part.candidates;
    sum.repeated += part.repeated + again;
    sum.inexact += part.inexact;
    sum.inexact_by = larger_deviation(sum.inexact_by, part.inexact_by);
    sum.dropped.merge(part.dropped.clone());
    sum.system_prompts += part.system_prompts;
}

/// Prepares the requests of a class.
fn prepare_class(
    class: &WorkloadClass,
    index: usize,
    wanted: usize,
    job: &PrepareContext<'_>,
) -> Result<PreparedWorkload, DatasetError> {
    // Two classes of the same dataset get different prompts. The native RNG is used, because vLLM has no mixes to
    // match.
    let seed = job.seed ^ (index as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let template = super::template_for(&class.form, &class.dataset, job.tokenizer)?;
    let job = PrepareContext {
        num_prompts: wanted,
        measured: wanted,
        seed,
        form: &class.form,
        bounds: class.bounds,
        template: template.as_ref(),
        ..*job
    };
    let mut workload =
        crate::dataset::length_bounds::within_bounds(&class.dataset, &job, &mut RunRng::native(seed))?;
    workload.requests.update(|request| {
        *request = request.clone().with(|own| {
            own.class = Some(class.name.clone());
            own.model = own.model.take().or_else(|| class.adapter.clone());
            let theirs = std::mem::replace(&mut own.body, class.body.clone());
            own.body.extend(theirs);
        });
        Ok::<(), DatasetError>(())
    })?;
    Ok(workload)
}

/// Hands out the requests of a class one by one. When a trace has no more requests, it starts again with the first.
struct ClassQueue<'a> {
    requests: RequestReader<'a>,
    len: usize,
    dealt: usize,
}

impl<'a> ClassQueue<'a> {
    fn new(workload: &'a PreparedWorkload) -> Self {
        Self { requests: workload.requests.all().reader(), len: workload.requests.len(), dealt: 0 }
    }

    fn next(&mut self) -> Option<Request> {
        let index = self.dealt.checked_rem(self.len)?;
        self.dealt += 1;
        Some(self.requests.get(index).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::dataset::bundled;
    use crate::model::run_spec::{Dataset, RandomLengths};

    fn class(name: &str, weight: f64, input_len: u32) -> WorkloadClass {
        let lengths = RandomLengths {
            input_len,
            output_len: 5,
            prefix_len: 0,
            input_range_ratio: 0.0,
            output_range_ratio: 0.0,
            token_ids: false,
        };
        let body = serde_json::from_value(json!({ "temperature": 0.5 })).unwrap();
        let dataset = Dataset::Random(lengths);
        let adapter = Some("sql".into());
        let (form, bounds) = Default::default();
        WorkloadClass { name: name.into(), weight, dataset, body, adapter, slo: None, form, bounds }
    }

    fn mix(classes: &[WorkloadClass], num_prompts: usize, seed: u64) -> PreparedWorkload {
        let tokenizer = bundled::tokenizer();
        let job = PrepareContext { seed, ..PrepareContext::plain(num_prompts, &tokenizer) };
        prepare(Path::new("mix.toml"), classes, &job).unwrap()
    }

    fn class_of(request: &Request) -> &str {
        request.own.as_ref().and_then(|own| own.class.as_deref()).unwrap()
    }

    #[test]
    fn classes_are_drawn_by_weight_and_each_sends_its_own() {
        let classes = [class("short", 3.0, 10), class("long", 1.0, 50)];
        let workload = mix(&classes, 1000, 1);
        let short = workload.requests.iter().filter(|request| class_of(request) == "short").count();
        assert!((690..810).contains(&short), "{short}");
        for request in &workload.requests.to_vec() {
            assert_eq!(request.prompt_tokens, if class_of(request) == "short" { 10 } else { 50 });
            let own = request.own.as_ref().unwrap();
            assert_eq!((own.model.as_deref(), &own.body["temperature"]), (Some("sql"), &json!(0.5)));
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_mix_and_more_keep_the_first() {
        let classes = [class("a", 1.0, 10), class("b", 2.0, 10)];
        assert_eq!(mix(&classes, 60, 7).requests.to_vec()[..30], mix(&classes, 30, 7).requests.to_vec());
        assert_ne!(mix(&classes, 30, 7).requests, mix(&classes, 30, 8).requests);
    }

    #[test]
    fn two_classes_of_one_dataset_have_prompts_of_their_own() {
        let workload = mix(&[class("a", 1.0, 40), class("b", 1.0, 40)], 100, 3);
        let requests = workload.requests.to_vec();
        let of = |class: &str| -> Vec<_> {
            let requests = requests.iter().filter(|request| class_of(request) == class);
            requests.map(|request| request.content.as_text().unwrap()).collect()
        };
        let (a, b) = (of("a"), of("b"));
        assert!(a.iter().zip(&b).all(|(a, b)| a != b));
    }
}
