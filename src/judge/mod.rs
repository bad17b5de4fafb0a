//! Findings and verdicts: pure functions from what was saved, logged, read or asked.

pub mod log;
pub mod plan;
pub mod search;
