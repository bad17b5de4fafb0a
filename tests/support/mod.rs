//! What the tests of the whole program stand on: the program itself, servers for it, and what they leave behind.

mod gateway;
mod pages;
mod program;
mod server;
mod simulator;
mod witness;

pub use gateway::Gateway;
pub use pages::Pages;
pub use program::{Ended, Program};
pub use server::{Port, Server};
pub use simulator::{Simulator, Story, fault, quick, steps};
pub use witness::Witness;

use std::time::{Duration, Instant};

/// Far longer than anything here takes: who waits this long waits for ever.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until something is so.
#[track_caller]
pub fn until(what: &str, is_so: impl FnMut() -> bool) {
    until_within(PATIENCE, what, is_so);
}

/// The same for something that takes long.
#[track_caller]
pub fn until_within(patience: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < patience, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
