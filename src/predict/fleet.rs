//! A fleet of simulated servers: the events of all of them in the order of virtual time.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::{
    noise::mix,
    observer::{SimulatedAnswer, SimulationObserver},
    replica::{Replica, ReplicaTotals, ReservedPrompt, ServerConfig},
    router::{FleetView, Router},
    split::{FleetSplit, SplitState},
    ticks::Ticks,
    workload::{SimulatedRequest, Workload},
};
use crate::sim::scheduler::{SchedulerLoad, SequencePart, SequenceTooLarge};

/// A fleet of equal servers.
#[derive(Clone, Debug)]
pub(crate) struct FleetConfig {
    /// The number of servers, at least 1.
    pub replicas: usize,
    pub server: ServerConfig,
    /// Whether some servers compute prompts and others decode; each server answers whole requests otherwise.
    pub split: Option<FleetSplit>,
    /// The most requests in flight. A request that is due waits until another, with all that follows from it, has ended.
    pub max_concurrency: Option<usize>,
    /// The seed of all deviations.
    pub seed: u64,
}

/// Sums over a simulation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FleetTotals {
    /// The number of answers.
    pub answers: u64,
    /// When the last step ended.
    pub end: Ticks,
    pub replicas: Vec<ReplicaTotals>,
}

/// Why a simulation ended early.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum SimulationError {
    #[error("a fleet needs at least one replica that answers, and a cap on concurrency at least one request")]
    Empty,
    #[error("request {index} can never run on this server: {cause}")]
    RequestTooLarge { index: u64, cause: SequenceTooLarge },
    #[error("the simulation reaches the end of virtual time, 417 days; divide the workload")]
    TooLong,
}

/// Simulates a fleet until the workload is answered. The observer sees each answer and each step.
///
/// Of events at the same time, arrivals come first, so that a request that arrives at the end of a step is in the next
/// one. A request that follows from an answer arrives after the step that begins at that time.
///
/// # Errors
///
/// The fleet is empty, a request is too large for its server, or time runs out.
pub(crate) fn simulate(
    config: &FleetConfig,
    workload: &mut dyn Workload,
    router: &mut dyn Router,
    observer: &mut dyn SimulationObserver,
) -> Result<FleetTotals, SimulationError> {
    let answering = config.replicas.saturating_sub(config.split.map_or(0, |split| split.prefill));
    if answering == 0 || config.max_concurrency == Some(0) {
        return Err(SimulationError::Empty);
    }
    let mut fleet = Fleet::new(config, router);
    let mut next = workload.next_request();
    loop {
        let event = fleet.events.peek().map(|Reverse(event)| event.at);
        let due = next.as_ref().filter(|_| fleet.has_place()).map(|request| request.due.max(fleet.now));
        match (due, event) {
            (Some(due), event) if event.is_none_or(|event| due <= event) => {
                fleet.now = due;
                if let Some(request) = std::mem::replace(&mut next, workload.next_request()) {
                    fleet.in_flight += 1;
                    fleet.send(request)?;
                }
            }
            (_, Some(_)) => fleet.handle_event(workload, observer)?,
            _ => break,
        }
    }
    Ok(fleet.into_totals())
}

/// Separates the times before the queues of decode servers from those of prefill servers.
const DECODE_STREAM: u64 = 0xDEC0;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    at: Ticks,
    kind: EventKind,
}

/// In the order in which events at the same time happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum EventKind {
    /// A request that follows from an answer is due. The number orders events that are otherwise equal.
    Due { number: u64, place: usize },
    /// The router has the answer of a prefill server.
    Prefilled { number: u64, index: u64 },
    /// A request enters its replica's queue.
    Queue { number: u64, place: usize },
    /// A prompt's keys and values are at the decode server.
    Transferred { number: u64, index: u64, from: Option<u32>, to: u32 },
    /// The end of a replica's stretch, unless the replica has set another one since.
    Boundary { number: u64, replica: u32 },
    /// The replicas' loads are read.
    Refresh,
}

/// A request on its way.
#[derive(Clone, Debug)]
struct Underway {
    request: SimulatedRequest,
    part: SequencePart,
    replica: usize,
    sent: Ticks,
}

