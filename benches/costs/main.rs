//! Costs of single parts: of each token ([`decode`], [`tally`]), of each request ([`pace`]), of each run ([`summary`],
//! [`sharegpt`]), and of each line of a log ([`log`]).
//!
//! `cargo bench` measures all of them, and `cargo bench -- decode` those with `decode` in their name.
//! `scripts/overhead.sh` measures the cost of a whole run in comparison with other clients.

use criterion::{criterion_group, criterion_main};

mod decode;
mod log;
mod pace;
mod sharegpt;
mod summary;
mod tally;

criterion_group!(
    costs,
    decode::bench,
    tally::bench,
    pace::bench,
    summary::bench,
    sharegpt::bench,
    log::bench
);
criterion_main!(costs);
