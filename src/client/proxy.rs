//! The environment's proxy between the client and the target, if there is one.

use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::Url;

use super::ClientError;
use super::url::is_loopback;
use crate::model::secrets;

/// An HTTP proxy.
#[derive(Debug, Clone)]
pub(super) struct Proxy {
    /// The host name or address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The credentials that the proxy requires, if any.
    pub authorization: Option<HeaderValue>,
}

impl Proxy {
    /// The proxy that `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` (or their lower-case names) select. A
    /// loopback target uses no proxy: the proxy would look for the server on its own machine.
    pub(super) fn from_env(url: &Url) -> Result<Option<Self>, ClientError> {
        remember_credentials();
        Self::from_rules(url, &Matcher::from_env())
    }

    fn from_rules(url: &Url, rules: &Matcher) -> Result<Option<Self>, ClientError> {
        if is_loopback(url) {
            return Ok(None);
        }
        let setup = |cause: String| ClientError::Setup(format!("the proxy of the environment: {cause}"));
        let target: Uri = url.as_str().parse().map_err(|error| setup(format!("{url}: {error}")))?;
        let Some(found) = rules.intercept(&target) else { return Ok(None) };
        let place = found.uri();
        // The proxy's URL may hold a password that the error must not show. The scheme and the host suffice to identify
        // it.
        let (scheme, host) = (place.scheme_str().unwrap_or("http"), place.host().unwrap_or_default());
        if scheme != "http" || host.is_empty() {
            return Err(setup(format!("{scheme}://{host} is not supported: give http://HOST:PORT")));
        }
        Ok(Some(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: place.port_u16().unwrap_or(80),
            authorization: found.basic_auth().cloned(),
        }))
    }
}

/// The environment variables that name a proxy; each is also read in lower case.
const PROXY_VARIABLES: [&str; 3] = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];

/// Remembers the users and passwords of the environment's proxies: a proxy may repeat them in its error.
pub(crate) fn remember_credentials() {
    let names = PROXY_VARIABLES.iter().flat_map(|name| [(*name).to_owned(), name.to_lowercase()]);
    names.filter_map(|name| std::env::var(name).ok()).for_each(|url| secrets::remember_url(&url));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(rules: Matcher, url: &str) -> Result<Option<Proxy>, ClientError> {
        Proxy::from_rules(&url.parse().unwrap(), &rules)
    }

    #[test]
    fn the_environment_names_a_proxy_for_each_scheme() {
        let rules = || {
            Matcher::builder()
                .http("http://a:b@plain:3128")
                .https("tunnel")
                .no("10.0.0.0/8,.internal")
                .build()
        };
        let plain = proxy(rules(), "http://example.org").unwrap().unwrap();
        assert_eq!((plain.host.as_str(), plain.port), ("plain", 3128));
        assert_eq!(plain.authorization.unwrap(), "Basic YTpi");
        let tunnel = proxy(rules(), "https://example.org").unwrap().unwrap();
        assert_eq!((tunnel.host.as_str(), tunnel.port), ("tunnel", 80));
        assert!(tunnel.authorization.is_none());
        for direct in ["http://10.1.2.3", "https://gpu.internal", "http://localhost:8000", "https://[::1]"] {
            assert!(proxy(rules(), direct).unwrap().is_none(), "{direct}");
        }
    }

    #[test]
    fn a_proxy_of_another_kind_is_refused_without_its_password() {
        for other in ["socks5://a:secret@host:1080", "https://a:secret@host"] {
            let error = proxy(Matcher::builder().all(other).build(), "http://example.org").unwrap_err();
            let text = error.to_string();
            assert!(text.contains("host") && !text.contains("secret"), "{text}");
        }
    }
}
