//! The terms that a step's duration may be a sum of, and the step-time model of their coefficients.
//!
//! The cost of `n` sequences is a sum of `n`, of min(n, k) for some k and of √n, all with coefficients of at least zero:
//! it does not decrease, and each further sequence costs no more than the one before. That keeps what is beyond the
//! largest number seen in bounds.

use crate::predict::seen_steps::SeenSteps;
use crate::predict::step_time::StepTimeCoefficients;
use crate::sim::scheduler::StepWork;

/// The numbers of sequences at which the cost of a further one may fall.
const KNOTS: [u32; 7] = [2, 4, 8, 16, 32, 64, 128];

const BASE: usize = 0;
const SEQUENCE: usize = 1;
const ROOT: usize = 2;
const FIRST_KNOT: usize = 3;
const CONTEXT: usize = FIRST_KNOT + KNOTS.len();
const PROMPT: usize = CONTEXT + 1;
const ATTENTION: usize = PROMPT + 1;
const MIXED: usize = ATTENTION + 1;

/// The number of terms.
pub(super) const TERMS: usize = MIXED + 1;

/// The amounts of the terms in a step, or their sums over steps.
pub(super) type TermSums = [f64; TERMS];

/// The terms of a model.
pub(super) type TermSet = [bool; TERMS];

/// The terms that every model begins with: a, c·n, d·KV and b·p.
pub(super) const FIRST_TERMS: TermSet = {
    let mut set = [false; TERMS];
    (set[BASE], set[SEQUENCE], set[CONTEXT], set[PROMPT]) = (true, true, true, true);
    set
};

/// Terms to begin with instead where load points have no single requests: in a closed loop of one length, sequences,
/// context and prompt tokens grow together, and only the shape distinguishes a cost per sequence from a concave one.
pub(super) const CONCAVE_TERMS: TermSet = {
    let mut set = [false; TERMS];
    (set[BASE], set[ROOT]) = (true, true);
    set
};

/// The work of a step, or its mean over steps.
pub(super) struct MeanWork {
    pub decode_seqs: f64,
    pub kv_tokens: f64,
    pub prefill_tokens: f64,
    pub attention: f64,
    /// The share of steps with prompt tokens.
    pub mixed_share: f64,
}

/// The amounts of each term in a step.
pub(super) fn amounts(work: &StepWork) -> TermSums {
    mean_amounts(&MeanWork {
        decode_seqs: work.decode_seqs as f64,
        kv_tokens: work.kv_tokens as f64,
        prefill_tokens: work.prefill_tokens as f64,
        attention: work.attention as f64,
        mixed_share: f64::from(u8::from(work.prefill_tokens > 0)),
    })
}

/// The amounts of each term in a mean step.
pub(super) fn mean_amounts(work: &MeanWork) -> TermSums {
    let seqs = work.decode_seqs;
    let mut sums = [0.0; TERMS];
    (sums[BASE], sums[SEQUENCE], sums[ROOT]) = (1.0, seqs, seqs.sqrt());
    for (at, knot) in KNOTS.iter().enumerate() {
        sums[FIRST_KNOT + at] = seqs.min(f64::from(*knot));
    }
    (sums[CONTEXT], sums[PROMPT]) = (work.kv_tokens, work.prefill_tokens);
    (sums[ATTENTION], sums[MIXED]) = (work.attention, work.mixed_share);
    sums
}

/// The groups of terms that may be added to the model, given the most sequences in a step of the runs. `is_varied` says
/// that the longest prompt is at least four times the shortest: otherwise a quadratic cost of prompts cannot be
/// distinguished from a linear one.
pub(super) fn candidates(most_seqs: u64, is_varied: bool) -> Vec<Vec<usize>> {
    // At least half of the range must be beyond a knot, or nothing determines the slope there.
    let knots = (0..KNOTS.len()).filter(|at| 2 * u64::from(KNOTS[*at]) <= most_seqs);
    let knots: Vec<usize> = knots.map(|at| FIRST_KNOT + at).collect();
    let long_prompts = if is_varied { vec![ATTENTION] } else { Vec::new() };
    let first = [SEQUENCE, CONTEXT, PROMPT].map(|term| vec![term]);
    let groups = first.into_iter().chain([knots, vec![ROOT], vec![MIXED], long_prompts]);
    groups.filter(|group| !group.is_empty()).collect()
}

