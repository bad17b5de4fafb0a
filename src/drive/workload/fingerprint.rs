//! Whether two runs send the same.

use super::Request;
use crate::core::digest::{Digest, Hasher};

/// SHA-256 over the contents of the requests and the lengths that they ask for, in their order.
pub fn of(requests: &[Request]) -> Digest {
    let mut hasher = Hasher::default();
    for request in requests {
        let content = request.content.bytes();
        // With the length in front, two requests cannot be taken for other two that end elsewhere.
        hasher.update(&(content.len() as u64).to_le_bytes());
        hasher.update(&content);
        hasher.update(&request.max_tokens.to_le_bytes());
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_prompts_another_order_or_other_lengths_have_another_fingerprint() {
        let one = || Request::text("one", 1, 8);
        let fingerprint = of(&[one(), Request::text("two", 1, 8)]);
        assert_eq!(of(&[one(), Request::text("two", 1, 8)]), fingerprint);
        for other in [
            [Request::text("two", 1, 8), one()],
            [one(), Request::text("two", 1, 9)],
            [one(), Request::text("tw", 1, 8)],
            [Request::text("onet", 1, 8), Request::text("wo", 1, 8)],
        ] {
            assert_ne!(of(&other), fingerprint);
        }
    }
}
