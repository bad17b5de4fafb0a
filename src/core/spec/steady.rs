//! What counts as steady.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::units::seconds;

/// What the steady-state window of a run must have.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Steadiness {
    /// In a closed loop: the share of the cap that must be in flight.
    pub threshold: f64,
    /// The shortest window that is one.
    #[serde(rename = "shortest_s", with = "seconds")]
    pub shortest: Duration,
}

impl Default for Steadiness {
    fn default() -> Self {
        Self { threshold: 0.95, shortest: Duration::from_secs(5) }
    }
}
