//! The protocols: in each file how one asks and how it is answered.

pub(super) mod audio;
pub(super) mod llama_cpp;
pub(super) mod ollama;
pub(super) mod openai;
pub(super) mod responses;
pub(super) mod sglang;
pub(super) mod tgi;
pub(super) mod triton;
