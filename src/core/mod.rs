//! The spine: pure values and arithmetic. No sockets, no clock, no printing.
//!
//! A [`spec::Spec`] says what to do, [`arrival`] turns it into offsets, [`record::Record`] holds what happened to one
//! request..

pub mod arrival;
pub mod dataset;
pub mod digest;
pub mod in_flight;
pub mod metrics;
pub mod record;
pub mod run;
pub mod series;
#[cfg(test)]
mod simulated;
pub mod spec;
pub mod stats;
pub mod steady;
pub mod units;
