//! The table of what generates text: one row for each protocol's way to ask.

use super::{
    ask::{Ask, Call},
    protocol::{audio, llama_cpp, ollama, openai, responses, sglang, tgi, triton},
    refusal::{Dialect, Refusal},
    shape::{Identity, Shape},
};
use crate::sim::spec::Spec;

/// A way to ask for text. All rows share one path through engine and stream; they differ in what is read and written.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// Where it is found, all by POST.
    pub paths: &'static [&'static str],
    /// How it words its refusals.
    pub dialect: Dialect,
    pub read: fn(&Call, &Spec) -> Result<Ask, Refusal>,
    /// Starts an answer.
    pub shape: fn(&Identity, &Ask, &Spec) -> Box<dyn Shape>,
    /// Output tokens of a request that does not say how many it wants; `None`: as many as there is room for.
    pub otherwise: Option<usize>,
    /// Whether the first tokens may go out as reasoning.
    pub reasons: bool,
}

/// Every way to ask for text.
pub(super) static ENDPOINTS: [&Endpoint; 11] = [
    &openai::COMPLETIONS,
    &openai::CHAT,
    &responses::RESPONSES,
    &audio::TRANSCRIPTIONS,
    &audio::TRANSLATIONS,
    &sglang::GENERATE,
    &tgi::GENERATE_STREAM,
    &triton::GENERATE,
    &llama_cpp::COMPLETION,
    &ollama::GENERATE,
    &ollama::CHAT,
];
