//! Starts a server and waits until it is healthy.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::timeout;

use super::event::{Event, Note, Observer};
use super::stop::StopHandle;
use crate::client::address;
use crate::client::admin::AdminClient;
use crate::model::secrets;
use crate::server::launch::{CommandTemplate, LaunchConfig, LaunchError, LaunchedServer, WaitProgress};

/// The timeout of a health check. A slower server is not healthy.
const HEALTH: Duration = Duration::from_secs(3);

/// How long after SIGTERM a server is killed. A large one needs this time to free its memory.
const GRACE: Duration = Duration::from_secs(20);

/// The number of characters of a log line that are reported.
const LINE: usize = 100;

/// The time between two notes about a server that is still starting.
const NOTE_EVERY: Duration = Duration::from_secs(10);

/// Makes vLLM accept the request to reset its caches.
const DEV_MODE: (&str, &str) = ("VLLM_SERVER_DEV_MODE", "1");

/// Everything that is needed to start one server.
pub(crate) struct ServerStarter<'a> {
    /// The name of the server in messages.
    pub name: &'a str,
    /// The command that starts the server.
    pub template: &'a CommandTemplate,
    /// The file that receives the server's output.
    pub log: PathBuf,
    /// How long to wait until the server is healthy.
    pub patience: Duration,
    /// Environment variables that look secret and that the server still receives.
    pub pass_env: &'a [String],
    /// Ends the wait early.
    pub stop: &'a StopHandle,
    /// Receives a note periodically while the server starts.
    pub observer: &'a Observer,
}

fn passed(names: &[String]) -> impl Iterator<Item = (String, String)> {
    names.iter().filter_map(|name| Some((name.clone(), std::env::var(name).ok()?)))
}

impl ServerStarter<'_> {
    /// Starts the server with these variables added to our own environment, and waits until it is healthy.
    ///
    /// # Errors
    /// If the server cannot be started, ends, or is not healthy in time.
    pub(crate) fn start_and_wait(
        self,
        variables: &BTreeMap<String, String>,
    ) -> Result<LaunchedServer, LaunchError> {
        // A log may repeat secrets of the command. From here on they are masked.
        secrets::mask_args(self.template.words());
        let program = self.template.words().first().cloned().unwrap_or_default();
        let nowhere = |source| LaunchError::Start { program: program.clone(), source };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(nowhere)?;
        let port = self.template.port().map_err(nowhere)?;
        let mut env = vec![(DEV_MODE.0.to_owned(), DEV_MODE.1.to_owned())];
        env.extend(passed(self.pass_env));
        env.extend(variables.iter().map(|(name, value)| (name.clone(), value.clone())));
        let words = self.template.with_port(port);
        let mut server =
            LaunchedServer::start(LaunchConfig { words, env, port, log: self.log.clone(), grace: GRACE })?;
        let control = AdminClient::new(&address::target_of(&server.base_url()));
        // An address that cannot be requested is not healthy. A loopback address always can be.
        let healthy = || {
            let asked = |control: &AdminClient| {
                runtime.block_on(async { timeout(HEALTH, control.is_healthy()).await.unwrap_or(false) })
            };
            control.as_ref().is_ok_and(asked)
        };
        server.wait_until_healthy(self.patience, healthy, self.progress())?;
        Ok(server)
    }

    fn progress(&self) -> impl FnMut(WaitProgress<'_>) -> ControlFlow<()> {
        let mut next = NOTE_EVERY;
        move |WaitProgress { elapsed, line }| {
            if elapsed >= next {
                next += NOTE_EVERY;
                let line = line.map(|line| line.chars().take(LINE).collect());
                (self.observer)(&Event::Note(Note::ServerStarting {
                    name: self.name.to_owned(),
                    elapsed,
                    line,
                }));
            }
            if self.stop.is_requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
}
