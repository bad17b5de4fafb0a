//! Findings and verdicts: pure functions from what was saved, logged, read or asked.

pub mod compare;
pub mod diagnose;
mod lasting;
pub mod log;
pub mod plan;
pub mod sweep;
pub mod vigil;
