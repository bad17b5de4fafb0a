//! The load of each simulation of a prediction: what is known of the arrivals is the same in all of them.

use std::num::NonZeroUsize;

use super::noise::mix;
use super::offered_load::OfferedLoad;
use crate::model::run_spec::Load;
use crate::model::spool::SpoolError;

/// The load of a what-if.
#[derive(Debug, Clone)]
pub(crate) struct LoadDraw {
    /// The requests, with the arrivals that are known.
    pub recorded: OfferedLoad,
    /// Draws the arrivals anew in each simulation, instead of those of `recorded`.
    pub drawn: Option<Load>,
    /// The multiple of the load.
    pub factor: f64,
}

impl LoadDraw {
    /// The load of the simulation with this seed, times a further factor.
    ///
    /// # Errors
    /// When the due times fit neither into memory nor into a temporary file.
    pub(crate) fn draw(&self, seed: u64, factor: f64) -> Result<OfferedLoad, SpoolError> {
        let seed = mix(seed, LOAD_STREAM);
        let base = match &self.drawn {
            Some(load) => self.recorded.with_arrivals(load, seed)?,
            None => self.recorded.clone(),
        };
        let factor = self.factor * factor;
        Ok(if factor == 1.0 { base } else { base.times(factor, seed) })
    }

    /// The load with this number of users in a closed loop.
    pub(crate) fn with_users(&self, users: NonZeroUsize) -> OfferedLoad {
        let pace = super::offered_load::Pace::Closed(users);
        OfferedLoad { requests: self.recorded.requests.clone(), pace }
    }
}

/// Separates the arrivals from the deviations of the servers.
const LOAD_STREAM: u64 = 0x10AD;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::dataset::shapes::RequestShape;
    use crate::predict::offered_load::Pace;

    fn recorded() -> OfferedLoad {
        let request = RequestShape { prompt: 10, output: 10, contents: [].into(), turn: None };
        let due = (0..50).map(Duration::from_secs).collect();
        OfferedLoad { requests: vec![request; 50], pace: Pace::Open(due) }
    }

    #[test]
    fn recorded_arrivals_are_the_same_in_every_simulation_and_drawn_ones_are_not() {
        let known = LoadDraw { recorded: recorded(), drawn: None, factor: 1.0 };
        assert_eq!(known.draw(1, 1.0).unwrap(), known.draw(2, 1.0).unwrap());
        let drawn = LoadDraw { drawn: Some(Load::poisson(5.0)), ..known.clone() };
        assert_ne!(drawn.draw(1, 1.0).unwrap(), drawn.draw(2, 1.0).unwrap());
        assert_eq!(drawn.draw(1, 1.0).unwrap(), drawn.draw(1, 1.0).unwrap());
        let twice = LoadDraw { factor: 2.0, ..known };
        assert_ne!(twice.draw(1, 1.0).unwrap(), twice.draw(2, 1.0).unwrap(), "the shift is not known");
    }
}
