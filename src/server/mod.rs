//! What is known of the server under test beyond its answers.

pub mod kv_pool;
pub mod log;
mod page;
pub mod prefix_cache;
pub mod queue;
