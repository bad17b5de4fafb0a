//! The duration of a step as a function of its work.
//!
//! - Only decoding: T = g(n) + d·K for `n` sequences with `K` tokens of context.
//! - With prefill:  T = a + h(n) + b·p + e·A + d·K for `p` prompt tokens and `A` pairs of query and key, at least a
//!   floor.
//!
//! `g` and `h` are piecewise linear and do not decrease.

use serde::{Deserialize, Serialize};

use super::ticks::Ticks;
use crate::sim::scheduler::StepWork;

/// The longest time of a coefficient, in seconds, so that sums over a step fit in 64 bits.
const MAX_SECONDS: f64 = 3600.0;

/// The most sequences of a point, so that the table of a curve stays small.
const MAX_SEQS: u32 = 1 << 20;

/// The part of a tick to which the cost of a pair of query and key is rounded: it may be far below a tick.
const PAIR_FRACTION_BITS: u32 = 24;

/// The coefficients of the step time, in seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StepTimeCoefficients {
    /// g: the time of a step of `n` decoding sequences without their context, as points (n, seconds).
    pub decode: Vec<(u32, f64)>,
    /// d: the time for each token in the context of a decoding sequence.
    pub kv_token: f64,
    /// Another time for each token of context beyond a number of them, where it differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_token_beyond: Option<(u64, f64)>,
    /// a: the fixed time of a step with prefill.
    pub mixed_base: f64,
    /// h: the additional time of `n` decoding sequences in a step with prefill, as points (n, seconds).
    pub mixed_seqs: Vec<(u32, f64)>,
    /// b: the time for each token of prefill.
    pub prefill_token: f64,
    /// Another time for each token of prefill beyond a number of them, where it differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefill_token_beyond: Option<(u64, f64)>,
    /// e: the time for each pair of a query and a key in the attention of the prefill.
    pub attention_pair: f64,
    /// Another time for each of these pairs beyond a number of them, where it differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attention_pair_beyond: Option<(u64, f64)>,
    /// The least time of a step with prefill.
    pub mixed_floor: f64,
}

