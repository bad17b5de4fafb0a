//! What a search found: the answer first, then the curve it is from.

use std::io::{self, Write};
use std::time::Duration;

use serde_json::{Value, json};

use super::figures::{NOT_AVAILABLE, plain, share};
use super::text::section;
use crate::core::figure::{Figure, Unit};
use crate::judge::search::boundary::Boundary;
use crate::judge::search::evidence::{Criterion, Evidence, Outcome};
use crate::judge::search::trial::{Ending, Trial};
use crate::judge::search::{Agreement, Answer, End, Finding, Limit, Question, Search};

/// The version of the JSON; it changes when a field changes its meaning or goes.
pub const SCHEMA: u32 = 1;

/// A search and its answer.
pub struct Report<'a> {
    /// The question and the trials.
    pub search: &'a Search,
    /// The answer.
    pub answer: &'a Answer,
    /// The command line.
    pub command: &'a [String],
}

impl Report<'_> {
    /// For machines, as text.
    pub fn json(&self) -> String {
        format!("{:#}", self.value())
    }

    /// For machines.
    pub fn value(&self) -> Value {
        json!({
            "schema": SCHEMA,
            "version": env!("CARGO_PKG_VERSION"),
            "command": self.command,
            "question": self.search.question(),
            "answer": self.answer,
            "trials": self.search.trials(),
        })
    }

    /// For people.
    pub fn render(&self, to: &mut impl Write) -> io::Result<()> {
        section("Answer", to)?;
        self.finding(to)?;
        if let (Some(binding), true) = (&self.answer.binding, self.answer.boundary().is_some()) {
            writeln!(to, "Missed first: {}", binding.label())?;
        }
        if let Some(suggestion) = self.answer.suggestion {
            let all = self.answer.boundary().map(|boundary| boundary.estimate * (1.0 - self.answer.headroom));
            let why = match all.is_some_and(|all| suggestion < 0.99 * all.floor()) {
                true => "no more surely holds".to_owned(),
                false => format!("{} headroom", share(self.answer.headroom)),
            };
            writeln!(to, "Suggestion: {} ({why})", self.load(suggestion))?;
        }
        if let Some(knee) = self.answer.knee {
            writeln!(to, "Knee of the curve: {}", self.load(knee))?;
        }
        if let Some(agreement) = self.answer.agreement {
            writeln!(to, "KV pool: {}", agrees(agreement))?;
        }
        let count = self.search.trials().len();
        let trials = if count == 1 { "1 trial".to_owned() } else { format!("{count} trials") };
        writeln!(to, "Ended: {}, after {trials} and {}", ended(self.answer.end), clock(self.answer.spent))?;
        self.answer.caveats.iter().try_for_each(|caveat| writeln!(to, "Caveat: {caveat}"))?;
        if count == 0 { Ok(()) } else { self.curve(to) }
    }

    fn load(&self, load: f64) -> String {
        format!("{} {}", number(load), self.answer.over.unit())
    }

    fn finding(&self, to: &mut impl Write) -> io::Result<()> {
        match self.answer.finding {
            Finding::Boundary(boundary) => self.boundary(boundary, to),
            Finding::Cliff { boundary, held, missed } => {
                self.boundary(boundary, to)?;
                let [held, missed] = [held, missed].map(|limit| self.limit(limit));
                writeln!(to, "It falls off a cliff there: {held}, {missed}")
            }
            Finding::NeverGood { least } => {
                writeln!(to, "Never good: not even at {}, the least load", self.limit(least))
            }
            Finding::NeverSaturated { highest } => writeln!(
                to,
                "Never saturated: all levels hold at {}, the highest load ({} requests); raise --max",
                self.load(highest),
                self.requests_at(highest)
            ),
            Finding::Open(boundary) => writeln!(to, "{}", self.open(boundary)),
            Finding::Nothing => writeln!(to, "Not known: there was no trial"),
        }
    }

    /// What an answer without a boundary has shown, and what not.
    fn open(&self, boundary: Boundary) -> String {
        let (shown, unclear) = match (boundary.low, boundary.high) {
            (Some(low), _) => {
                let shown = format!(
                    "No limit found: all levels hold at {}, and no load was shown to be too much",
                    self.load(low)
                );
                (shown, self.inconclusive(|load| load > low))
            }
            (None, Some(high)) => {
                let shown = format!("No load was shown to hold: {} is too much", self.load(high));
                (shown, self.inconclusive(|load| load < high))
            }
            (None, None) => (
                "Not known: no load was shown to hold or to be too much".to_owned(),
                self.inconclusive(|_| true),
            ),
        };
        let unclear = unclear.map(|unclear| format!("; {unclear}")).unwrap_or_default();
        format!("{shown}{unclear}. Give it more --time or a longer --trial")
    }

    /// The loads whose trials came out on neither side, with the share of requests that were cut off in them.
    fn inconclusive(&self, is_meant: impl Fn(f64) -> bool) -> Option<String> {
        let unclear: Vec<&Trial> = self
            .search
            .trials()
            .iter()
            .filter(|trial| trial.outcome() == Outcome::Unclear && is_meant(trial.load))
            .collect();
        let mut loads: Vec<f64> = unclear.iter().map(|trial| trial.load).collect();
        loads.sort_by(f64::total_cmp);
        loads.dedup();
        let (last, others) = loads.split_last()?;
        let listed = match others {
            [] => format!("{} was", self.load(*last)),
            others => {
                let others: Vec<String> = others.iter().map(|load| number(*load)).collect();
                format!("{} and {} were", others.join(", "), self.load(*last))
            }
        };
        let cut_off = unclear.iter().flat_map(|trial| &trial.evidence).flatten();
        let cut_off = cut_off.map(Evidence::censored_share).fold(0.0, f64::max);
        let cut_off = match cut_off > 0.0 {
            true => format!(" (up to {} of the requests were cut off)", share(cut_off)),
            false => String::new(),
        };
        Some(format!("{listed} inconclusive{cut_off}"))
    }

    fn requests_at(&self, load: f64) -> usize {
        let at = self.search.trials().iter().filter(|trial| trial.load == load);
        at.map(|trial| trial.service.requests).sum()
    }

    fn boundary(&self, boundary: Boundary, to: &mut impl Write) -> io::Result<()> {
        let end = |end: Option<f64>| end.map_or(NOT_AVAILABLE.to_owned(), number);
        let interval = format!("[{}, {}]", end(boundary.low), end(boundary.high));
        writeln!(to, "Boundary: {} {interval}", self.load(boundary.estimate))
    }

    /// A load with the binding figure there: `8 in flight (ttft.p95 57 ms)`.
    fn limit(&self, limit: Limit) -> String {
        let figure = self.answer.binding.as_ref().and_then(Criterion::figure);
        let figure = figure.map(|figure| format!(" ({figure} {})", value(figure, limit.value)));
        format!("{}{}", self.load(limit.load), figure.unwrap_or_default())
    }

    fn curve(&self, to: &mut impl Write) -> io::Result<()> {
        section("Curve", to)?;
        let unit = self.answer.over.unit();
        writeln!(
            to,
            "{unit:>10}{:>11}{:>9}{:>11}{:>11}{:>11}{:>9}{:>11}  levels",
            "answered/s", "failed", "TTFT P50", "TTFT P95", "TPOT P95", "tok/s", "in flight"
        )?;
        let mut trials: Vec<&Trial> = self.search.trials().iter().collect();
        trials.sort_by(|a, b| a.load.total_cmp(&b.load).then(a.number.cmp(&b.number)));
        trials.into_iter().try_for_each(|trial| self.row(trial, to))
    }

    fn row(&self, trial: &Trial, to: &mut impl Write) -> io::Result<()> {
        let service = &trial.service;
        let ms = |value: Option<f64>| plain(value, "ms");
        writeln!(
            to,
            "{:>10}{:>11}{:>9}{:>11}{:>11}{:>11}{:>9}{:>11}  {}",
            number(trial.load),
            service.request_throughput.map_or(NOT_AVAILABLE.to_owned(), number),
            service.failed,
            ms(service.ttft_p50_ms),
            ms(service.ttft_p95_ms),
            ms(service.tpot_p95_ms),
            plain(service.output_throughput, ""),
            plain(service.in_flight, ""),
            levels(self.search.question(), trial)
        )
    }
}

