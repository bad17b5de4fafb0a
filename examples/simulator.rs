//! Serves a simulated vLLM, with a small model on a slow card and a few faults, until Ctrl-C: `cargo run --example simulator`
#![allow(clippy::print_stdout, reason = "an example talks to its user")]

use std::io;

use servegauge::sim::{self, FaultInjection, FaultKind, SimSpec, Speed};

/// Steps take as long as those of an 8 B model on an L4, and one request in a hundred gets an error in its stream.
fn slow() -> SimSpec {
    SimSpec {
        timing: Speed::L4Llama8b.step_time(),
        faults: FaultInjection { rate: 0.01, kinds: vec![FaultKind::ErrorEvent] },
        ..SimSpec::default()
    }
}

/// Serves until `shutdown` completes, and calls `ready` with the URL.
pub async fn simulate(
    ready: impl FnOnce(String),
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let listener = sim::listen("127.0.0.1:0").await?;
    ready(format!("http://{}", listener.local_addr()?));
    sim::serve(listener, slow(), shutdown).await
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let interrupted = async { drop(tokio::signal::ctrl_c().await) };
    simulate(|url| println!("a simulated vLLM at {url}"), interrupted).await
}
