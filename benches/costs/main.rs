//! What the parts cost: those paid with every token ([`decode`], [`tally`]), with every request ([`pace`]), and once a
//! run ([`summary`], [`sharegpt`]); and with every line of a log ([`log`]).
//!
//! `cargo bench` measures all of them, `cargo bench -- decode` those whose name has `decode` in it. What a whole run
//! costs beside other clients is `scripts/overhead.sh`'s to say.

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
