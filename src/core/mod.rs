//! The spine: pure values and arithmetic. No sockets, no clock, no printing.
//!
//! A [`spec::Spec`] says what to do, [`arrival`] turns it into offsets, [`record::Record`] holds what happened to one
//! request, [`metrics::Metrics`] sums Records up with the intervals of [`stats`], [`series`] and [`steady`] follow the
//! run through time, [`validity`] says whether to believe it, and a [`run::Run`] keeps all of it. A [`figure::Figure`] is
//! one number of a Run by its name, a [`rule::Rule`] what it must keep to.

pub mod arrival;
pub mod dataset;
pub mod digest;
pub mod figure;
pub mod in_flight;
pub mod metrics;
pub mod probes;
pub mod profile;
pub mod record;
pub mod record_log;
pub mod rng;
pub mod rule;
pub mod run;
pub mod series;
pub mod server;
#[cfg(test)]
pub(crate) mod simulated;
pub mod spec;
pub mod stats;
pub mod steady;
pub mod units;
pub mod validity;
pub mod wall_time;
