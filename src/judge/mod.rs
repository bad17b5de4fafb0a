//! Findings and verdicts: pure functions from what was saved, logged, read or asked.

pub mod ab;
pub mod compare;
pub mod diagnose;
pub mod gate;
mod lasting;
pub mod log;
pub mod plan;
pub mod search;
#[cfg(test)]
mod start_study;
pub mod sweep;
pub mod vigil;
