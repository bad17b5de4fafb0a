//! Findings and verdicts: pure functions from what was saved, read or asked.

pub mod plan;
