//! Findings and verdicts: pure functions from what was saved, logged, read or asked.

pub mod ab;
pub mod compare;
pub mod log;
pub mod plan;
