use proptest::prelude::*;

use super::*;

fn coefficients() -> StepTimeCoefficients {
    StepTimeCoefficients {
        decode: vec![(1, 10e-3), (8, 10e-3), (16, 12e-3)],
        kv_token: 80e-9,
        kv_token_beyond: Some((400_000, 200e-9)),
        mixed_base: 11e-3,
        mixed_seqs: vec![(0, 0.0), (10, 1e-3)],
        prefill_token: 20e-6,
        prefill_token_beyond: Some((2000, 50e-6)),
        attention_pair: 2e-12,
        attention_pair_beyond: Some((1_000_000_000, 1e-12)),
        mixed_floor: 13e-3,
    }
}

fn nanoseconds(work: StepWork) -> u64 {
    let model = StepTimeModel::new(&coefficients()).unwrap();
    model.step_ticks(&work).as_duration().as_nanos() as u64
}

#[test]
fn a_step_without_prefill_costs_its_sequences_and_their_context() {
    let cost =
        |decode_seqs, kv_tokens| nanoseconds(StepWork { decode_seqs, kv_tokens, ..StepWork::default() });
    assert_eq!(cost(1, 0), 10_000_000);
    assert_eq!(cost(12, 1000), 11_080_000, "between two points");
    assert_eq!(cost(24, 0), 14_000_000, "beyond the last point");
    assert_eq!(cost(1, 500_000), 10_000_000 + 32_000_000 + 20_000_000, "context beyond the edge");
}

#[test]
fn a_step_with_prefill_costs_its_parts_but_not_less_than_the_floor() {
    let work = StepWork { prefill_tokens: 500, decode_seqs: 5, kv_tokens: 1000, attention: 1_000_000 };
    assert_eq!(nanoseconds(work), 11_000_000 + 500_000 + 10_000_000 + 80_000 + 2_000);
    assert_eq!(nanoseconds(StepWork { prefill_tokens: 1, ..StepWork::default() }), 13_000_000);
    let long = StepWork { prefill_tokens: 3000, attention: 3_000_000_000, ..StepWork::default() };
    assert_eq!(
        nanoseconds(long),
        11_000_000 + 40_000_000 + 50_000_000 + 2_000_000 + 2_000_000,
        "beyond the edges"
    );
}

#[test]
fn impossible_coefficients_are_refused_with_their_name() {
    let refused = |change: fn(&mut StepTimeCoefficients)| {
        let mut seconds = coefficients();
        change(&mut seconds);
        StepTimeModel::new(&seconds).unwrap_err().to_string()
    };
    assert!(refused(|seconds| seconds.kv_token = -1.0).contains("kv_token of the step time is -1 s"));
    assert!(refused(|seconds| seconds.mixed_base = f64::NAN).contains("mixed_base"));
    assert!(refused(|seconds| seconds.decode.clear()).contains("decode of the step time has no points"));
    assert!(refused(|seconds| seconds.decode[2].1 = 0.0).contains("decreases, or is not sorted, at 16"));
    assert!(refused(|seconds| seconds.decode[1].0 = 1).contains("at 1 sequences"));
    assert!(
        refused(|seconds| seconds.mixed_seqs[1].0 = u32::MAX).contains("a point at 4294967295 sequences")
    );
}

#[test]
fn coefficients_survive_a_file() {
    let text = serde_json::to_string(&coefficients()).unwrap();
    assert_eq!(serde_json::from_str::<StepTimeCoefficients>(&text).unwrap(), coefficients());
}

proptest! {
    #[test]
    fn the_closed_form_is_the_sum_of_the_steps(
        seqs in 1usize..300,
        kv_tokens in 0u64..1_000_000,
        steps in 1u64..400,
        elapsed in 0u64..6_000_000_000_000,
    ) {
        let model = StepTimeModel::new(&coefficients()).unwrap();
        let first = StepWork { decode_seqs: seqs, kv_tokens, ..StepWork::default() };
        let (steady, regular) = model.steady(&first, steps);
        prop_assert!((1..=steps).contains(&regular));
        prop_assert!(regular == steps || first.after_steady(regular).kv_tokens > 400_000);
        let steps = regular;
        let mut ends = Vec::new();
        for step in 0..steps {
            let duration = model.step_ticks(&first.after_steady(step));
            prop_assert_eq!(duration, steady.duration(step));
            ends.push(ends.last().copied().unwrap_or_default() + duration);
        }
        prop_assert_eq!(ends.last().copied(), Some(steady.total(steps)));
        let until = ends.iter().position(|end| *end >= Ticks(elapsed)).map_or(steps, |step| step as u64 + 1);
        prop_assert_eq!(steady.steps_until(Ticks(elapsed), steps), until);
    }
}
