//! The TLS of the place where the clients of a run meet.

use rustls::{ClientConfig, ServerConfig};

use crate::cli::args::ShardArgs;
use crate::cli::exit::CliError;
use crate::client::tls;
use crate::model::shard::Shard;

/// Whether the flags ask for TLS.
fn is_requested(flags: &ShardArgs) -> bool {
    let is_https = flags.rendezvous.as_ref().is_some_and(|address| address.is_https == Some(true));
    is_https || has_files(flags)
}

fn has_files(flags: &ShardArgs) -> bool {
    [&flags.rendezvous_cert, &flags.rendezvous_key, &flags.rendezvous_ca].iter().any(|file| file.is_some())
}

/// Refuses flags that contradict each other, or that lack what this shard needs.
pub(super) fn check(flags: &ShardArgs, shard: Shard) -> Result<(), CliError> {
    let plain = flags.rendezvous.as_ref().filter(|address| address.is_https == Some(false));
    let is_requested = is_requested(flags);
    let has_certificate = match (&flags.rendezvous_cert, &flags.rendezvous_key) {
        (Some(_), None) => return refuse("--rendezvous-cert needs --rendezvous-key FILE, its private key"),
        (None, Some(_)) => return refuse("--rendezvous-key needs --rendezvous-cert FILE, its certificate"),
        (cert, _) => cert.is_some(),
    };
    match plain {
        Some(address) if has_files(flags) => refuse(&format!(
            "--rendezvous {address} is an address without TLS: write https://, or leave out --rendezvous-cert and \
             --rendezvous-ca"
        )),
        _ if is_requested && flags.local_shards.is_some() => refuse(
            "--local-shards: the processes of one machine meet without TLS; leave out the flags that ask for it: \
             --rendezvous https://, --rendezvous-cert, --rendezvous-ca",
        ),
        _ if is_requested && shard.index() == 0 && !has_certificate => refuse(
            "shard 0 needs a certificate for TLS: give --rendezvous-cert FILE and --rendezvous-key FILE",
        ),
        _ => Ok(()),
    }
}

fn refuse(why: &str) -> Result<(), CliError> {
    Err(CliError::usage(why))
}

/// The TLS of shard 0; `None` for plain HTTP.
pub(super) fn of_first(flags: &ShardArgs) -> Result<Option<ServerConfig>, CliError> {
    let (Some(cert), Some(key)) = (&flags.rendezvous_cert, &flags.rendezvous_key) else { return Ok(None) };
    let config = tls::server_config(cert, key);
    config.map(Some).map_err(|error| CliError::usage(format!("--rendezvous-cert, --rendezvous-key: {error}")))
}

/// The TLS of the other shards; `None` for plain HTTP.
pub(super) fn of_other(flags: &ShardArgs) -> Result<Option<ClientConfig>, CliError> {
    if !is_requested(flags) {
        return Ok(None);
    }
    let config = tls::private_client_config(flags.rendezvous_ca.as_deref());
    config.map(Some).map_err(|error| CliError::usage(format!("--rendezvous-ca: {error}")))
}

/// What helps a shard that cannot join, by a phrase in the error. The first match wins.
const ADVICE: [(&str, &str); 6] = [
    (
        "does not speak TLS",
        "shard 0 has no TLS: give it --rendezvous-cert and --rendezvous-key, or leave TLS out here",
    ),
    ("requires TLS", "write --rendezvous https://HOST:PORT, or give the flags of shard 0"),
    ("that is not trusted here", "--rendezvous-ca FILE names the CA to trust"),
    ("self-signed", "--rendezvous-ca FILE trusts it if FILE is this certificate"),
    ("has expired", "make a new certificate for --rendezvous-cert"),
    ("is not valid for `", "join a name of the certificate, or make one for this host"),
];

/// Adds what helps to the error of a shard that cannot join.
pub(super) fn with_advice(error: &str) -> String {
    match ADVICE.iter().find(|(words, _)| error.contains(words)) {
        Some((_, advice)) => format!("{error}; {advice}"),
        None => error.to_owned(),
    }
}
