//! `--repeats`: the same run again with other seeds, because a single run does not tell how much runs differ.

use serde_json::{Map, Value};

use super::args::RunArgs;
use super::deliver::Delivery;
use super::stage::Stage;
use super::trial::{Trial, Trials};
use super::{Invocation, judge, record_log};
use crate::cli::exit::{Exit, Halt, say};
use crate::core::run::Run;
use crate::core::spec::Spec;
use crate::drive::engine::Event;

/// Runs that are alike but for their seeds.
pub struct Repeats<'a> {
    /// The flags of all.
    pub args: &'a RunArgs,
    /// The server.
    pub stage: &'a Stage,
    /// What they share.
    pub trials: Trials<'a>,
    /// Of the first; the others have the seeds after its own.
    pub spec: Spec,
}

impl Repeats<'_> {
    /// Measures all of them, of which the first is prepared; each has its report and its file, and in the end there is the table of
    /// all. An interrupt, or a run without any answer, ends with what is there.
    pub fn execute(
        &self,
        first: Trial,
        invocation: &Invocation,
        delivery: &Delivery,
        see: &mut dyn FnMut(&Event<'_>),
    ) -> Result<Exit, Halt> {
        let count = self.args.measure.repeats.get();
        let interrupts = self.stage.interrupts();
        let (mut whole, mut worst, mut prepared) = (Vec::new(), Exit::Fine, Some(first));
        for at in 0..count {
            if at > 0 {
                self.empty_cache(at);
            }
            let seed = self.spec.seed.wrapping_add(at as u64);
            let trial = match prepared.take() {
                Some(trial) => Ok(trial),
                None => self.trials.prepare(Spec { seed, ..self.spec.clone() }),
            };
            if interrupts.asked() {
                worst = Exit::Interrupted;
                break;
            }
            say(format_args!("run {} of {count}, seed {seed}", at + 1));
            let invocation =
                Invocation { settings: settings(&invocation.settings, seed), ..invocation.alike() };
            let invocation = Invocation {
                record_log: invocation.record_log.as_ref().map(|log| log.of_run(at + 1)),
                ..invocation
            };
            let measured =
                trial.and_then(|trial| self.trials.measure(trial, &invocation, &mut |event, _| see(event)));
            let (mut run, records) = match measured {
                Ok(measured) => measured,
                // What the interrupt broke is no failure.
                Err(_) if interrupts.asked() => {
                    worst = Exit::Interrupted;
                    break;
                }
                Err(halt) if whole.is_empty() => return Err(halt),
                // What was measured before is still summed up.
                Err(halt) => {
                    worst = worse(worst, halt.tell());
                    break;
                }
            };
            let delivered = delivery.deliver_one_of(at + 1, &mut run, records);
            record_log::settle(invocation.record_log.as_ref(), delivered.is_ok());
            delivered?;
            let exit = judge(&run, self.args.measure.allow_invalid);
            worst = worse(worst, exit);
            if matches!(exit, Exit::Interrupted | Exit::Failed) {
                break;
            }
            whole.push(Run { records: None, ..run });
        }
        delivery.sum_up(&whole)?;
        Ok(if interrupts.asked() { Exit::Interrupted } else { worst })
    }

    /// So that no run finds what another left. `--reset-prefix-cache` insists on it, and has it done elsewhere.
    fn empty_cache(&self, at: usize) {
        if self.args.load.reset_prefix_cache {
            return;
        }
        let order = self.stage.control().reset_prefix_cache();
        if let Ok(Err(error)) = self.stage.wait_for(order)
            && at == 1
        {
            say(format_args!(
                "note: the server does not reset its prefix cache between the runs ({error}): their prompts differ all the same"
            ));
        }
    }
}

/// The flags of one of them alone, so that `--like` does it again.
fn settings(all: &Map<String, Value>, seed: u64) -> Map<String, Value> {
    let mut settings = all.clone();
    settings.remove("repeats");
    settings.insert("seed".to_owned(), seed.into());
    settings
}

fn worse(a: Exit, b: Exit) -> Exit {
    let rank = |exit: Exit| match exit {
        Exit::Fine => 0,
        Exit::Invalid => 1,
        Exit::Failed | Exit::Usage => 2,
        Exit::Interrupted => 3,
    };
    if rank(b) > rank(a) { b } else { a }
}
