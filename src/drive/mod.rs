//! Everything that causes traffic: prompts in, Records out.

pub mod client;
pub mod clock;
pub mod engine;
pub mod pacer;
pub mod priority;
mod tls;
pub mod tokenizer;
pub mod workload;
