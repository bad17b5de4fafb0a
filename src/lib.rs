//! servebench
pub mod cli;
pub mod core;
pub mod drive;
pub mod report;
pub mod sim;
