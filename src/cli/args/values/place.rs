//! Parsers of addresses: where metrics are read, served or pushed.

use crate::client::address::Address;

/// Reads the URL of a `/metrics` page; the server's URL alone is enough.
pub(crate) fn metrics_url(text: &str) -> Result<String, String> {
    Address::parse(text).map(|address| address.metrics_page())
}

/// Reads an address to listen on: `:19400` (all interfaces), `127.0.0.1:19400`, `[::1]:19400`.
pub(crate) fn listen_address(text: &str) -> Result<String, String> {
    let wrong = || "write it as :19400, 127.0.0.1:19400 or [::1]:19400".to_owned();
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    port.parse::<u16>().map_err(|_| wrong())?;
    match host {
        "" => Ok(format!("0.0.0.0:{port}")),
        // An IPv6 address without brackets is ambiguous: its last part may be a port.
        _ if host.contains(':') && !host.ends_with(']') => Err(wrong()),
        _ => Ok(text.to_owned()),
    }
}

/// Reads the address of a Pushgateway and returns the whole URL. `:9091` is this machine. Without a path, the job is
/// `servegauge`.
pub(crate) fn gateway(text: &str) -> Result<String, String> {
    let here = text.strip_prefix(':').map(|port| format!("http://localhost:{port}"));
    let address = Address::parse(here.as_deref().unwrap_or(text));
    address
        .map(|address| address.push_page())
        .map_err(|error| format!("{error}; the gateway is http://localhost:9091, or :9091"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_host_is_every_interface() {
        assert_eq!(listen_address(":19400").unwrap(), "0.0.0.0:19400");
        for address in ["127.0.0.1:19400", "[::1]:19400", "localhost:0"] {
            assert_eq!(listen_address(address).unwrap(), address);
        }
        for wrong in ["19400", ":", ":http", "::1:19400", ":99999", "localhost"] {
            assert!(listen_address(wrong).unwrap_err().contains(":19400"), "{wrong}");
        }
    }

    #[test]
    fn a_gateway_has_a_job() {
        assert_eq!(gateway(":9091").unwrap(), "http://localhost:9091/metrics/job/servegauge");
        assert_eq!(gateway("https://gw/push/").unwrap(), "https://gw/push/metrics/job/servegauge");
        let own = "http://gw:9091/metrics/job/mine/instance/a";
        assert_eq!(gateway(own).unwrap(), own);
        for wrong in ["gw:9091", ":port", "ftp://gw", "9091"] {
            assert!(gateway(wrong).unwrap_err().contains(":9091"), "{wrong}");
        }
    }
}
