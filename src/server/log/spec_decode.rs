//! The log lines about speculative decoding.

use crate::server::log::key_values::{count, key_values, number, percent_share, quantity};

/// Draft positions that are kept.
const MAX_POSITIONS: usize = 32;

/// Speculative decoding statistics of a line.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SpecDecodeLine {
    /// Draft tokens that the model accepted.
    pub accepted: u64,
    /// All draft tokens.
    pub drafted: u64,
    /// Whether both counts cover the time since the server's start (V0), not the interval.
    pub since_start: bool,
    /// Tokens per step, the model's own included.
    pub mean_length: Option<f64>,
    /// Acceptance rate at each draft position, from 0 to 1.
    pub per_position: Vec<f64>,
}

/// Parses the text after `SpecDecoding metrics: `, in its three formats.
pub(super) fn parse_spec_decode(text: &str) -> Option<SpecDecodeLine> {
    let mut drafts = SpecDecodeLine::default();
    let (mut accepted, mut drafted) = (None, None);
    for (key, value) in key_values(text) {
        match key {
            "Accepted" => accepted = count(value, " tokens"),
            "Drafted" => drafted = count(value, " tokens"),
            "Mean acceptance length" => drafts.mean_length = number(value),
            "Per-position acceptance rate" if drafts.per_position.len() < MAX_POSITIONS => {
                drafts.per_position.extend(number(value));
            }
            "Draft acceptance rate" | "Avg Draft acceptance rate" => {
                percent_share(value)?;
            }
            "Accepted throughput" | "Drafted throughput" => {
                quantity(value, " tokens/s")?;
            }
            _ => {}
        }
    }
    Some(SpecDecodeLine { accepted: accepted?, drafted: drafted?, ..drafts })
}

/// Parses the text after `Speculative metrics: `.
pub(super) fn parse_spec_decode_v0(text: &str) -> Option<SpecDecodeLine> {
    let of =
        |name: &str| key_values(text).find(|(key, _)| *key == name).and_then(|(_, value)| count(value, ""));
    let (accepted, drafted) = (of("Number of accepted tokens")?, of("Number of draft tokens")?);
    // The last number of the line ends in a period. Without the period, the line is incomplete.
    of("Number of emitted tokens").filter(|_| text.contains('.'))?;
    Some(SpecDecodeLine { accepted, drafted, since_start: true, ..SpecDecodeLine::default() })
}
