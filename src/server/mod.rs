//! What is known of the server under test beyond its answers.
//!
//! A [`page::Page`] is what `/metrics` says, a [`signals::Reading`] the same in our own words, and a
//! [`recorder::Recorder`] makes the course of a run of many. [`health`] holds them against the limits.

pub mod health;
pub mod kv_pool;
pub mod log;
pub mod page;
pub mod prefix_cache;
pub mod recorder;
pub mod signals;
