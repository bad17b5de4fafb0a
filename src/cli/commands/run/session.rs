//! A session with a server, set up by the flags of `run`.

use std::sync::Arc;

use tracing::info;

use super::follow::Follower;
use super::sharded::Party;
use super::{record_parts, records_to};
use crate::cli::advice;
use crate::cli::args::RunArgs;
use crate::cli::embedded_sim::EmbeddedSim;
use crate::cli::exit::{CliError, print_stderr};
use crate::cli::interrupt::InterruptSignal;
use crate::cli::observer::observer;
use crate::cli::to_spec;
use crate::client::admin::AdminError;
use crate::model::run_spec::Spec;
use crate::report::client_metrics::{ClientMetrics, TEXT_FORMAT};
use crate::report::progress::ProgressMode;
use crate::runner::{
    Contact, CopyLog, Error, ExportAddresses, MetricsExporter, MetricsPage, PreparedRun, RecordDetail,
    RunOptions, Runner, Session, cached_prompts,
};

/// A session, the options of its runs, and what runs alongside them.
pub(crate) struct RunSession {
    /// The connection to the server, and the tokenizer.
    pub session: Session,
    options: RunOptions,
    exporter: Option<MetricsExporter>,
    /// The other clients that send the runs of this session.
    party: Option<Arc<Party>>,
    /// The index of the session's server among those that the clients measure in turn.
    server: usize,
    /// Copies the record logs of the runs, if the flags ask for it.
    copy_log: Option<Box<CopyLog>>,
    _simulator: Option<EmbeddedSim>,
}

impl RunSession {
    /// Meets the other clients if there are some, starts the simulator if requested, asks the server for what the flags
    /// leave open, and completes the Spec. A dry run needs no server.
    pub(crate) fn connect(
        args: &RunArgs,
        spec: &mut Spec,
        detail: RecordDetail,
        interrupts: &InterruptSignal,
    ) -> Result<Self, CliError> {
        let contact = match (args.workload.dry_run, args.target.sim) {
            (true, true) => Contact::None,
            (true, false) => Contact::Optional,
            (false, _) => Contact::Required,
        };
        let Some(mut party) = Party::meet(args, spec, interrupts)? else {
            return Self::new(args, spec, contact, detail, interrupts);
        };
        let session = Self::new(&party.own_args(args), spec, contact, detail, interrupts)?;
        party.require_equal(spec, None);
        Ok(Self { party: Some(Arc::new(party)), ..session })
    }

    /// Meets the other clients, and connects to two servers that they measure in turn; `None` if there is one client.
    pub(crate) fn connect_both(
        [(args, spec), (other_args, other_spec)]: [(&RunArgs, &mut Spec); 2],
        detail: RecordDetail,
        interrupts: &InterruptSignal,
    ) -> Result<Option<[Self; 2]>, CliError> {
        let Some(mut party) = Party::meet(args, spec, interrupts)? else { return Ok(None) };
        let connect = |args, spec: &mut Spec| {
            Self::new(&party.own_args(args), spec, Contact::Required, detail, interrupts)
        };
        let (first, second) = (connect(args, spec)?, connect(other_args, other_spec)?);
        party.require_equal(spec, Some(other_spec));
        let party = Arc::new(party);
        let first = Self { party: Some(Arc::clone(&party)), ..first };
        Ok(Some([first, Self { party: Some(party), server: 1, ..second }]))
    }

    /// This process as a shard other than 0, which sends its share of the runs that shard 0 begins. `spec` is the one
    /// that the session has completed.
    pub(crate) fn follower<'a>(&'a self, spec: &'a Spec) -> Option<Follower<'a>> {
        Self::follower_of(&[(self, spec)])
    }

    /// This process as a shard other than 0 that measures the servers of these sessions in turn.
    pub(crate) fn follower_of<'a>(sessions: &[(&'a Self, &'a Spec)]) -> Option<Follower<'a>> {
        let member = sessions.first()?.0.party.as_ref()?.follower()?;
        let servers = sessions.iter().map(|(session, spec)| (session.runner(), *spec)).collect();
        Some(Follower { servers, member })
    }

    /// Prepares a session without asking a server.
    pub(crate) fn offline(args: &RunArgs, spec: &mut Spec) -> Result<Self, CliError> {
        Self::new(args, spec, Contact::None, RecordDetail::NONE, &InterruptSignal::default())
    }

