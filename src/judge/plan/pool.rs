//! The KV pool: how much there is, and what a request keeps of it.

use std::fmt;

use serde::Serialize;

/// What a pool is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Tokens, as a server counts its own pool.
    Tokens,
    /// Bytes of each GPU.
    Bytes,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tokens => "tokens",
            Self::Bytes => "bytes",
        })
    }
}

/// What a token costs, in the pool's unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct KvCost {
    /// In the layers that keep every token.
    pub full: f64,
    /// In the layers that keep only the last `window` tokens.
    pub windowed: f64,
    /// How many tokens those keep.
    pub window: u64,
}

impl KvCost {
    /// What a token costs while it is within the window.
    pub fn per_token(self) -> f64 {
        self.full + self.windowed
    }

    /// What a request of so many tokens keeps.
    pub fn held(self, tokens: f64) -> f64 {
        self.full * tokens + self.windowed * tokens.min(self.window as f64)
    }

    /// What a request keeps on average while it grows evenly from so many tokens to so many.
    pub fn held_while_growing(self, from: f64, to: f64) -> f64 {
        let window = self.window as f64;
        let (below, above) = ((to.min(window) - from).max(0.0), (to - from.max(window)).max(0.0));
        let in_window = match to - from {
            // The windowed layers grow up to the window, and stay there.
            grown if grown > 0.0 => (below * (from + below / 2.0) + above * window) / grown,
            _ => from.min(window),
        };
        self.full * from.midpoint(to) + self.windowed * in_window
    }
}

/// What holds the keys and values of all running requests.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pool {
    /// How much there is, in `unit`.
    pub capacity: u64,
    /// What it is counted in.
    pub unit: Unit,
    /// What a token costs.
    pub cost: KvCost,
    /// Where this is known from.
    pub origin: String,
    /// What to know about it.
    pub notes: Vec<String>,
}

impl Pool {
    /// A pool of which only the size in tokens is known; `origin` says where from.
    pub fn of_tokens(tokens: u64, origin: impl Into<String>) -> Self {
        let cost = KvCost { full: 1.0, windowed: 0.0, window: 0 };
        Self { capacity: tokens, unit: Unit::Tokens, cost, origin: origin.into(), notes: Vec::new() }
    }

    /// What a request of so many tokens keeps, in the pool's unit.
    pub fn held(&self, tokens: f64) -> f64 {
        self.cost.held(tokens)
    }

    /// What a request keeps on average while it grows evenly, in the pool's unit.
    pub fn held_while_growing(&self, from: f64, to: f64) -> f64 {
        self.cost.held_while_growing(from, to)
    }

    /// How many tokens fit, each within its window.
    pub fn tokens(&self) -> u64 {
        (self.capacity as f64 / self.cost.per_token()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_averaged_within_the_window_and_beyond_it() {
        let cost = KvCost { full: 1.0, windowed: 10.0, window: 100 };
        for (from, to) in
            [(0.0, 50.0), (50.0, 100.0), (0.0, 400.0), (80.0, 120.0), (200.0, 300.0), (7.0, 7.0)]
        {
            let steps = 10_000;
            let at = |step: i32| cost.held(from + (f64::from(step) + 0.5) / f64::from(steps) * (to - from));
            let mean = (0..steps).map(at).sum::<f64>() / f64::from(steps);
            let exact = cost.held_while_growing(from, to);
            assert!((exact / mean - 1.0).abs() < 1e-6, "{from} to {to}: {exact} against {mean}");
        }
    }
}
