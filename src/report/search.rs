//! The result of a search: the answer first, then the trials behind it.

use std::io::{self, Write};
use std::iter;
use std::time::Duration;

use serde_json::{Value, json};

use super::table::{self, Column, Table};
use super::text::section;
use crate::analysis::search::boundary::Boundary;
use crate::analysis::search::evidence::{Criterion, CriterionEvidence, CriterionOutcome};
use crate::analysis::search::load_guess::LoadGuess;
use crate::analysis::search::trial::{Trial, TrialEnd};
use crate::analysis::search::{
    KvPoolCheck, LoadLimit, Search, SearchAnswer, SearchConfig, SearchEnd, SearchFinding,
};
use crate::model::metric_id::{MetricId, MetricUnit};
use crate::model::plain_text::one_line;
use crate::report::format::{NOT_AVAILABLE, plain_number, share_text};

/// Version of the JSON. It changes when a field is removed or changes its meaning.
pub(crate) const SCHEMA: u32 = 1;

/// Columns of the table of trials: eight numbers, then the criteria as text.
const CURVE: [Column; 9] = [
    Column::RIGHT.at_least(10),
    Column::RIGHT.at_least(10).after(1),
    Column::RIGHT.at_least(7),
    Column::RIGHT.at_least(9),
    Column::RIGHT.at_least(9),
    Column::RIGHT.at_least(9),
    Column::RIGHT.at_least(7),
    Column::RIGHT.at_least(9),
    Column::LEFT,
];

/// A search and its answer.
pub(crate) struct SearchReport<'a> {
    /// The search's configuration and trials.
    pub search: &'a Search,
    /// The search's answer.
    pub answer: &'a SearchAnswer,
    /// The command line.
    pub command: &'a [String],
}

