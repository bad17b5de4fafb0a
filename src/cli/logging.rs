//! The program's debug log, on stderr and only on request.
//!
//! The code emits `tracing` events where things happen: connections, preparation, phases of a run, requests that are
//! not measured, waiting for a server. Nothing is logged per measured request or per token.

use std::io::{self, Write};

use tracing_subscriber::EnvFilter;

use crate::cli::exit::print_stderr;

/// The variable with a `tracing` filter, such as `servegauge=debug`.
const VARIABLE: &str = "RUST_LOG";

/// Installs the log. `-v` logs information and `-vv` details, both of this program alone. Without them `RUST_LOG`
/// decides. Without that variable nothing is logged.
pub(super) fn install(verbosity: u8) {
    let from_environment = std::env::var(VARIABLE).unwrap_or_default();
    let directives = match verbosity {
        0 => from_environment.as_str(),
        1 => "servegauge=info",
        _ => "servegauge=debug",
    };
    if directives.trim().is_empty() {
        return;
    }
    match EnvFilter::try_new(directives) {
        Ok(filter) => {
            let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Stderr);
            // Module names only help readers of the source, and writers of filters.
            let log = log.with_target(verbosity != 1);
            // This fails only if a log is installed already, which then stays.
            let _ = log.try_init();
        }
        Err(error) => {
            print_stderr(format_args!("warning: {VARIABLE} is not a filter, so nothing is logged: {error}"))
        }
    }
}

/// Writes as all other messages are written: without secrets, and with line breaks in quoted text as blanks. Each write
/// is a whole event.
struct Stderr;

impl Write for Stderr {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        print_stderr(String::from_utf8_lossy(event));
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
