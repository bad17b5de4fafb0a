//! The `servegauge` program; see the crate's documentation.

use std::process::ExitCode;

/// glibc's allocator grows the heap of a second thread by `mprotect`, a few pages at a time, under a lock of the whole
/// process: senders were seen waiting for it. This one takes its memory in large pieces.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    servegauge::main()
}
