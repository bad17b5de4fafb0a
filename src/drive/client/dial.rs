//! Opening connections: name, TCP, the proxy's tunnel, TLS.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::lookup_host;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::ClientError;
use super::endpoint::Endpoint;
use super::fault;
use super::http1::{Decoder, Part};
use super::link::Link;
use super::proxy::Proxy;
use super::stamp::StampedStream;
use super::stopwatch::Step;
use crate::core::record::{Failure, FailureClass};
use crate::core::spec::Target;
use crate::drive::tls;

/// How long a resolved name is believed: a thousand connections are not a thousand questions, and a server that moves is
/// found again.
const KEEP_ADDRESSES: Duration = Duration::from_secs(10);

/// How long an address may take to answer while there is another to try.
const NEXT_ADDRESS: Duration = Duration::from_secs(1);

/// Opens connections to one endpoint.
pub struct Dialer {
    /// The server's place, or the proxy's.
    host: String,
    port: u16,
    addresses: RefCell<Option<Known>>,
    tunnel: Option<Tunnel>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// Addresses of a name, the best first.
struct Known {
    addresses: Vec<SocketAddr>,
    since: Instant,
}

/// What a proxy is asked for before TLS.
struct Tunnel(String);

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dialer({}:{})", self.host, self.port)
    }
}

impl Dialer {
    /// For a target's endpoint, through a proxy or directly.
    pub fn new(target: &Target, endpoint: &Endpoint, proxy: Option<&Proxy>) -> Result<Self, ClientError> {
        let tls = endpoint.is_https.then(|| tls(target, &endpoint.host)).transpose()?;
        let (host, port) = match proxy {
            Some(proxy) => (proxy.host.clone(), proxy.port),
            None => (endpoint.host.clone(), endpoint.port),
        };
        let tunnel = proxy.filter(|_| endpoint.is_https).map(|proxy| Tunnel::to(endpoint, proxy));
        Ok(Self { host, port, addresses: RefCell::default(), tunnel, tls })
    }

    /// Opens a connection and tells how far it is.
    pub async fn dial(&self, reached: &mut dyn FnMut(Step)) -> Result<Link, Failure> {
        let mut socket = self.connect(reached).await?;
        reached(Step::Connected);
        if let Some(tunnel) = &self.tunnel {
            tunnel.open(&mut socket).await?;
        }
        let Some((connector, name)) = &self.tls else { return Ok(Link::Plain(socket)) };
        let stream =
            connector.connect(name.clone(), socket).await.map_err(|error| fault::no_handshake(&error))?;
        reached(Step::Secured);
        Ok(Link::Secured(Box::new(stream)))
    }

    /// Tries one address after another.
    async fn connect(&self, reached: &mut dyn FnMut(Step)) -> Result<StampedStream, Failure> {
        let addresses = self.addresses(reached).await?;
        let mut failure = None;
        for (at, &address) in addresses.iter().enumerate() {
            let attempt = StampedStream::connect(address);
            let result = if at + 1 < addresses.len() {
                timeout(NEXT_ADDRESS, attempt).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            } else {
                attempt.await
            };
            match result {
                Ok(socket) => {
                    self.prefer(address);
                    return Ok(socket);
                }
                Err(error) => failure = Some(fault::no_connection(&address.to_string(), &error)),
            }
        }
        Err(failure.unwrap_or_else(|| self.no_address("the name has no address")))
    }

    async fn addresses(&self, reached: &mut dyn FnMut(Step)) -> Result<Vec<SocketAddr>, Failure> {
        if let Ok(address) = self.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, self.port)]);
        }
        let known = self.addresses.borrow().as_ref().and_then(Known::fresh);
        let addresses = match known {
            Some(addresses) => addresses,
            None => self.resolve().await?,
        };
        reached(Step::Resolved);
        Ok(addresses)
    }

    async fn resolve(&self) -> Result<Vec<SocketAddr>, Failure> {
        let found = lookup_host((self.host.as_str(), self.port)).await;
        let addresses: Vec<_> = found.map_err(|error| self.no_address(&error.to_string()))?.collect();
        *self.addresses.borrow_mut() = Some(Known { addresses: addresses.clone(), since: Instant::now() });
        Ok(addresses)
    }

    /// Next time, this address is tried first.
    fn prefer(&self, address: SocketAddr) {
        if let Some(known) = &mut *self.addresses.borrow_mut() {
            known.addresses.sort_by_key(|it| *it != address);
        }
    }

    fn no_address(&self, cause: &str) -> Failure {
        Failure::new(FailureClass::Connect, format!("{}: {cause}", self.host))
    }
}

impl Known {
    fn fresh(&self) -> Option<Vec<SocketAddr>> {
        (self.since.elapsed() < KEEP_ADDRESSES).then(|| self.addresses.clone())
    }
}

fn tls(target: &Target, host: &str) -> Result<(TlsConnector, ServerName<'static>), ClientError> {
    let config = tls::client_config(target).map_err(|error| ClientError::Setup(error.to_string()))?;
    let name = ServerName::try_from(host.to_owned())
        .map_err(|error| ClientError::Url { url: target.base_url.clone(), cause: error.to_string() })?;
    Ok((TlsConnector::from(Arc::new(config)), name))
}

impl Tunnel {
    fn to(endpoint: &Endpoint, proxy: &Proxy) -> Self {
        let host = match endpoint.host.contains(':') {
            true => format!("[{}]", endpoint.host),
            false => endpoint.host.clone(),
        };
        let place = format!("{host}:{}", endpoint.port);
        let authorization = proxy.authorization.as_ref().and_then(|value| value.to_str().ok());
        let authorization =
            authorization.map(|value| format!("proxy-authorization: {value}\r\n")).unwrap_or_default();
        Self(format!("CONNECT {place} HTTP/1.1\r\nhost: {place}\r\n{authorization}\r\n"))
    }

    /// Asks the proxy to pass everything on from here.
    async fn open(&self, socket: &mut StampedStream) -> Result<(), Failure> {
        let refuse =
            |cause: String| Failure::new(FailureClass::Connect, format!("the proxy's tunnel: {cause}"));
        match self.status(socket).await.map_err(refuse)? {
            200..300 => Ok(()),
            status => Err(refuse(format!("HTTP {status}"))),
        }
    }

    async fn status(&self, socket: &mut StampedStream) -> Result<u16, String> {
        socket.write_all(self.0.as_bytes()).await.map_err(|error| error.to_string())?;
        let (mut decoder, mut status) = (Decoder::default(), None);
        let mut room = [0; 1024];
        // The server waits for our handshake, so nothing can follow the head of the proxy's consent.
        while status.is_none() {
            let count = socket.read(&mut room).await.map_err(|error| error.to_string())?;
            let taken = match count {
                0 => decoder.close(),
                _ => decoder.push(&room[..count], &mut |part| match part {
                    Part::Head(head) => status = Some(head.status),
                    Part::Data(_) => {}
                }),
            };
            taken.map_err(|error| error.to_string())?;
        }
        Ok(status.unwrap_or_default())
    }
}
