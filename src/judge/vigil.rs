//! A live server, looked at again and again: how it is, for how long already, and how it was.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::lasting::{Lasting, Rhythm};
use crate::core::server::{Aspect, Condition, Signal, State};
use crate::server::health::Span;
use crate::server::signals::{Engine, Reading};

/// Rates and latencies are of so long a time: one preemption is not yet many a second.
const WINDOW: Duration = Duration::from_secs(30);

/// Looks that are remembered.
const HISTORY: usize = 120;

/// A server that does not answer for so long is down: Prometheus' rules of the dashboard say so too.
const DOWN: Duration = Duration::from_secs(60);

/// A server that is watched.
#[derive(Debug, Clone, Default)]
pub struct Vigil {
    /// Of the last [`WINDOW`] and not from before the server's start, the oldest first.
    readings: VecDeque<(Duration, Reading)>,
    rows: BTreeMap<Signal, Row>,
    lasting: BTreeMap<Signal, Lasting<Duration>>,
    rhythm: Rhythm<Duration>,
    silence: Lasting<Duration>,
    /// How long the silence is, if it is silent.
    silent: Option<Duration>,
    engine: Option<Engine>,
    last: Option<Duration>,
    spells: BTreeMap<Signal, Spell>,
    alerted: bool,
}

/// A signal, as long as it is watched.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// How it is; `None` where nothing is told of it, or nothing was counted lately.
    pub condition: Option<Condition>,
    /// What of it is looked at.
    pub aspect: Aspect,
    /// Its figures, the latest last; `None` where there was none.
    pub history: VecDeque<Option<f64>>,
}

/// All the time that a signal was beyond its limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spell {
    /// How many times it came to that.
    pub times: u32,
    /// For how long, all in all: as long as each was seen, until the look that found it over.
    pub time: Duration,
    /// How much of that was over before the latest began.
    over: Duration,
    /// The worst that was seen: the worst state, and of it the figure farthest beyond the limit.
    pub worst: Condition,
}

/// What is new at a look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum News {
    /// The server does not answer.
    Silent,
    /// It answers again, after so long.
    Answers(Duration),
    /// It started again, or lost its counts.
    BeganAnew,
    /// A signal is in another state than it was, and one of both is a warning or an alert.
    Turned {
        /// Which.
        signal: Signal,
        /// What of it.
        aspect: Aspect,
        /// How it is; `None` if nothing is told of it any more.
        now: Option<Condition>,
        /// How it was.
        before: State,
        /// For how long it was beyond its limit.
        lasted: Duration,
    },
}

impl Vigil {
    /// Looks once more, so long after the first look: at what the server tells, or `None` if it does not answer.
    pub fn look(&mut self, at: Duration, reading: Option<Reading>) -> Vec<News> {
        let apart = self.last.replace(at).map_or(Duration::ZERO, |last| at.saturating_sub(last));
        let mut news = Vec::new();
        let was_silent = self.silent.take();
        self.silent = self.silence.look(reading.is_none(), at);
        match (was_silent, self.silent) {
            (None, Some(_)) => news.push(News::Silent),
            (Some(silent), None) => news.push(News::Answers(silent + apart)),
            _ => {}
        }
        self.alerted |= self.silent.is_some_and(|silent| silent >= DOWN);
        match reading {
            Some(reading) => self.take(at, reading, apart, &mut news),
            // Whether what was so still is, the next answer tells, if it comes soon.
            None => {
                for row in self.rows.values_mut() {
                    row.push(None);
                }
            }
        }
        news
    }