/// The meaning of a term, and its unit.
pub(super) fn name(term: usize) -> String {
    match term {
        BASE => "each step".to_owned(),
        SEQUENCE => "each sequence in a step".to_owned(),
        ROOT => "the square root of the sequences in a step".to_owned(),
        CONTEXT => "each token of context".to_owned(),
        PROMPT => "each prompt token".to_owned(),
        ATTENTION => "each pair of prompt token and token before it".to_owned(),
        MIXED => "each step with prompt tokens".to_owned(),
        _ => format!("each sequence in a step up to {}", KNOTS[term - FIRST_KNOT]),
    }
}

/// The sum of the terms times their coefficients.
pub(super) fn duration(sums: &TermSums, coefficients: &[f64]) -> f64 {
    sums.iter().zip(coefficients).map(|(amount, coefficient)| amount * coefficient).sum()
}

/// The step-time model of these coefficients in seconds.
pub(super) fn step_time(coefficients: &[f64]) -> StepTimeCoefficients {
    step_time_on(&curve_points(), coefficients, |seqs| seqs_cost(coefficients, seqs))
}

/// How the time of steps grows beyond the largest step that was seen, as multiples of the growth of the coefficients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct GrowthBeyond {
    /// With decoding sequences and their context.
    pub decode: f64,
    /// With prompt tokens and their attention.
    pub prefill: f64,
}

/// The step-time model of these coefficients, but with another growth of the time beyond the largest step that was
/// seen.
pub(super) fn step_time_beyond(
    coefficients: &[f64],
    seen: &SeenSteps,
    growth: GrowthBeyond,
) -> StepTimeCoefficients {
    let most = seen.decode_seqs.clamp(1, MOST_SEQS) as u32;
    let mut points = curve_points();
    points.extend([most, 2 * most]);
    points.sort_unstable();
    points.dedup();
    let at_most = seqs_cost(coefficients, most);
    let model = step_time_on(&points, coefficients, |seqs| match seqs_cost(coefficients, seqs) {
        cost if seqs > most => at_most + growth.decode * (cost - at_most),
        cost => cost,
    });
    StepTimeCoefficients {
        kv_token_beyond: Some((seen.kv_tokens, growth.decode * coefficients[CONTEXT])),
        prefill_token_beyond: Some((seen.prefill_tokens, growth.prefill * coefficients[PROMPT])),
        attention_pair_beyond: Some((seen.attention, growth.prefill * coefficients[ATTENTION])),
        ..model
    }
}

/// The most sequences that a curve is given a point for.
const MOST_SEQS: u64 = 1 << 18;

/// The cost of this many sequences without their context.
fn seqs_cost(coefficients: &[f64], seqs: u32) -> f64 {
    let seqs = f64::from(seqs);
    let knots = KNOTS.iter().enumerate();
    let knots = knots.map(|(at, knot)| coefficients[FIRST_KNOT + at] * seqs.min(f64::from(*knot)));
    coefficients[SEQUENCE] * seqs + coefficients[ROOT] * seqs.sqrt() + knots.sum::<f64>()
}

/// The step-time model with this cost of sequences, given at points.
fn step_time_on(
    points: &[u32],
    coefficients: &[f64],
    seqs_cost: impl Fn(u32) -> f64,
) -> StepTimeCoefficients {
    let curve = |base: f64| points.iter().map(|seqs| (*seqs, base + seqs_cost(*seqs))).collect();
    StepTimeCoefficients {
        decode: curve(coefficients[BASE]),
        kv_token: coefficients[CONTEXT],
        kv_token_beyond: None,
        mixed_base: coefficients[BASE] + coefficients[MIXED],
        mixed_seqs: std::iter::once((0, 0.0)).chain(curve(0.0)).collect(),
        prefill_token: coefficients[PROMPT],
        prefill_token_beyond: None,
        attention_pair: coefficients[ATTENTION],
        attention_pair_beyond: None,
        mixed_floor: 0.0,
    }
}

