//! The simulated vLLM over HTTP: its shapes against recordings of a real one, its faults, its numbers.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod endpoints;
mod engine;
mod faults;
mod harness;
mod shapes;
mod truth;
