//! The kind of one layer.

/// How a layer mixes tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mixer {
    /// Attention over all tokens.
    Full,
    /// Attention over this number of last tokens.
    Windowed(u64),
    /// A state of fixed size: linear attention, state space, convolution.
    Recurrent,
    /// Attention over all tokens, beside a state.
    Parallel,
    /// Attention over the tokens of an image or an encoder.
    Cross,
    /// The layer does not mix tokens.
    Absent,
}

/// The feed-forward part of a layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum FeedForward {
    /// As the fields about experts state.
    ByFields,
    /// Dense, whatever the fields about experts state.
    Dense,
    /// Dense, with this width.
    Width(u64),
    /// Experts.
    Experts,
    /// The layer has no feed-forward part.
    Absent,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Layer {
    pub mixer: Mixer,
    pub feed_forward: FeedForward,
    /// The number of KV heads, if the layer has its own.
    pub kv_heads: Option<u64>,
    /// Whether the layer uses the keys and values of an earlier layer.
    pub shares: bool,
}

impl Layer {
    /// Makes a layer whose feed-forward part the fields describe.
    pub(super) fn new(mixer: Mixer) -> Self {
        Self { mixer, feed_forward: FeedForward::ByFields, kv_heads: None, shares: false }
    }

    /// Makes a layer of these two parts.
    pub(super) fn only(mixer: Mixer, feed_forward: FeedForward) -> Self {
        Self { feed_forward, ..Self::new(mixer) }
    }
}
