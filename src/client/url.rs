//! Parses server URLs and finds their hosts.

use reqwest::Url;

use super::ClientError;
use crate::model::run_spec::Target;
use crate::model::secrets;

/// Parses an http or https URL.
pub(super) fn parse_url(text: &str) -> Result<Url, ClientError> {
    let refuse = |cause: String| ClientError::Url { url: secrets::mask_url(text), cause };
    let url = Url::parse(text).map_err(|error| refuse(error.to_string()))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        _ => Err(refuse("it does not start with http:// or https://".to_owned())),
    }
}

/// The parsed base URL without the endpoint's path: with a path appended, `http://` without a host would take the
/// path's first part for one.
pub(super) fn base_url(target: &Target) -> Result<Url, ClientError> {
    parse_url(&target.base_url)
}

/// Whether the URL's host is the local machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    let host = host(url);
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

/// The host, without the brackets of an IPv6 address.
pub(super) fn host(url: &Url) -> &str {
    url.host_str().unwrap_or_default().trim_matches(['[', ']'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_stands_between_us_and_our_own_machine() {
        let is_ours = |url| is_loopback(&parse_url(url).unwrap());
        assert!(["http://localhost:1", "http://127.0.0.2", "https://[::1]:8000/v1"].into_iter().all(is_ours));
        assert!(
            !["http://10.0.0.1", "http://localhost.example.org", "http://[::2]"].into_iter().any(is_ours)
        );
    }
}
