//! Everything that causes traffic.

pub mod tokenizer;
pub mod workload;
