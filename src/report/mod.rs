//! Renderers: a finished value to a writer. Progress is an observer of the run that draws.

pub mod ab;
pub mod compare;
pub mod dashboard;
pub mod dataset;
pub mod definitions;
pub mod diagnose;
pub mod exposition;
pub mod figures;
pub mod gate;
pub mod log;
pub mod plan;
pub mod plot;
pub mod progress;
pub mod repeats;
pub mod search;
pub mod sweep;
pub mod text;
pub mod vllm;
pub mod watch;
