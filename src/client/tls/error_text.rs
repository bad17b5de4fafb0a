//! Describes TLS errors in words that state who must act.

use std::fmt;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

/// Describes an error, in rustls's own words if these are clear.
pub(crate) fn in_words(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(wrong) => certificate_text(wrong),
        Error::AlertReceived(alert) => alert_text(*alert),
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType
            | InvalidMessage::UnknownProtocolVersion
            | InvalidMessage::MessageTooLarge,
        ) => "the server does not speak TLS on this port".to_owned(),
        Error::NoApplicationProtocol => http2_only_text(),
        Error::PeerIncompatible(_) => {
            format!("the server and this client have no TLS version or setting in common ({})", plain(error))
        }
        _ => format!("TLS: {}", plain(error)),
    }
}

/// Describes why the handshake of a client failed, as its server sees it. The words follow the client's name.
pub(crate) fn client_in_words(error: &Error) -> String {
    match error {
        Error::AlertReceived(
            alert @ (AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied),
        ) => format!("does not accept the certificate ({})", plain(&Named(*alert))),
        Error::AlertReceived(alert) => format!("aborted the TLS handshake ({})", plain(&Named(*alert))),
        _ => format!("failed in the TLS handshake ({})", plain(error)),
    }
}

fn certificate_text(wrong: &CertificateError) -> String {
    match wrong {
        CertificateError::UnknownIssuer => {
            "the server's certificate is signed by a CA that is not trusted here".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the server's certificate has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet; is this machine's clock right?".to_owned()
        }
        CertificateError::NotValidForName => "the server's certificate is for another host".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names = match presented.is_empty() {
                true => "names no host (the common name does not count)".to_owned(),
                false => format!(
                    "is valid for {}",
                    presented.iter().map(|name| bare_name(name)).collect::<Vec<_>>().join(", ")
                ),
            };
            format!("the server's certificate is not valid for `{}`: it {names}", expected.to_str())
        }
        CertificateError::Revoked => "the server's certificate is revoked".to_owned(),
        // webpki uses this text for a certificate with CA:TRUE.
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "the server's certificate is self-signed (CA:TRUE) and not trusted here".to_owned()
        }
        CertificateError::Other(other) if other.to_string().contains("UnsupportedCertVersion") => {
            "the server's certificate has X.509 version 1, which clients do not accept".to_owned()
        }
        other => format!("the server's certificate is not accepted: {}", plain(other)),
    }
}

/// The name in rustls's text of one: `DnsName("a.example")` and `IpAddress(10.0.0.1)`.
fn bare_name(presented: &str) -> &str {
    let inner = presented.split_once('(').and_then(|(_, inner)| inner.strip_suffix(')'));
    inner.unwrap_or(presented).trim_matches('"')
}

/// The reason why a server sends an alert.
fn alert_text(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::NoApplicationProtocol => http2_only_text(),
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => {
            "the server requires a client certificate".to_owned()
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied => {
            format!("the server rejected the client certificate, or requires one ({})", plain(&Named(alert)))
        }
        AlertDescription::UnrecognisedName => "the server has no certificate for this host name".to_owned(),
        AlertDescription::ProtocolVersion => "the server supports neither TLS 1.2 nor 1.3".to_owned(),
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
            format!(
                "the server and this client have no TLS cipher in common, or the server requires a client certificate ({})",
                plain(&Named(alert))
            )
        }
        other => format!("the server aborted the TLS handshake ({})", plain(&Named(other))),
    }
}

/// An alert by its name.
struct Named(AlertDescription);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = format!("{:?}", self.0);
        // rustls's text of an alert that it has no name for.
        match name.strip_prefix("AlertDescription(") {
            Some(code) => write!(f, "alert {}", code.trim_end_matches(')')),
            None => f.write_str(&name),
        }
    }
}

/// A text of rustls in plain words: it contains names from the code (`BadRecordMac`), which become `bad record mac`.
fn plain(text: &impl fmt::Display) -> String {
    let text = text.to_string();
    let mut words = String::with_capacity(text.len() + 8);
    for word in text.split_inclusive(|char: char| !char.is_alphanumeric()) {
        let capitals = word.match_indices(char::is_uppercase).filter(|(at, _)| *at > 0).count();
        let is_name =
            capitals > 0 && word.starts_with(char::is_uppercase) && word.contains(char::is_lowercase);
        if is_name { split_humps(word, &mut words) } else { words.push_str(word) }
    }
    words
}

