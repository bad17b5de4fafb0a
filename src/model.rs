//! The data model: plain values without sockets, clocks or printing.
//!
//! A [`run_spec::Spec`] describes the load, and [`arrival`] turns it into send times. A [`record::Record`] holds the
//! outcome of one request. [`metrics::Metrics`] summarizes the records with the intervals of [`stats`](crate::stats).
//! [`series`] and [`steady_state`] follow the run over time, [`validity`] reports whether the run is trustworthy, and a
//! [`run::Run`] holds all of it. A [`metric_id::MetricId`] names one number of a run, and a [`rule::MetricRule`] is a
//! bound on it.

pub(crate) mod arrival;
pub(crate) mod bounded_file;
pub(crate) mod concurrency;
pub(crate) mod dataset;
pub(crate) mod decompression;
pub(crate) mod digest;
pub(crate) mod length_counts;
pub(crate) mod metric_id;
pub(crate) mod metrics;
pub(crate) mod plain_text;
pub(crate) mod prediction;
pub(crate) mod probes;
pub(crate) mod profile;
pub(crate) mod record;
pub(crate) mod record_columns;
pub(crate) mod record_log;
pub(crate) mod request;
pub(crate) mod request_id;
pub(crate) mod rfc3339;
pub(crate) mod rng;
pub(crate) mod rule;
pub(crate) mod run;
pub(crate) mod run_records;
pub(crate) mod run_spec;
pub(crate) mod secrets;
pub(crate) mod series;
pub(crate) mod server;
pub(crate) mod setting_names;
pub(crate) mod shard;
pub(crate) mod spool;
pub(crate) mod stated;
pub(crate) mod steady_state;
pub(crate) mod step_load;
pub(crate) mod stop_rule;
pub(crate) mod units;
pub(crate) mod validity;
mod varint;
pub(crate) mod wall_time;
pub mod wav;
