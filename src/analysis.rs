//! Analyses and verdicts: pure functions of results, logs, metrics and settings.

#[cfg(feature = "cli")]
pub(crate) mod ab;
#[cfg(feature = "cli")]
pub(crate) mod audit;
pub(crate) mod compare;
#[cfg(feature = "cli")]
pub(crate) mod diagnose;
pub(crate) mod gate;
#[cfg(feature = "cli")]
pub(crate) mod plan;
#[cfg(feature = "cli")]
pub(crate) mod prediction_check;
pub(crate) mod search;
#[cfg(feature = "cli")]
pub(crate) mod sweep;