/// Why coefficients are no step-time model.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum InvalidCoefficients {
    #[error("the coefficient {name} of the step time is {value} s; it must be between 0 and 3600 s")]
    Range { name: &'static str, value: f64 },
    #[error("the curve {name} of the step time has a point at {seqs} sequences; the most is 1048576")]
    Seqs { name: &'static str, seqs: u32 },
    #[error("the curve {name} of the step time has no points")]
    Empty { name: &'static str },
    #[error("the curve {name} of the step time decreases, or is not sorted, at {seqs} sequences")]
    Decreasing { name: &'static str, seqs: u32 },
}

/// A step-time model in ticks.
#[derive(Clone, Debug)]
pub(crate) struct StepTimeModel {
    decode: Curve,
    kv_token: AmountCost,
    mixed_base: u64,
    mixed_seqs: Curve,
    prefill_token: AmountCost,
    /// In ticks divided by 2 to the power of [`PAIR_FRACTION_BITS`].
    attention_pair: AmountCost,
    mixed_floor: u64,
}

impl StepTimeModel {
    /// Rounds each coefficient once.
    ///
    /// # Errors
    ///
    /// A coefficient is negative, not a number or above an hour, or a curve is empty or decreases.
    pub(crate) fn new(seconds: &StepTimeCoefficients) -> Result<Self, InvalidCoefficients> {
        let pair = f64::from(1u32 << PAIR_FRACTION_BITS);
        Ok(Self {
            decode: Curve::new("decode", &seconds.decode)?,
            kv_token: AmountCost::new(
                ["kv_token", "kv_token_beyond"],
                (seconds.kv_token, seconds.kv_token_beyond),
                1.0,
            )?,
            mixed_base: ticks("mixed_base", seconds.mixed_base)?,
            mixed_seqs: Curve::new("mixed_seqs", &seconds.mixed_seqs)?,
            prefill_token: AmountCost::new(
                ["prefill_token", "prefill_token_beyond"],
                (seconds.prefill_token, seconds.prefill_token_beyond),
                1.0,
            )?,
            attention_pair: AmountCost::new(
                ["attention_pair", "attention_pair_beyond"],
                (seconds.attention_pair, seconds.attention_pair_beyond),
                pair,
            )?,
            mixed_floor: ticks("mixed_floor", seconds.mixed_floor)?,
        })
    }

    /// The duration of a step.
    pub(crate) fn step_ticks(&self, work: &StepWork) -> Ticks {
        let kv = self.kv_token.of(work.kv_tokens);
        if work.prefill_tokens == 0 {
            return Ticks::from_u128(u128::from(self.decode.at(work.decode_seqs as u64)) + kv);
        }
        let half = 1 << (PAIR_FRACTION_BITS - 1);
        let attention = (self.attention_pair.of(work.attention) + half) >> PAIR_FRACTION_BITS;
        let sum = u128::from(self.mixed_base)
            + u128::from(self.mixed_seqs.at(work.decode_seqs as u64))
            + self.prefill_token.of(work.prefill_tokens as u64)
            + attention
            + kv;
        Ticks::from_u128(sum.max(u128::from(self.mixed_floor)))
    }

    /// How the durations of steady steps go on from the first of them, and for how many of `steps` steps they do.
    pub(crate) fn steady(&self, first: &StepWork, steps: u64) -> (SteadyDurations, u64) {
        let AmountCost { each, most, beyond } = self.kv_token;
        let seqs = first.decode_seqs as u64;
        let (kv_token, regular) = match most.checked_sub(first.kv_tokens) {
            Some(left) if left > 0 => (each, (left / seqs.max(1)).saturating_add(1)),
            _ => (beyond, steps),
        };
        let growth = Ticks::from_u128(product(kv_token, seqs));
        (SteadyDurations { first: self.step_ticks(first), growth }, steps.min(regular))
    }
}

/// The cost of an amount of work, in ticks or in a fraction of one.
#[derive(Clone, Copy, Debug)]
struct AmountCost {
    each: u64,
    /// The amount beyond which each costs something else.
    most: u64,
    beyond: u64,
}

impl AmountCost {
    /// Takes the seconds for each, and those beyond an amount, which have these names. A tick is divided into `fraction`.
    fn new(
        names: [&'static str; 2],
        (each, beyond): (f64, Option<(u64, f64)>),
        fraction: f64,
    ) -> Result<Self, InvalidCoefficients> {
        let in_ticks =
            |name, seconds: f64| ticks(name, seconds).map(|_| Ticks::from_seconds(seconds * fraction).0);
        let each = in_ticks(names[0], each)?;
        let (most, beyond) = match beyond {
            Some((amount, seconds)) => (amount, in_ticks(names[1], seconds)?),
            None => (u64::MAX, each),
        };
        Ok(Self { each, most, beyond })
    }

    fn of(&self, amount: u64) -> u128 {
        let inside = amount.min(self.most);
        product(self.each, inside) + product(self.beyond, amount - inside)
    }
}

/// The durations of steady steps, each longer than the one before by the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SteadyDurations {
    /// The duration of the first step.
    pub first: Ticks,
    /// The difference between a step's duration and that of the step before.
    pub growth: Ticks,
}

impl SteadyDurations {
    /// The duration of the step number `step`, from 0.
    pub(crate) fn duration(&self, step: u64) -> Ticks {
        Ticks::from_u128(u128::from(self.first.0) + product(self.growth.0, step))
    }

    /// The duration of the first `steps` steps.
    pub(crate) fn total(&self, steps: u64) -> Ticks {
        let pairs = u128::from(steps) * u128::from(steps.saturating_sub(1)) / 2;
        let grown = u128::from(self.growth.0).saturating_mul(pairs);
        Ticks::from_u128(product(self.first.0, steps).saturating_add(grown))
    }

    /// The least number of steps, from 1 to `most`, that take at least `elapsed`; `most` if none does.
    pub(crate) fn steps_until(&self, elapsed: Ticks, most: u64) -> u64 {
        let (mut too_few, mut enough) = (0, most);
        while enough - too_few > 1 {
            let middle = too_few.midpoint(enough);
            if self.total(middle) >= elapsed {
                enough = middle;
            } else {
                too_few = middle;
            }
        }
        enough
    }
}

fn product(ticks: u64, count: u64) -> u128 {
    u128::from(ticks) * u128::from(count)
}

fn ticks(name: &'static str, seconds: f64) -> Result<u64, InvalidCoefficients> {
    if !(0.0..=MAX_SECONDS).contains(&seconds) {
        return Err(InvalidCoefficients::Range { name, value: seconds });
    }
    Ok(Ticks::from_seconds(seconds).0)
}

/// A piecewise linear function of a number of sequences, in ticks. Below the first point it is constant, beyond the
/// last one it goes on like the last piece.
#[derive(Clone, Debug)]
struct Curve {
    /// The values from 0 to the last point.
    table: Vec<u64>,
    /// The last piece, as sequences and ticks.
    slope: (u64, u64),
}

impl Curve {
    fn new(name: &'static str, points: &[(u32, f64)]) -> Result<Self, InvalidCoefficients> {
        let mut known: Vec<(u64, u64)> = Vec::with_capacity(points.len());
        for (seqs, seconds) in points {
            if *seqs > MAX_SEQS {
                return Err(InvalidCoefficients::Seqs { name, seqs: *seqs });
            }
            let point = (u64::from(*seqs), ticks(name, *seconds)?);
            if known.last().is_some_and(|last| last.0 >= point.0 || last.1 > point.1) {
                return Err(InvalidCoefficients::Decreasing { name, seqs: *seqs });
            }
            known.push(point);
        }
        let first = *known.first().ok_or(InvalidCoefficients::Empty { name })?;
        let mut table = vec![first.1; first.0 as usize + 1];
        let mut slope = (1, 0);
        for pair in known.windows(2) {
            slope = (pair[1].0 - pair[0].0, pair[1].1 - pair[0].1);
            table.extend((1..=slope.0).map(|seqs| pair[0].1 + along(slope, seqs)));
        }
        Ok(Self { table, slope })
    }

    fn at(&self, seqs: u64) -> u64 {
        let last = self.table.len() as u64 - 1;
        if seqs <= last {
            return self.table[seqs as usize];
        }
        self.table[last as usize].saturating_add(along(self.slope, seqs - last))
    }
}

/// The rise of a piece `(sequences, ticks)` after `seqs`.
fn along((length, rise): (u64, u64), seqs: u64) -> u64 {
    Ticks::from_u128(product(rise, seqs) / u128::from(length)).0
}

#[cfg(test)]
mod tests;
