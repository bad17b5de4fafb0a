//! Renderers: a finished value to a writer. Progress is an observer of the run that draws.

pub mod dashboard;
pub mod dataset;
pub mod definitions;
pub mod figures;
pub mod log;
pub mod plan;
pub mod plot;
pub mod progress;
pub mod search;
pub mod text;
pub mod vllm;
pub mod watch;
