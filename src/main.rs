//! The `servebench` program.
fn main() {}
