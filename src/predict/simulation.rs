//! One simulation of a fleet under a load: its Records, the gaps between its tokens, and what of it nobody has measured.

use super::beyond_seen::BeyondSeen;
use super::fleet::{self, FleetConfig, FleetTotals, SimulationError};
use super::observer::{SimulatedAnswer, SimulationObserver, StepSpan};
use super::offered_load::{OfferedLoad, Pace};
use super::records::{AnswerTimes, record};
use super::replica::ServerConfig;
use super::router::{RoundRobin, Router};
use super::seen_steps::SeenWork;
use super::split::FleetSplit;
use super::ticks::Ticks;
use super::workload::{SessionTurn, SessionWorkload, SimulatedRequest, Workload};
use crate::dataset::shapes::RequestShape;
use crate::model::record::Record;
use crate::stats::DurationSketch;

/// The result of a simulation.
pub(crate) struct Simulation {
    /// The answered requests, in the order of the load.
    pub records: Vec<Record>,
    /// The gaps between tokens.
    pub itl: DurationSketch,
    /// What is beyond what the calibration saw.
    pub beyond: BeyondSeen,
    /// Sums over the replicas.
    pub totals: FleetTotals,
}

/// What is simulated besides the load.
pub(crate) struct SimulatedFleet<'a> {
    /// One server.
    pub server: &'a ServerConfig,
    /// The number of servers.
    pub replicas: usize,
    /// Whether some compute prompts and others decode.
    pub split: Option<FleetSplit>,
    /// The router.
    pub router: &'a mut dyn Router,
    /// What the calibration saw.
    pub seen: &'a SeenWork,
    /// The seed of all deviations.
    pub seed: u64,
}

/// Simulates a load.
///
/// # Errors
/// A request is too large for the server, or virtual time runs out.
pub(crate) fn simulate(fleet: SimulatedFleet<'_>, load: &OfferedLoad) -> Result<Simulation, SimulationError> {
    let mut observer = LoadObserver {
        seen: fleet.seen,
        times: vec![None; load.requests.len()],
        itl: DurationSketch::default(),
        beyond: BeyondSeen::default(),
    };
    let SimulatedFleet { server, replicas, split, router, seed, .. } = fleet;
    let max_concurrency = max_concurrency(load);
    let config = FleetConfig { replicas, server: server.clone(), split, max_concurrency, seed };
    let totals = fleet::simulate(&config, workload(load).as_mut(), router, &mut observer)?;
    let LoadObserver { times, itl, beyond, .. } = observer;
    let answered = times.into_iter().zip(&load.requests).enumerate();
    let records = answered.filter_map(|(ordinal, (times, request))| {
        let (times, cached) = times?;
        Some(record(ordinal, request, times, cached))
    });
    Ok(Simulation { records: records.collect(), itl, beyond, totals })
}

/// Simulates a load on one server, or its part of a split fleet, without keeping what its answers are.
///
/// # Errors
/// As for [`simulate`].
pub(crate) fn observe(
    server: &ServerConfig,
    split: Option<FleetSplit>,
    seed: u64,
    load: &OfferedLoad,
    observer: &mut dyn SimulationObserver,
) -> Result<(), SimulationError> {
    let max_concurrency = max_concurrency(load);
    let config = FleetConfig { replicas: 1, server: server.clone(), split, max_concurrency, seed };
    fleet::simulate(&config, workload(load).as_mut(), &mut RoundRobin::default(), observer).map(drop)
}

/// The users of a closed loop.
fn max_concurrency(load: &OfferedLoad) -> Option<usize> {
    match load.pace {
        Pace::Open(_) => None,
        Pace::Closed(users) => Some(users.get()),
    }
}

/// The requests of a load, numbered in its order.
fn workload(load: &OfferedLoad) -> Box<dyn Workload + '_> {
    let has_turns = load.requests.iter().any(|request| request.turn.is_some());
    let starts = starts(load);
    if has_turns {
        let sessions =
            load.sessions().zip(starts).map(|(turns, start)| (start, turns.iter().map(turn).collect()));
        return Box::new(SessionWorkload::new(sessions.collect()));
    }
    Box::new(load.requests.iter().zip(starts).zip(0..).map(|((request, due), index)| SimulatedRequest {
        index,
        due,
        prompt: request.prompt,
        output: request.output,
        session: None,
        contents: request.contents.clone().into(),
    }))
}

/// When sessions begin: in a closed loop, when the cap lets them.
fn starts(load: &OfferedLoad) -> Box<dyn Iterator<Item = Ticks> + '_> {
    match &load.pace {
        Pace::Open(due) => Box::new(due.iter().map(|at| Ticks::from_seconds(at.as_secs_f64()))),
        Pace::Closed(_) => Box::new(std::iter::repeat(Ticks::ZERO)),
    }
}

fn turn(request: &RequestShape) -> SessionTurn {
    let think = request.turn.map_or(Ticks::ZERO, |turn| Ticks::from_seconds(turn.think.as_secs_f64()));
    SessionTurn {
        think,
        prompt: request.prompt,
        output: request.output,
        contents: request.contents.clone().into(),
    }
}

struct LoadObserver<'a> {
    seen: &'a SeenWork,
    /// The times of each request of the load, and its tokens from the prefix cache.
    times: Vec<Option<(AnswerTimes, u32)>>,
    itl: DurationSketch,
    beyond: BeyondSeen,
}

impl SimulationObserver for LoadObserver<'_> {
    fn on_answer(&mut self, answer: &SimulatedAnswer) {
        let times = AnswerTimes {
            sent: answer.sent.as_duration(),
            first_token: answer.first_token.as_duration(),
            last_token: answer.last_token.as_duration(),
        };
        self.beyond.add_prompt(self.seen, answer.prompt);
        self.times[answer.index as usize] = Some((times, answer.cached));
    }

    fn on_steps(&mut self, span: &StepSpan<'_>) {
        self.beyond.add_steps(&self.seen.steps, span);
        let sequences = (span.first.decode_seqs - span.first_tokens) as u64;
        if sequences == 0 {
            return;
        }
        for step in 0..span.steps {
            self.itl.record_times(span.duration(step).as_duration(), sequences);
        }
    }

    fn on_interruption(&mut self, gap: Ticks) {
        self.itl.record(gap.as_duration());
    }
}
