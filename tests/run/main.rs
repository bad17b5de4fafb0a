//! `servebench run` as a user meets it: the real program against the simulator.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "each test program uses its part")]
mod support;

mod backends;
mod command_line;
mod configuration;
mod dataset;
mod datasets;
mod ending;
mod failures;
mod first_answers;
mod interrupt;
mod mistakes;
mod mix;
mod orders;
mod output;
mod pace;
mod profile;
mod publish;
mod record_log;
mod repeats;
mod report;
mod result;
mod server_side;
mod tokens;
mod traces;
mod unique;
mod warm_up;
mod workload;
