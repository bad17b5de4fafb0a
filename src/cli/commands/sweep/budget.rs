//! Estimates the duration of a sweep: from its flags before it starts, from measured times while it runs.

use std::io::{self, Write};
use std::time::Duration;

use super::folder::Folder;
use super::load::Load;
use super::order;
use super::plan::{Caches, Cell, Plan, Source};
use crate::model::run_spec::Spec;
use crate::model::secrets;
use crate::report::sweep::CellOutput;

/// A running mean of durations.
#[derive(Debug, Clone, Copy, Default)]
struct Mean {
    sum: Duration,
    n: u32,
}

impl Mean {
    fn add(&mut self, time: Duration) {
        self.sum += time;
        self.n += 1;
    }

    fn value(self) -> Option<Duration> {
        (self.n > 0).then(|| self.sum / self.n.max(1))
    }
}

/// The known durations of a sweep's steps.
#[derive(Debug)]
pub(super) struct Budget {
    /// The duration of a cell by its load's flags.
    expected: Vec<Option<Duration>>,
    /// The measured duration of a load's cells, including preparation.
    measured: Vec<Mean>,
    starts: Mean,
}

/// The remaining time of a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Left {
    /// The known part of the remaining time.
    pub time: Duration,
    /// Cells with an unknown duration: closed loops that were not measured yet.
    pub unknown: usize,
    /// Server starts of unknown duration, since none was measured yet.
    pub unknown_starts: usize,
}

impl Budget {
    /// Creates the estimate for a plan, some of whose Runs may already be in the folder.
    pub(super) fn new(plan: &Plan, folder: &Folder) -> Self {
        let expected = plan.loads.iter().map(of_load).collect();
        let mut measured = vec![Mean::default(); plan.loads.len()];
        for cell in plan.cells() {
            match folder.found(&cell) {
                Some(CellOutput::Run(run)) => {
                    measured[cell.load].add(run.metrics.duration + run.spec.load.warmup.unwrap_or_default())
                }
                Some(CellOutput::Answer(answer)) => measured[cell.load].add(answer.spent),
                None => {}
            }
        }
        Self { expected, measured, starts: Mean::default() }
    }

    /// Records the duration of a cell of this load.
    pub(super) fn took(&mut self, load: usize, time: Duration) {
        self.measured[load].add(time);
    }

    /// Records the duration of a server's start.
    pub(super) fn started(&mut self, time: Duration) {
        self.starts.add(time);
    }

    /// Estimates the remaining time of these cells, in their order. `running` is the cell whose server is running.
    pub(super) fn left(&self, plan: &Plan, cells: &[Cell], running: Option<&Cell>) -> Left {
        let mut left = Left { time: Duration::ZERO, unknown: 0, unknown_starts: 0 };
        for cell in cells {
            match self.measured[cell.load].value().or(self.expected[cell.load]) {
                Some(time) => left.time += time,
                None => left.unknown += 1,
            }
        }
        let starts = starts(plan, cells, running);
        match self.starts.value() {
            Some(time) => left.time += time * starts as u32,
            None => left.unknown_starts = starts,
        }
        left
    }
}

/// Counts the server starts that cells in this order need, if every server supports resetting its caches.
pub(super) fn starts(plan: &Plan, cells: &[Cell], running: Option<&Cell>) -> usize {
    let mut running = running.map(|cell| order::start(plan, cell));
    let mut starts = 0;
    for cell in cells {
        let ours = matches!(plan.sets[cell.set].server, Source::Command(..));
        let wanted = Some(order::start(plan, cell));
        if ours && (running != wanted || plan.caches == Caches::Restart) {
            starts += 1;
        }
        running = wanted;
    }
    starts
}

/// Returns the duration of a load's cell; for a search, its time limit.
fn of_load(load: &Load) -> Option<Duration> {
    match &load.search {
        None => expected(&load.spec().ok()?),
        Some(search) => Some(search.args.time),
    }
}

