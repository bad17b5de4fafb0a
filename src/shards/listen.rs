//! Where shard 0 listens.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::TcpListener;

/// Listens at `HOST:PORT`. A name stands for all addresses of this host: in its own table of hosts, it is often an
/// address that the others cannot reach, and a pod cannot resolve its name before the others can.
pub(super) async fn listen(address: &str) -> std::io::Result<TcpListener> {
    let port = match address.rsplit_once(':') {
        Some((host, port)) if is_name(host) => port.parse::<u16>().ok(),
        _ => None,
    };
    let Some(port) = port else { return TcpListener::bind(address).await };
    // A kernel without IPv6 has no such address.
    match TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).await,
    }
}

/// Whether a host is neither an address nor this machine alone.
fn is_name(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    !host.is_empty() && host != "localhost" && address.parse::<IpAddr>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_stands_for_all_addresses_of_the_host() {
        let all = listen("no-such-host.invalid:0").await.unwrap().local_addr().unwrap();
        assert!(all.ip().is_unspecified(), "{all}");
        for one in ["127.0.0.1:0", "localhost:0"] {
            let one = listen(one).await.unwrap().local_addr().unwrap();
            assert!(one.ip().is_loopback(), "{one}");
        }
        for wrong in ["", "node0", "node0:port", ":x"] {
            assert!(listen(wrong).await.is_err(), "{wrong}");
        }
    }
}
