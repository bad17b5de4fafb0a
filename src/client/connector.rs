//! Opens connections: name resolution, TCP, the proxy's tunnel, TLS.

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
use tracing::debug;

use super::ClientError;
use super::endpoint::Endpoint;
use super::http1::{ResponseDecoder, ResponsePart};
use super::proxy::Proxy;
use crate::client::connection::HttpConnection;
use crate::client::request_timer::ConnectStep;
use crate::client::rx_timestamp::TimestampedStream;
use crate::client::tls;
use crate::client::transport_error;
use crate::model::record::{Failure, FailureClass};
use crate::model::run_spec::Target;
use crate::model::secrets;

/// How long a resolved name is cached. A thousand connections then need no thousand lookups, and the client still finds
/// a server that moves.
const DNS_CACHE_TIME: Duration = Duration::from_secs(10);

/// How long the client waits for an address to answer while there is another address to try.
const NEXT_ADDRESS_DELAY: Duration = Duration::from_secs(1);

/// Opens connections to one endpoint.
pub(super) struct Connector {
    /// The host of the server or the proxy.
    host: String,
    port: u16,
    addresses: RefCell<Option<ResolvedAddrs>>,
    tunnel: Option<ProxyTunnel>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// The addresses of a name; the preferred one comes first.
struct ResolvedAddrs {
    addresses: Vec<SocketAddr>,
    since: Instant,
}

/// The `CONNECT` request that opens a tunnel through a proxy before TLS.
struct ProxyTunnel(String);

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dialer({}:{})", self.host, self.port)
    }
}

impl Connector {
    /// Creates a connector for a target's endpoint, through a proxy or directly.
    pub(super) fn new(
        target: &Target,
        endpoint: &Endpoint,
        proxy: Option<&Proxy>,
    ) -> Result<Self, ClientError> {
        let tls = endpoint.is_https.then(|| tls(target, &endpoint.host)).transpose()?;
        let (host, port) = match proxy {
            Some(proxy) => (proxy.host.clone(), proxy.port),
            None => (endpoint.host.clone(), endpoint.port),
        };
        let tunnel =
            proxy.filter(|_| endpoint.is_https).map(|proxy| ProxyTunnel::for_endpoint(endpoint, proxy));
        Ok(Self { host, port, addresses: RefCell::default(), tunnel, tls })
    }

    /// Opens a connection and reports each step.
    pub(super) async fn open_connection(
        &self,
        reached: &mut dyn FnMut(ConnectStep),
    ) -> Result<HttpConnection, Failure> {
        let mut socket = self.connect_tcp(reached).await?;
        reached(ConnectStep::Connected);
        if let Some(tunnel) = &self.tunnel {
            tunnel.open(&mut socket).await?;
            debug!("the proxy opened a tunnel");
        }
        let Some((connector, name)) = &self.tls else { return Ok(HttpConnection::Plain(socket)) };
        let stream = connector
            .connect(name.clone(), socket)
            .await
            .map_err(|error| transport_error::tls_failure(&error))?;
        reached(ConnectStep::Secured);
        debug!(version = ?stream.get_ref().1.protocol_version(), "TLS is set up");
        Ok(HttpConnection::Secured(Box::new(stream)))
    }

    /// Tries the addresses one after another.
    async fn connect_tcp(&self, reached: &mut dyn FnMut(ConnectStep)) -> Result<TimestampedStream, Failure> {
        let addresses = self.addresses(reached).await?;
        let mut failure = None;
        for (at, &address) in addresses.iter().enumerate() {
            let attempt = TimestampedStream::connect(address);
            let result = if at + 1 < addresses.len() {
                timeout(NEXT_ADDRESS_DELAY, attempt)
                    .await
                    .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            } else {
                attempt.await
            };
            match result {
                Ok(socket) => {
                    debug!(%address, "connected");
                    self.prefer_address(address);
                    return Ok(socket);
                }
                Err(error) => {
                    debug!(%address, %error, "no connection");
                    failure = Some(transport_error::connect_failure(&address.to_string(), &error));
                }
            }
        }
        Err(failure.unwrap_or_else(|| self.resolve_failure("the name has no address")))
    }

    async fn addresses(&self, reached: &mut dyn FnMut(ConnectStep)) -> Result<Vec<SocketAddr>, Failure> {
        if let Ok(address) = self.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, self.port)]);
        }
        let known = self.addresses.borrow().as_ref().and_then(ResolvedAddrs::fresh_addresses);
        let addresses = match known {
            Some(addresses) => addresses,
            None => self.resolve().await?,
        };
        reached(ConnectStep::Resolved);
        Ok(addresses)
    }

    async fn resolve(&self) -> Result<Vec<SocketAddr>, Failure> {
        let found = lookup_host((self.host.as_str(), self.port)).await;
        let addresses: Vec<_> = found.map_err(|error| self.resolve_failure(&error.to_string()))?.collect();
        debug!(host = self.host, ?addresses, "the name is resolved");
        *self.addresses.borrow_mut() =
            Some(ResolvedAddrs { addresses: addresses.clone(), since: Instant::now() });
        Ok(addresses)
    }

    /// Makes this address the first to try next time.
    fn prefer_address(&self, address: SocketAddr) {
        if let Some(known) = &mut *self.addresses.borrow_mut() {
            known.addresses.sort_by_key(|it| *it != address);
        }
    }

    fn resolve_failure(&self, cause: &str) -> Failure {
        transport_error::resolve_failure(&self.host, cause)
    }
}

impl ResolvedAddrs {
    fn fresh_addresses(&self) -> Option<Vec<SocketAddr>> {
        (self.since.elapsed() < DNS_CACHE_TIME).then(|| self.addresses.clone())
    }
}

fn tls(target: &Target, host: &str) -> Result<(TlsConnector, ServerName<'static>), ClientError> {
    let config = tls::client_config(target).map_err(|error| ClientError::Setup(error.to_string()))?;
    let name = ServerName::try_from(host.to_owned()).map_err(|error| ClientError::Url {
        url: secrets::mask_url(&target.base_url),
        cause: error.to_string(),
    })?;
    Ok((TlsConnector::from(Arc::new(config)), name))
}

impl ProxyTunnel {
    fn for_endpoint(endpoint: &Endpoint, proxy: &Proxy) -> Self {
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

    /// Asks the proxy to forward all further bytes.
    async fn open(&self, socket: &mut TimestampedStream) -> Result<(), Failure> {
        let refuse =
            |cause: String| Failure::new(FailureClass::Connect, format!("the proxy's tunnel: {cause}"));
        match self.status(socket).await.map_err(refuse)? {
            200..300 => Ok(()),
            status => Err(refuse(format!("HTTP {status}"))),
        }
    }

    async fn status(&self, socket: &mut TimestampedStream) -> Result<u16, String> {
        socket.write_all(self.0.as_bytes()).await.map_err(|error| error.to_string())?;
        let (mut decoder, mut status) = (ResponseDecoder::default(), None);
        let mut room = [0; 1024];
        // The server waits for our handshake, so no bytes can follow the head of the proxy's success response.
        while status.is_none() {
            let count = socket.read(&mut room).await.map_err(|error| error.to_string())?;
            let taken = match count {
                0 => decoder.close(),
                _ => decoder.push(&room[..count], &mut |part| match part {
                    ResponsePart::Head(head) => status = Some(head.status),
                    ResponsePart::Data(_) => {}
                }),
            };
            taken.map_err(|error| error.to_string())?;
        }
        Ok(status.unwrap_or_default())
    }
}