struct Fleet<'a> {
    config: &'a FleetConfig,
    router: &'a mut dyn Router,
    replicas: Vec<Replica<'a>>,
    /// The number of the boundary that each replica set last.
    boundaries: Vec<u64>,
    events: BinaryHeap<Reverse<Event>>,
    event_count: u64,
    underway: Vec<Option<Underway>>,
    vacant: Vec<usize>,
    /// Requests in flight, with the sessions that think.
    in_flight: usize,
    sent_to: Vec<u32>,
    signals: Vec<SchedulerLoad>,
    refresh_is_set: bool,
    /// What only a split fleet has.
    split: Option<SplitState>,
    answers: Vec<SimulatedAnswer>,
    reserved: Vec<ReservedPrompt>,
    answer_count: u64,
    now: Ticks,
    /// The last boundary of any replica.
    end: Ticks,
}

impl<'a> Fleet<'a> {
    fn new(config: &'a FleetConfig, router: &'a mut dyn Router) -> Self {
        let replicas = (0..config.replicas as u32).map(|at| Replica::new(&config.server, at, config.seed));
        Self {
            config,
            router,
            replicas: replicas.collect(),
            boundaries: vec![0; config.replicas],
            events: BinaryHeap::new(),
            event_count: 0,
            underway: Vec::new(),
            vacant: Vec::new(),
            in_flight: 0,
            sent_to: vec![0; config.replicas],
            signals: vec![SchedulerLoad::default(); config.replicas],
            refresh_is_set: false,
            split: config.split.map(|split| SplitState::new(split, config.replicas)),
            answers: Vec::new(),
            reserved: Vec::new(),
            answer_count: 0,
            now: Ticks::ZERO,
            end: Ticks::ZERO,
        }
    }

    fn has_place(&self) -> bool {
        self.config.max_concurrency.is_none_or(|most| self.in_flight < most)
    }

    fn handle_event(
        &mut self,
        workload: &mut dyn Workload,
        observer: &mut dyn SimulationObserver,
    ) -> Result<(), SimulationError> {
        let Some(Reverse(Event { at, kind })) = self.events.pop() else { return Ok(()) };
        if at == Ticks::MAX {
            return Err(SimulationError::TooLong);
        }
        match kind {
            EventKind::Boundary { number, replica } => {
                if number == self.boundaries[replica as usize] {
                    (self.now, self.end) = (at, at);
                    self.pass_boundary(replica as usize, workload, observer);
                }
                return Ok(());
            }
            EventKind::Due { place, .. } => {
                self.now = at;
                if let Some(underway) = self.take(place) {
                    self.send(underway.request)?;
                }
            }
            EventKind::Prefilled { index, .. } => {
                self.now = at;
                if let Some((request, sent)) = self.split.as_ref().and_then(|split| split.prefilled(index)) {
                    self.route(request, SequencePart::Decode, sent)?;
                }
            }
            EventKind::Queue { place, .. } => {
                self.now = at;
                if let Some(underway) = self.take(place) {
                    self.queue(underway)?;
                }
            }
            EventKind::Transferred { index, from, to, .. } => {
                self.now = at;
                self.end_transfer(index, from, to);
            }
            EventKind::Refresh => {
                self.now = at;
                self.refresh(observer);
            }
        }
        Ok(())
    }

    /// Sends a request, or what comes first of it.
    fn send(&mut self, request: SimulatedRequest) -> Result<(), SimulationError> {
        let (request, part) = match &mut self.split {
            Some(split) => split.begin(request),
            None => (request, SequencePart::Whole),
        };
        self.route(request, part, self.now)
    }

    /// Routes a part of a request, which was sent at `sent`, to one of the servers for such parts.
    fn route(
        &mut self,
        request: SimulatedRequest,
        part: SequencePart,
        sent: Ticks,
    ) -> Result<(), SimulationError> {
        self.set_refresh();
        let servers = self.split.as_ref().map_or(0..self.replicas.len(), |split| split.servers(part));
        let view = FleetView {
            now: self.now,
            in_flight: &self.sent_to[servers.clone()],
            signals: &self.signals[servers.clone()],
        };
        let router = match (&mut self.split, part) {
            (Some(split), SequencePart::Decode) => split.router(),
            _ => &mut *self.router,
        };
        let replica = servers.start + router.route(&request, &view);
        self.sent_to[replica] += 1;
        let overhead = self.intake(&request, part, replica);
        let underway = Underway { request, part, replica, sent };
        if overhead == Ticks::ZERO {
            return self.queue(underway);
        }
        let place = self.keep(underway);
        let number = self.next_number();
        self.push(self.now + overhead, EventKind::Queue { number, place });
        Ok(())
    }