impl SearchReport<'_> {
    /// Returns the JSON as text.
    pub(crate) fn json(&self) -> String {
        format!("{:#}", self.value())
    }

    /// Returns the JSON value.
    pub(crate) fn value(&self) -> Value {
        let mut value = json!({
            "schema": SCHEMA,
            "version": env!("CARGO_PKG_VERSION"),
            "command": self.command,
            "question": self.search.config(),
            "answer": self.answer,
            "trials": self.search.trials(),
        });
        if let Some(guess) = self.search.guess() {
            value["guess"] = json!(guess);
        }
        value
    }

    /// Writes the answer and the trials as text.
    pub(crate) fn render(&self, to: &mut impl Write) -> io::Result<()> {
        section("Answer", to)?;
        self.render_answer(to)?;
        if self.search.trials().is_empty() { Ok(()) } else { self.curve(to) }
    }

    /// Writes the answer, without the trials.
    pub(super) fn render_answer(&self, to: &mut impl Write) -> io::Result<()> {
        self.finding(to)?;
        self.guess(to)?;
        if let (Some(binding), true) = (&self.answer.binding, self.answer.boundary().is_some()) {
            writeln!(to, "First violated: {}", binding.label())?;
        }
        if let Some(suggestion) = self.answer.suggestion {
            let all = self.answer.boundary().map(|boundary| boundary.estimate * (1.0 - self.answer.headroom));
            let why = match all.is_some_and(|all| suggestion < 0.99 * all.floor()) {
                true => "the highest load shown to meet all levels".to_owned(),
                false => format!("{} headroom", share_text(self.answer.headroom)),
            };
            writeln!(to, "Suggestion: {} ({why})", self.load(suggestion))?;
        }
        if let Some(knee) = self.answer.knee {
            writeln!(to, "Knee of the curve: {}", self.load(knee))?;
        }
        if let Some(agreement) = self.answer.agreement {
            writeln!(to, "KV pool: {}", kv_pool_text(agreement))?;
        }
        let count = self.search.trials().len();
        let trials = if count == 1 { "1 trial".to_owned() } else { format!("{count} trials") };
        writeln!(
            to,
            "Ended: {}, after {trials} and {}",
            end_text(self.answer.end),
            clock(self.answer.spent)
        )?;
        self.answer.caveats.iter().try_for_each(|caveat| writeln!(to, "Caveat: {caveat}"))
    }

    /// States what a model guessed, and whether the answer agrees.
    fn guess(&self, to: &mut impl Write) -> io::Result<()> {
        let Some(guess) = self.search.guess() else { return Ok(()) };
        let verdict =
            self.answer.boundary().map(|boundary| guess_verdict(guess, boundary)).unwrap_or_default();
        let interval = format!("[{}, {}]", number(guess.low), number(guess.high));
        writeln!(to, "Guess of {}: {} {interval}{verdict}", one_line(&guess.model), self.load(guess.load))?;
        guess.extrapolations.iter().try_for_each(|beyond| writeln!(to, "The guess EXTRAPOLATES: {beyond}"))
    }

    fn load(&self, load: f64) -> String {
        format!("{} {}", number(load), self.answer.over.unit())
    }

    fn finding(&self, to: &mut impl Write) -> io::Result<()> {
        match self.answer.finding {
            SearchFinding::Boundary(boundary) => self.boundary(boundary, to),
            SearchFinding::Cliff { boundary, held, missed } => {
                self.boundary(boundary, to)?;
                let [held, missed] = [held, missed].map(|limit| self.limit(limit));
                writeln!(to, "Performance collapses just above the boundary: {held}, but {missed}")
            }
            SearchFinding::NeverGood { least } => {
                writeln!(to, "Never met: violated even at {}, the lowest load", self.limit(least))
            }
            SearchFinding::NeverSaturated { highest } => writeln!(
                to,
                "Never saturated: all levels are met at {}, the highest load ({} requests); raise `search.max`",
                self.load(highest),
                self.requests_at(highest)
            ),
            SearchFinding::Open(boundary) => writeln!(to, "{}", self.open(boundary)),
            SearchFinding::Nothing => writeln!(to, "Not known: there was no trial"),
        }
    }

    /// States what an answer without a boundary has shown, and what is still open.
    fn open(&self, boundary: Boundary) -> String {
        let (shown, unclear) = match (boundary.low, boundary.high) {
            (Some(low), _) => {
                let shown = format!(
                    "No limit found: all levels are met at {}, and no load was shown to violate one",
                    self.load(low)
                );
                (shown, self.inconclusive(|load| load > low))
            }
            (None, Some(high)) => {
                let shown =
                    format!("No load was shown to meet all levels: {} violates them", self.load(high));
                (shown, self.inconclusive(|load| load < high))
            }
            (None, None) => (
                "Not known: no load was shown to meet or to violate the levels".to_owned(),
                self.inconclusive(|_| true),
            ),
        };
        let unclear = unclear.map(|unclear| format!("; {unclear}")).unwrap_or_default();
        format!("{shown}{unclear}. Give more `search.time` or a longer `search.trial`")
    }

    /// Lists the loads whose trials were inconclusive, with the share of requests that were cut off in them.
    fn inconclusive(&self, is_meant: impl Fn(f64) -> bool) -> Option<String> {
        let unclear: Vec<&Trial> = self
            .search
            .trials()
            .iter()
            .filter(|trial| trial.outcome() == CriterionOutcome::Unclear && is_meant(trial.load))
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
        let cut_off = cut_off.map(CriterionEvidence::censored_share).fold(0.0, f64::max);
        let cut_off = match cut_off > 0.0 {
            true => format!(" (up to {} of the requests were cut off)", share_text(cut_off)),
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

    /// Formats a load with the binding metric's value there: `8 in flight (ttft.p95 57 ms)`.
    fn limit(&self, limit: LoadLimit) -> String {
        let figure = self.answer.binding.as_ref().and_then(Criterion::figure);
        let figure = figure.map(|figure| format!(" ({figure} {})", value(figure, limit.value)));
        format!("{}{}", self.load(limit.load), figure.unwrap_or_default())
    }

    fn curve(&self, to: &mut impl Write) -> io::Result<()> {
        section("Curve", to)?;
        let unit = self.answer.over.unit();
        let head = [
            unit,
            "answered/s",
            "failed",
            "TTFT P50",
            "TTFT P95",
            "TPOT P95",
            "tok/s",
            "in flight",
            "levels",
        ];
        let mut trials: Vec<&Trial> = self.search.trials().iter().collect();
        trials.sort_by(|a, b| a.load.total_cmp(&b.load).then(a.number.cmp(&b.number)));
        let rows = trials.into_iter().map(|trial| self.row(trial));
        Table::new(&CURVE, iter::once(table::row(head)).chain(rows).collect()).write(to)
    }

    fn row(&self, trial: &Trial) -> Vec<String> {
        let service = &trial.service;
        let ms = |value: Option<f64>| plain_number(value, "ms");
        vec![
            number(trial.load),
            service.request_throughput.map_or(NOT_AVAILABLE.to_owned(), number),
            service.failed.to_string(),
            ms(service.ttft_p50_ms),
            ms(service.ttft_p95_ms),
            ms(service.tpot_p95_ms),
            plain_number(service.output_throughput, ""),
            plain_number(service.in_flight, ""),
            criteria_text(self.search.config(), trial),
        ]
    }
}

/// Formats what is known after a trial, in one line.
pub(crate) fn progress_line(
    question: &SearchConfig,
    trial: &Trial,
    boundary: Boundary,
    spent: Duration,
) -> String {
    let unit = question.over.unit();
    let known = match (boundary.low, boundary.high) {
        (Some(low), Some(high)) => format!("boundary in [{}, {}]", number(low), number(high)),
        (Some(low), None) => format!("boundary above {}", number(low)),
        (None, Some(high)) => format!("boundary below {}", number(high)),
        (None, None) => "boundary unknown".to_owned(),
    };
    let early = match trial.ending {
        TrialEnd::Whole | TrialEnd::CutShort => String::new(),
        TrialEnd::PlainlyUnder | TrialEnd::PlainlyOver | TrialEnd::PiledUp => {
            format!(" after {}", clock(trial.length))
        }
    };
    format!(
        "trial {}: {} {unit}: {}{early}; {known}; {} of {}",
        trial.number,
        number(trial.load),
        criteria_text(question, trial),
        clock(spent),
        clock(question.time)
    )
}

/// Formats the criteria of a trial: all met, or the worst result among them.
pub(super) fn criteria_text(question: &SearchConfig, trial: &Trial) -> String {
    let judged = question.criteria.iter().zip(&trial.evidence);
    let with = |outcome: CriterionOutcome| {
        let found =
            judged.clone().filter(move |(_, found)| found.is_some_and(|found| found.outcome() == outcome));
        found.map(|(criterion, _)| name(criterion)).collect::<Vec<_>>().join(", ")
    };
    match trial.outcome() {
        CriterionOutcome::Met => "met".to_owned(),
        CriterionOutcome::Missed => format!("violated: {}", with(CriterionOutcome::Missed)),
        CriterionOutcome::Unclear => format!("inconclusive: {}", with(CriterionOutcome::Unclear)),
    }
}

fn name(criterion: &Criterion) -> String {
    criterion.figure().map_or_else(|| "requests pile up".to_owned(), |figure| figure.to_string())
}

fn value(figure: MetricId, value: Option<f64>) -> String {
    match figure.unit() {
        MetricUnit::Milliseconds => plain_number(value, "ms"),
        MetricUnit::Share => value.map_or(NOT_AVAILABLE.to_owned(), share_text),
        MetricUnit::Plain(unit) => plain_number(value, unit),
    }
}

/// How far a guess was from the boundary, and whether their intervals agree.
fn guess_verdict(guess: &LoadGuess, boundary: Boundary) -> String {
    let Boundary { estimate, low, high } = boundary;
    let overlaps = low.is_none_or(|low| low <= guess.high) && high.is_none_or(|high| guess.low <= high);
    let side = if guess.load > estimate { "above" } else { "below" };
    let agreement = match (guess.contains(estimate), overlaps) {
        (true, _) => "inside its interval",
        (false, true) => "the intervals overlap",
        (false, false) => "the intervals DIFFER: the model is not of this server, or of another load",
    };
    let off = share_text((guess.load / estimate - 1.0).abs());
    format!(", {off} {side} the boundary; {agreement}")
}

fn kv_pool_text(agreement: KvPoolCheck) -> String {
    let KvPoolCheck { pool, limit, in_flight } = agreement;
    let verdict = if in_flight > limit { "the pool is the limit" } else { "the pool is not the limit" };
    format!(
        "{pool} tokens fit {limit} such requests at full length (plan), and up to {in_flight} were in flight while all levels \
         were met: {verdict}"
    )
}

fn end_text(end: SearchEnd) -> &'static str {
    match end {
        SearchEnd::Precise => "the requested precision is reached",
        SearchEnd::OutOfTime => "time is up",
        SearchEnd::NeverGood | SearchEnd::NeverSaturated => "nothing is left to try",
        SearchEnd::Interrupted => "interrupted",
    }
}

/// Formats three significant digits without trailing zeros.
pub(crate) fn number(value: f64) -> String {
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
