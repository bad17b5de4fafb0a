//! What a simulated server is: its engine's limits, the time of its steps, and the time outside the engine.

use crate::predict::noise::StepNoise;
use crate::predict::step_time::StepTimeModel;
use crate::predict::ticks::Ticks;
use crate::sim::scheduler::SchedulerLimits;

/// A model of a server.
#[derive(Clone, Debug)]
pub(crate) struct ServerConfig {
    pub limits: SchedulerLimits,
    pub step_time: StepTimeModel,
    pub noise: StepNoise,
    pub overhead: RequestOverhead,
    /// Whether steps in which nothing changes are done at once. The result is the same; an observer sees each step alone
    /// without it.
    pub leaps: bool,
}

impl ServerConfig {
    /// A server whose steps take exactly their time, without time outside the engine.
    pub(crate) fn new(limits: SchedulerLimits, step_time: StepTimeModel) -> Self {
        Self {
            limits,
            step_time,
            noise: StepNoise::default(),
            overhead: RequestOverhead::default(),
            leaps: true,
        }
    }
}

/// The server's time for a request before its queue, which does not block the engine: HTTP, tokenizer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestOverhead {
    pub base: Ticks,
    pub per_prompt_token: Ticks,
    /// The time for each token of a step between the step and the client, which gets the tokens of a step one after the
    /// other. It does not block the engine.
    pub per_delivered_token: Ticks,
}

impl RequestOverhead {
    pub(crate) fn of_prompt(&self, tokens: u32) -> Ticks {
        Ticks(self.per_prompt_token.0.saturating_mul(u64::from(tokens)))
    }

    /// The time from the end of a step with this many tokens until the client has them.
    pub(crate) fn of_delivery(&self, tokens: usize) -> Ticks {
        Ticks(self.per_delivered_token.0.saturating_mul(tokens as u64))
    }
}
