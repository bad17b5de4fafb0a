//! As much of what a server said as a failure keeps.

use crate::core::record::Failure;

/// The first [`Failure::BODY_LIMIT`] bytes, cut between characters; what is not UTF-8 is shown as `�`.
pub fn excerpt(bytes: &[u8]) -> String {
    let head = &bytes[..bytes.len().min(Failure::BODY_LIMIT)];
    // A character that the cut, and not the server, left incomplete is dropped.
    let whole = match std::str::from_utf8(head) {
        Err(cut) if cut.error_len().is_none() && head.len() < bytes.len() => &head[..cut.valid_up_to()],
        _ => head,
    };
    String::from_utf8_lossy(whole).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_300_bytes_cut_between_characters() {
        assert_eq!(excerpt(b"short"), "short");
        assert_eq!(excerpt("x".repeat(400).as_bytes()), "x".repeat(300));
        assert_eq!(excerpt(format!("{}🦀", "x".repeat(298)).as_bytes()), "x".repeat(298));
        assert_eq!(excerpt(b"a\xFFb"), "a\u{FFFD}b");
    }
}
