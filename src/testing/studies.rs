//! Studies of how often intervals and verdicts are wrong when the truth is known. The short forms run with the test
//! suite; `scripts/nightly.sh` runs the long ones.

mod compare;
mod gate;
mod intervals;
mod real_time;
mod search;
mod start_effects;
