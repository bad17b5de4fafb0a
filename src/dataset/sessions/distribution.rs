//! Distributions of lengths and counts, in the format of vLLM's `generate_conversations` files.
//!
//! `lognormal` has either the parameters average and r, the ratio of median to average (σ = √(−2 ln r), μ = ln(average
//! · r)), or μ and σ. `zipf` is numpy's zeta distribution. The parameter `alpha` of `poisson` is its mean.

use rand::RngExt as _;
use rand::rngs::StdRng;
use rand_distr::{Distribution as _, LogNormal, Poisson, Zeta};
use serde::Deserialize;

/// The maximum length. A greater length is a mistake.
const MAX_LENGTH: f64 = 1e7;

/// A distribution as written in the file.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(tag = "distribution", rename_all = "lowercase")]
pub(super) enum LengthDistribution {
    /// Always the same value.
    Constant {
        /// The value.
        value: f64,
    },
    /// Whole numbers with equal probability.
    Uniform {
        /// The minimum.
        min: f64,
        /// The maximum.
        max: f64,
    },
    /// Most values are near the median, with a long tail.
    Lognormal {
        /// The mean.
        average: Option<f64>,
        /// The ratio of the median to the mean.
        #[serde(default = "usual_ratio")]
        median_ratio: f64,
        /// The mean of the logarithm.
        mean: Option<f64>,
        /// The standard deviation of the logarithm.
        sigma: Option<f64>,
        /// The maximum.
        max: Option<f64>,
    },
    /// Many small numbers and few large ones.
    Zipf {
        /// The exponent, greater than 1.
        alpha: f64,
        /// The maximum.
        max: Option<f64>,
    },
    /// A Poisson distribution.
    Poisson {
        /// The mean.
        alpha: f64,
        /// The maximum.
        max: Option<f64>,
    },
}

fn usual_ratio() -> f64 {
    0.85
}

/// A validated distribution to draw from.
#[derive(Debug, Clone, Copy)]
pub(super) struct LengthSampler {
    kind: SamplerKind,
    max: f64,
}

#[derive(Debug, Clone, Copy)]
enum SamplerKind {
    Constant(f64),
    Uniform(u64, u64),
    Lognormal(LogNormal<f64>),
    Zipf(Zeta<f64>),
    Poisson(Poisson<f64>),
}

impl LengthDistribution {
    /// Creates the sampler. Returns an error that names the invalid parameter, if there is one.
    pub(super) fn sampler(&self) -> Result<LengthSampler, String> {
        let max = match *self {
            Self::Lognormal { max, .. } | Self::Zipf { max, .. } | Self::Poisson { max, .. } => max,
            Self::Constant { value } => Some(value),
            Self::Uniform { max, .. } => Some(max),
        };
        let max = max.unwrap_or(MAX_LENGTH);
        if !(0.0..=MAX_LENGTH).contains(&max) {
            return Err(format!("{max} is not between 0 and {MAX_LENGTH}"));
        }
        Ok(LengthSampler { kind: self.kind()?, max })
    }

    fn kind(&self) -> Result<SamplerKind, String> {
        match *self {
            Self::Constant { value } => Ok(SamplerKind::Constant(value)),
            Self::Uniform { min, max } if (0.0..=max).contains(&min) => {
                Ok(SamplerKind::Uniform(min.round() as u64, max.round() as u64))
            }
            Self::Uniform { min, max } => Err(format!("`uniform` from {min} to {max} is empty")),
            Self::Lognormal { average, median_ratio, mean, sigma, .. } => {
                let (mu, sigma) = match (average, mean, sigma) {
                    (Some(average), None, None)
                        if average > 0.0 && 0.0 < median_ratio && median_ratio < 1.0 =>
                    {
                        ((average * median_ratio).ln(), (-2.0 * median_ratio.ln()).sqrt())
                    }
                    (None, Some(mean), Some(sigma)) => (mean, sigma),
                    _ => {
                        return Err("`lognormal` has either `average` (above 0) and perhaps `median_ratio` (between 0 \
                                    and 1), or `mean` and `sigma`"
                            .into());
                    }
                };
                let law = LogNormal::new(mu, sigma).map_err(|error| format!("`lognormal`: {error}"))?;
                Ok(SamplerKind::Lognormal(law))
            }
            Self::Zipf { alpha, .. } => {
                Zeta::new(alpha).map(SamplerKind::Zipf).map_err(|_| "`zipf` has an `alpha` above 1".into())
            }
            Self::Poisson { alpha, .. } => Poisson::new(alpha)
                .map(SamplerKind::Poisson)
                .map_err(|_| "`poisson` has an `alpha` above 0".into()),
        }
    }
}

