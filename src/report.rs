//! Renderers: each writes a finished value to a writer. [`progress`] observes a run and draws its progress.

pub(crate) mod ab;
pub(crate) mod audit;
pub(crate) mod client_metrics;
pub(crate) mod compare;
pub(crate) mod dashboard;
pub(crate) mod dataset;
pub(crate) mod diagnose;
pub(crate) mod format;
pub(crate) mod gate;
pub(crate) mod glossary;
pub(crate) mod html;
pub(crate) mod ladder;
pub(crate) mod log;
pub(crate) mod plan;
pub(crate) mod plot;
pub(crate) mod progress;
pub(crate) mod repeats;
pub(crate) mod run_list;
pub(crate) mod run_metrics;
pub(crate) mod search;
pub(crate) mod stated;
pub(crate) mod sweep;
pub(crate) mod table;
pub(crate) mod text;
pub(crate) mod vllm;
pub(crate) mod watch;
