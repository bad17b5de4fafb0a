//! What several runs share: the server, its model's name, and the tokenizer.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, Runtime};
use tracing::info;

use super::error::Error;
use super::event::{Event, NoTokenizer, Note, Observer, Phase, Warning};
use super::options::{SessionOptions, TokenizerChoice};
use super::stop::StopHandle;
use super::wait_ready::{NotReady, is_permanent, retry_until};
use crate::client::admin::{AdminClient, AdminError, TokenCounter};
use crate::dataset::bundled;
use crate::loadgen::{DRAIN_TIMEOUT, LoadResult};
use crate::model::record::LateCounts;
use crate::model::record_log::{PackedRecords, RecordPass};
use crate::model::run_spec::{Spec, Target};
use crate::model::secrets;
use crate::server::prefix_cache;
use crate::tokenizer::{HfHub, SpecialTokens, Tokenizer};

/// How long a dry run waits for a server, which may be absent.
const DRY_RUN_PATIENCE: Duration = Duration::from_secs(3);

/// Whether the session asks the server for what the Spec leaves open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contact {
    /// The session asks the server, which must answer.
    Required,
    /// The session asks the server, which may be absent.
    Optional,
    /// The session does not ask the server.
    None,
}

/// What a server answered before the run.
#[derive(Default)]
struct ServerAnswers {
    /// What the model was loaded from.
    root: Option<String>,
    /// How the server counts tokens, if it was asked.
    counter: Option<Result<TokenCounter, String>>,
}

/// A server that has reported what the Spec leaves open, and a tokenizer.
pub(crate) struct Session {
    tokenizer: Tokenizer,
    server_version: Option<String>,
    target: Target,
    control: Arc<AdminClient>,
    stop: StopHandle,
    observer: Observer,
    /// Whether the server's own metrics are wanted and available.
    reads_metrics: bool,
    /// Whether the server counts the answers of a load that has ended.
    counts_answers: Arc<AtomicBool>,
    /// Whether a dry run found that the server does not answer.
    is_silent: bool,
    /// Runs unmeasured work. Requests to the server's `/tokenize` also use it.
    runtime: Runtime,
}