/// What is known after a trial, in one line.
pub fn progress(question: &Question, trial: &Trial, boundary: Boundary, spent: Duration) -> String {
    let unit = question.over.unit();
    let known = match (boundary.low, boundary.high) {
        (Some(low), Some(high)) => format!("boundary in [{}, {}]", number(low), number(high)),
        (Some(low), None) => format!("boundary above {}", number(low)),
        (None, Some(high)) => format!("boundary below {}", number(high)),
        (None, None) => "boundary anywhere".to_owned(),
    };
    let early = match trial.ending {
        Ending::Whole | Ending::CutShort => String::new(),
        Ending::PlainlyUnder | Ending::PlainlyOver | Ending::PiledUp => {
            format!(" after {}", clock(trial.length))
        }
    };
    format!(
        "trial {}: {} {unit}: {}{early}; {known}; {} of {}",
        trial.number,
        number(trial.load),
        levels(question, trial),
        clock(spent),
        clock(question.time)
    )
}

/// The worst of a trial's levels: `held`, or what was missed or unclear.
fn levels(question: &Question, trial: &Trial) -> String {
    let judged = question.criteria.iter().zip(&trial.evidence);
    let with = |outcome: Outcome| {
        let found =
            judged.clone().filter(move |(_, found)| found.is_some_and(|found| found.outcome() == outcome));
        found.map(|(criterion, _)| name(criterion)).collect::<Vec<_>>().join(", ")
    };
    match trial.outcome() {
        Outcome::Met => "held".to_owned(),
        Outcome::Missed => format!("missed: {}", with(Outcome::Missed)),
        Outcome::Unclear => format!("unclear: {}", with(Outcome::Unclear)),
    }
}

fn name(criterion: &Criterion) -> String {
    criterion.figure().map_or_else(|| "requests pile up".to_owned(), |figure| figure.to_string())
}

fn value(figure: Figure, value: Option<f64>) -> String {
    match figure.unit() {
        Unit::Milliseconds => plain(value, "ms"),
        Unit::Share => value.map_or(NOT_AVAILABLE.to_owned(), share),
        Unit::Plain(unit) => plain(value, unit),
    }
}

fn agrees(agreement: Agreement) -> String {
    let Agreement { pool, limit, in_flight } = agreement;
    let verdict = if in_flight > limit { "the pool is what limits" } else { "the pool is not what limits" };
    format!(
        "{pool} tokens hold {limit} such requests whole (plan), and up to {in_flight} were in flight while all levels held: {verdict}"
    )
}

fn ended(end: End) -> &'static str {
    match end {
        End::Precise => "as precise as was asked for",
        End::OutOfTime => "time is up",
        End::NeverGood | End::NeverSaturated => "nothing is left to try",
        End::Interrupted => "interrupted",
    }
}

/// Three significant digits, and no more zeros than there must be.
pub(super) fn number(value: f64) -> String {
    let decimals = match value {
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

fn clock(time: Duration) -> String {
    humantime::format_duration(Duration::from_secs(time.as_secs_f64().round() as u64)).to_string()
}

#[cfg(test)]
mod tests;
