//! numpy's legacy generator, `np.random` (numpy/random/mtrand.pyx, src/legacy/legacy-distributions.c).

use std::ops::RangeInclusive;

use rand_mt::Mt;

/// A Mersenne Twister with numpy's legacy algorithms, which numpy has promised never to change.
#[derive(Debug, Clone, PartialEq)]
pub struct NumpyRandomState {
    twister: Mt,
    /// The second of a pair of normal numbers, if it is still unused.
    spare: Option<f64>,
}

impl NumpyRandomState {
    /// `np.random.seed(seed)`. numpy accepts no number above 2³² − 1; such a seed is here the array of its two words.
    pub fn new(seed: u64) -> Self {
        let twister = match u32::try_from(seed) {
            Ok(seed) => Mt::new(seed),
            Err(_) => Mt::new_with_key(super::seed_words(seed)),
        };
        Self { twister, spare: None }
    }

    /// `np.random.random_sample()`: a number in [0, 1).
    pub fn double(&mut self) -> f64 {
        super::double(&mut self.twister)
    }

    /// `np.random.randint(start, end + 1)`: draws masked words until one is in the range. A range of one value draws
    /// nothing.
    pub fn integer(&mut self, range: &RangeInclusive<u32>) -> u32 {
        let width = range.end().saturating_sub(*range.start());
        let Some(mask) = u32::MAX.checked_shr(width.leading_zeros()) else { return *range.start() };
        loop {
            let drawn = self.twister.next_u32() & mask;
            if drawn <= width {
                return range.start() + drawn;
            }
        }
    }

    /// `np.random.gamma(shape, scale)`, for a shape above zero.
    pub fn gamma(&mut self, shape: f64, scale: f64) -> f64 {
        let standard = if shape == 1.0 {
            self.exponential()
        } else if shape < 1.0 {
            self.gamma_below_one(shape)
        } else {
            self.gamma_above_one(shape)
        };
        scale * standard
    }

    /// Draws from the exponential distribution of mean 1, by inversion.
    fn exponential(&mut self) -> f64 {
        -(1.0 - self.double()).ln()
    }

    /// Rejection from a power and an exponential piece (Ahrens and Dieter's GS, as numpy implements it).
    fn gamma_below_one(&mut self, shape: f64) -> f64 {
        loop {
            let uniform = self.double();
            let limit = self.exponential();
            if uniform <= 1.0 - shape {
                let candidate = uniform.powf(1.0 / shape);
                if candidate <= limit {
                    return candidate;
                }
            } else {
                let tail = -((1.0 - uniform) / shape).ln();
                let candidate = (1.0 - shape + shape * tail).powf(1.0 / shape);
                if candidate <= limit + tail {
                    return candidate;
                }
            }
        }
    }

    /// Marsaglia and Tsang, A Simple Method for Generating Gamma Variables (2000).
    fn gamma_above_one(&mut self, shape: f64) -> f64 {
        let b = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * b).sqrt();
        loop {
            let (normal, root) = loop {
                let normal = self.normal();
                let root = 1.0 + c * normal;
                if root > 0.0 {
                    break (normal, root);
                }
            };
            let cube = root * root * root;
            let uniform = self.double();
            let squeezed = uniform < 1.0 - 0.0331 * (normal * normal) * (normal * normal);
            if squeezed || uniform.ln() < 0.5 * normal * normal + b * (1.0 - cube + cube.ln()) {
                return b * cube;
            }
        }
    }

    /// A normal number by Marsaglia's polar method, which generates pairs.
    fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        loop {
            let first = 2.0 * self.double() - 1.0;
            let second = 2.0 * self.double() - 1.0;
            let square = first * first + second * second;
            if square < 1.0 && square != 0.0 {
                let factor = (-2.0 * square.ln() / square).sqrt();
                self.spare = Some(factor * first);
                return factor * second;
            }
        }
    }
}
