//! The requirements for a steady-state window.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::seconds;

/// The requirements for the steady-state window of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct SteadyStateConfig {
    /// In a closed loop: the share of the cap that must be in flight, 0 to 1.
    pub threshold: f64,
    /// The minimum length of the window.
    #[serde(rename = "shortest_s", with = "seconds")]
    pub shortest: Duration,
}

impl Default for SteadyStateConfig {
    fn default() -> Self {
        Self { threshold: 0.95, shortest: Duration::from_secs(5) }
    }
}
