//! The `servebench` program; see the crate's documentation.

use std::process::ExitCode;

fn main() -> ExitCode {
    servebench::cli::main()
}
