//! Prediction in virtual time: the simulator's scheduler, driven by a clock that jumps from one change to the next.
//!
//! ```text
//! workload ─▶ fleet (events, router) ─▶ replica (its clock) ─▶ sim::scheduler
//!                │                         └ step times, noise
//!                └─▶ observer: answers and steps
//! ```
//!
//! Time is counted in integer [`ticks`], so that the same input gives the same bytes on every machine, and so that a
//! number of steps at once ends at the same tick as the steps one by one.

pub(crate) mod autoscale;
mod beyond_seen;
pub(crate) mod calibration;
mod capacity;
pub(crate) mod fleet;
pub(crate) mod fleet_cost;
pub(crate) mod fleet_size;
mod knee;
pub(crate) mod load_draw;
mod load_rates;
mod metric_values;
pub(crate) mod noise;
pub(crate) mod observer;
pub(crate) mod offered_load;
pub(crate) mod predicted_run;
pub(crate) mod prediction;
pub(crate) mod recorded;
pub(crate) mod records;
pub(crate) mod replica;
pub(crate) mod router;
pub(crate) mod router_comparison;
pub(crate) mod seen_steps;
pub(crate) mod server_model;
mod simulation;
pub(crate) mod split;
pub(crate) mod split_comparison;
mod stages;
pub(crate) mod step_time;
pub(crate) mod ticks;
pub(crate) mod what_if;
pub(crate) mod workload;
