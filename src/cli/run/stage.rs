//! Everything a run stands on: the server (or the simulator), its model's name, the tokenizer.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;

use super::args::RunArgs;
use super::ready::{NotReady, patiently};
use crate::cli::advice;
use crate::cli::embedded::Embedded;
use crate::cli::exit::{Halt, say};
use crate::cli::interrupt::Interrupts;
use crate::core::spec::{Spec, Target};
use crate::drive::client::control::{Control, ControlError};
use crate::drive::tokenizer::{Hub, Specials, Tokenizer};
use crate::drive::workload::bundled;
use crate::server::prefix_cache;
use crate::sim;

/// How long a dry run waits for a server, which may not be there.
const DRY_RUN_PATIENCE: Duration = Duration::from_secs(3);

/// The set stage. The simulator, if there is one, lives as long.
pub struct Stage {
    tokenizer: Tokenizer,
    server_version: Option<String>,
    control: Arc<Control>,
    interrupts: Interrupts,
    _simulator: Option<Embedded>,
    /// Runs what is not measured; the server's `/tokenize` is asked through it.
    runtime: Runtime,
}

impl Stage {
    /// Finds out what the flags left open, and writes it into the Spec.
    pub fn set(args: &RunArgs, spec: &mut Spec, interrupts: &Interrupts) -> Result<Self, Halt> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("control")
            .enable_all()
            .build()
            .map_err(Halt::failed)?;
        let simulated = args.target.sim && !args.workload.dry_run;
        let simulator = simulated.then(start_simulator).transpose()?;
        if let Some(simulator) = &simulator {
            spec.target.base_url = simulator.base_url();
        }
        let control = Arc::new(Control::new(&spec.target).map_err(Halt::usage)?);
        let mut stage = Self {
            tokenizer: Tokenizer::Estimate,
            server_version: None,
            control: Arc::clone(&control),
            interrupts: interrupts.clone(),
            _simulator: simulator,
            runtime,
        };
        let root = match args.workload.dry_run {
            true if args.target.sim => None,
            true => stage.ask_for_dry_run(&control, &mut spec.target)?,
            false => {
                stage.wait_for_server(&control, args.load.ready_check_timeout_sec)?;
                stage.ask_server(&control, &mut spec.target)?
            }
        };
        stage.tokenizer = stage.find_tokenizer(args, spec, root.as_deref(), &control)?;
        Ok(stage)
    }

    /// Counts tokens.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// What the server's `/version` says.
    pub fn server_version(&self) -> Option<&str> {
        self.server_version.as_deref()
    }

    /// Empties the server's prefix cache.
    pub fn reset_prefix_cache(&self) -> Result<(), Halt> {
        let order = self.control.reset_prefix_cache();
        self.wait_for(order)?.map(drop).map_err(|error| {
            Halt::failed(format!(
                "--reset-prefix-cache: {error}; vLLM takes this order when it is started with VLLM_SERVER_DEV_MODE=1"
            ))
        })
    }

    /// The counters of the server's prefix cache, if it has any.
    pub fn prefix_cache(&self) -> Option<prefix_cache::Counters> {
        let page = self.runtime.block_on(self.interrupts.briefly_if_asked(self.control.metrics()))?;
        prefix_cache::read(&page?)
    }

    /// Asks the server things that are not measured.
    pub fn control(&self) -> &Arc<Control> {
        &self.control
    }

    /// Waits for an answer of those that are not measured.
    ///
    /// # Errors
    /// When the user wants to end.
    pub fn wait_for<T>(&self, answer: impl Future<Output = T>) -> Result<T, Halt> {
        self.runtime.block_on(self.interrupts.unless_asked(answer)).ok_or_else(Halt::interrupted)
    }

    /// Whether the user wants to end.
    pub fn interrupts(&self) -> &Interrupts {
        &self.interrupts
    }

    /// The runtime of everything that is not measured.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Waits until something answers, so that a server that starts late can be asked. Whether it is ready to be measured
    /// is found out later, by a request like those of the run.
    fn wait_for_server(&self, control: &Control, patience: Duration) -> Result<(), Halt> {
        patiently(patience, &self.interrupts, || {
            let models = self.runtime.block_on(self.interrupts.unless_asked(control.models()));
            match models {
                Some(Err(error @ ControlError::Unreachable { .. })) => Err(NotReady::Yet(error.to_string())),
                _ => Ok(()),
            }
        })
    }

    /// Fills in the model's name if it was not given, and returns what the model was loaded from, if the server tells.
    fn ask_server(&mut self, control: &Control, target: &mut Target) -> Result<Option<String>, Halt> {
        let version = control.version();
        if !target.model.is_empty() {
            self.server_version = self.wait_for(version)?;
            return Ok(None);
        }
        let models = self.wait_for(control.models())?.map_err(|error| {
            let advice = advice::on_question(&error).unwrap_or_else(|| "--model names it".to_owned());
            Halt::failed(format!("cannot ask the server for its model: {error}; {advice}"))
        })?;
        let card = models.into_iter().next().ok_or_else(|| {
            Halt::failed(format!("{}/v1/models lists no model; name one with --model", target.base_url))
        })?;
        target.model = card.id;
        self.server_version = self.wait_for(version)?;
        Ok(card.root)
    }

    /// What a run would ask the server, if it answers: a dry run needs none.
    fn ask_for_dry_run(&self, control: &Control, target: &mut Target) -> Result<Option<String>, Halt> {
        if !target.model.is_empty() {
            return Ok(None);
        }
        let models = async { tokio::time::timeout(DRY_RUN_PATIENCE, control.models()).await };
        let models = self.wait_for(models)?.ok().and_then(Result::ok);
        let Some(card) = models.and_then(|models| models.into_iter().next()) else { return Ok(None) };
        target.model = card.id;
        Ok(card.root)
    }

    /// As asked; else the model's; else the server's; else a guess that is announced.
    fn find_tokenizer(
        &self,
        args: &RunArgs,
        spec: &Spec,
        root: Option<&str>,
        control: &Arc<Control>,
    ) -> Result<Tokenizer, Halt> {
        let hub = Hub::from_env();
        let skip = args.workload.skip_tokenizer_init;
        if let Some(name) = args.workload.tokenizer.as_ref().filter(|_| !skip) {
            return self.wait_for(Tokenizer::resolve(name, &hub))?.map_err(Halt::usage);
        }
        if args.target.sim {
            return Ok(bundled::tokenizer());
        }
        let name = root.unwrap_or(&spec.target.model);
        let local = match may_be_found(name) {
            _ if skip => Err("--skip-tokenizer-init".to_owned()),
            true => self.wait_for(Tokenizer::resolve(name, &hub))?.map_err(|error| error.to_string()),
            false if name.is_empty() => Err("the model's name is not known; --model gives it".to_owned()),
            false => Err(format!("`{name}` is neither a path nor a hub id")),
        };
        let no_local = match local {
            Ok(tokenizer) => return Ok(tokenizer),
            Err(why) => why,
        };
        let no_remote = match self.remote(spec, control, args.workload.dry_run) {
            Ok(tokenizer) => return Ok(tokenizer),
            Err(why) if args.workload.dry_run => {
                format!("{why}; a run asks it again, and may send other requests")
            }
            Err(why) => why,
        };
        say(format_args!(
            "warning: prompt lengths are ESTIMATED from the text; --tokenizer PATH gives true ones\n  \
             no tokenizer of the model: {no_local}\n  no tokenizer of the server: {no_remote}"
        ));
        Ok(Tokenizer::Estimate)
    }

    /// The server's `/tokenize`, if it answers a first question; a dry run does not wait long for it.
    fn remote(&self, spec: &Spec, control: &Arc<Control>, is_dry: bool) -> Result<Tokenizer, String> {
        if is_dry {
            let answers = async { tokio::time::timeout(DRY_RUN_PATIENCE, control.models()).await.is_ok() };
            if !self.wait_for(answers).map_err(|halt| halt.message().to_owned())? {
                return Err("the server does not answer".to_owned());
            }
        }
        let (handle, control) = (self.runtime.handle().clone(), Arc::clone(control));
        let (model, interrupts) = (spec.target.model_field().to_owned(), self.interrupts.clone());
        let ask = move |text: &str, specials: Specials| {
            let question = control.tokenize(&model, text, specials == Specials::Add);
            let answer = handle.block_on(interrupts.unless_asked(question));
            answer.ok_or("interrupted")?.map_err(|error| error.to_string())
        };
        ask("Is there a tokenizer?", Specials::Omit)?;
        Ok(Tokenizer::remote(format!("{}/tokenize", spec.target.base_url), Arc::new(ask)))
    }
}

/// The speed of an 8B model on one A100; it answers to any model's name and counts with the bundled tokenizer.
fn start_simulator() -> Result<Embedded, Halt> {
    let spec = sim::Spec {
        served_names: vec!["*".into()],
        timing: sim::Speed::A100Llama8b.step_time(),
        tokenizer_json: Some(bundled::tokenizer_json().into()),
        output: sim::Output { prompt_tokens_details: true, ..sim::Output::default() },
        ..sim::Spec::default()
    };
    Embedded::start(spec).map_err(|error| Halt::failed(format!("cannot start the simulator: {error}")))
}

/// Whether it is worth looking for a tokenizer under a model's name: a path, or `org/name`.
fn may_be_found(name: &str) -> bool {
    Path::new(name).exists() || (name.matches('/').count() == 1 && !name.starts_with(['/', '.', '~']))
}
