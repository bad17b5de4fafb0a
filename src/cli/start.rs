//! Starts a server and waits until it is healthy, with a word about it now and then.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::timeout;

use super::exit::say;
use super::interrupt::Interrupts;
use super::target;
use crate::drive::client::control::Control;
use crate::server::launch::{Launch, LaunchError, Server, Template, Waiting};

/// A server that is asked for its health and takes longer is not healthy.
const HEALTH: Duration = Duration::from_secs(3);

/// How long after TERM a server is killed: a large one frees its memory in that time.
const GRACE: Duration = Duration::from_secs(20);

/// So much of a log's line is a word.
const LINE: usize = 100;

/// Between two words about a server that is still starting.
const WORD: Duration = Duration::from_secs(10);

/// Lets vLLM take the order to reset its caches.
const DEV_MODE: (&str, &str) = ("VLLM_SERVER_DEV_MODE", "1");

/// A server that is to be started.
pub struct Start<'a> {
    /// What the user is told of.
    pub name: &'a str,
    /// How.
    pub template: &'a Template,
    /// Where its output goes.
    pub log: PathBuf,
    /// How long it may take.
    pub patience: Duration,
    /// Who may break it off.
    pub interrupts: &'a Interrupts,
}

impl Start<'_> {
    /// The healthy server, with these variables beside those of our own environment.
    pub fn healthy(self, variables: &BTreeMap<String, String>) -> Result<Server, LaunchError> {
        let program = self.template.words().first().cloned().unwrap_or_default();
        let nowhere = |source| LaunchError::Start { program: program.clone(), source };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(nowhere)?;
        let port = self.template.port().map_err(nowhere)?;
        let mut env = vec![(DEV_MODE.0.to_owned(), DEV_MODE.1.to_owned())];
        env.extend(variables.iter().map(|(name, value)| (name.clone(), value.clone())));
        let words = self.template.with_port(port);
        let mut server = Server::start(Launch { words, env, port, log: self.log.clone(), grace: GRACE })?;
        let control = Control::new(&target::of_url(&server.base_url()));
        // What cannot be asked is not healthy; a loopback address always can.
        let healthy = || {
            let asked = |control: &Control| {
                runtime.block_on(async { timeout(HEALTH, control.is_healthy()).await.unwrap_or(false) })
            };
            control.as_ref().is_ok_and(asked)
        };
        server.wait_until_healthy(self.patience, healthy, self.words())?;
        Ok(server)
    }

    fn words(&self) -> impl FnMut(Waiting<'_>) -> ControlFlow<()> {
        let mut next = WORD;
        move |Waiting { elapsed, line }| {
            if elapsed >= next {
                next += WORD;
                let line = line.map(|line| format!(": {}", line.chars().take(LINE).collect::<String>()));
                let line = line.unwrap_or_default();
                say(format_args!("  {} is starting, {} s{line}", self.name, elapsed.as_secs()));
            }
            if self.interrupts.asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
}
