//! Measures the blocks, pair by pair.

use std::path::PathBuf;

use serde_json::{Map, Value};

use super::args::AbArgs;
use super::servers::{Break, Running, Servers};
use crate::analysis::ab::{Arm, BlockPair, first_arms};
use crate::cli::commands::run::failure_reason;
use crate::cli::config::as_words;
use crate::cli::exit::{CliError, print_stderr};
use crate::cli::interrupt::InterruptSignal;
use crate::model::run::Run;
use crate::model::run_records::RunRecords;
use crate::model::run_spec::Spec;
use crate::model::secrets;
use crate::runner::{Invocation, PreparedRun};

/// The state of an A/B measurement.
pub(super) struct Blocks<'a> {
    pub args: &'a AbArgs,
    /// The seed of the first pair. Each later pair adds one.
    pub seed: u64,
    /// Whether every request is saved with the runs.
    pub detailed: bool,
    /// The signal that ends the measurement.
    pub interrupts: &'a InterruptSignal,
    /// The servers under test.
    pub servers: Servers<'a>,
}

/// The position of a pair.
struct Place {
    /// Counted from 0.
    number: usize,
    first: Arm,
    seed: u64,
}

impl Blocks<'_> {
    /// Measures all pairs. After an interrupt or a failure, it returns the complete pairs and the reason.
    pub(super) fn measure(mut self) -> (Vec<BlockPair>, Option<Break>) {
        let mut pairs = Vec::new();
        for (number, first) in first_arms(self.args.blocks.get(), self.seed).into_iter().enumerate() {
            match self.pair(&Place { number, first, seed: self.seed.wrapping_add(number as u64) }) {
                Ok(pair) => pairs.push(pair),
                // A block that fails because of the interrupt is not a failure.
                Err(_) if self.interrupts.is_requested() => return (pairs, Some(Break::Interrupted)),
                Err(why) => return (pairs, Some(why)),
            }
        }
        (pairs, None)
    }

    fn pair(&mut self, place: &Place) -> Result<BlockPair, Break> {
        let (first, prepared) = self.block(place, place.first, None)?;
        let (second, _) = self.block(place, place.first.other(), Some(prepared))?;
        let runs = match place.first {
            Arm::A => [first, second],
            Arm::B => [second, first],
        };
        Ok(BlockPair { first: place.first, runs })
    }

    /// Measures one block. The second block of a pair sends the requests that were prepared for the first.
    fn block(
        &mut self,
        place: &Place,
        arm: Arm,
        prepared: Option<PreparedRun>,
    ) -> Result<(Run, PreparedRun), Break> {
        let interrupts = self.interrupts;
        if interrupts.is_requested() {
            return Err(Break::Interrupted);
        }
        let running = self.servers.ready(arm)?;
        let pair = place.number + 1;
        print_stderr(format_args!("pair {pair} of {}: {arm}, seed {}", self.args.blocks, place.seed));
        let runner = running.session.runner();
        let prepared = match prepared {
            Some(prepared) => runner.prepare_again(prepared),
            None => runner.prepare(Spec { seed: place.seed, ..running.spec.clone() })?,
        };
        let invocation = invocation(self.args, running, place.seed);
        let (mut run, records) = runner.measure(prepared.clone(), &invocation, &mut |_, _| {})?;
        run.environment.server_launched = running.launched;
        if run.interrupted {
            return Err(Break::Interrupted);
        }
        if run.metrics.completed == 0 {
            return Err(CliError::failed(format!("{arm} in pair {pair}: {}", failure_reason(&run))).into());
        }
        if let Some(reason) = run.validity.reason() {
            print_stderr(format_args!("  INVALID: {reason}"));
        }
        Ok((self.keep(run, records, arm, pair)?, prepared))
    }

    /// Saves the run, and drops what the comparison does not need.
    fn keep(&self, mut run: Run, records: RunRecords, arm: Arm, pair: usize) -> Result<Run, CliError> {
        if let Some(folder) = &self.args.save {
            run.records = self.detailed.then(|| records.into_sample());
            let name = format!("{pair:03}.json");
            run.save(&folder.join(subfolder(arm)).join(name)).map_err(CliError::io)?;
            run.records = None;
        }
        Ok(run)
    }
}

/// Returns the folder of a server's runs within the folder of `--out`.
pub(super) fn subfolder(arm: Arm) -> PathBuf {
    match arm {
        Arm::A => "a".into(),
        Arm::B => "b".into(),
    }
}

/// Returns the invocation of this block as a separate run, so that `--like` can repeat it.
pub(super) fn invocation(args: &AbArgs, running: &Running, seed: u64) -> Invocation {
    let Invocation { mut settings, .. } = running.line.invocation(Vec::new(), seed);
    if let Some(Value::String(url)) = settings.get_mut("base-url") {
        *url = secrets::mask_url(url);
    }
    let own: Map<String, Value> = ["base-url", "duration", "seed"]
        .into_iter()
        .filter_map(|flag| Some((flag.to_owned(), settings.get(flag)?.clone())))
        .collect();
    let program = ["servegauge", "run"].map(ToOwned::to_owned).into_iter();
    let command = program.chain(args.run.iter().cloned()).chain(as_words(&own)).collect();
    Invocation { command, settings, record_log: None }
}