    fn new(
        args: &RunArgs,
        spec: &mut Spec,
        contact: Contact,
        detail: RecordDetail,
        interrupts: &InterruptSignal,
    ) -> Result<Self, CliError> {
        let addresses = ExportAddresses {
            listen: args.publish.metrics_listen.clone(),
            push: args.publish.push_metrics.clone(),
        };
        let is_exported = addresses != ExportAddresses::default() && contact == Contact::Required;
        let options = to_spec::run_options(args, detail.observed(is_exported)).map_err(CliError::usage)?;
        let simulator = (args.target.sim && contact == Contact::Required)
            .then(EmbeddedSim::with_bundled_tokenizer)
            .transpose()
            .map_err(|error| CliError::failed(format!("cannot start the simulator: {error}")))?;
        if let Some(simulator) = &simulator {
            spec.target.base_url = simulator.base_url();
            info!(url = spec.target.base_url, "the simulator listens");
        }
        let metrics = is_exported.then(Arc::<ClientMetrics>::default);
        let medium = ProgressMode::from_stderr(args.output.disable_tqdm, args.output.no_tui);
        let observer = observer(medium, interrupts, metrics.clone());
        let stop = interrupts.stop_handle().clone();
        let session = Session::connect(spec, &to_spec::session_options(args), contact, observer, stop)
            .map_err(|error| without_server(error, args))?;
        let exporter = match metrics {
            Some(metrics) => {
                let write = Arc::new(move || metrics.encode());
                let page = MetricsPage { content_type: TEXT_FORMAT, write };
                Some(MetricsExporter::start(&addresses, &page, &session)?)
            }
            None => None,
        };
        Ok(Self {
            session,
            options,
            exporter,
            party: None,
            server: 0,
            copy_log: copy_log(args)?,
            _simulator: simulator,
        })
    }

    /// Returns a runner for this session.
    pub(crate) fn runner(&self) -> Runner<'_> {
        self.runner_with(&self.options)
    }

    /// Returns a runner for this session with other options.
    pub(crate) fn runner_with<'a>(&'a self, options: &'a RunOptions) -> Runner<'a> {
        Runner::new(&self.session, options)
            .with_membership(self.party.as_deref().map(Party::membership), self.server)
            .with_copied_logs(self.copy_log.as_deref())
    }

    /// Returns a runner that prepares requests here alone, whatever other clients the session has.
    pub(crate) fn lone_runner(&self) -> Runner<'_> {
        Runner::new(&self.session, &self.options)
    }

    /// Returns the options of this session's runs.
    pub(crate) fn options(&self) -> &RunOptions {
        &self.options
    }

    /// Notes if the server may have cached the prompts of this run, or of its repeats, already.
    pub(crate) fn note_cached_prompts(&self, prepared: &PreparedRun, repeats: usize) {
        for note in cached_prompts(prepared, &self.session, repeats) {
            print_stderr(advice::on_note(&note));
        }
    }

    /// Pushes the client's final metrics if pushing is enabled.
    pub(crate) fn close(self) {
        if let Some(exporter) = self.exporter {
            exporter.stop(&self.session);
        }
    }
}

/// Copies record logs to where the flags say, and makes files of their requests.
fn copy_log(args: &RunArgs) -> Result<Option<Box<CopyLog>>, CliError> {
    let copies = (records_to::copy_log(&args.shards)?, record_parts::copy_log(&args.output)?);
    let (logs, parts) = match copies {
        (Some(logs), Some(parts)) => (logs, parts),
        (logs, parts) => return Ok(logs.or(parts)),
    };
    Ok(Some(Box::new(move |run, shard, log| {
        let (end_logs, end_parts) = (logs(run, shard, log)?, parts(run, shard, log)?);
        Ok(Box::new(move || {
            end_logs();
            end_parts();
        }))
    })))
}

/// Adds what a newcomer may do if no server answers and no flag names one.
fn without_server(error: Error, args: &RunArgs) -> CliError {
    let is_silent =
        matches!(error, Error::ModelNotNamed(AdminError::Unreachable { .. }) | Error::NotReady { .. });
    let error = CliError::from(error);
    if !is_silent || args.target.names_server() {
        return error;
    }
    CliError::failed(format!(
        "{}; to try servegauge without a server: `servegauge run --sim`; `servegauge quick` looks for one on this machine",
        error.message()
    ))
}
