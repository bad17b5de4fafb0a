//! The simulator inside the program: `--sim` starts it on a free port, on a thread of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::sim;

/// A running simulator; it ends when this is dropped.
pub struct Embedded {
    address: SocketAddr,
    shutdown: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

impl Embedded {
    /// Starts it and returns when it accepts connections.
    pub fn start(spec: sim::Spec) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = runtime.block_on(sim::listen((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let (shutdown, asked) = oneshot::channel::<()>();
        let serve = move || {
            runtime.block_on(sim::serve(listener, spec, async {
                // A dropped sender asks as well as a sent message.
                let _ = asked.await;
            }))
        };
        let thread = std::thread::Builder::new().name("simulator".into()).spawn(serve)?;
        Ok(Self { address, shutdown: Some(shutdown), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        drop(self.shutdown.take());
        if let Some(thread) = self.thread.take() {
            // The measurement is over: how the simulator ended changes nothing.
            let _ = thread.join();
        }
    }
}
