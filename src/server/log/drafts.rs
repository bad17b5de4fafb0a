//! The line about speculative decoding.

use super::fields::{count, fields, number, quantity, share};

/// Positions of a draft that are kept.
const MOST_POSITIONS: usize = 32;

/// What speculative decoding did.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Drafts {
    /// Draft tokens that the model agreed with.
    pub accepted: u64,
    /// Draft tokens in all.
    pub drafted: u64,
    /// Whether both are counted since the server's start (V0), not over the interval.
    pub since_start: bool,
    /// Tokens per step, the model's own included.
    pub mean_length: Option<f64>,
    /// Share of drafts accepted at each position, from 0 to 1.
    pub per_position: Vec<f64>,
}

/// Reads what follows `SpecDecoding metrics: `, in its three forms.
pub(super) fn read(text: &str) -> Option<Drafts> {
    let mut drafts = Drafts::default();
    let (mut accepted, mut drafted) = (None, None);
    for (key, value) in fields(text) {
        match key {
            "Accepted" => accepted = count(value, " tokens"),
            "Drafted" => drafted = count(value, " tokens"),
            "Mean acceptance length" => drafts.mean_length = number(value),
            "Per-position acceptance rate" if drafts.per_position.len() < MOST_POSITIONS => {
                drafts.per_position.extend(number(value));
            }
            "Draft acceptance rate" | "Avg Draft acceptance rate" => {
                share(value)?;
            }
            "Accepted throughput" | "Drafted throughput" => {
                quantity(value, " tokens/s")?;
            }
            _ => {}
        }
    }
    Some(Drafts { accepted: accepted?, drafted: drafted?, ..drafts })
}

/// Reads what follows `Speculative metrics: `.
pub(super) fn read_v0(text: &str) -> Option<Drafts> {
    let of = |name: &str| fields(text).find(|(key, _)| *key == name).and_then(|(_, value)| count(value, ""));
    let (accepted, drafted) = (of("Number of accepted tokens")?, of("Number of draft tokens")?);
    // The last number of the line ends in a full stop; without it, the line was cut.
    of("Number of emitted tokens").filter(|_| text.contains('.'))?;
    Some(Drafts { accepted, drafted, since_start: true, ..Drafts::default() })
}
