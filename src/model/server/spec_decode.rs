//! Metrics of speculative decoding over a run.

use super::{ServerMetrics, ServerSignal, is_possible, share_of};

/// The acceptance of drafted tokens, as `vllm bench serve` computes it. It includes the drafts for other clients'
/// requests.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SpecDecodeStats {
    /// The number of drafts; `None` if the server does not count them (vLLM V0).
    pub drafts: Option<f64>,
    /// The number of drafted tokens.
    pub draft_tokens: f64,
    /// The number of accepted tokens.
    pub accepted_tokens: f64,
    /// For each position in a draft, the share of drafts whose token there was accepted.
    pub by_position: Vec<f64>,
}

impl SpecDecodeStats {
    /// Computes the metrics of a run; `None` if nothing was drafted, or more was accepted than drafted.
    pub(crate) fn from_server(server: &ServerMetrics) -> Option<Self> {
        let draft_tokens =
            server.counter_total(ServerSignal::SpecDraftTokens).filter(|tokens| *tokens > 0.0)?;
        let drafts = server.counter_total(ServerSignal::SpecDrafts).filter(|drafts| *drafts > 0.0);
        let share = |(_, accepted)| drafts.map(|drafts| accepted / drafts);
        let by_position = server.counter_parts(ServerSignal::SpecAcceptedByPosition);
        let by_position: Vec<f64> = by_position.into_iter().filter_map(share).collect();
        let accepted_tokens = server.counter_total(ServerSignal::SpecAcceptedTokens)?;
        share_of(accepted_tokens, draft_tokens)?;
        Some(Self {
            drafts,
            draft_tokens,
            accepted_tokens,
            by_position: if by_position.iter().all(|share| is_possible(*share)) {
                by_position
            } else {
                Vec::new()
            },
        })
    }

    /// The share of drafted tokens that were accepted.
    pub(crate) fn acceptance_rate(&self) -> f64 {
        self.accepted_tokens / self.draft_tokens
    }

    /// The average number of tokens per step of the large model: its own token and the accepted ones.
    pub(crate) fn acceptance_length(&self) -> Option<f64> {
        self.drafts.map(|drafts| 1.0 + self.accepted_tokens / drafts)
    }
}
