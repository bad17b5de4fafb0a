//! The act: everything that causes traffic.

pub mod client;
pub mod clock;
pub mod tls;