impl LengthSampler {
    /// Draws a whole number that is at least `least` and at most the distribution's maximum.
    pub(super) fn draw(&self, least: u32, rng: &mut StdRng) -> u32 {
        let value = match self.kind {
            SamplerKind::Constant(value) => value,
            SamplerKind::Uniform(min, max) => rng.random_range(min..=max) as f64,
            SamplerKind::Lognormal(law) => law.sample(rng),
            SamplerKind::Zipf(law) => law.sample(rng),
            SamplerKind::Poisson(law) => law.sample(rng),
        };
        (value.min(self.max).round() as u32).max(least)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    fn law(json: &str) -> LengthDistribution {
        serde_json::from_str(json).unwrap()
    }

    fn mean(json: &str) -> (f64, u32) {
        let (sampler, mut rng) = (law(json).sampler().unwrap(), StdRng::seed_from_u64(3));
        let drawn: Vec<u32> = (0..20_000).map(|_| sampler.draw(0, &mut rng)).collect();
        (drawn.iter().map(|value| f64::from(*value)).sum::<f64>() / 20_000.0, *drawn.iter().max().unwrap())
    }

    #[test]
    fn every_law_has_its_mean_and_its_most() {
        let cases = [
            (r#"{"distribution":"constant","value":7}"#, 7.0, 7),
            (r#"{"distribution":"uniform","min":10,"max":20}"#, 15.0, 20),
            (r#"{"distribution":"lognormal","average":1000}"#, 1000.0, u32::MAX),
            (r#"{"distribution":"lognormal","mean":2.0,"sigma":0.5}"#, 8.37, u32::MAX),
            (r#"{"distribution":"poisson","alpha":30,"max":35}"#, 29.6, 35),
            // zeta(2)/zeta(3) = 1.3684
            (r#"{"distribution":"zipf","alpha":3.0}"#, 1.3684, u32::MAX),
        ];
        for (json, expected, most) in cases {
            let (mean, max) = mean(json);
            assert!((mean / expected - 1.0).abs() < 0.05, "{json}: {mean}");
            assert!(max <= most, "{json}: {max}");
        }
    }

    #[test]
    fn laws_that_cannot_be_are_refused_with_what_is_wrong() {
        let cases = [
            (r#"{"distribution":"uniform","min":9,"max":2}"#, "empty"),
            (r#"{"distribution":"constant","value":-1}"#, "between 0"),
            (r#"{"distribution":"constant","value":1e300}"#, "between 0"),
            (r#"{"distribution":"lognormal"}"#, "`average`"),
            (r#"{"distribution":"lognormal","average":10,"median_ratio":1.5}"#, "`median_ratio`"),
            (r#"{"distribution":"zipf","alpha":1.0}"#, "above 1"),
            (r#"{"distribution":"poisson","alpha":0}"#, "above 0"),
        ];
        for (json, words) in cases {
            let error = law(json).sampler().unwrap_err();
            assert!(error.contains(words), "{json}: {error}");
        }
        assert!(serde_json::from_str::<LengthDistribution>(r#"{"distribution":"cauchy"}"#).is_err());
    }
}
