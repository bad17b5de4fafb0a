//! Reads certificates and private keys from PEM files.

use std::path::{Path, PathBuf};

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;

use crate::model::bounded_file::{self, FileLimit};

/// The error of a file without the expected PEM data.
#[derive(Debug, Error)]
#[error("{path}: {}; it should be a PEM file with {wanted}", words(cause))]
pub(crate) struct PemFileError {
    /// The path of the file.
    path: PathBuf,
    /// What is wrong with the file.
    cause: pem::Error,
    /// The expected contents.
    wanted: &'static str,
}

/// All certificates of a file, which must hold at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemFileError> {
    let found =
        read(path).and_then(|text| CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>());
    let found =
        found.and_then(|found| if found.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(found) });
    found.map_err(|cause| PemFileError { path: path.to_owned(), cause, wanted: "certificates" })
}

/// The first private key of a file.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, PemFileError> {
    let key = read(path).and_then(|text| PrivateKeyDer::from_pem_slice(&text));
    let wanted = "a private key that is not encrypted";
    key.map_err(|cause| PemFileError { path: path.to_owned(), cause, wanted })
}

fn read(path: &Path) -> Result<Vec<u8>, pem::Error> {
    bounded_file::read(path, FileLimit::CONFIG).map_err(pem::Error::Io)
}

/// Describes an error without quoting the file: a malformed line may be part of the private key.
fn words(cause: &pem::Error) -> String {
    match cause {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => "it has none".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "a BEGIN line is malformed".to_owned(),
        pem::Error::MissingSectionEnd { .. } => "an END line is missing".to_owned(),
        pem::Error::Base64Decode(_) => "a section is not Base64".to_owned(),
        _ => "it cannot be read".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_quotes_no_part_of_a_private_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        for (text, expected) in [
            ("", "it has none"),
            ("sesame", "it has none"),
            (
                "-----BEGIN ENCRYPTED PRIVATE KEY-----\nc2VzYW1l\n-----END ENCRYPTED PRIVATE KEY-----\n",
                "it has none",
            ),
            ("-----BEGIN PRIVATE KEY-----sesame", "a BEGIN line is malformed"),
            ("-----BEGIN PRIVATE KEY-----\nsesame\n", "an END line is missing"),
            ("-----BEGIN PRIVATE KEY-----\nse$$ame\n-----END PRIVATE KEY-----\n", "a section is not Base64"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = private_key(&path).unwrap_err().to_string();
            let name = path.display();
            let wanted = "it should be a PEM file with a private key that is not encrypted";
            assert_eq!(error, format!("{name}: {expected}; {wanted}"), "{text}");
        }
        let missing = private_key(Path::new("no-such.pem")).unwrap_err().to_string();
        assert!(missing.starts_with("no-such.pem: No such file"), "{missing}");
    }
}
