//! The target of a command that asks a server without measuring it.

use std::sync::Once;

use crate::cli::exit::print_stderr;

pub(super) use crate::client::address::target_of as of_url;

/// Warns once about the consequences of `--insecure`.
pub(super) fn warn_insecure() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        print_stderr("warning: --insecure: TLS certificates are not checked; anyone on the network path can read keys and forge responses");
    });
}
