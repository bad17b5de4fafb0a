//! Shared test support: scripted servers, a queue model, sample runs, recorded answers, and studies of how often
//! verdicts are wrong.

pub(crate) mod datasets;
mod loads;
pub(crate) mod machine;
#[cfg(feature = "cli")]
pub(crate) mod predictions;
pub(crate) mod queue;
pub(crate) mod sample_run;
pub(crate) mod scripted_server;
pub(crate) mod searches;
pub(crate) mod service_laws;
pub(crate) mod stated;
#[cfg(feature = "cli")]
pub(crate) mod step_loop;
mod studies;
pub(crate) mod transcripts;
#[cfg(feature = "cli")]
mod virtual_time;

/// Returns what a user reads of a text: flags replace the names of settings.
#[cfg(feature = "cli")]
pub(crate) fn printed(text: &str) -> String {
    crate::cli::setting_flags::with_flags(text)
}
