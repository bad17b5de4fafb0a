//! Judgements: pure functions from what was measured or logged to findings.

pub mod log;