impl Session {
    /// Asks the server, finds the tokenizer, and writes the model's name into the Spec.
    ///
    /// # Errors
    /// If the server does not answer in time or does not report its model, or if the requested tokenizer cannot be
    /// read.
    pub(crate) fn connect(
        spec: &mut Spec,
        options: &SessionOptions,
        contact: Contact,
        observer: Observer,
        stop: StopHandle,
    ) -> Result<Self, Error> {
        if spec.target.insecure && contact == Contact::Required {
            observer(&Event::Warning(Warning::InsecureTls));
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("control")
            .enable_all()
            .build()?;
        let control = Arc::new(AdminClient::new(&spec.target)?);
        let mut session = Self {
            tokenizer: Tokenizer::Estimate,
            server_version: None,
            target: spec.target.clone(),
            control: Arc::clone(&control),
            stop,
            observer,
            reads_metrics: false,
            counts_answers: Arc::default(),
            is_silent: false,
            runtime,
        };
        let mut local = None;
        let answers = match contact {
            Contact::None => ServerAnswers::default(),
            Contact::Optional => {
                let root = session.ask_for_dry_run(&control, &mut spec.target)?;
                ServerAnswers { root, counter: None }
            }
            Contact::Required => {
                session.wait_for_server(&control, options.ready_timeout)?;
                if !spec.target.model.is_empty() {
                    local = Some(session.find_local_tokenizer(&options.tokenizer, None)?);
                }
                let counts = matches!(local, Some(Err(_)));
                session.ask_server(&control, &mut spec.target, options.reads_metrics, counts)?
            }
        };
        session.target = spec.target.clone();
        info!(
            url = spec.target.display_url(),
            model = spec.target.model,
            version = session.server_version,
            reads_metrics = session.reads_metrics,
            "the target is known"
        );
        let local = match local {
            Some(local) => local,
            None => session.find_local_tokenizer(&options.tokenizer, answers.root.as_deref())?,
        };
        session.tokenizer = match local {
            Ok(tokenizer) => tokenizer,
            Err(no_local) => session.remote_or_estimate(contact, answers.counter, no_local),
        };
        info!(tokenizer = session.tokenizer.describe().origin, "the tokenizer is loaded");
        Ok(session)
    }

    /// The tokenizer that counts tokens.
    pub(crate) fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Lets the server count the answers of a load that has ended. If the user has asked for the end, the server has
    /// the same time for that as for its last answers.
    pub(super) fn count_answers(
        &self,
        outcome: &mut LoadResult<PackedRecords>,
        records: RecordPass<'_>,
    ) -> io::Result<Vec<LateCounts>> {
        let asked = OnceLock::new();
        let goes_on =
            || !self.stop.is_requested() || asked.get_or_init(Instant::now).elapsed() < DRAIN_TIMEOUT;
        self.counts_answers.store(true, Ordering::Relaxed);
        let late = outcome.count_answers(&self.tokenizer, &goes_on, records);
        self.counts_answers.store(false, Ordering::Relaxed);
        late
    }

    /// The version that the server's `/version` reports.
    pub(crate) fn server_version(&self) -> Option<&str> {
        self.server_version.as_deref()
    }

    /// The longest sequence of prompt and output that the server takes, in tokens; `None` if its list of models does not
    /// have it.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub(crate) fn context_limit(&self) -> Result<Option<u32>, Error> {
        let models = self.wait_for(self.control.models())?.unwrap_or_default();
        let card = models.into_iter().find(|card| card.id == self.target.model_field());
        Ok(card.and_then(|card| card.max_model_len))
    }

    /// The server, with its model's name.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// Empties the server's prefix cache for `--reset-prefix-cache`. A failure is an error.
    pub(super) fn reset_prefix_cache(&self) -> Result<(), Error> {
        self.wait_for(self.control.reset_prefix_cache())?.map_err(Error::PrefixCache)
    }

