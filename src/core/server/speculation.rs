//! Speculative decoding over a run.

use super::{ServerSide, Signal};

/// How many of the drafted tokens were kept, as `vllm bench serve` works it out. Drafts of other clients are in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Speculation {
    /// How often tokens were drafted; `None` if the server does not count that (vLLM V0).
    pub drafts: Option<f64>,
    /// Drafted tokens.
    pub draft_tokens: f64,
    /// Those that were kept.
    pub accepted_tokens: f64,
    /// For each place in a draft, the share of drafts whose token there was kept.
    pub by_position: Vec<f64>,
}

impl Speculation {
    /// Of a run; `None` if nothing was drafted.
    pub fn of(server: &ServerSide) -> Option<Self> {
        let draft_tokens = server.counted(Signal::SpecDraftTokens).filter(|tokens| *tokens > 0.0)?;
        let drafts = server.counted(Signal::SpecDrafts).filter(|drafts| *drafts > 0.0);
        let share = |(_, accepted)| drafts.map(|drafts| accepted / drafts);
        let by_position = server.parts(Signal::SpecAcceptedByPosition);
        Some(Self {
            drafts,
            draft_tokens,
            accepted_tokens: server.counted(Signal::SpecAcceptedTokens)?,
            by_position: by_position.into_iter().filter_map(share).collect(),
        })
    }

    /// The share of drafted tokens that were kept.
    pub fn acceptance_rate(&self) -> f64 {
        self.accepted_tokens / self.draft_tokens
    }

    /// Tokens that a step of the large model gives on average: its own, and the kept ones.
    pub fn acceptance_length(&self) -> Option<f64> {
        self.drafts.map(|drafts| 1.0 + self.accepted_tokens / drafts)
    }
}
