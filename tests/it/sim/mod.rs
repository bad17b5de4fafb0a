//! The simulated vLLM over HTTP: its shapes against recordings of a real one, its faults, its numbers.
mod adapters;
mod audio;
mod endpoints;
mod engine;
mod faults;
mod harness;
mod media;
mod pooling;
mod protocols;
mod responses;
mod sessions;
mod shapes;
mod token_details;
mod truth;
