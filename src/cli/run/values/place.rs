//! Where metrics are, or go to.

/// Reads the URL of a `/metrics` page, which may be that of the server alone.
pub fn metrics_url(text: &str) -> Result<String, String> {
    let place = server(text, "http://localhost:8000/metrics")?;
    Ok(if place.ends_with("/metrics") { place.to_owned() } else { format!("{place}/metrics") })
}

/// Reads an address to listen at: `:9400` (all interfaces), `127.0.0.1:9400`, `[::1]:9400`.
pub fn listen_address(text: &str) -> Result<String, String> {
    let wrong = || "write it as :9400, 127.0.0.1:9400 or [::1]:9400".to_owned();
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    port.parse::<u16>().map_err(|_| wrong())?;
    match host {
        "" => Ok(format!("0.0.0.0:{port}")),
        // An IPv6 address without its brackets: what is its last part, and what the port?
        _ if host.contains(':') && !host.ends_with(']') => Err(wrong()),
        _ => Ok(text.to_owned()),
    }
}

/// Reads where to push to, and returns the whole URL: `:9091` is this machine, and without a path of its own the job is
/// `servebench`.
pub fn gateway(text: &str) -> Result<String, String> {
    let here = text.strip_prefix(':').map(|port| format!("http://localhost:{port}"));
    let place = here.as_deref().unwrap_or(text);
    let place = server(place, "http://localhost:9091, or :9091")?;
    Ok(match place.contains("/metrics/job/") {
        true => place.to_owned(),
        false => format!("{place}/metrics/job/servebench"),
    })
}

/// The URL of a server, without a slash at its end.
fn server<'a>(text: &'a str, example: &str) -> Result<&'a str, String> {
    let url = reqwest::Url::parse(text).map_err(|error| format!("{error}; write it as {example}"))?;
    match matches!(url.scheme(), "http" | "https") && url.has_host() {
        true => Ok(text.trim_end_matches('/')),
        false => Err(format!("it must begin with http:// or https:// and a host; write it as {example}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_host_is_every_interface() {
        assert_eq!(listen_address(":9400").unwrap(), "0.0.0.0:9400");
        for address in ["127.0.0.1:9400", "[::1]:9400", "localhost:0"] {
            assert_eq!(listen_address(address).unwrap(), address);
        }
        for wrong in ["9400", ":", ":http", "::1:9400", ":99999", "localhost"] {
            assert!(listen_address(wrong).unwrap_err().contains(":9400"), "{wrong}");
        }
    }

    #[test]
    fn a_gateway_has_a_job() {
        assert_eq!(gateway(":9091").unwrap(), "http://localhost:9091/metrics/job/servebench");
        assert_eq!(gateway("https://gw/push/").unwrap(), "https://gw/push/metrics/job/servebench");
        let own = "http://gw:9091/metrics/job/mine/instance/a";
        assert_eq!(gateway(own).unwrap(), own);
        for wrong in ["gw:9091", ":port", "ftp://gw", "9091"] {
            assert!(gateway(wrong).unwrap_err().contains(":9091"), "{wrong}");
        }
    }
}
