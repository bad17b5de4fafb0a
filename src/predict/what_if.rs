//! A question to a model: its servers, their router and their load, simulated once for the central model and once for
//! each member of the ensemble.

use std::num::NonZeroUsize;

use rayon::prelude::*;

use super::autoscale::{AutoscaleRule, Autoscaled};
use super::fleet::SimulationError;
use super::load_draw::LoadDraw;
use super::metric_values::{MetricValues, metric_values};
use super::noise::mix;
use super::offered_load::OfferedLoad;
use super::replica::ServerConfig;
use super::router::{Router, RouterPolicy, RouterSettings};
use super::seen_steps::SeenWork;
use super::simulation::{SimulatedFleet, Simulation, simulate};
use super::split::{FleetSplit, KvLink};
use super::ticks::Ticks;
use crate::model::prediction::Extrapolation;
use crate::model::rule::MetricRule;
use crate::model::run_spec::Slo;
use crate::model::spool::SpoolError;
use crate::stats::Percent;

/// The servers that a calibration allows.
#[derive(Debug, Clone)]
pub(crate) struct ServerEnsemble {
    /// The best estimate.
    pub central: ServerConfig,
    /// Others that fit about as well, at least one.
    pub members: Vec<ServerConfig>,
    /// What the calibration saw.
    pub seen: SeenWork,
}

/// The servers of a fleet, and their router.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FleetSetup {
    /// The number of replicas; with autoscaling, the most.
    pub replicas: usize,
    /// Whether some of them compute prompts and others decode.
    pub split: Option<SplitSetup>,
    /// The router's policy.
    pub router: RouterPolicy,
    /// How often the router reads the replicas' loads.
    pub signal_delay: Ticks,
    /// How the number of replicas follows the load; `None` keeps it.
    pub autoscale: Option<AutoscaleRule>,
}

/// The servers of a fleet that compute prompts; the others decode.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SplitSetup {
    /// The number of prefill servers.
    pub prefill: usize,
    /// Each server's link.
    pub link: KvLink,
}

/// A question to a model.
#[derive(Clone)]
pub(crate) struct WhatIf<'a> {
    /// The servers.
    pub servers: &'a ServerEnsemble,
    /// How many, and which router.
    pub fleet: FleetSetup,
    /// The load.
    pub load: LoadDraw,
    /// The limits of a good request.
    pub slo: &'a Slo,
    /// The service levels that end the knee.
    pub levels: &'a [MetricRule],
    /// The percentiles that the user requested.
    pub percents: &'a [Percent],
    /// The number of simulations behind the intervals.
    pub members: NonZeroUsize,
    /// The seed of arrivals, deviations and random routers.
    pub seed: u64,
}

/// Why there is no prediction.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PredictionError {
    /// A simulation ended early.
    #[error(transparent)]
    Simulation(#[from] SimulationError),
    /// The arrivals could not be kept.
    #[error(transparent)]
    Arrivals(#[from] SpoolError),
}

/// One of the simulations of a prediction: a server that the calibration allows, with its own deviations.
#[derive(Clone, Copy)]
pub(super) struct Member<'a> {
    /// The server.
    pub server: &'a ServerConfig,
    /// The seed.
    pub seed: u64,
}

impl WhatIf<'_> {
    /// The metrics of the central model, and those of each member, in order.
    ///
    /// # Errors
    /// As for [`WhatIf::predict`].
    pub(super) fn all_values(&self) -> Result<(MetricValues, Vec<MetricValues>), PredictionError> {
        let central = self.values(&self.simulate(self.central(), 1.0)?);
        let members = self.each_member(|member| Ok(self.values(&self.simulate(member, 1.0)?)))?;
        Ok((central, members))
    }

    /// The simulation of the central model.
    pub(super) fn central(&self) -> Member<'_> {
        Member { server: &self.servers.central, seed: self.seed }
    }

    /// Simulates the load times a factor.
    pub(super) fn simulate(&self, member: Member<'_>, factor: f64) -> Result<Simulation, PredictionError> {
        self.simulate_load(member, &self.load.draw(member.seed, factor)?)
    }

    /// Simulates a load.
    pub(super) fn simulate_load(
        &self,
        member: Member<'_>,
        load: &OfferedLoad,
    ) -> Result<Simulation, PredictionError> {
        let fleet = SimulatedFleet {
            server: member.server,
            replicas: self.fleet.replicas,
            split: self.fleet.split.map(|split| self.split(split, member)),
            router: &mut *self.router(member),
            seen: &self.servers.seen,
            seed: member.seed,
        };
        Ok(simulate(fleet, load)?)
    }

    /// The metrics of a simulation.
    pub(super) fn values(&self, simulation: &Simulation) -> MetricValues {
        metric_values(&simulation.records, &simulation.itl, self.slo, self.percents)
    }

    /// Whether a simulation meets all service levels.
    pub(super) fn meets_levels(&self, simulation: &Simulation) -> bool {
        self.values_meet_levels(&self.values(simulation))
    }

    /// Whether the metrics of a simulation meet all service levels.
    pub(super) fn values_meet_levels(&self, values: &MetricValues) -> bool {
        self.levels.iter().all(|rule| {
            let value = values.get(&rule.figure.to_string());
            value.is_some_and(|value| rule.is_rule_met(*value, None) == Some(true))
        })
    }

    /// Where the steps of a simulation are beyond what the calibration saw.
    pub(super) fn step_extrapolations(&self, simulation: &Simulation) -> Vec<Extrapolation> {
        simulation.beyond.of_steps(&self.servers.seen.steps)
    }

    /// Evaluates each member, in parallel. The results are in the order of the members.
    pub(super) fn each_member<T: Send>(
        &self,
        evaluate: impl Fn(Member<'_>) -> Result<T, PredictionError> + Sync,
    ) -> Result<Vec<T>, PredictionError> {
        let servers = &self.servers.members;
        // A few are taken from all over the ensemble, which may be in the order of a coefficient.
        let stride = (servers.len() / self.members.get()).max(1);
        let member = |number: usize| Member {
            server: &servers[number * stride % servers.len()],
            seed: mix(self.seed, number as u64 + 1),
        };
        (0..self.members.get()).into_par_iter().map(|number| evaluate(member(number))).collect()
    }

    fn router(&self, member: Member<'_>) -> Box<dyn Router> {
        let router = self.fleet.router.router(self.router_settings(member));
        match self.fleet.autoscale {
            Some(rule) => Box::new(Autoscaled::new(rule, router)),
            None => router,
        }
    }

    /// The split fleet of a member. The router to its decode servers has the same policy, and chances of its own.
    pub(super) fn split(&self, setup: SplitSetup, member: Member<'_>) -> FleetSplit {
        let settings = self.router_settings(member);
        let settings = RouterSettings { seed: mix(settings.seed, DECODE_ROUTER_STREAM), ..settings };
        FleetSplit { prefill: setup.prefill, link: setup.link, router: self.fleet.router, settings }
    }

    fn router_settings(&self, member: Member<'_>) -> RouterSettings {
        RouterSettings {
            blocks: member.server.limits.usable_blocks,
            refresh_period: self.fleet.signal_delay,
            seed: member.seed,
        }
    }
}

/// Separates the choices among decode servers from those among prefill servers.
const DECODE_ROUTER_STREAM: u64 = 0xDEC1;
