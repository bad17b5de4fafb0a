//! Whole answers, recorded from a real vLLM or written in the format of one.

use crate::model::run_spec::Backend;

/// The name and bytes of a stream.
pub(crate) type Transcript = (&'static str, &'static [u8]);

macro_rules! transcripts {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/sse/", $name, ".sse")))),*]
    };
}

/// All files in `tests/fixtures/sse/`.
pub(crate) const ALL: &[Transcript] = transcripts![
    "chat",
    "chat-max-completion-tokens",
    "chat-reasoning",
    "chat-reasoning-content",
    "chat-tools",
    "chat-unfinished-last-event",
    "chat-usage-on-finish-no-done",
    "completions",
    "completions-continuous-usage",
    "completions-cr",
    "completions-crlf",
    "completions-dressed",
    "completions-escaped",
    "completions-logprobs",
    "completions-multibyte",
    "completions-no-usage",
];

macro_rules! answers {
    ($($backend:ident $name:literal),* $(,)?) => {
        &[$((
            Backend::$backend,
            $name,
            include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/protocols/", $name)),
        )),*]
    };
}

/// All files in `tests/fixtures/protocols/`: the backend that sent it, its name, its bytes.
pub(crate) const PROTOCOLS: &[(Backend, &str, &[u8])] = answers![
    Openai "completions.json",
    OpenaiChat "chat.json",
    OpenaiResponses "responses.sse",
    OpenaiResponses "responses-incomplete.sse",
    OpenaiResponses "responses.json",
    OpenaiAudio "audio.sse",
    OpenaiAudio "audio-openai.sse",
    OpenaiAudio "audio.json",
    OpenaiEmbeddings "embeddings.json",
    VllmPooling "pooling.json",
    VllmRerank "rerank.json",
    InfinityEmbeddings "infinity.json",
    Sglang "sglang.sse",
    Sglang "sglang-uncounted.sse",
    Sglang "sglang.json",
    Tgi "tgi.sse",
    Tgi "tgi-limit.sse",
    Tgi "tgi.json",
    TensorrtLlm "triton.sse",
    TensorrtLlm "triton.json",
    LlamaCpp "llama-cpp.sse",
    LlamaCpp "llama-cpp-old.sse",
    LlamaCpp "llama-cpp.json",
    Ollama "ollama.ndjson",
    Ollama "ollama-chat.ndjson",
    Ollama "ollama.json",
];

/// Splits the bytes at the given positions, which may be in any order and out of range.
pub(crate) fn cut<'b>(bytes: &'b [u8], places: &[usize]) -> Vec<&'b [u8]> {
    let mut places: Vec<_> = places.iter().map(|place| place % (bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|ends| &bytes[ends[0]..ends[1]]).collect()
}
