//! How long a sweep takes: before it starts from its flags, while it runs from what was measured.

use std::io::{self, Write};
use std::time::Duration;

use super::folder::Folder;
use super::order;
use super::plan::{Caches, Cell, Load, Plan, Source};
use crate::core::spec::Spec;
use crate::report::sweep::Yield;

/// A mean of times.
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

/// What is known of the times.
#[derive(Debug)]
pub struct Budget {
    /// By the flags.
    expected: Vec<Option<Duration>>,
    /// As it was, preparation and all.
    measured: Vec<Mean>,
    starts: Mean,
}

/// How long what is left takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// As far as it is known.
    pub time: Duration,
    /// Cells of which nobody can tell: closed loops that were never measured.
    pub unknown: usize,
    /// Server starts, none of which was measured.
    pub unknown_starts: usize,
}

impl Budget {
    /// Of a plan, of which some Runs may be there.
    pub fn new(plan: &Plan, folder: &Folder) -> Self {
        let expected = plan.loads.iter().map(of_load).collect();
        let mut measured = vec![Mean::default(); plan.loads.len()];
        for cell in plan.cells() {
            match folder.found(&cell) {
                Some(Yield::Run(run)) => {
                    measured[cell.load].add(run.metrics.duration + run.spec.load.warmup.unwrap_or_default())
                }
                Some(Yield::Answer(answer)) => measured[cell.load].add(answer.spent),
                None => {}
            }
        }
        Self { expected, measured, starts: Mean::default() }
    }

    /// A cell of this load took so long.
    pub fn took(&mut self, load: usize, time: Duration) {
        self.measured[load].add(time);
    }

    /// A server took so long to start.
    pub fn started(&mut self, time: Duration) {
        self.starts.add(time);
    }

    /// For cells that are still to be measured, in their order; `running` is the one whose server is there.
    pub fn left(&self, plan: &Plan, cells: &[Cell], running: Option<&Cell>) -> Left {
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

/// How often a server is started for cells in this order, if it takes the order to reset its caches.
pub fn starts(plan: &Plan, cells: &[Cell], running: Option<&Cell>) -> usize {
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

/// The time that a cell of a load takes; of a search, that it may take.
fn of_load(load: &Load) -> Option<Duration> {
    match load.search {
        None => expected(&load.spec().ok()?),
        Some(_) => load.search_args("http://127.0.0.1:8000", 0).ok().map(|args| args.time),
    }
}

/// The time that flags ask for; `None` where the server decides.
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
            parts.push(format!("{} as long as the server needs", counted(self.unknown, "cell")));
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
pub fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// The cells that are still to be measured.
pub fn to_do(plan: &Plan, folder: &Folder) -> Vec<Cell> {
    plan.cells().into_iter().filter(|cell| folder.found(cell).is_none()).collect()
}

/// One sentence: how much there is to do, and how long it takes.
pub fn summary(plan: &Plan, folder: &Folder) -> String {
    let all = plan.cells().len();
    let cells = to_do(plan, folder);
    let kept = match all - cells.len() {
        0 => String::new(),
        kept => format!(" ({kept} of {all} are there already)"),
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

/// The plan, cell by cell in its order, with the commands.
pub fn dry_run(plan: &Plan, folder: &Folder, to: &mut impl Write) -> io::Result<()> {
    writeln!(to, "{}", summary(plan, folder))?;
    writeln!(to, "results: {}", folder.path().display())?;
    for set in &plan.sets {
        match &set.server {
            Source::Command(template, env) => {
                let env: String = env.iter().map(|(name, value)| format!("{name}={value} ")).collect();
                writeln!(to, "set {}: {env}{template}", shown(&set.name))?;
            }
            Source::Url(url) => writeln!(to, "set {}: {url}", shown(&set.name))?,
        }
    }
    for load in &plan.loads {
        let joined = |words: &[String]| shlex::try_join(words.iter().map(String::as_str)).unwrap_or_default();
        let (name, run) = (shown(&load.name), joined(&load.words));
        match &load.search {
            None => writeln!(to, "load {name}: run {run}")?,
            Some(search) => writeln!(to, "load {name}: search {} -- {run}", joined(search))?,
        }
    }
    for (at, cell) in plan.cells().iter().enumerate() {
        let done = if folder.found(cell).is_some() { "  (there already)" } else { "" };
        let (set, load) = (shown(&plan.sets[cell.set].name), shown(&plan.loads[cell.load].name));
        writeln!(to, "{:>4}  {set} under {load}, seed {} -> {}{done}", at + 1, cell.seed, cell.file)?;
    }
    Ok(())
}

/// A name; vLLM's only set has none.
pub fn shown(name: &str) -> &str {
    if name.is_empty() { "(as it is)" } else { name }
}
