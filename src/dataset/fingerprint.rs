//! A digest that shows whether two runs send the same requests.

use crate::model::digest::{Digest, DigestHasher};
use crate::model::request::Request;

/// SHA-256 over the contents of requests and their requested output lengths, in order.
#[derive(Default)]
pub(crate) struct RequestHasher(DigestHasher);

impl RequestHasher {
    /// Adds the next request.
    pub(crate) fn add(&mut self, request: &Request) {
        let content = request.content.bytes();
        // Each content is prefixed with its length, so that two sequences of requests that split the same bytes
        // differently get different digests.
        self.0.update(&(content.len() as u64).to_le_bytes());
        self.0.update(&content);
        self.0.update(&request.max_tokens.to_le_bytes());
    }

    /// The digest of all requests added.
    pub(crate) fn finish(self) -> Digest {
        self.0.finish()
    }
}

/// The digest of these requests.
#[cfg(test)]
pub(crate) fn request_digest(requests: super::requests::RequestRange<'_>) -> Digest {
    let mut hasher = RequestHasher::default();
    requests.iter().for_each(|request| hasher.add(&request));
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

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
