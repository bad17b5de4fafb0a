//! A watched server.

use std::time::Duration;

use crate::cli::advice::on_scrape_error;
use crate::report::watch::live_view::{Shown, status_change_text as news_line};
use crate::runner::ScrapeError;
use crate::server::monitor::{ServerMonitor, StatusChange};
use crate::server::signals::MetricsSnapshot;

/// A server and its current state.
pub(super) struct Watched {
    /// The URL of the server's metrics page.
    pub url: String,
    /// The monitor of its signals.
    pub monitor: ServerMonitor,
    /// Why the last sample has no reading.
    pub silence: Option<ScrapeError>,
    /// The shares that the last sample makes larger than 1.
    pub impossible: Vec<String>,
    /// Whether the last sample's failure, or its absence, differs from that of the sample before.
    is_new_silence: bool,
    /// Whether the last sample has an impossible share, and the sample before had none.
    is_new_share: bool,
}

impl Watched {
    /// Creates the state of a server that was not sampled yet.
    pub(super) fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            monitor: ServerMonitor::default(),
            silence: None,
            impossible: Vec::new(),
            is_new_silence: false,
            is_new_share: false,
        }
    }

    /// Processes a sample, and returns the changes.
    pub(super) fn look(
        &mut self,
        at: Duration,
        reading: Result<MetricsSnapshot, ScrapeError>,
    ) -> Vec<StatusChange> {
        let silence = reading.as_ref().err().cloned();
        self.is_new_silence = silence != self.silence;
        self.silence = silence;
        let changes = self.monitor.observe(at, reading.ok());
        let impossible = self.monitor.impossible_shares();
        self.is_new_share = self.impossible.is_empty() && !impossible.is_empty();
        self.impossible = impossible.iter().map(ToString::to_string).collect();
        changes
    }

    /// Returns the view to draw.
    pub(super) fn shown(&self) -> Shown<'_> {
        Shown { url: &self.url, monitor: &self.monitor, missing: self.missing() }
    }

    /// Returns in two words what is missing if there is no reading.
    pub(super) fn missing(&self) -> &'static str {
        if self.page_fault().is_some() { "no metrics" } else { "no answer" }
    }

    /// Returns why there is no reading although the server answers.
    pub(super) fn page_fault(&self) -> Option<String> {
        self.silence
            .as_ref()
            .filter(|silence| !matches!(silence, ScrapeError::NoAnswer(_)))
            .map(on_scrape_error)
    }

    /// Returns a line for each change. A metrics page that is there but unusable is described once.
    pub(super) fn lines_of(&self, changes: &[StatusChange]) -> Vec<String> {
        let fault = self.page_fault();
        let other = changes
            .iter()
            .filter(|changes| fault.is_none() || **changes != StatusChange::Unreachable)
            .map(news_line);
        let shares = self.impossible.iter().filter(|_| self.is_new_share);
        let shares = shares.map(|share| format!("left out: {share}"));
        fault.clone().filter(|_| self.is_new_silence).into_iter().chain(shares).chain(other).collect()
    }
}
