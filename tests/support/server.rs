//! Servers on threads of their own.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread::JoinHandle;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::oneshot;

/// A port of the loopback that is taken, so that nobody else gets it, and refuses connections until it is opened.
pub struct Port {
    socket: TcpSocket,
    address: SocketAddr,
}

impl Port {
    pub fn take() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = socket.local_addr().unwrap();
        Self { socket, address }
    }

    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// A running server; it ends when this is dropped.
pub struct Server {
    pub address: SocketAddr,
    shutdown: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Server {
    /// Opens the port and serves on it; the receiver completes when the server is to end.
    pub fn start<F>(
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

    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends it and waits until it has ended.
    pub fn stop(&mut self) {
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
            // Whatever became of it, the test is over.
            let _ = thread.join();
        }
    }
}
