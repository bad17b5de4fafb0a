//! Several datasets at once: each request is of a class, drawn by weight.

use std::path::Path;

use rand::distr::Distribution as _;
use rand::distr::weighted::WeightedIndex;

use super::stream::Stream;
use super::{Job, Request, Workload, WorkloadError};
use crate::core::dataset::{Drops, Provenance};
use crate::core::digest::Hasher;
use crate::core::rng::Dice;
use crate::core::spec::Class;

/// Draws the classes, prepares what each is drawn for, and deals it out.
pub(super) fn prepare(path: &Path, classes: &[Class], job: &Job<'_>) -> Result<Workload, WorkloadError> {
    let path = path.display().to_string();
    let drawn = draw(&path, classes, job)?;
    let mut hands = Vec::new();
    let mut provenance = Provenance {
        dataset: "mix".into(),
        path: Some(path.clone()),
        sha256: None,
        candidates: 0,
        dropped: Drops::default(),
        repeated: 0,
        inexact: 0,
    };
    let mut digests = Hasher::default();
    for (index, class) in classes.iter().enumerate() {
        let wanted = drawn.iter().filter(|&&drawn| drawn == index).count();
        let hand = Hand::of(class, index, wanted, job).map_err(|source| WorkloadError::Class {
            path: path.clone(),
            class: class.name.clone(),
            source: Box::new(source),
        })?;
        digests.update(
            hand.workload.provenance.sha256.as_ref().map(ToString::to_string).unwrap_or_default().as_bytes(),
        );
        add(&mut provenance, &hand.workload.provenance, wanted.saturating_sub(hand.workload.requests.len()));
        hands.push(hand);
    }
    provenance.sha256 = Some(digests.finish());
    let requests = drawn.iter().filter_map(|&class| hands[class].next()).collect();
    Ok(Workload { requests, arrivals: None, provenance })
}

/// The class of each request.
fn draw(path: &str, classes: &[Class], job: &Job<'_>) -> Result<Vec<usize>, WorkloadError> {
    let weights = WeightedIndex::new(classes.iter().map(|class| class.weight)).map_err(|error| {
        WorkloadError::Unmakeable {
            dataset: "mix",
            cause: format!("{path}: the weights of the classes: {error}"),
        }
    })?;
    Ok(weights.sample_iter(Stream::Class.rng(job.seed)).take(job.num_prompts).collect())
}

fn add(sum: &mut Provenance, part: &Provenance, again: usize) {
    sum.candidates += part.candidates;
    sum.repeated += part.repeated + again;
    sum.inexact += part.inexact;
    let Drops { few_turns, empty, textless, short_prompt, short_output, long_prompt, long_total } =
        part.dropped;
    sum.dropped.few_turns += few_turns;
    sum.dropped.empty += empty;
    sum.dropped.textless += textless;
    sum.dropped.short_prompt += short_prompt;
    sum.dropped.short_output += short_output;
    sum.dropped.long_prompt += long_prompt;
    sum.dropped.long_total += long_total;
}

/// The requests of a class, dealt one by one; from the beginning again when a trace has no more.
struct Hand {
    workload: Workload,
    dealt: usize,
}

impl Hand {
    fn of(class: &Class, index: usize, wanted: usize, job: &Job<'_>) -> Result<Self, WorkloadError> {
        // Two classes of one dataset have prompts of their own. The dice are our own: vLLM has no mixes to be equal to.
        let seed = job.seed ^ (index as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let template = super::template_for(&class.form, &class.dataset, job.tokenizer)?;
        let job = Job {
            num_prompts: wanted,
            measured: wanted,
            seed,
            form: &class.form,
            bounds: class.bounds,
            template: template.as_ref(),
            ..*job
        };
        let mut workload = super::requests(&class.dataset, &job, &mut Dice::native(seed))?;
        for request in &mut workload.requests {
            *request = request.clone().with(|own| {
                own.class = Some(class.name.clone());
                own.model = own.model.take().or_else(|| class.adapter.clone());
                let theirs = std::mem::replace(&mut own.body, class.body.clone());
                own.body.extend(theirs);
            });
        }
        Ok(Self { workload, dealt: 0 })
    }

    fn next(&mut self) -> Option<Request> {
        let requests = &self.workload.requests;
        let request = requests.get(self.dealt % requests.len().max(1)).cloned();
        self.dealt += 1;
        request
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::core::spec::{Dataset, RandomLengths};
    use crate::drive::workload::bundled;

    fn class(name: &str, weight: f64, input_len: u32) -> Class {
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
        Class { name: name.into(), weight, dataset, body, adapter, slo: None, form, bounds }
    }

    fn mix(classes: &[Class], num_prompts: usize, seed: u64) -> Workload {
        let tokenizer = bundled::tokenizer();
        let job = Job { seed, ..Job::plain(num_prompts, &tokenizer) };
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
        for request in &workload.requests {
            assert_eq!(request.prompt_tokens, if class_of(request) == "short" { 10 } else { 50 });
            let own = request.own.as_ref().unwrap();
            assert_eq!((own.model.as_deref(), &own.body["temperature"]), (Some("sql"), &json!(0.5)));
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_mix_and_more_keep_the_first() {
        let classes = [class("a", 1.0, 10), class("b", 2.0, 10)];
        assert_eq!(mix(&classes, 60, 7).requests[..30], mix(&classes, 30, 7).requests);
        assert_ne!(mix(&classes, 30, 7).requests, mix(&classes, 30, 8).requests);
    }

    #[test]
    fn two_classes_of_one_dataset_have_prompts_of_their_own() {
        let workload = mix(&[class("a", 1.0, 40), class("b", 1.0, 40)], 100, 3);
        let of = |class: &str| -> Vec<_> {
            let requests = workload.requests.iter().filter(|request| class_of(request) == class);
            requests.map(|request| request.content.as_text().unwrap()).collect()
        };
        let (a, b) = (of("a"), of("b"));
        assert!(a.iter().zip(&b).all(|(a, b)| a != b));
    }
}
