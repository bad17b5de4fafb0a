//! servebench
pub mod core;
