//! A digest that shows whether two runs send the same requests.

use crate::dataset::requests::RequestRange;
use crate::model::digest::{Digest, DigestHasher};

/// SHA-256 over the contents of the requests and their requested output lengths, in order.
pub(crate) fn request_digest(requests: RequestRange<'_>) -> Digest {
    let mut hasher = DigestHasher::default();
    for request in requests.iter() {
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
    use crate::model::request::Request;

    #[test]
    fn other_prompts_another_order_or_other_lengths_have_another_fingerprint() {
        let one = || Request::text("one", 1, 8);
        let fingerprint = request_digest((&[one(), Request::text("two", 1, 8)]).into());
        assert_eq!(request_digest((&[one(), Request::text("two", 1, 8)]).into()), fingerprint);
        for other in [
            [Request::text("two", 1, 8), one()],
            [one(), Request::text("two", 1, 9)],
            [one(), Request::text("tw", 1, 8)],
            [Request::text("onet", 1, 8), Request::text("wo", 1, 8)],
        ] {
            assert_ne!(request_digest((&other).into()), fingerprint);
        }
    }
}