    fn take(&mut self, at: Duration, reading: Reading, apart: Duration, news: &mut Vec<News>) {
        let anew = self.readings.back().is_some_and(|(_, last)| reading.began_anew_since(last));
        if anew {
            news.push(News::BeganAnew);
        }
        if self.rhythm.is_broken(at) || anew {
            self.readings.clear();
            self.lasting.clear();
        }
        self.engine = reading.engine.or(self.engine);
        while self.readings.get(1).is_some_and(|(then, _)| at.saturating_sub(*then) >= WINDOW) {
            self.readings.pop_front();
        }
        let before = self.readings.front().map(|(then, reading)| (reading, at.saturating_sub(*then)));
        let before = before.filter(|(_, apart)| !apart.is_zero());
        let span = Span { now: &reading, before };
        let figures: BTreeMap<Signal, (Aspect, f64)> =
            span.figures().map(|(signal, aspect, figure)| (signal, (aspect, figure))).collect();
        for (signal, (aspect, _)) in &figures {
            self.rows.entry(*signal).or_insert_with(|| Row::new(*aspect));
        }
        for (signal, row) in &mut self.rows {
            let lasting = self.lasting.entry(*signal).or_default();
            let condition = figures.get(signal).map(|&(aspect, figure)| {
                let lasted = lasting.look(Condition::is_beyond(*signal, aspect, figure), at);
                Condition::of(*signal, aspect, figure, lasted.unwrap_or_default())
            });
            if condition.is_none() {
                lasting.end();
            }
            let was_bad = row.condition.is_some_and(|before| before.state >= State::Warn);
            news.extend(row.turn(*signal, condition, apart));
            self.alerted |= condition.is_some_and(|now| now.state == State::Alert);
            match condition.filter(|now| now.state >= State::Warn) {
                Some(now) => note(&mut self.spells, now),
                None => {
                    let spell = self.spells.get_mut(signal).filter(|_| was_bad);
                    spell.into_iter().for_each(|spell| spell.time += apart);
                }
            }
        }
        self.readings.push_back((at, reading));
    }

    /// All signals that were ever told of.
    pub fn rows(&self) -> impl Iterator<Item = (Signal, &Row)> {
        self.rows.iter().map(|(signal, row)| (*signal, row))
    }

    /// How all signals are that are told of.
    pub fn conditions(&self) -> impl Iterator<Item = &Condition> {
        self.rows.values().filter_map(|row| row.condition.as_ref())
    }

    /// The worst of it. A server that does not answer is a warning, and after a minute an alert.
    pub fn state(&self) -> State {
        match self.silent {
            Some(silent) if silent >= DOWN => State::Alert,
            Some(_) => State::Warn,
            None => self.conditions().map(|condition| condition.state).max().unwrap_or(State::Ok),
        }
    }

    /// For how long it has not answered; `None` if it does.
    pub fn silent(&self) -> Option<Duration> {
        self.silent
    }

    /// Whose names its page has.
    pub fn engine(&self) -> Option<&'static str> {
        self.engine.map(Engine::label)
    }

    /// What was beyond its limit, as far as it was a warning or an alert.
    pub fn spells(&self) -> impl Iterator<Item = (Signal, &Spell)> {
        self.spells.iter().map(|(signal, spell)| (*signal, spell))
    }

    /// Whether there was an alert.
    pub fn alerted(&self) -> bool {
        self.alerted
    }

    /// Whether it ever answered.
    pub fn answered(&self) -> bool {
        self.engine.is_some()
    }
}

impl Row {
    fn new(aspect: Aspect) -> Self {
        Self { condition: None, aspect, history: VecDeque::new() }
    }

    /// Takes the next condition, so long after the last, and tells whether that is news.
    fn turn(&mut self, signal: Signal, now: Option<Condition>, apart: Duration) -> Option<News> {
        let before = self.push(now);
        let (state, lasted) = before.map_or((State::Ok, Duration::ZERO), |it| (it.state, it.lasted + apart));
        let next = now.map_or(State::Ok, |now| now.state);
        let matters = next != state && next.max(state) >= State::Warn;
        matters.then_some(News::Turned { signal, aspect: self.aspect, now, before: state, lasted })
    }

    /// Takes the next condition, and returns the one before.
    fn push(&mut self, condition: Option<Condition>) -> Option<Condition> {
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(condition.map(|condition| condition.figure));
        std::mem::replace(&mut self.condition, condition)
    }
}

fn note(spells: &mut BTreeMap<Signal, Spell>, now: Condition) {
    let (time, over) = (Duration::ZERO, Duration::ZERO);
    let spell = spells.entry(now.signal).or_insert(Spell { times: 0, time, over, worst: now });
    if now.lasted.is_zero() {
        spell.times += 1;
        spell.over = spell.time;
    }
    spell.time = spell.over + now.lasted;
    let farther = (now.figure > spell.worst.figure) != (now.aspect == Aspect::Shortfall);
    if (now.state, farther) > (spell.worst.state, false) {
        spell.worst = now;
    }
}

#[cfg(test)]
mod tests;
