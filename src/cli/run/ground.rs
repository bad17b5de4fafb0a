//! One server for several runs that differ in their flags.

use std::time::Duration;

use super::measure::{Details, Onlooker};
use super::stage::Stage;
use super::trial::Trials;
use super::{Invocation, Line};
use crate::cli::exit::Halt;
use crate::cli::interrupt::Interrupts;
use crate::core::record::Record;
use crate::core::run::Run;
use crate::core::spec::{Spec, Target};

/// For a server to take an order.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server, or the simulator, and a tokenizer.
pub struct Ground {
    stage: Stage,
    target: Target,
}

impl Ground {
    /// As these flags say.
    pub fn of(line: &Line, interrupts: &Interrupts) -> Result<Self, Halt> {
        let mut spec = line.spec().map_err(Halt::usage)?;
        let stage = Stage::set(&line.args, &mut spec, interrupts)?;
        Ok(Self { stage, target: spec.target })
    }

    /// Measures a run of other flags, while `onlooker` may stop it. Nothing is printed but warnings and the bar.
    pub fn measure(
        &self,
        line: Line,
        command: Vec<String>,
        onlooker: Onlooker<'_>,
    ) -> Result<(Run, Vec<Record>), Halt> {
        let spec = Spec { target: self.target.clone(), ..line.spec().map_err(Halt::usage)? };
        let trials = Trials::new(&line.args, &self.stage, Details::NONE);
        let invocation = Invocation { command, settings: line.settings, like: None, record_log: None };
        trials.measure(trials.prepare(spec)?, &invocation, onlooker)
    }

    /// The server's `/metrics`, if it has one.
    pub fn metrics(&self) -> Option<String> {
        self.stage.wait_for(self.stage.control().metrics()).ok().flatten()
    }

    /// Empties the server's prefix cache, if it takes that order.
    pub fn empty_cache(&self) -> Result<(), String> {
        let order = self.stage.control().order("/reset_prefix_cache", PATIENCE);
        let answer = self.stage.wait_for(order).map_err(|halt| halt.message().to_owned())?;
        answer.map(drop).map_err(|error| error.to_string())
    }
}
