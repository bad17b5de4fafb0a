//! The cryptography behind https.

use rustls::crypto::{CryptoProvider, ring};

/// Makes ring the process's provider of cryptography, unless there is one. Call it before any TLS is set up.
pub fn install_provider() {
    if CryptoProvider::get_default().is_none() {
        // Only a race with another thread makes this fail, and then that thread has installed one.
        let _ = ring::default_provider().install_default();
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