    /// Empties the server's prefix cache, if the server supports that. The inner error says why it failed.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub(crate) fn try_empty_cache(&self) -> Result<Result<(), AdminError>, Error> {
        self.wait_for(self.control.reset_prefix_cache())
    }

    /// Whether the server's own metrics are wanted and were available when the session started.
    pub(super) fn reads_metrics(&self) -> bool {
        self.reads_metrics
    }

    /// The URL of the server's own `/metrics` page, if it is wanted and available.
    pub(crate) fn metrics_page(&self) -> Option<String> {
        self.wait_for(self.metrics()).ok().flatten()
    }

    async fn metrics(&self) -> Option<String> {
        if self.reads_metrics { self.control.metrics_page().await.ok() } else { None }
    }

    /// The counters of the server's prefix cache, if it has any.
    pub(super) async fn prefix_cache(&self) -> Option<prefix_cache::PrefixCacheCounters> {
        let page = self.stop.briefly_if_requested(self.metrics()).await?;
        prefix_cache::parse_counters(&page?)
    }

    /// The HTTP client for requests that are not measured.
    pub(super) fn control(&self) -> &Arc<AdminClient> {
        &self.control
    }

    /// Waits for an answer to an unmeasured request.
    pub(super) fn wait_for<T>(&self, answer: impl Future<Output = T>) -> Result<T, Error> {
        self.runtime.block_on(self.stop.unless_requested(answer)).ok_or(Error::Interrupted)
    }

    /// The handle that ends runs early.
    pub(crate) fn stop_handle(&self) -> &StopHandle {
        &self.stop
    }

    /// The runtime of all unmeasured work.
    pub(super) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// The handle of that runtime.
    pub(super) fn handle(&self) -> &Handle {
        self.runtime.handle()
    }

    /// The observer that receives events.
    pub(super) fn observer(&self) -> &Observer {
        &self.observer
    }

    /// Emits an event to the observer.
    pub(super) fn emit(&self, event: &Event<'_>) {
        (self.observer)(event);
    }

    /// Waits until something answers, so that a server that starts late can be asked. A later request, like those of
    /// the run, checks whether the server is ready to be measured.
    fn wait_for_server(&self, control: &AdminClient, timeout: Duration) -> Result<(), Error> {
        if !timeout.is_zero() {
            self.emit(&Event::Phase(Phase::WaitingForServer));
        }
        retry_until(timeout, &self.stop, || {
            let models = self.runtime.block_on(self.stop.unless_requested(control.models()));
            match models {
                Some(Err(error @ AdminError::Unreachable { .. })) => {
                    let cause = error.to_string();
                    Err(match is_permanent(&cause) {
                        true => NotReady::Never(Error::WrongProtocol(cause)),
                        false => NotReady::Yet(cause),
                    })
                }
                _ => Ok(()),
            }
        })
    }

    /// Fills in the model's name if it was not given. All questions are sent at once, so that a server that does not
    /// answer costs one timeout. `counts` tells whether the server is to count tokens.
    fn ask_server(
        &mut self,
        control: &AdminClient,
        target: &mut Target,
        wants_metrics: bool,
        counts: bool,
    ) -> Result<ServerAnswers, Error> {
        let is_named = !target.model.is_empty();
        let models = async { if is_named { None } else { Some(control.models().await) } };
        let metrics = async { if wants_metrics { Some(control.metrics_page().await) } else { None } };
        let model = target.model_field().to_owned();
        let counter =
            async { if counts { Some(control.token_counter(target.backend, &model).await) } else { None } };
        let answers = async { tokio::join!(models, control.version(), metrics, counter) };
        let (models, version, metrics, counter) = self.wait_for(answers)?;
        self.server_version = version;
        let models = models.transpose().map_err(Error::ModelNotNamed)?;
        self.reads_metrics = metrics.is_some_and(|page| self.is_worth_reading_again(page.err()));
        let Some(models) = models else { return Ok(ServerAnswers { root: None, counter }) };
        let card = models.into_iter().next().ok_or_else(|| Error::NoModel {
            url: format!(
                "{}{}",
                secrets::mask_url(&target.base_url),
                secrets::mask_url(&target.models_path())
            ),
        })?;
        target.model = card.id;
        Ok(ServerAnswers { root: card.root, counter })
    }

    /// Whether a metrics page is read during the run. A page that does not answer in time, is endless or cannot be read
    /// is not read again.
    fn is_worth_reading_again(&self, error: Option<AdminError>) -> bool {
        match error {
            Some(
                error @ (AdminError::Unreachable { .. }
                | AdminError::TooLarge { .. }
                | AdminError::NotUnderstood { .. }),
            ) => {
                self.emit(&Event::Note(Note::MetricsUnavailable(error)));
                false
            }
            _ => true,
        }
    }

    /// Asks the server for its model. No answer is not an error, because a dry run does not need a server.
    fn ask_for_dry_run(
        &mut self,
        control: &AdminClient,
        target: &mut Target,
    ) -> Result<Option<String>, Error> {
        if !target.model.is_empty() {
            return Ok(None);
        }
        let models = async { tokio::time::timeout(DRY_RUN_PATIENCE, control.models()).await };
        let models = self.wait_for(models)?.ok();
        self.is_silent =
            models.as_ref().is_none_or(|models| matches!(models, Err(AdminError::Unreachable { .. })));
        let models = models.and_then(Result::ok);
        let Some(card) = models.and_then(|models| models.into_iter().next()) else { return Ok(None) };
        target.model = card.id;
        Ok(card.root)
    }

    /// Finds the requested tokenizer, else the model's. The inner error tells why the server has to count.
    fn find_local_tokenizer(
        &self,
        choice: &TokenizerChoice,
        root: Option<&str>,
    ) -> Result<Result<Tokenizer, NoTokenizer>, Error> {
        let hub = HfHub::from_env();
        let name = root.unwrap_or(&self.target.model);
        let no_local = match choice {
            TokenizerChoice::Named(name) => return Ok(Ok(self.wait_for(Tokenizer::resolve(name, &hub))??)),
            TokenizerChoice::Bundled => return Ok(Ok(bundled::load_tokenizer()?)),
            TokenizerChoice::Server => NoTokenizer::Skipped,
            TokenizerChoice::Model if may_be_found(name) => {
                match self.wait_for(Tokenizer::resolve(name, &hub))? {
                    Ok(tokenizer) => return Ok(Ok(tokenizer)),
                    Err(error) => NoTokenizer::Unreadable(error),
                }
            }
            TokenizerChoice::Model if name.is_empty() => NoTokenizer::NoModelName,
            TokenizerChoice::Model => NoTokenizer::NotAName(name.to_owned()),
        };
        Ok(Err(no_local))
    }

    /// Finds the server's tokenizer, else an estimate with a warning. `counter` is the server's answer, if it was
    /// already asked.
    fn remote_or_estimate(
        &self,
        contact: Contact,
        counter: Option<Result<TokenCounter, String>>,
        no_local: NoTokenizer,
    ) -> Tokenizer {
        let no_remote = match self.remote(contact, counter) {
            Ok(tokenizer) => return tokenizer,
            Err(why) if contact == Contact::Optional => {
                format!(
                    "{why}; a real run asks the server again, so its prompts may differ from this dry run"
                )
            }
            Err(why) => why,
        };
        self.emit(&Event::Warning(Warning::EstimatedLengths { no_local, no_remote }));
        Tokenizer::Estimate
    }

    /// The server's tokenizer, if it answers a first request. A dry run does not wait long for it.
    fn remote(
        &self,
        contact: Contact,
        counter: Option<Result<TokenCounter, String>>,
    ) -> Result<Tokenizer, String> {
        let control = Arc::clone(&self.control);
        match contact {
            Contact::Optional if self.is_silent => return Err("the server does not answer".to_owned()),
            Contact::None => return Err("the server is not asked".to_owned()),
            Contact::Optional => {
                let answers =
                    async { tokio::time::timeout(DRY_RUN_PATIENCE, control.models()).await.is_ok() };
                if !self.wait_for(answers).map_err(|error| error.to_string())? {
                    return Err("the server does not answer".to_owned());
                }
            }
            Contact::Required => {}
        }
        let target = &self.target;
        let counter = match counter {
            Some(counter) => counter?,
            None => {
                let found = control.token_counter(target.backend, target.model_field());
                self.wait_for(found).map_err(|error| error.to_string())??
            }
        };
        let origin = secrets::mask_url(&format!("{}{}", target.base_url, counter.path()));
        let (handle, stop) = (self.runtime.handle().clone(), self.stop.clone());
        let counts_answers = Arc::clone(&self.counts_answers);
        let ask = move |text: &str, specials: SpecialTokens| {
            let question = control.count_tokens(&counter, text, specials == SpecialTokens::Add);
            let answer = match counts_answers.load(Ordering::Relaxed) {
                true => handle.block_on(stop.briefly_if_requested(question)),
                false => handle.block_on(stop.unless_requested(question)),
            };
            answer.ok_or("interrupted")?.map_err(|error| error.to_string())
        };
        Ok(Tokenizer::remote(origin, Arc::new(ask)))
    }
}

/// Whether a model's name may lead to a tokenizer: it is a path or has the form `org/name`.
fn may_be_found(name: &str) -> bool {
    Path::new(name).exists() || (name.matches('/').count() == 1 && !name.starts_with(['/', '.', '~']))
}
