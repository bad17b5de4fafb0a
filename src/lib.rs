//! servebench
pub mod core;
pub mod drive;
