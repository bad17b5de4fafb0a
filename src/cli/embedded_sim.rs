//! The embedded simulator: `--sim` starts it on a free port, in a separate thread.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::dataset::bundled;
use crate::sim;

/// A running simulator. Dropping it stops the simulator.
pub(super) struct EmbeddedSim {
    address: SocketAddr,
    shutdown: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

impl EmbeddedSim {
    /// Starts a simulator with the speed of an 8B model on one A100. It accepts any model name, and counts with the
    /// bundled tokenizer.
    pub(super) fn with_bundled_tokenizer() -> std::io::Result<Self> {
        Self::start(sim::SimSpec {
            served_names: vec!["*".into()],
            timing: sim::Speed::A100Llama8b.step_time(),
            tokenizer_json: Some(bundled::tokenizer_json().into()),
            output: sim::OutputSpec { prompt_tokens_details: true, ..sim::OutputSpec::default() },
            ..sim::SimSpec::default()
        })
    }

    /// Starts a simulator, and returns when it accepts connections.
    fn start(spec: sim::SimSpec) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = runtime.block_on(sim::listen((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let (shutdown, asked) = oneshot::channel::<()>();
        let serve = move || {
            runtime.block_on(sim::serve(listener, spec, async {
                // A dropped sender requests the end just as a sent message does.
                let _ = asked.await;
            }))
        };
        let thread = std::thread::Builder::new().name("simulator".into()).spawn(serve)?;
        Ok(Self { address, shutdown: Some(shutdown), thread: Some(thread) })
    }

    /// Returns the simulator's URL.
    pub(super) fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for EmbeddedSim {
    fn drop(&mut self) {
        drop(self.shutdown.take());
        if let Some(thread) = self.thread.take() {
            // The measurement is over, so the way the simulator ended does not matter.
            let _ = thread.join();
        }
    }
}
