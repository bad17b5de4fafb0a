//! Accepts the connections of the other clients, with TLS if shard 0 has a certificate.
//!
//! A client that uses TLS where shard 0 does not, or the reverse, gets an answer in its own protocol, and shard 0's user
//! a notice. Each connection is opened by a task of its own, so that a client that is silent or slow delays no other.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use axum::serve::Listener;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::info;

use super::messages::Refusal;
use crate::client::transport_error;

/// The time that a new client has to send its first byte, and then for its TLS handshake. Its messages have the same
/// timeout.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// The most connections that are being opened at a time. Further ones wait in the kernel.
const MAX_HANDSHAKES: usize = 256;

/// The most notices of one listener: a port that strangers scan must not fill the screen.
const MAX_NOTICES: usize = 16;

/// The most bytes that are read from a client before the answer that it needs TLS.
const MAX_REFUSED_BYTES: u64 = 1 << 16;

/// The first byte of a TLS handshake (RFC 8446, section 5.1). No method of HTTP begins with it.
const TLS_HANDSHAKE: u8 = 0x16;

/// The answer to a client without TLS.
const NEEDS_TLS: &str = "shard 0 requires TLS, and this shard does not use it";

/// An open connection to a client, with or without TLS.
pub(super) type ClientStream = Box<dyn Duplex>;

/// A connection that is read and written.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// Where the other clients connect.
pub(super) struct ClientListener {
    listener: TcpListener,
    /// Opens connections with TLS; `None` if shard 0 uses none.
    acceptor: Option<TlsAcceptor>,
    handshakes: JoinSet<(SocketAddr, Opening)>,
    notices: Notices,
}

/// The result of opening a connection.
struct Opening {
    /// `None` if the connection is closed.
    stream: Option<ClientStream>,
    /// What is wrong with the client: words that follow its name.
    fault: Option<String>,
}

impl ClientListener {
    /// Accepts connections, with TLS if there is a configuration for it. Sentences on clients that cannot connect go to
    /// `notices`, each once.
    pub(super) fn new(listener: TcpListener, tls: Option<ServerConfig>, notices: Sender<String>) -> Self {
        let acceptor = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
        let notices = Notices { given: BTreeSet::new(), to: notices };
        Self { listener, acceptor, handshakes: JoinSet::new(), notices }
    }
}

impl Listener for ClientListener {
    type Io = ClientStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (ClientStream, SocketAddr) {
        loop {
            tokio::select! {
                // axum's own loop for TCP waits when there are no file descriptors left.
                (stream, from) = Listener::accept(&mut self.listener), if self.handshakes.len() < MAX_HANDSHAKES => {
                    let acceptor = self.acceptor.clone();
                    self.handshakes.spawn(async move { (from, open(stream, acceptor).await) });
                }
                Some(joined) = self.handshakes.join_next() => {
                    // A task that panicked has no connection.
                    let Ok((from, opening)) = joined else { continue };
                    if let Some(fault) = opening.fault {
                        self.notices.add(from, fault);
                    }
                    if let Some(stream) = opening.stream {
                        return (stream, from);
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Opens a connection that was accepted.
async fn open(mut stream: TcpStream, acceptor: Option<TlsAcceptor>) -> Opening {
    let closed = |fault: Option<String>| Opening { stream: None, fault };
    let mut first = [0];
    // A connection that is never used, such as that of a health check, is no fault.
    let Ok(Ok(1..)) = timeout(HANDSHAKE_TIMEOUT, stream.peek(&mut first)).await else { return closed(None) };
    match (acceptor, first[0] == TLS_HANDSHAKE) {
        (None, is_tls) => {
            let fault = is_tls.then(|| "uses TLS, and shard 0 does not".to_owned());
            // To a client with TLS, HTTP's answer to malformed requests says that there is none.
            Opening { stream: Some(Box::new(stream)), fault }
        }
        (Some(acceptor), true) => {
            // The round trips that relate the clocks are to be as short as without TLS.
            let _ = stream.set_nodelay(true);
            match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => Opening { stream: Some(Box::new(stream)), fault: None },
                Ok(Err(error)) => closed(Some(transport_error::client_handshake(&error))),
                Err(_) => closed(Some("did not end its TLS handshake in time".to_owned())),
            }
        }
        (Some(_), false) => {
            // It may be gone, or send more than anybody reads.
            let _ = timeout(HANDSHAKE_TIMEOUT, answer_without_tls(&mut stream)).await;
            closed(Some("does not use TLS, which shard 0 requires".to_owned()))
        }
    }
}

/// Tells a client without TLS that shard 0 requires it.
async fn answer_without_tls(stream: &mut TcpStream) -> io::Result<()> {
    let body = serde_json::to_string(&Refusal { error: NEEDS_TLS.to_owned() })?;
    let head = "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close";
    let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    // To close a connection with unread bytes would reset it, and the client might lose the answer.
    tokio::io::copy(&mut stream.take(MAX_REFUSED_BYTES), &mut tokio::io::sink()).await?;
    Ok(())
}

/// Sentences on clients that could not connect.
struct Notices {
    given: BTreeSet<(IpAddr, String)>,
    to: Sender<String>,
}

impl Notices {
    fn add(&mut self, from: SocketAddr, fault: String) {
        let host = from.ip().to_canonical();
        info!(%from, fault, "a connection of a shard failed");
        if self.given.len() < MAX_NOTICES && self.given.insert((host, fault.clone())) {
            // Nobody reads them after the last run.
            let _ = self.to.send(format!("the client at {host} {fault}"));
        }
    }
}

#[cfg(test)]
mod tests;
