//! How a rule comes out, and the facts that it rests on.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::core::server::Level;
use crate::core::units::seconds;
use crate::core::validity::Figure;
use crate::server::log::Moment;

/// Who said something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A saved run: what the client measured, and what the server said of itself meanwhile.
    Result,
    /// The server's log.
    Log,
    /// The server itself, now.
    Live,
}

/// Something that was seen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fact {
    /// Who says so.
    pub origin: Origin,
    /// What it is.
    pub what: String,
    /// How much of it; `None` where it simply is so.
    pub figure: Option<Figure>,
    /// What that is held against.
    pub bound: Option<Bound>,
    /// When, and for how long.
    pub when: Option<When>,
}

/// Where the trouble begins.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Above this.
    Above(Figure),
    /// Below this.
    Below(Figure),
}

/// A stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct When {
    /// Its beginning.
    #[serde(flatten)]
    pub start: Start,
    /// Its length; zero for an instant.
    #[serde(rename = "lasted_s", with = "seconds")]
    pub lasted: Duration,
}

/// A point of somebody's time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub enum Start {
    /// Since a run's first request was due, or since the first look at a live server.
    #[serde(rename = "at_s", with = "seconds")]
    Offset(Duration),
    /// As the log has it.
    #[serde(rename = "at")]
    Moment(Moment),
}

impl Fact {
    pub(super) fn new(origin: Origin, what: impl Into<String>) -> Self {
        Self { origin, what: what.into(), figure: None, bound: None, when: None }
    }

    pub(super) fn figure(self, figure: Figure) -> Self {
        Self { figure: Some(figure), ..self }
    }

    pub(super) fn above(self, bound: Figure) -> Self {
        Self { bound: Some(Bound::Above(bound)), ..self }
    }

    pub(super) fn below(self, bound: Figure) -> Self {
        Self { bound: Some(Bound::Below(bound)), ..self }
    }

    pub(super) fn when(self, when: Option<When>) -> Self {
        Self { when, ..self }
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offset(offset) => write!(f, "{:.2} s", offset.as_secs_f64()),
            Self::Moment(moment) => moment.fmt(f),
        }
    }
}

/// How a rule comes out.
#[derive(Debug, Clone, PartialEq)]
pub enum Judgement {
    /// It is so.
    Found {
        /// How bad that is.
        level: Level,
        /// Why it is thought to be so.
        facts: Vec<Fact>,
    },
    /// It was looked at, and is not so.
    Fine,
    /// Nobody told.
    Unknown,
}

/// A rule being judged: what speaks for it so far.
#[derive(Debug, Default)]
pub(super) struct Case {
    looked: bool,
    level: Option<Level>,
    facts: Vec<Fact>,
}

impl Case {
    /// Somebody told: if nothing speaks for it, it is not so.
    pub fn looked(&mut self) {
        self.looked = true;
    }

    /// It is so, and this is why.
    pub fn found(&mut self, level: Level, fact: Fact) {
        self.level = self.level.max(Some(level));
        self.facts.push(fact);
    }

    /// Worth telling if it is so, and no proof.
    pub fn tell(&mut self, fact: Fact) {
        self.facts.push(fact);
    }

    /// It is so, but not as bad.
    pub fn at_most(&mut self, level: Level) {
        self.level = self.level.map(|found| found.min(level));
    }

    /// Whether it is so.
    pub fn is_found(&self) -> bool {
        self.level.is_some()
    }

    /// How it came out.
    pub fn judgement(self) -> Judgement {
        match self.level {
            Some(level) => Judgement::Found { level, facts: self.facts },
            None if self.looked => Judgement::Fine,
            None => Judgement::Unknown,
        }
    }
}
