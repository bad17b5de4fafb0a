//! How much of its prompts a workload itself lets a prefix cache save.

use super::Request;

/// The prompt tokens that a perfect prefix cache would find, if it were empty before: of each prompt, what the most
/// similar other one begins with, and all of a prompt that was sent before.
///
/// Shares of a text stand for shares of its tokens.
pub fn shared_tokens(requests: &[Request]) -> u64 {
    let mut sorted: Vec<_> =
        requests.iter().map(|request| (request.content.bytes(), request.prompt_tokens)).collect();
    sorted.sort_unstable();
    let shared = sorted.windows(2).map(|pair| {
        let [(before, _), (bytes, tokens)] = [&pair[0], &pair[1]];
        let common = common_prefix(before, bytes);
        u64::from(*tokens) * common as u64 / bytes.len().max(1) as u64
    });
    shared.sum()
}

/// Bytes that two contents have in common at their beginning.
fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(prompt: &str, prompt_tokens: u32) -> Request {
        Request::text(prompt, prompt_tokens, 1)
    }

    #[test]
    fn common_beginnings_and_repeats_are_shared() {
        assert_eq!(shared_tokens(&[request("abcd", 4), request("wxyz", 4)]), 0);
        assert_eq!(shared_tokens(&[request("abcd", 4), request("wxyz", 4), request("abzz", 4)]), 2);
        assert_eq!(shared_tokens(&[request("abcd", 40), request("abcd", 40), request("abcd", 40)]), 80);
        assert_eq!(shared_tokens(&[request("", 0), request("", 0)]), 0);
    }
}