/// Returns the duration that the flags ask for; `None` if it depends on the server.
fn expected(spec: &Spec) -> Option<Duration> {
    let load = &spec.load;
    let measured = match load.duration {
        Some(duration) => Some(duration),
        None if load.is_paced() && load.request_rate.is_finite() => {
            Duration::try_from_secs_f64(spec.workload.num_prompts as f64 / load.request_rate.get()).ok()
        }
        None => None,
    };
    Some(measured? + load.warmup.unwrap_or_default())
}

impl std::fmt::Display for Left {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts = Vec::new();
        if !self.time.is_zero() {
            let minutes = Duration::from_secs(self.time.as_secs_f64().ceil() as u64);
            parts.push(format!("about {}", humantime::format_duration(minutes)));
        }
        if self.unknown > 0 {
            parts.push(format!("{} of unknown duration", counted(self.unknown, "cell")));
        }
        if self.unknown_starts > 0 {
            parts.push(counted(self.unknown_starts, "server start"));
        }
        match parts.split_last() {
            None => f.write_str("no time"),
            Some((last, [])) => f.write_str(last),
            Some((last, others)) => write!(f, "{}, and {last}", others.join(", ")),
        }
    }
}

/// `1 cell`, `2 cells`.
pub(super) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Returns the cells that are not measured yet.
pub(super) fn to_do(plan: &Plan, folder: &Folder) -> Vec<Cell> {
    plan.cells().into_iter().filter(|cell| folder.found(cell).is_none()).collect()
}

/// Summarizes the remaining work and its duration in one sentence.
pub(super) fn summary(plan: &Plan, folder: &Folder) -> String {
    let all = plan.cells().len();
    let cells = to_do(plan, folder);
    let kept = match all - cells.len() {
        0 => String::new(),
        kept => format!(" ({kept} of {all} are measured already)"),
    };
    let left = Budget::new(plan, folder).left(plan, &cells, None);
    format!(
        "{} to measure{kept}: {} x {} x {} repeats: {left}",
        counted(cells.len(), "cell"),
        counted(plan.sets.len(), "set"),
        counted(plan.loads.len(), "load"),
        plan.repeats
    )
}

/// Prints the plan, cell by cell in its order, with the commands.
pub(super) fn dry_run(plan: &Plan, folder: &Folder, to: &mut impl Write) -> io::Result<()> {
    writeln!(to, "{}", summary(plan, folder))?;
    writeln!(to, "results: {}", folder.path().display())?;
    let joined = |words: &[String]| shlex::try_join(words.iter().map(String::as_str)).unwrap_or_default();
    for set in &plan.sets {
        match &set.server {
            Source::Command(template, env) => {
                let env: String = env
                    .iter()
                    .map(|(name, value)| format!("{name}={} ", secrets::mask_flag_value(name, value)))
                    .collect();
                let words = secrets::mask_args(template.words());
                writeln!(to, "set {}: {env}{}", shown(&set.name), joined(&words))?;
            }
            Source::Url(url) => writeln!(to, "set {}: {}", shown(&set.name), secrets::mask_url(url))?,
        }
    }
    for load in &plan.loads {
        let (name, run) = (shown(&load.name), joined(&secrets::mask_args(&load.words)));
        match &load.search {
            None => writeln!(to, "load {name}: run {run}")?,
            Some(search) => {
                writeln!(to, "load {name}: search {} -- {run}", joined(&secrets::mask_args(&search.words)))?
            }
        }
    }
    for (at, cell) in plan.cells().iter().enumerate() {
        let done = if folder.found(cell).is_some() { "  (measured already)" } else { "" };
        let (set, load) = (shown(&plan.sets[cell.set].name), shown(&plan.loads[cell.load].name));
        writeln!(to, "{:>4}  {set} under {load}, seed {} -> {}{done}", at + 1, cell.seed, cell.file)?;
    }
    Ok(())
}

/// Returns the display name. vLLM's only set has no name.
pub(super) fn shown(name: &str) -> &str {
    if name.is_empty() { "(as it is)" } else { name }
}
