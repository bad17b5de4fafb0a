//! From a Spec to a Run, as often as it is wanted: the flags and the stage are the same for all of them.

use tokio::sync::watch;

use super::args::RunArgs;
use super::evidence::{self, CacheReadings};
use super::measure::{Details, Measurement, Onlooker, Traffic};
use super::profile::{Begin, Profiler};
use super::record_log::{self, RecordLog};
use super::scrape::Scraper;
use super::stage::Stage;
use super::{Invocation, assemble, prepare, redact, spec};
use crate::cli::exit::Halt;
use crate::core::record::Record;
use crate::core::record_log::Header;
use crate::core::rng::Dice;
use crate::core::run::{Inputs, Run};
use crate::core::server::ServerSide;
use crate::core::spec::{Spec, Target};
use crate::drive::workload::salt::Salter;
use crate::drive::workload::{Request, Workload, fingerprint, sessions};
use crate::report::progress::Medium;

/// What runs that are alike share.
pub struct Trials<'a> {
    args: &'a RunArgs,
    stage: &'a Stage,
    keep: Details,
    medium: Medium,
}

/// A run that is prepared: nothing was sent yet.
pub struct Trial {
    /// What determines it, with everything that was found out.
    pub spec: Spec,
    /// What will be sent, the warm-up's requests last.
    pub workload: Workload,
    /// Where that came from.
    pub inputs: Inputs,
    /// As the preparation left them: the arrivals are drawn next.
    dice: Dice,
    /// What gives each prompt a beginning of its own.
    salter: Option<Salter>,
}

impl Trial {
    /// The measured requests, and those of the warm-up.
    pub fn requests(&self) -> (&[Request], &[Request]) {
        sessions::split_last(&self.workload.requests, self.spec.load.warmup_prompts())
    }

    /// The same requests at the same offsets for another server, or for the same one: unique prompts are unique again.
    pub fn on(&self, target: Target) -> Self {
        let mut spec = Spec { target, ..self.spec.clone() };
        let salter = self.salter.as_ref().zip(prepare::new_salt(&mut spec));
        Self {
            salter: salter.map(|(salter, unique)| salter.with(unique)),
            spec,
            workload: self.workload.clone(),
            inputs: self.inputs.clone(),
            dice: self.dice.clone(),
        }
    }
}

impl<'a> Trials<'a> {
    /// Of these flags on this stage.
    pub fn new(args: &'a RunArgs, stage: &'a Stage, keep: Details) -> Self {
        Self { args, stage, keep, medium: Medium::of_stderr(args.output.disable_tqdm) }
    }

    /// Makes the requests of one run. The Spec is that of the flags, or differs from it in seed, load or duration.
    pub fn prepare(&self, mut spec: Spec) -> Result<Trial, Halt> {
        let tokenizer = self.stage.tokenizer();
        let mut dice = Dice::new(spec.rng, spec.seed);
        prepare::settle_form(&mut spec, tokenizer)?;
        let mut workload = prepare::workload(&mut spec, &mut dice, self.stage, self.medium)?;
        prepare::check(&spec, &workload)?;
        prepare::behave(&spec, &mut workload);
        let salter = prepare::salter(&mut spec, &mut workload, tokenizer)?;
        let inputs = Inputs {
            dataset: workload.provenance.clone(),
            tokenizer: tokenizer.describe(),
            prompts: Some(fingerprint::of(&workload.requests)),
        };
        Ok(Trial { spec, workload, inputs, dice, salter })
    }

    /// Sends them, while `onlooker` is told of everything that happens and may stop it.
    pub fn measure(
        &self,
        mut trial: Trial,
        invocation: &Invocation,
        onlooker: Onlooker<'_>,
    ) -> Result<(Run, Vec<Record>), Halt> {
        let (args, stage) = (self.args, self.stage);
        let selection = spec::selection(args).map_err(Halt::usage)?;
        let keep_going = args.load.keep_going;
        let measurement = Measurement {
            spec: &trial.spec,
            stage,
            keep: self.keep,
            medium: self.medium,
            keep_going,
            salter: trial.salter.as_ref(),
        };
        measurement.wait_until_ready(args.load.ready_check_timeout_sec)?;
        if args.load.reset_prefix_cache {
            stage.reset_prefix_cache()?;
        }
        let before = stage.prefix_cache();
        let schedule = measurement.arrivals(&trial.workload, &mut trial.dice);
        let (requests, warmup) = trial.requests();
        let (pulse, heard) = watch::channel(None);
        let after_warm_up = !warmup.is_empty();
        let begin = Begin { pulse: heard.clone(), after_warm_up };
        let profiler = Profiler::start(args, &trial.spec.target, stage, begin)?;
        stage.interrupts().hold();
        let scraper =
            Scraper::start(&args.server, &trial.spec.target, stage, after_warm_up.then_some(heard))?;
        let command = redact::secrets(invocation.command.clone());
        let header = || Header {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            command: command.clone(),
            settings: invocation.settings.clone(),
            spec: trial.spec.clone(),
            notes: spec::notes(args),
            selection: selection.clone(),
            inputs: trial.inputs.clone(),
            server_version: stage.server_version().map(ToOwned::to_owned),
        };
        let mut log = invocation.record_log.as_ref().map(|file| RecordLog::begin(file, &header()));
        let outcome =
            measurement.measure(Traffic { requests, warmup, schedule }, pulse, &mut |event, stop| {
                log.iter_mut().for_each(|log| log.see(event));
                onlooker(event, stop);
            });
        let recorder = scraper.map(|scraper| scraper.stop(stage));
        let profile = profiler.map(|profiler| profiler.stop(stage));
        // A run that measured nothing leaves no log.
        let (outcome, probes) =
            outcome.inspect_err(|_| record_log::settle(invocation.record_log.as_ref(), true))?;
        log.into_iter().for_each(|log| log.end(&outcome));
        let cache = CacheReadings { before, after: stage.prefix_cache() };
        let server = recorder.map(|recorder| ServerSide {
            warmup: outcome.warmup.sent,
            ..recorder.finish(outcome.t0.timestamp())
        });
        let assembly = assemble::Assembly {
            command,
            settings: invocation.settings.clone(),
            evidence: evidence::gather(&trial, cache, (server.as_ref(), profile.as_ref()), &outcome),
            spec: trial.spec,
            notes: spec::notes(args),
            selection,
            inputs: trial.inputs,
            probes,
            profile,
            server,
            server_version: stage.server_version().map(ToOwned::to_owned),
        };
        Ok(assembly.run(outcome))
    }
}
