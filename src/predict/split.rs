//! Fleets in which some servers compute prompts and others decode.
//!
//! The order of events is that of vLLM with a connector that reads, such as NIXL's, behind vLLM's example of a proxy: it
//! sends a request to a prefill server for one token, and waits for the whole answer. Then it chooses a decode server and
//! sends the request there. The decode server reserves blocks for the prompt when the request is first in its queue, and
//! reads the keys and values from the prefill server, which keeps its blocks until then. The client gets all its tokens
//! from the decode server, which computes the prompt's last token again to generate the first of them.

use std::collections::BTreeMap;
use std::ops::Range;

use super::observer::SimulatedAnswer;
use super::replica::ReservedPrompt;
use super::router::{Router, RouterPolicy, RouterSettings};
use super::ticks::Ticks;
use super::workload::SimulatedRequest;
use crate::sim::scheduler::SequencePart;

/// The division of a fleet into servers that compute prompts and servers that decode.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FleetSplit {
    /// The number of prefill servers, which come first in the fleet. Without one, prompts are computed elsewhere, and
    /// their keys and values come as soon as a decode server has blocks for them.
    pub prefill: usize,
    pub link: KvLink,
    /// The router to the decode servers.
    pub router: RouterPolicy,
    pub settings: RouterSettings,
}

/// The network link of each server. It carries one transfer of keys and values at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct KvLink {
    pub size: KvSize,
    pub bytes_per_second: f64,
}

/// The size of the keys and values of a sequence, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct KvSize {
    /// Of a token, in the layers that keep every token.
    pub per_token: f64,
    /// Of a token, in the layers that keep only the last `window` tokens.
    pub per_windowed_token: f64,
    pub window: u32,
    /// Of the states whose size does not depend on the length.
    pub per_sequence: f64,
}

impl KvSize {
    /// The bytes of this number of tokens at the end of a sequence.
    pub(crate) fn bytes(&self, tokens: u32) -> f64 {
        let windowed = f64::from(tokens.min(self.window)) * self.per_windowed_token;
        self.per_sequence + f64::from(tokens) * self.per_token + windowed
    }
}

impl KvLink {
    /// The time for the keys and values of this number of tokens.
    pub(crate) fn transfer(&self, tokens: u32) -> Ticks {
        Ticks::from_seconds(self.size.bytes(tokens) / self.bytes_per_second)
    }
}

/// A request that two servers compute.
#[derive(Clone, Debug)]
struct SharedRequest {
    request: SimulatedRequest,
    /// The answer of the prefill server.
    prefilled: Option<SimulatedAnswer>,
}

/// The requests of a split fleet on their way from a prefill server to a decode server.
pub(super) struct SplitState {
    split: FleetSplit,
    router: Box<dyn Router>,
    /// By the request's number, from its arrival to its answer.
    shared: BTreeMap<u64, SharedRequest>,
    /// When each server's link has done the transfers that it has so far.
    links: Vec<Ticks>,
}

impl SplitState {
    pub(super) fn new(split: FleetSplit, replicas: usize) -> Self {
        Self {
            split,
            router: split.router.router(split.settings),
            shared: BTreeMap::new(),
            links: vec![Ticks::ZERO; replicas],
        }
    }

    /// The servers that compute a part of requests.
    pub(super) fn servers(&self, part: SequencePart) -> Range<usize> {
        match part {
            SequencePart::Whole | SequencePart::Prefill => 0..self.split.prefill,
            SequencePart::Decode => self.split.prefill..self.links.len(),
        }
    }

    /// The router to the decode servers.
    pub(super) fn router(&mut self) -> &mut dyn Router {
        &mut *self.router
    }

    /// What comes first of a request, and the part that this is.
    pub(super) fn begin(&mut self, request: SimulatedRequest) -> (SimulatedRequest, SequencePart) {
        if self.split.prefill == 0 {
            return (request, SequencePart::Decode);
        }
        let first = SimulatedRequest { output: 1, ..request.clone() };
        self.shared.insert(request.index, SharedRequest { request, prefilled: None });
        (first, SequencePart::Prefill)
    }

    /// Keeps the answer of a prefill server. `None` if the answer is that of a decode server, to which the times at the
    /// prefill server are added.
    pub(super) fn finish(&mut self, answer: SimulatedAnswer) -> Option<SimulatedAnswer> {
        if (answer.replica as usize) < self.split.prefill {
            if let Some(shared) = self.shared.get_mut(&answer.index) {
                shared.prefilled = Some(answer);
            }
            return None;
        }
        let shared = self.shared.remove(&answer.index).and_then(|shared| shared.prefilled);
        Some(match shared {
            Some(SimulatedAnswer { queued, scheduled, cached, preemptions, .. }) => {
                let preemptions = preemptions + answer.preemptions;
                SimulatedAnswer { queued, scheduled, cached, preemptions, ..answer }
            }
            None => answer,
        })
    }

    /// The request whose prompt a prefill server has computed, and when it was sent.
    pub(super) fn prefilled(&self, index: u64) -> Option<(SimulatedRequest, Ticks)> {
        let shared = self.shared.get(&index)?;
        Some((shared.request.clone(), shared.prefilled.as_ref()?.sent))
    }

    /// Transfers a prompt to a decode server. Returns the server that has computed it, if it is one of the fleet, and the
    /// end of the transfer. A transfer has the links of both servers for itself, and waits for the earlier ones of either.
    pub(super) fn transfer(
        &mut self,
        prompt: ReservedPrompt,
        to: usize,
        now: Ticks,
    ) -> (Option<usize>, Ticks) {
        let prefilled = self.shared.get(&prompt.index).and_then(|shared| shared.prefilled.as_ref());
        let Some(from) = prefilled.map(|answer| answer.replica as usize) else { return (None, now) };
        let start = now.max(self.links[from]).max(self.links[to]);
        let end = start + self.split.link.transfer(prompt.tokens);
        (self.links[from], self.links[to]) = (end, end);
        (Some(from), end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_takes_the_bytes_of_the_prompt_at_the_bandwidth_of_the_link() {
        let size = KvSize { per_token: 1000.0, per_windowed_token: 500.0, window: 100, per_sequence: 1e5 };
        assert_eq!((size.bytes(40), size.bytes(300)), (160_000.0, 450_000.0));
        let link = KvLink { size, bytes_per_second: 1e9 };
        assert_eq!(link.transfer(300), Ticks::from_seconds(450e-6));
    }
}
