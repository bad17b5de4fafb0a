//! From the outcome to a Run.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::core::metrics::{Latency, Metrics, samples};
use crate::core::probes::Probes;
use crate::core::profile::Capture;
use crate::core::record::Record;
use crate::core::run::{Always, Environment, Inputs, Notes, Run, SCHEMA, Selection, Steady};
use crate::core::series::Series;
use crate::core::server::ServerSide;
use crate::core::spec::Spec;
use crate::core::stats::Tally;
use crate::core::validity::{Evidence, Verdict};
use crate::drive::client::stopwatch::Meters;
use crate::drive::engine::Outcome;

/// What a Run holds beside its measurements.
pub struct Assembly {
    pub command: Vec<String>,
    pub settings: Map<String, Value>,
    pub spec: Spec,
    pub notes: Notes,
    pub selection: Selection,
    pub inputs: Inputs,
    pub evidence: Evidence,
    pub probes: Option<Probes>,
    pub profile: Option<Capture>,
    pub server: Option<ServerSide>,
    pub server_version: Option<String>,
}

impl Assembly {
    /// Sums the outcome up. The Records go beside the Run: whether they are saved with it is for others to say.
    pub fn run(self, outcome: Outcome) -> (Run, Vec<Record>) {
        let Outcome { t0, records, meters, interrupted, .. } = outcome;
        let Meters { itl, itl_by_second, .. } = meters;
        let percents = &self.selection.percents;
        let metrics = Metrics::of(&records, &itl, &self.spec.slo, percents);
        let run = Run {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: t0.zoned(),
            t0: Some(t0),
            command: self.command,
            settings: Some(self.settings),
            interrupted,
            steady: Steady::of(&self.spec, &records, percents),
            series: Series::of(&records, &itl_by_second),
            validity: Verdict::of(&self.evidence, &self.spec, &records, &metrics),
            metrics,
            probes: self.probes,
            profile: self.profile,
            server: self.server,
            histograms: histograms(&records, &itl),
            spec: self.spec,
            notes: self.notes,
            selection: self.selection,
            inputs: self.inputs,
            environment: environment(self.server_version),
            promotion: None,
            always: records.iter().map(Always::of).collect(),
            records: None,
        };
        (run, records)
    }
}

/// Of the latencies that people compare; those without samples have none.
fn histograms(records: &[Record], itl: &Tally) -> BTreeMap<Latency, String> {
    let tally = |latency: Latency| match latency {
        Latency::Itl => itl.clone(),
        _ => samples(records, latency).collect(),
    };
    Latency::SELECTABLE
        .into_iter()
        .map(|latency| (latency, tally(latency)))
        .filter(|(_, tally)| !tally.is_empty())
        .map(|(latency, tally)| (latency, tally.encode()))
        .collect()
}

fn environment(server_version: Option<String>) -> Environment {
    let names = rustix::system::uname();
    let text = |name: &std::ffi::CStr| name.to_string_lossy().into_owned();
    Environment {
        host: text(names.nodename()),
        system: [names.sysname(), names.release(), names.machine()].map(text).join(" "),
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
        server_version,
        server_launched: None,
    }
}
