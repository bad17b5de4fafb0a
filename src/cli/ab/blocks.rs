//! Measures the blocks, pair by pair.

use std::path::PathBuf;

use super::args::AbArgs;
use super::servers::{Break, Running, Servers};
use crate::cli::exit::{Halt, say};
use crate::cli::interrupt::Interrupts;
use crate::cli::run::{Details, Invocation, Trial, Trials, why_nothing};
use crate::core::record::Record;
use crate::core::run::Run;
use crate::core::spec::Spec;
use crate::judge::ab::{Arm, Pair, order};

/// The blocks of an A/B.
pub struct Blocks<'a> {
    /// The flags.
    pub args: &'a AbArgs,
    /// The first pair's; the others have the seeds after it.
    pub seed: u64,
    /// Whether every request is saved with the runs.
    pub detailed: bool,
    /// Who may end it.
    pub interrupts: &'a Interrupts,
    /// Who is measured.
    pub servers: Servers<'a>,
}

/// Which pair it is.
struct Place {
    /// From 0.
    number: usize,
    first: Arm,
    seed: u64,
}

impl Blocks<'_> {
    /// Measures all pairs. What comes between ends it with the pairs that are complete.
    pub fn measure(mut self) -> (Vec<Pair>, Option<Break>) {
        let mut pairs = Vec::new();
        for (number, first) in order(self.args.blocks.get(), self.seed).into_iter().enumerate() {
            match self.pair(&Place { number, first, seed: self.seed.wrapping_add(number as u64) }) {
                Ok(pair) => pairs.push(pair),
                // What the interrupt broke is no failure.
                Err(_) if self.interrupts.asked() => return (pairs, Some(Break::Interrupted)),
                Err(why) => return (pairs, Some(why)),
            }
        }
        (pairs, None)
    }

    fn pair(&mut self, place: &Place) -> Result<Pair, Break> {
        let (first, prepared) = self.block(place, place.first, None)?;
        let (second, _) = self.block(place, place.first.other(), Some(prepared))?;
        let runs = match place.first {
            Arm::A => [first, second],
            Arm::B => [second, first],
        };
        Ok(Pair { first: place.first, runs })
    }

    /// The second block of a pair has the requests that were prepared for the first.
    fn block(&mut self, place: &Place, arm: Arm, prepared: Option<Trial>) -> Result<(Run, Trial), Break> {
        let interrupts = self.interrupts;
        if interrupts.asked() {
            return Err(Break::Interrupted);
        }
        let details = if self.detailed { Details::ALL } else { Details::NONE };
        let running = self.servers.ready(arm)?;
        let pair = place.number + 1;
        say(format_args!("pair {pair} of {}: {arm}, seed {}", self.args.blocks, place.seed));
        let trials = Trials::new(&running.line.args, &running.stage, details);
        let prepared = match prepared {
            Some(prepared) => prepared,
            None => trials.prepare(Spec { seed: place.seed, ..running.spec.clone() })?,
        };
        let trial = prepared.on(running.spec.target.clone());
        let invocation = invocation(running, place.seed);
        let (mut run, records) = trials.measure(trial, &invocation, &mut |_, _| {})?;
        run.environment.server_launched = running.launched;
        if run.interrupted {
            return Err(Break::Interrupted);
        }
        if run.metrics.completed == 0 {
            return Err(Halt::failed(format!("{arm} in pair {pair}: {}", why_nothing(&run))).into());
        }
        if let Some(reason) = run.validity.reason() {
            say(format_args!("  INVALID: {reason}"));
        }
        Ok((self.keep(run, records, arm, pair)?, prepared))
    }

    /// Saves the run; what is not looked at again is let go.
    fn keep(&self, mut run: Run, records: Vec<Record>, arm: Arm, pair: usize) -> Result<Run, Halt> {
        if let Some(folder) = &self.args.save {
            run.records = self.detailed.then_some(records);
            let name = format!("{pair:03}.json");
            run.save(&folder.join(subfolder(arm)).join(name)).map_err(Halt::io)?;
            run.records = None;
        }
        Ok(run)
    }
}

/// Where the runs of a server are, in the folder of `--save`.
pub fn subfolder(arm: Arm) -> PathBuf {
    match arm {
        Arm::A => "a".into(),
        Arm::B => "b".into(),
    }
}

/// As if the block alone had been asked for, so that `--like` does it again.
fn invocation(running: &Running, seed: u64) -> Invocation {
    let mut settings = running.line.settings.clone();
    settings.insert("seed".to_owned(), seed.into());
    let own = ["--seed".to_owned(), seed.to_string()];
    let words = ["servebench", "run"].map(ToOwned::to_owned).into_iter().chain(running.words.clone());
    Invocation { command: words.chain(own).collect(), settings, like: None, record_log: None }
}
