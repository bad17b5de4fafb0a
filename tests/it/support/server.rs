//! Servers that run on their own threads.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread::JoinHandle;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::oneshot;

/// A loopback port that is bound, so that no other process gets it, and that refuses connections until it is opened.
pub(crate) struct Port {
    socket: TcpSocket,
    address: SocketAddr,
}

impl Port {
    pub(crate) fn take() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = socket.local_addr().unwrap();
        Self { socket, address }
    }

    pub(crate) fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// A running server. It stops when this is dropped.
pub(crate) struct Server {
    pub address: SocketAddr,
    shutdown: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Server {
    /// Opens the port and serves on it. The receiver completes when the server is to stop.
    pub(crate) fn start<F>(
        port: Port,
        serve: impl FnOnce(TcpListener, oneshot::Receiver<()>) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = io::Result<()>>,
    {
        let Port { socket, address } = port;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(async { socket.listen(1024) }).unwrap();
        let (shutdown, asked) = oneshot::channel();
        let thread = std::thread::spawn(move || runtime.block_on(serve(listener, asked)));
        Self { address, shutdown: Some(shutdown), thread: Some(thread) }
    }

    pub(crate) fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops the server and waits for its end.
    pub(crate) fn stop(&mut self) {
        drop(self.shutdown.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("a server does not panic").expect("a server ends well");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.shutdown.take());
        if let Some(thread) = self.thread.take() {
            // Its result does not matter, because the test is over.
            let _ = thread.join();
        }
    }
}
