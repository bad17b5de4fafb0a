//! The KV pool: its size, and what a request keeps in it.

use std::fmt;

use serde::Serialize;

/// The unit of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PoolUnit {
    /// Tokens, as a server counts its own pool.
    Tokens,
    /// Bytes on each GPU.
    Bytes,
}

impl fmt::Display for PoolUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tokens => "tokens",
            Self::Bytes => "bytes",
        })
    }
}

/// The cost of a sequence, in the pool's unit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct KvCost {
    /// Per token, in the layers that keep every token.
    pub full: f64,
    /// Per token, in the layers that keep only the last `window` tokens.
    pub windowed: f64,
    /// The number of tokens that windowed layers keep.
    pub window: u64,
    /// Per sequence, whatever its length: the states of linear attention and state-space layers.
    pub state: f64,
}

impl KvCost {
    /// Returns the cost of a token while it is within the window.
    pub(crate) fn per_token(self) -> f64 {
        self.full + self.windowed
    }

    /// Returns the cost of a request with this number of tokens.
    pub(crate) fn request_cost(self, tokens: f64) -> f64 {
        self.state + self.full * tokens + self.windowed * tokens.min(self.window as f64)
    }

    /// Returns the mean cost of a request while it grows evenly from `from` to `to` tokens.
    pub(crate) fn mean_cost_while_growing(self, from: f64, to: f64) -> f64 {
        let window = self.window as f64;
        let (below, above) = ((to.min(window) - from).max(0.0), (to - from.max(window)).max(0.0));
        let in_window = match to - from {
            // The windowed layers grow up to the window, and then keep their size.
            grown if grown > 0.0 => (below * (from + below / 2.0) + above * window) / grown,
            _ => from.min(window),
        };
        self.state + self.full * from.midpoint(to) + self.windowed * in_window
    }
}

/// A part of a GPU's memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct MemoryLine {
    /// What the memory is used for.
    pub what: &'static str,
    /// The size in bytes.
    pub bytes: u64,
    /// The source of the size.
    pub source: String,
}

/// A server's KV cache pool, shared by all running requests.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct KvPool {
    /// The capacity, in `unit`.
    pub capacity: u64,
    /// The unit of the capacity.
    pub unit: PoolUnit,
    /// The cost of a sequence.
    pub cost: KvCost,
    /// The source of this information.
    pub origin: String,
    /// Remarks for the reader of the plan.
    pub notes: Vec<String>,
    /// The division of a GPU's memory, if the pool was calculated from it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub memory: Vec<MemoryLine>,
    /// The tokens that vLLM's log prints for such a pool, if that can be calculated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub printed_tokens: Option<u64>,
}

impl KvPool {
    /// Makes a pool with only its size in tokens known; `origin` names the source.
    pub(crate) fn from_tokens(tokens: u64, origin: impl Into<String>) -> Self {
        Self {
            capacity: tokens,
            unit: PoolUnit::Tokens,
            cost: KvCost { full: 1.0, ..KvCost::default() },
            origin: origin.into(),
            notes: Vec::new(),
            memory: Vec::new(),
            printed_tokens: None,
        }
    }

    /// Returns the cost of a request with this number of tokens, in the pool's unit.
    pub(crate) fn request_cost(&self, tokens: f64) -> f64 {
        self.cost.request_cost(tokens)
    }

    /// Returns the mean cost of a request while it grows evenly, in the pool's unit.
    pub(crate) fn mean_cost_while_growing(&self, from: f64, to: f64) -> f64 {
        self.cost.mean_cost_while_growing(from, to)
    }

    /// Returns the number of tokens that fit, each within its window and without states; `None` for a model that only
    /// keeps states.
    pub(crate) fn tokens(&self) -> Option<u64> {
        let per_token = self.cost.per_token();
        (per_token > 0.0).then(|| (self.capacity as f64 / per_token) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_averaged_within_the_window_and_beyond_it() {
        let cost = KvCost { full: 1.0, windowed: 10.0, window: 100, state: 77.0 };
        for (from, to) in
            [(0.0, 50.0), (50.0, 100.0), (0.0, 400.0), (80.0, 120.0), (200.0, 300.0), (7.0, 7.0)]
        {
            let steps = 10_000;
            let at = |step: i32| {
                cost.request_cost(from + (f64::from(step) + 0.5) / f64::from(steps) * (to - from))
            };
            let mean = (0..steps).map(at).sum::<f64>() / f64::from(steps);
            let exact = cost.mean_cost_while_growing(from, to);
            assert!((exact / mean - 1.0).abs() < 1e-6, "{from} to {to}: {exact} against {mean}");
        }
    }
}