    /// The time before the queue of a server. Each server that a request is sent to reads and tokenizes it.
    fn intake(&self, request: &SimulatedRequest, part: SequencePart, replica: usize) -> Ticks {
        let FleetConfig { server, seed, .. } = self.config;
        let seed = if part == SequencePart::Decode { mix(*seed, DECODE_STREAM) } else { *seed };
        let base = server.noise.intake(server.overhead.base, self.sent_to[replica], seed, request.index);
        base + server.overhead.of_prompt(request.prompt)
    }

    fn queue(&mut self, Underway { request, part, replica, sent }: Underway) -> Result<(), SimulationError> {
        let index = request.index;
        let boundary = self.replicas[replica].arrive(request, part, sent, self.now);
        let boundary = boundary.map_err(|cause| SimulationError::RequestTooLarge { index, cause })?;
        self.set_boundary(replica, boundary);
        Ok(())
    }

    fn pass_boundary(
        &mut self,
        replica: usize,
        workload: &mut dyn Workload,
        observer: &mut dyn SimulationObserver,
    ) {
        let boundary = self.replicas[replica].pass_boundary(self.now, observer, &mut self.answers);
        self.set_boundary(replica, boundary);
        self.begin_transfers(replica);
        let mut answers = std::mem::take(&mut self.answers);
        for answer in answers.drain(..) {
            self.sent_to[replica] -= 1;
            let Some(answer) = self.finish(answer) else { continue };
            self.answer_count += 1;
            observer.on_answer(&answer);
            match workload.follow_up(&answer) {
                Some(request) => {
                    let due = request.due.max(self.now);
                    let part = SequencePart::Whole;
                    let place = self.keep(Underway { request, part, replica, sent: due });
                    let number = self.next_number();
                    self.push(due, EventKind::Due { number, place });
                }
                None => self.in_flight -= 1,
            }
        }
        self.answers = answers;
    }

    fn set_boundary(&mut self, replica: usize, boundary: Option<Ticks>) {
        let Some(at) = boundary else { return };
        let number = self.next_number();
        self.boundaries[replica] = number;
        self.push(at, EventKind::Boundary { number, replica: replica as u32 });
    }

    /// Sets the next reading of the loads, if the router needs it. An idle fleet is not read.
    fn set_refresh(&mut self) {
        let Some(period) = self.router.refresh_period().filter(|period| period.0 > 0) else { return };
        if !std::mem::replace(&mut self.refresh_is_set, true) {
            self.push(Ticks((self.now.0 / period.0 + 1).saturating_mul(period.0)), EventKind::Refresh);
        }
    }

    fn refresh(&mut self, observer: &mut dyn SimulationObserver) {
        for (signal, replica) in self.signals.iter_mut().zip(&mut self.replicas) {
            *signal = replica.read_load(self.now, observer);
        }
        self.refresh_is_set = false;
        if self.in_flight > 0 {
            self.set_refresh();
        }
    }

    fn push(&mut self, at: Ticks, kind: EventKind) {
        self.events.push(Reverse(Event { at, kind }));
    }

    fn next_number(&mut self) -> u64 {
        self.event_count += 1;
        self.event_count
    }

    fn keep(&mut self, underway: Underway) -> usize {
        let place = self.vacant.pop().unwrap_or_else(|| {
            self.underway.push(None);
            self.underway.len() - 1
        });
        self.underway[place] = Some(underway);
        place
    }

    fn take(&mut self, place: usize) -> Option<Underway> {
        self.vacant.push(place);
        self.underway[place].take()
    }

    fn into_totals(self) -> FleetTotals {
        debug_assert!(
            self.replicas.iter().all(Replica::is_drained),
            "a replica has kept a request or blocks"
        );
        let replicas = self.replicas.iter().map(Replica::totals).collect();
        FleetTotals { answers: self.answer_count, end: self.end, replicas }
    }
}

mod handover;
#[cfg(test)]
mod tests;
