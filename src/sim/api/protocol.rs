//! The protocols: each file has one protocol's request and response formats.

pub(super) mod audio;
pub(super) mod llama_cpp;
pub(super) mod ollama;
pub(super) mod openai;
pub(super) mod responses;
pub(super) mod sglang;
pub(super) mod tgi;
pub(super) mod triton;
