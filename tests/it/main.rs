//! The integration tests, in one binary because each binary links everything. They run commands as a user does, against
//! the simulator and scripted servers.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

mod ab;
mod buffering;
mod calibrate;
mod compare;
mod dashboard;
mod diagnose;
mod docs;
mod documented_commands;
mod examples;
mod flags;
mod gate;
mod help;
mod kept_runs;
mod ladder;
mod launch;
mod layers;
mod logging;
mod logs;
mod name;
mod other_tools;
mod packages;
mod plan;
mod predict;
mod public_api;
mod quick;
mod record_parts;
mod records;
mod records_to;
mod report;
mod run;
mod search;
mod sessions;
mod shards;
mod sim;
#[allow(dead_code, reason = "tests/truth.rs shares it, and uses what is not used here")]
mod support;
mod sweep;
mod traces;
mod validity;
mod watch;
mod workflows;
