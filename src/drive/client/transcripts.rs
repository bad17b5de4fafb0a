//! Whole answers for the tests: recorded from a real vLLM, or written in the shape of one.

/// A stream's name and bytes.
pub type Transcript = (&'static str, &'static [u8]);

macro_rules! transcripts {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/sse/", $name, ".sse")))),*]
    };
}

/// All of `tests/fixtures/sse/`.
pub const ALL: &[Transcript] = transcripts![
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

/// The bytes in pieces that end at the given places, in any order and of any size.
pub fn cut<'b>(bytes: &'b [u8], places: &[usize]) -> Vec<&'b [u8]> {
    let mut places: Vec<_> = places.iter().map(|place| place % (bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|ends| &bytes[ends[0]..ends[1]]).collect()
}
