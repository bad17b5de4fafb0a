//! How https is spoken: with which cryptography, trusting whom, showing which certificate.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, SignatureScheme};
use rustls_platform_verifier::Verifier;
use thiserror::Error;

use crate::core::spec::Target;

/// TLS settings that cannot be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file that does not hold what it should.
    #[error("{path}: {cause}; it should be a PEM file with {wanted}")]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        cause: pem::Error,
        /// What it should hold.
        wanted: &'static str,
    },
    /// A certificate without its key, or the other way round.
    #[error("a client certificate needs its key: give both --client-cert and --client-key")]
    HalfIdentity,
    /// Contents that rustls refuses.
    #[error("{what} cannot be used: {cause}")]
    Refused {
        /// What was given.
        what: &'static str,
        /// Why not.
        cause: Error,
    },
}

/// Makes ring the process's provider of cryptography, unless there is one. Call it before any TLS is set up.
pub fn install_provider() {
    if CryptoProvider::get_default().is_none() {
        // Only a race with another thread makes this fail, and then that thread has installed one.
        let _ = ring::default_provider().install_default();
    }
}

/// TLS as a target wants it, for HTTP/1.1.
pub fn client_config(target: &Target) -> Result<ClientConfig, TlsError> {
    let files = &target.connection;
    let builder = trusting(target.insecure, files.ca_cert.as_deref())?;
    let mut config = match (&files.client_cert, &files.client_key) {
        (None, None) => builder.with_no_client_auth(),
        (Some(cert), Some(key)) => {
            let key = PrivateKeyDer::from_pem_file(key).map_err(|cause| TlsError::File {
                path: key.clone(),
                cause,
                wanted: "a private key",
            })?;
            let refused = |cause| TlsError::Refused { what: "the client certificate with its key", cause };
            builder.with_client_auth_cert(certificates(cert)?, key).map_err(refused)?
        }
        _ => return Err(TlsError::HalfIdentity),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Trusting the system's authorities and those in a file; or everybody.
fn trusting(
    insecure: bool,
    ca_cert: Option<&Path>,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let extra = ca_cert.map(certificates).transpose()?.unwrap_or_default();
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|cause| TlsError::Refused { what: "this build's cryptography", cause })?
        .dangerous();
    if insecure {
        return Ok(builder.with_custom_certificate_verifier(Arc::new(Anybody(provider))));
    }
    let verifier = Verifier::new_with_extra_roots(extra, provider)
        .map_err(|cause| TlsError::Refused { what: "the trusted certificates", cause })?;
    Ok(builder.with_custom_certificate_verifier(Arc::new(verifier)))
}

/// All certificates of a file; at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found =
        found.and_then(|found| if found.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(found) });
    found.map_err(|cause| TlsError::File { path: path.to_owned(), cause, wanted: "certificates" })
}

/// Accepts every certificate: what `--insecure` asks for.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
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
