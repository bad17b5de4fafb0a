//! What is known of the server under test beyond its answers.

pub mod prefix_cache;