/// Writes a name like `BadRecordMac` as words. Capitals in a row (`UnknownCA`) stay together.
fn split_humps(name: &str, words: &mut String) {
    let chars: Vec<char> = name.chars().collect();
    for (at, &char) in chars.iter().enumerate() {
        let is_upper = |at: usize| chars.get(at).is_some_and(|char| char.is_uppercase());
        let after_upper = at > 0 && is_upper(at - 1);
        if char.is_uppercase() && at > 0 && !after_upper {
            words.push(' ');
        }
        match char.is_uppercase() && !after_upper && !is_upper(at + 1) {
            true => words.extend(char.to_lowercase()),
            false => words.push(char),
        }
    }
}

fn http2_only_text() -> String {
    "the server speaks only HTTP/2 here (it refused HTTP/1.1 in the TLS handshake)".to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::pki_types::{ServerName, UnixTime};
    use rustls::{OtherError, PeerIncompatible};

    use super::*;

    /// An error with any text, in place of one of webpki's.
    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct WebpkiError(&'static str);

    fn invalid(wrong: CertificateError) -> Error {
        Error::InvalidCertificate(wrong)
    }

    fn other(name: &'static str) -> Error {
        invalid(CertificateError::Other(OtherError(Arc::new(WebpkiError(name)))))
    }

    #[test]
    fn a_server_says_what_its_client_does_not_accept() {
        for (error, expected) in [
            (
                Error::AlertReceived(AlertDescription::UnknownCA),
                "does not accept the certificate (unknown CA)",
            ),
            (
                Error::AlertReceived(AlertDescription::CertificateExpired),
                "does not accept the certificate (certificate expired)",
            ),
            (
                Error::AlertReceived(AlertDescription::InternalError),
                "aborted the TLS handshake (internal error)",
            ),
            (
                Error::InvalidMessage(InvalidMessage::MessageTooLarge),
                "failed in the TLS handshake (received corrupt message of type message too large)",
            ),
        ] {
            assert_eq!(client_in_words(&error), expected);
        }
    }

    /// The names are rustls's and webpki's. The alerts that servers send in each case come from OpenSSL's `s_server`,
    /// nginx (`alpn h2`, `ssl_verify_client`), Go's crypto/tls and Envoy (RFC 8446, section 6.2; RFC 7301, section
    /// 3.2).
    #[test]
    fn errors_say_who_must_act() {
        let time = UnixTime::since_unix_epoch(std::time::Duration::ZERO);
        let elsewhere = CertificateError::NotValidForNameContext {
            expected: ServerName::try_from("gpu.internal").unwrap(),
            presented: vec!["DnsName(\"other\")".to_owned()],
        };
        for (error, expected) in [
            (invalid(CertificateError::UnknownIssuer), "CA that is not trusted"),
            (other("CaUsedAsEndEntity"), "self-signed"),
            (other("UnsupportedCertVersion"), "version 1"),
            (invalid(CertificateError::ExpiredContext { time, not_after: time }), "expired"),
            (invalid(CertificateError::NotValidYet), "clock"),
            (invalid(elsewhere), "not valid for `gpu.internal`: it is valid for other"),
            (invalid(CertificateError::NotValidForName), "another host"),
            (Error::AlertReceived(AlertDescription::NoApplicationProtocol), "only HTTP/2"),
            (Error::NoApplicationProtocol, "only HTTP/2"),
            (Error::AlertReceived(AlertDescription::CertificateRequired), "requires a client certificate"),
            (Error::AlertReceived(AlertDescription::UnknownCA), "client certificate"),
            (Error::AlertReceived(AlertDescription::ProtocolVersion), "1.2 nor 1.3"),
            (Error::AlertReceived(AlertDescription::HandshakeFailure), "cipher"),
            (Error::AlertReceived(AlertDescription::InternalError), "(internal error)"),
            (Error::AlertReceived(AlertDescription::BadRecordMac), "(bad record mac)"),
            (Error::AlertReceived(AlertDescription::UnknownCA), "(unknown CA)"),
            (Error::AlertReceived(AlertDescription::Unknown(200)), "handshake (alert 0xc8)"),
            (invalid(CertificateError::BadSignature), "bad signature"),
            (Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon), "no cipher suites in common"),
            (Error::General("a Plain text".to_owned()), "a Plain text"),
            (Error::InvalidMessage(InvalidMessage::InvalidContentType), "does not speak TLS"),
        ] {
            let words = in_words(&error);
            assert!(words.contains(expected), "{words}");
            let capitals =
                |word: &str| word.starts_with(char::is_uppercase) && word.contains(char::is_lowercase);
            assert!(
                !words
                    .split(|char: char| !char.is_alphanumeric())
                    .any(|word| capitals(word) && word != "Plain"),
                "{words}"
            );
        }
    }
}
