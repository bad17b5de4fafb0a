//! The TLS settings of connections: the cryptography provider, the trusted authorities, and the certificates of a client
//! and of a server.

mod error_text;
mod pem_file;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WantsClientCert, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, RootCertStore, ServerConfig,
    SignatureScheme,
};
use rustls_platform_verifier::Verifier;
use thiserror::Error;

pub(crate) use crate::client::tls::error_text::{client_in_words, in_words};
use crate::client::tls::pem_file::PemFileError;
use crate::model::run_spec::Target;

/// The only protocol of connections with TLS, as the handshake names it.
const HTTP_1_1: &[u8] = b"http/1.1";

/// TLS settings that cannot be used.
#[derive(Debug, Error)]
pub(crate) enum TlsError {
    /// A file is without the expected PEM data.
    #[error(transparent)]
    File(#[from] PemFileError),
    /// A server's private key is not that of its certificate.
    #[error("{key} is not the private key of {cert}: each has another public key")]
    KeyMismatch {
        /// The path of the certificate.
        cert: PathBuf,
        /// The path of the key.
        key: PathBuf,
    },
    /// The user gave a certificate without its key, or a key without its certificate.
    #[error(
        "a client certificate needs its key: give both `target.connection.client_cert` and `target.connection.client_key`"
    )]
    HalfIdentity,
    /// rustls rejects the contents.
    #[error("{what} cannot be used: {cause}")]
    Refused {
        /// The rejected setting.
        what: &'static str,
        /// The reason for the rejection.
        cause: Error,
    },
}

/// Makes ring the process's provider of cryptography, unless there already is one. Call it before any other TLS setup.
pub(crate) fn install_provider() {
    if CryptoProvider::get_default().is_none() {
        // This fails only in a race with another thread, which has then installed a provider.
        let _ = ring::default_provider().install_default();
    }
}

/// Whose certificates a client accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// Everybody's.
    Anybody,
    /// Those of the system's authorities, and of the authorities in a file.
    System,
    /// Those of the authorities in a file alone.
    File,
}

/// The TLS configuration for a target, for HTTP/1.1.
pub(crate) fn client_config(target: &Target) -> Result<ClientConfig, TlsError> {
    let files = &target.connection;
    let trust = if target.insecure { Trust::Anybody } else { Trust::System };
    let builder = verifier_config(trust, files.ca_cert.as_deref())?;
    let mut config = match (&files.client_cert, &files.client_key) {
        (None, None) => builder.with_no_client_auth(),
        (Some(cert), Some(key)) => {
            let key = pem_file::private_key(key)?;
            let refused = |cause| TlsError::Refused { what: "the client certificate with its key", cause };
            builder.with_client_auth_cert(pem_file::certificates(cert)?, key).map_err(refused)?
        }
        _ => return Err(TlsError::HalfIdentity),
    };
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    Ok(config)
}

/// The TLS configuration of a client that trusts the authorities in a file alone, or those of the system without one.
pub(crate) fn private_client_config(ca_cert: Option<&Path>) -> Result<ClientConfig, TlsError> {
    let trust = if ca_cert.is_some() { Trust::File } else { Trust::System };
    let mut config = verifier_config(trust, ca_cert)?.with_no_client_auth();
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    Ok(config)
}

/// The TLS configuration of a server, for HTTP/1.1: its certificate with the chain, and its private key.
pub(crate) fn server_config(cert: &Path, key: &Path) -> Result<ServerConfig, TlsError> {
    let (chain, private) = (pem_file::certificates(cert)?, pem_file::private_key(key)?);
    let refused = |cause| match cause {
        Error::InconsistentKeys(_) => TlsError::KeyMismatch { cert: cert.to_owned(), key: key.to_owned() },
        cause => TlsError::Refused { what: "the certificate with its key", cause },
    };
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable_cryptography)?;
    let mut config = builder.with_no_client_auth().with_single_cert(chain, private).map_err(refused)?;
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    Ok(config)
}

fn unusable_cryptography(cause: Error) -> TlsError {
    TlsError::Refused { what: "this build's cryptography", cause }
}

/// Verifies servers as `trust` says. Reads the file in any case: a wrong path is always a mistake.
fn verifier_config(
    trust: Trust,
    ca_cert: Option<&Path>,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let given = ca_cert.map(pem_file::certificates).transpose()?.unwrap_or_default();
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(unusable_cryptography)?
        .dangerous();
    let refused = |cause| TlsError::Refused { what: "the trusted certificates", cause };
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Trust::Anybody => {
            return Ok(builder.with_custom_certificate_verifier(Arc::new(AcceptAnyCertificate(provider))));
        }
        Trust::System => Arc::new(Verifier::new_with_extra_roots(given.clone(), provider).map_err(refused)?),
        Trust::File => webpki_verifier(&given, provider).map_err(refused)?,
    };
    Ok(builder.with_custom_certificate_verifier(Arc::new(GivenCertVerifier { verifier, given })))
}

/// Trusts these authorities alone.
fn webpki_verifier(
    authorities: &[CertificateDer<'static>],
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    let mut roots = RootCertStore::empty();
    authorities.iter().try_for_each(|authority| roots.add(authority.clone()))?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    Ok(verifier.map_err(|error| Error::General(error.to_string()))?)
}

/// Checks the files of a target that uses no TLS: a wrong path is a mistake there too.
pub(crate) fn check_files(target: &Target) -> Result<(), TlsError> {
    let files = &target.connection;
    if files.ca_cert.is_none() && files.client_cert.is_none() && files.client_key.is_none() {
        return Ok(());
    }
    client_config(target).map(drop)
}

/// Trusts what another verifier trusts, the given certificates as authorities among them, and also each given
/// certificate for its own names. A common self-signed certificate (`openssl req -x509`) is marked as an authority's,
/// and webpki does not accept such a certificate for a server.
#[derive(Debug)]
struct GivenCertVerifier {
    verifier: Arc<dyn ServerCertVerifier>,
    given: Vec<CertificateDer<'static>>,
}

impl GivenCertVerifier {
    /// Whether this is a given certificate whose rejection concerns only its type or its issuer, and not its validity
    /// period.
    fn is_given(&self, certificate: &CertificateDer<'_>, error: &Error) -> bool {
        let is_of_kind = matches!(
            error,
            Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::Other(_))
        );
        is_of_kind && self.given.iter().any(|given| given == certificate)
    }
}

impl ServerCertVerifier for GivenCertVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.verifier.verify_server_cert(certificate, intermediates, name, ocsp, now);
        match verified {
            Err(error) if self.is_given(certificate, &error) => {
                verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// Accepts every certificate, for `--insecure`.
#[derive(Debug)]
struct AcceptAnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installing_the_provider_twice_is_harmless() {
        install_provider();
        install_provider();
        assert!(CryptoProvider::get_default().is_some());
    }
}
