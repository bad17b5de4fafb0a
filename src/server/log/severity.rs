//! The severity that a line states.

/// Bytes from a line's start in which its level must begin.
const MAX_LEVEL_OFFSET: usize = 160;

/// Levels by name. The first one in a line is its level; a later one is part of the message.
const NAMES: [(&[u8], bool); 8] = [
    (b"DEBUG", false),
    (b"INFO", false),
    (b"WARN", false),
    (b"WARNING", false),
    (b"TRACE", false),
    (b"ERROR", true),
    (b"CRITICAL", true),
    (b"FATAL", true),
];

/// Levels of TensorRT-LLM: `[TRT-LLM] [E] `.
const LETTERS: [(&[u8], bool); 5] =
    [(b"] [I] ", false), (b"] [W] ", false), (b"] [D] ", false), (b"] [V] ", false), (b"] [E] ", true)];

/// Whether a line states that it is an error: `ERROR 07-28 06:42:09 [core.py:1]`, uvicorn's `ERROR:    `, `[E]`.
pub(super) fn is_error(line: &[u8]) -> bool {
    let head = &line[..line.len().min(MAX_LEVEL_OFFSET)];
    let letters = || {
        let found =
            LETTERS.iter().filter_map(|(letter, bad)| Some((memchr::memmem::find(head, letter)?, *bad)));
        found.min()
    };
    first_level(head).into_iter().chain(letters()).min().is_some_and(|(_, bad)| bad)
}

/// Finds the first level name: a separate word after the line's start or a process name, and before a time, a colon
/// or a bracket.
fn first_level(head: &[u8]) -> Option<(usize, bool)> {
    let mut at = 0;
    while at < head.len() {
        if !head[at].is_ascii_uppercase() {
            at += 1;
            continue;
        }
        let length =
            head[at..].iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
        let begins = at == 0 || matches!(head[at - 1], b' ' | b'[' | b'|' | b'"' | b'=' | b'\t');
        let ends = matches!(head.get(at + length), Some(b' ' | b':' | b']' | b'|' | b'"' | b'\t'));
        let name = NAMES.iter().find(|(name, _)| *name == &head[at..at + length]);
        if let (true, true, Some((_, bad))) = (begins, ends, name) {
            return Some((at, *bad));
        }
        at += length;
    }
    None
}
