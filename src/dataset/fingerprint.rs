//! A digest that shows whether two runs send the same requests.

use crate::model::digest::{Digest, DigestHasher};
use crate::model::request::Request;

/// SHA-256 over the contents of the requests and their requested output lengths, in order.
pub(crate) fn request_digest(requests: &[Request]) -> Digest {
    let mut hasher = DigestHasher::default();
    for request in requests {
        let content = request.content.bytes();
        // Each content is prefixed with its length, so that two sequences of requests that split the same bytes
        // differently get different digests.
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
        let fingerprint = request_digest(&[one(), Request::text("two", 1, 8)]);
        assert_eq!(request_digest(&[one(), Request::text("two", 1, 8)]), fingerprint);
        for other in [
            [Request::text("two", 1, 8), one()],
            [one(), Request::text("two", 1, 9)],
            [one(), Request::text("tw", 1, 8)],
            [Request::text("onet", 1, 8), Request::text("wo", 1, 8)],
        ] {
            assert_ne!(request_digest(&other), fingerprint);
        }
    }
}
