//! Flags of a run that several clients send.

use std::fmt;
use std::net::Ipv6Addr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;

use crate::cli::args::values;
use crate::model::shard::Shard;

/// The shard of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShardChoice {
    /// The shard with this index.
    Given(Shard),
    /// The shard that the launcher of the process sets in its environment.
    Auto,
}

impl FromStr for ShardChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" { Ok(Self::Auto) } else { text.parse().map(Self::Given) }
    }
}

/// The address of `--rendezvous`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RendezvousAddress {
    /// Whether it begins with `https://`; `None` if it begins with no scheme.
    pub is_https: Option<bool>,
    /// The host and the port.
    pub host_port: String,
}

impl FromStr for RendezvousAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (is_https, place) = match text.split_once("://") {
            Some((scheme, place)) if scheme.eq_ignore_ascii_case("https") => (Some(true), place),
            Some((scheme, place)) if scheme.eq_ignore_ascii_case("http") => (Some(false), place),
            Some(_) => return Err("an address begins with https://, with http://, or with the host".into()),
            None => (None, text),
        };
        let place = place.strip_suffix('/').unwrap_or(place);
        let is_host = |host: &str| match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').is_some_and(|inner| inner.parse::<Ipv6Addr>().is_ok()),
            None => !host.is_empty() && !host.contains([':', '/', '@', '?', '#', ']']),
        };
        match place.rsplit_once(':') {
            Some((host, port)) if is_host(host) && port.parse::<u16>().is_ok() => {
                Ok(Self { is_https, host_port: place.to_owned() })
            }
            _ => Err("an address is a host and a port, such as node0:7707".into()),
        }
    }
}

impl fmt::Display for RendezvousAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.is_https {
            Some(true) => "https://",
            Some(false) => "http://",
            None => "",
        };
        write!(f, "{scheme}{}", self.host_port)
    }
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Several clients")]
pub(crate) struct ShardArgs {
    /// Send one share of a run that several clients send: INDEX/COUNT, or auto
    ///
    /// All clients get the same flags. 0/4 is the first of four: it listens at --rendezvous and reports the whole run.
    /// `auto` takes the index and the count from Slurm, a Kubernetes Indexed Job, or MPI. The clients share a secret in
    /// SERVEGAUGE_SHARD_TOKEN, which is required unless they are all on this machine.
    #[arg(long, value_name = "INDEX/COUNT")]
    pub shard: Option<ShardChoice>,
    /// Send the run from N processes on this machine
    #[arg(long, value_name = "N", value_parser = values::threads)]
    pub local_shards: Option<NonZeroUsize>,
    /// Address at which shard 0 listens and the others join it
    ///
    /// If HOST is a name, shard 0 listens at all of its addresses. With `--shard auto`, Slurm's step gives the address:
    /// its first node, and a port from 20000 to 29999 by its number. https://HOST:PORT, or a flag below, asks for TLS.
    #[arg(long, value_name = "HOST:PORT")]
    pub rendezvous: Option<RendezvousAddress>,
    /// Certificate of shard 0 with its chain, a PEM file: the shards talk with TLS
    ///
    /// It must be valid for the host that the others join. Only shard 0 reads the file and that of --rendezvous-key,
    /// so that all shards may have the same command line.
    #[arg(long, value_name = "FILE")]
    pub rendezvous_cert: Option<PathBuf>,
    /// The private key of --rendezvous-cert, a PEM file
    #[arg(long, value_name = "FILE")]
    pub rendezvous_key: Option<PathBuf>,
    /// The CA that signed --rendezvous-cert, a PEM file [default: the system's CAs]
    ///
    /// The other shards trust it alone. For a self-signed certificate, it is the certificate itself.
    #[arg(long, value_name = "FILE")]
    pub rendezvous_ca: Option<PathBuf>,
    /// Write each client's record log to this folder or bucket too, while the run goes on
    ///
    /// file:///DIR, or s3://, gs:// and az:// with a bucket and a prefix; a program that you compile has these with
    /// `cargo install servegauge --features object-store`. A client that is killed loses at most five seconds.
    /// `servegauge merge URL` makes the result.
    #[arg(long, value_name = "URL")]
    pub records_to: Option<String>,
    /// How long a shard waits for the others to be ready
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = values::seconds)]
    pub shard_timeout: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_a_port_and_perhaps_a_scheme() {
        for (text, is_https, host_port) in [
            ("node0:7707", None, "node0:7707"),
            ("0.0.0.0:0", None, "0.0.0.0:0"),
            ("[::1]:7707", None, "[::1]:7707"),
            ("http://node0:7707", Some(false), "node0:7707"),
            ("https://node0.example:7707/", Some(true), "node0.example:7707"),
            ("HTTPS://[fe80::1]:1", Some(true), "[fe80::1]:1"),
        ] {
            let address: RendezvousAddress = text.parse().unwrap();
            assert_eq!((address.is_https, address.host_port.as_str()), (is_https, host_port), "{text}");
        }
        for wrong in [
            "",
            ":",
            ":1",
            "node0",
            "node0:",
            "node0:x",
            "node0:65536",
            "::1:7707",
            "[::1",
            "[]:1",
            "[x]:1",
            "https://",
            "https://node0",
            "https://node0:1/path",
            "https://a@node0:1",
            "https://a:b@node0:1",
            "ftp://node0:1",
        ] {
            assert!(wrong.parse::<RendezvousAddress>().is_err(), "{wrong}");
        }
    }
}
