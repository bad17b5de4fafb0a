//! Data about the server under test besides its answers: metrics, logs, process.
//!
//! A [`metrics_text::MetricsText`] is a parsed `/metrics` page. A [`signals::MetricsSnapshot`] holds the page's
//! signals under our own names, and a [`recorder::MetricsRecorder`] turns a run's snapshots into time series.
//! [`health`] checks snapshots against the limits. [`launch`] starts servers and cleans up after them.

#[cfg(feature = "cli")]
pub(crate) mod condition_timer;
#[cfg(feature = "cli")]
pub(crate) mod health;
#[cfg(feature = "cli")]
pub(crate) mod kv_pool;
#[cfg(feature = "cli")]
pub(crate) mod launch;
#[cfg(feature = "cli")]
pub(crate) mod log;
#[cfg(feature = "cli")]
pub(crate) mod log_summary;
pub(crate) mod metrics_text;
#[cfg(feature = "cli")]
pub(crate) mod monitor;
pub(crate) mod prefix_cache;
pub(crate) mod recorder;
pub(crate) mod signals;
