//! What is known of the server under test beyond its answers.

mod page;
pub mod prefix_cache;
pub mod queue;
