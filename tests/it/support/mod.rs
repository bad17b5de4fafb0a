//! Support for the tests of the whole program: the program itself, servers for it, and the files that it leaves.

mod gateway;
mod pages;
mod program;
pub(crate) mod scripted;
mod server;
mod simulator;
mod witness;

pub(crate) use gateway::Gateway;
pub(crate) use pages::Pages;
pub(crate) use program::{Ended, Program, Running};
pub(crate) use scripted::Scripted;
pub(crate) use server::{Port, Server};
pub(crate) use simulator::{Simulator, Story, fault, quick, steps};
pub(crate) use witness::Witness;

use std::time::{Duration, Instant};

/// Far longer than anything here takes: a wait of this length has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until a condition is true.
#[track_caller]
pub(crate) fn until(what: &str, is_so: impl FnMut() -> bool) {
    until_within(PATIENCE, what, is_so);
}

/// Waits until a condition is true, for at most `patience`.
#[track_caller]
pub(crate) fn until_within(patience: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < patience, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