/// The points of a curve: close enough for a root, and at each knot.
fn curve_points() -> Vec<u32> {
    let quarters = (1..=9).flat_map(|power| (4..8).map(move |quarter| quarter << (power - 1)));
    (1..=3).chain(quarters).chain([2048]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predict::step_time::StepTimeModel;

    #[test]
    fn the_model_of_coefficients_takes_as_long_as_their_terms() {
        let mut coefficients = vec![0.0; TERMS];
        coefficients[BASE] = 8e-3;
        coefficients[SEQUENCE] = 40e-6;
        coefficients[FIRST_KNOT + 4] = 90e-6;
        coefficients[CONTEXT] = 0.1e-6;
        coefficients[PROMPT] = 7e-6;
        coefficients[ATTENTION] = 1e-9;
        coefficients[MIXED] = 5e-3;
        let model = StepTimeModel::new(&step_time(&coefficients)).unwrap();
        for (decode_seqs, prefill_tokens) in [(1, 0), (7, 0), (31, 512), (33, 0), (200, 100), (3000, 8)] {
            let work = StepWork {
                decode_seqs,
                prefill_tokens,
                kv_tokens: 700 * decode_seqs as u64,
                attention: (prefill_tokens * prefill_tokens / 2) as u64,
            };
            let exact = duration(&amounts(&work), &coefficients);
            let found = model.step_ticks(&work).as_seconds();
            assert!((found / exact - 1.0).abs() < 1e-4, "{work:?}: {found} is not {exact}");
        }
    }

    #[test]
    fn a_root_is_followed_closely() {
        let mut coefficients = vec![0.0; TERMS];
        (coefficients[BASE], coefficients[ROOT]) = (6.6e-3, 0.69e-3);
        let model = StepTimeModel::new(&step_time(&coefficients)).unwrap();
        for decode_seqs in [1, 5, 23, 150, 500, 1500] {
            let work = StepWork { decode_seqs, ..StepWork::default() };
            let exact = duration(&amounts(&work), &coefficients);
            assert!((model.step_ticks(&work).as_seconds() / exact - 1.0).abs() < 2e-3, "{decode_seqs}");
        }
    }

    #[test]
    fn another_growth_applies_only_beyond_the_largest_step_seen() {
        let mut coefficients = vec![0.0; TERMS];
        (coefficients[BASE], coefficients[SEQUENCE], coefficients[CONTEXT]) = (8e-3, 40e-6, 0.1e-6);
        let seen = SeenSteps { decode_seqs: 50, kv_tokens: 30_000, ..SeenSteps::default() };
        let step = |decode: f64, decode_seqs: usize, kv_tokens| {
            let growth = GrowthBeyond { decode, prefill: 1.0 };
            let model = StepTimeModel::new(&step_time_beyond(&coefficients, &seen, growth)).unwrap();
            model.step_ticks(&StepWork { decode_seqs, kv_tokens, ..StepWork::default() }).as_seconds()
        };
        let is_close = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-6;
        assert!(is_close(step(0.0, 50, 30_000), 13e-3) && is_close(step(2.0, 50, 30_000), 13e-3));
        assert!(is_close(step(0.0, 4000, 90_000), 13e-3), "no growth");
        assert!(is_close(step(1.0, 150, 90_000), 8e-3 + 6e-3 + 9e-3), "that of the coefficients");
        assert!(is_close(step(2.0, 4000, 90_000), 13e-3 + 2.0 * (158e-3 + 6e-3)), "twice that");
    }

    #[test]
    fn longer_prompts_than_those_seen_have_a_growth_of_their_own() {
        let mut coefficients = vec![0.0; TERMS];
        (coefficients[BASE], coefficients[PROMPT], coefficients[ATTENTION]) = (8e-3, 20e-6, 1e-9);
        let seen = SeenSteps { prefill_tokens: 1000, attention: 500_000, ..SeenSteps::default() };
        let step = |prefill: f64, prefill_tokens: usize, attention| {
            let growth = GrowthBeyond { decode: 0.0, prefill };
            let model = StepTimeModel::new(&step_time_beyond(&coefficients, &seen, growth)).unwrap();
            model.step_ticks(&StepWork { prefill_tokens, attention, ..StepWork::default() }).as_seconds()
        };
        let is_close = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-6;
        let at_edge = 8e-3 + 20e-3 + 0.5e-3;
        assert!(is_close(step(0.0, 1000, 500_000), at_edge) && is_close(step(2.0, 1000, 500_000), at_edge));
        assert!(is_close(step(0.0, 3000, 4_500_000), at_edge), "no growth");
        assert!(is_close(step(1.0, 3000, 4_500_000), at_edge + 40e-3 + 4e-3), "that of the coefficients");
        assert!(is_close(step(2.0, 3000, 4_500_000), at_edge + 80e-3 + 8e-3), "twice that");
    }
}
