//! Assigns a LoRA adapter to each request.

use rand::RngExt as _;
use rand_distr::{Distribution as _, Zipf};

use crate::dataset::rng_stream::RngStream;
use crate::model::rng::RunRng;
use crate::model::run_spec::{LoraAdapters, LoraAssignment};

/// Assigns an adapter to each of any number of requests. There is none if there are no adapters.
///
/// `random` is `random.choice` with the Python-compatible RNG, as in vLLM. Zipf's law has the exponent 1.
pub(super) fn assign<'a>(lora: &'a LoraAdapters, dice: &'a mut RunRng) -> impl Iterator<Item = &'a str> {
    let count = lora.modules.len();
    let mut rng = RngStream::Lora.rng(dice.seed());
    let mut choose: Box<dyn FnMut(usize) -> usize + 'a> = match (lora.assignment, dice.python_mut()) {
        _ if count == 0 => Box::new(|_| 0),
        (LoraAssignment::RoundRobin, _) => Box::new(move |index| index % count),
        (LoraAssignment::Random, Some(globals)) => Box::new(move |_| globals.random.below(count)),
        (LoraAssignment::Random, None) => Box::new(move |_| rng.random_range(0..count)),
        (LoraAssignment::Zipf, _) => {
            let law = Zipf::new(count as f64, 1.0).expect("there is an adapter, and the exponent is 1");
            Box::new(move |_| (law.sample(&mut rng) as usize).clamp(1, count) - 1)
        }
    };
    (0..).map_while(move |index| lora.modules.get(choose(index)).map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::run_spec::RngKind;

    fn lora(assignment: LoraAssignment) -> LoraAdapters {
        LoraAdapters { modules: ["red", "green", "blue"].map(String::from).into(), assignment }
    }

    fn shares(assignment: LoraAssignment, rng: RngKind) -> [f64; 3] {
        const N: usize = 30_000;
        let lora = lora(assignment);
        let mut dice = RunRng::new(rng, 4);
        let assigned: Vec<&str> = assign(&lora, &mut dice).take(N).collect();
        ["red", "green", "blue"]
            .map(|name| assigned.iter().filter(|assigned| **assigned == name).count() as f64 / N as f64)
    }

    #[test]
    fn round_robin_takes_turns() {
        let lora = lora(LoraAssignment::RoundRobin);
        let mut dice = RunRng::native(0);
        assert!(assign(&lora, &mut dice).take(4).eq(["red", "green", "blue", "red"]));
    }

    #[test]
    fn random_gives_each_adapter_its_share() {
        for rng in [RngKind::Native, RngKind::Python] {
            let shares = shares(LoraAssignment::Random, rng);
            assert!(shares.iter().all(|share| (share - 1.0 / 3.0).abs() < 0.02), "{shares:?}");
        }
    }

    #[test]
    fn zipf_gives_shares_of_one_over_the_place() {
        let expected = [6.0 / 11.0, 3.0 / 11.0, 2.0 / 11.0];
        for rng in [RngKind::Native, RngKind::Python] {
            let shares = shares(LoraAssignment::Zipf, rng);
            assert!(shares.iter().zip(expected).all(|(share, law)| (share - law).abs() < 0.02), "{shares:?}");
        }
    }

    #[test]
    fn no_adapters_are_assigned_where_there_are_none() {
        let none = LoraAdapters { modules: Vec::new(), assignment: LoraAssignment::Random };
        assert_eq!(assign(&none, &mut RunRng::native(0)).next(), None);
    }
}
