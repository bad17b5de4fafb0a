//! The loads of a prediction, one or several.

use std::num::NonZeroUsize;

use super::args::RequestArgs;
use super::source::RequestSource;
use crate::model::run_spec::{Load, RateSchedule, Spec};
use crate::model::units::Rate;
use crate::predict::load_draw::LoadDraw;
use crate::predict::offered_load::{OfferedLoad, Pace};

/// A load of a prediction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum LoadPoint {
    /// A multiple of the source's load.
    Times(f64),
    /// Arrivals at this rate.
    Rate(Rate),
    /// A closed loop of this number of users.
    Users(NonZeroUsize),
}

impl LoadPoint {
    /// The loads that the flags ask for: without any, that of the source.
    pub(super) fn all(args: &RequestArgs) -> Vec<Self> {
        match (&args.load, &args.request_rate, &args.max_concurrency) {
            (Some(factors), _, _) => factors.0.iter().copied().map(Self::Times).collect(),
            (None, Some(rates), _) => rates.all().map(Self::Rate).collect(),
            (None, None, Some(users)) => users.all().map(Self::Users).collect(),
            (None, None, None) => vec![Self::Times(1.0)],
        }
    }

    /// The name of the load, for tables and files.
    pub(super) fn name(self) -> String {
        match self {
            Self::Times(factor) => format!("x{factor}"),
            Self::Rate(rate) => format!("{rate} req/s"),
            Self::Users(users) => format!("{users} in flight"),
        }
    }

    /// The load of the simulations.
    pub(super) fn draw(self, source: &RequestSource) -> LoadDraw {
        let recorded = source.recorded.clone();
        let spec = self.spec(source);
        match self {
            Self::Times(factor) => LoadDraw { recorded, drawn: source.drawn.clone(), factor },
            Self::Rate(_) => LoadDraw { recorded, drawn: Some(spec.load), factor: 1.0 },
            Self::Users(users) => LoadDraw {
                recorded: OfferedLoad { pace: Pace::Closed(users), ..recorded },
                drawn: None,
                factor: 1.0,
            },
        }
    }

    /// Whether each simulation draws its own arrivals.
    pub(super) fn draws_arrivals(self, source: &RequestSource) -> bool {
        match self {
            Self::Times(_) => source.drawn.as_ref().is_some_and(Load::is_paced),
            Self::Rate(rate) => rate.is_finite(),
            Self::Users(_) => false,
        }
    }

    /// The run under this load.
    pub(super) fn spec(self, source: &RequestSource) -> Spec {
        let spec = source.spec.clone();
        let load = spec.load.clone();
        let load = match self {
            Self::Times(factor) => times(load, factor),
            Self::Rate(request_rate) => Load {
                request_rate,
                pace: RateSchedule::Steady,
                max_concurrency: None,
                max_active_sessions: None,
                duration: None,
                ..load
            },
            Self::Users(users) => {
                let has_sessions = load.max_active_sessions.is_some();
                Load {
                    request_rate: Rate::INFINITE,
                    pace: RateSchedule::Steady,
                    max_concurrency: (!has_sessions).then_some(users),
                    max_active_sessions: has_sessions.then_some(users),
                    ..load
                }
            }
        };
        Spec { load, ..spec }
    }
}

/// The load of a run with `factor` times the users or the arrivals.
fn times(load: Load, factor: f64) -> Load {
    let users = |users: Option<NonZeroUsize>| {
        users.map(|users| {
            let more = (users.get() as f64 * factor).round().max(1.0) as usize;
            NonZeroUsize::new(more).unwrap_or(users)
        })
    };
    match load.is_closed_loop() {
        true => Load {
            max_concurrency: users(load.max_concurrency),
            max_active_sessions: users(load.max_active_sessions),
            ..load
        },
        false => {
            let rate = Rate::per_second(load.request_rate.get() * factor);
            Load { request_rate: rate.unwrap_or(load.request_rate), ..load }
        }
    }
}
