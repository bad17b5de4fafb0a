//! How much room a figure has to the bounds of its rule: positive within, negative beyond.

use super::{Doubt, Margin};
use crate::core::figure::{Figure, Statistic};
use crate::core::rule::{Bound, Limit, Rule, Side};
use crate::core::stats::{RateInterval, needed};
use crate::judge::compare::{Counted, Difference, Needs, Sample};

/// Beyond this many nobody would go.
const MOST: f64 = 1e9;

/// The room to every bound that can be resolved.
pub struct Rooms {
    figure: Figure,
    rooms: Vec<Room>,
    /// Whether a bound cannot be judged: it might hold, so that nothing is broken for sure.
    open: bool,
}

/// The room to one bound.
struct Room {
    /// What was measured.
    value: f64,
    /// The confidence that there is room: the p-value of the bound being kept.
    kept: f64,
    /// The same of its being broken.
    broken: f64,
    known: Known,
    side: Side,
}

/// What is held against the limit.
enum Known {
    /// The figure itself, less this.
    Figure(Sample, f64),
    /// Its difference from a multiple of the baseline, less this.
    Difference(Box<Difference>, f64),
}

impl Rooms {
    /// To the bounds of a rule, as far as they can be judged; the baseline, or why nothing is held against it. Without any, why
    /// the first cannot be.
    pub fn of(rule: &Rule, candidate: &Sample, baseline: Result<&Sample, Doubt>) -> Result<Self, Doubt> {
        let room = |bound: &Bound| {
            let known = known(bound, candidate, baseline)?;
            Room::of(bound.side, known).ok_or(Doubt::NoInterval)
        };
        let (rooms, doubts): (Vec<_>, Vec<_>) = rule.bounds.iter().map(room).partition(Result::is_ok);
        let rooms: Vec<Room> = rooms.into_iter().flatten().collect();
        match doubts.into_iter().find_map(Result::err) {
            Some(why) if rooms.is_empty() => Err(why),
            doubt => Ok(Self { figure: rule.figure, rooms, open: doubt.is_some() }),
        }
    }

    /// The p-value of the rule being kept. Every bound must be broken for it to be broken, so that the weakest evidence
    /// counts (an intersection-union test, Berger 1982).
    pub fn kept(&self) -> f64 {
        let open = if self.open { 1.0 } else { 0.0 };
        self.rooms.iter().map(|room| room.kept).fold(open, f64::max)
    }

    /// The p-value of the rule being broken. One bound is enough for it to be kept, and each is a chance to err.
    pub fn broken(&self) -> f64 {
        let least = self.rooms.iter().map(|room| room.broken).fold(1.0, f64::min);
        (least * self.rooms.len() as f64).min(1.0)
    }

    /// Whether the ranks of repeats speak against a bound's being broken.
    pub fn ranks_object(&self, level: f64) -> bool {
        self.rooms.iter().any(|room| match &room.known {
            Known::Difference(difference, _) => difference.ranks_object(level),
            Known::Figure(..) => false,
        })
    }

    /// Beyond the bound that is kept most surely; the one-sided level is that of all bounds together.
    pub fn margin_of_pass(&self, level: f64) -> Option<Margin> {
        let surest = self.rooms.iter().min_by(|a, b| a.broken.total_cmp(&b.broken))?;
        surest.margin(level / self.rooms.len() as f64)
    }

    /// Beyond the bound that is broken least surely, at a one-sided level.
    pub fn margin_of_failure(&self, level: f64) -> Option<Margin> {
        let weakest = self.rooms.iter().max_by(|a, b| a.kept.total_cmp(&b.kept))?;
        weakest.margin(level)
    }

    /// Neither end decides: the one-sided level is the lower of a failure's and a pass's.
    pub fn margin_of_doubt(&self, fail: f64, pass: f64) -> Option<Margin> {
        self.margin_of_failure(fail.min(pass / self.rooms.len() as f64))
    }

    /// How large samples would settle the rule, if what was measured is the truth: the doubt shrinks with the root of the
    /// sample. The levels are those of a pass and of a failure.
    pub fn needs(
        &self,
        candidate: &Sample,
        baseline: Option<&Sample>,
        [pass, fail]: [f64; 2],
    ) -> Option<Needs> {
        let sides = || [Some(candidate), baseline].into_iter().flatten();
        let kept = self.rooms.iter().filter(|room| room.value > 0.0);
        let pass = pass / self.rooms.len() as f64;
        let times = kept.map(|room| room.times(pass)).reduce(f64::min);
        let times = match times {
            Some(times) => times,
            None => self.rooms.iter().map(|room| room.times(fail)).fold(0.0, f64::max),
        };
        let times = if times.is_finite() { times } else { self.scarcity(sides())? };
        let of = Counted::by(sides());
        let now = sides().map(|side| of.count(side)).min()?;
        let count = (now as f64 * times).ceil();
        // What is at hand was not enough, or there would be an answer.
        (count < MOST).then(|| Needs { count: (count as u64).max(now + 1), of })
    }

    /// How many times as large samples bound a percentile at all.
    fn scarcity<'a>(&self, sides: impl Iterator<Item = &'a Sample>) -> Option<f64> {
        let Figure::Latency(_, Statistic::Percentile(p)) = self.figure else { return None };
        let worth = sides.filter_map(|side| side.effective_n).min()?;
        Some((needed(p)? as f64 / worth.max(1) as f64).max(1.0))
    }
}

fn known(bound: &Bound, candidate: &Sample, baseline: Result<&Sample, Doubt>) -> Result<Known, Doubt> {
    match bound.limit {
        Limit::Fixed(limit) => Ok(Known::Figure(candidate.clone(), limit)),
        Limit::Baseline { factor, offset } => {
            let difference = Difference::from_multiple(baseline?, candidate, factor);
            Ok(Known::Difference(Box::new(difference), offset))
        }
    }
}

impl Room {
    fn of(side: Side, known: Known) -> Option<Self> {
        let (value, below, above) = match &known {
            Known::Figure(sample, limit) => {
                (sample.value - limit, sample.at_most(*limit)?, sample.at_least(*limit)?)
            }
            Known::Difference(difference, offset) => {
                (difference.absolute - offset, difference.at_most(*offset)?, difference.at_least(*offset)?)
            }
        };
        Some(match side {
            Side::Below => Self { value: -value, kept: below, broken: above, known, side },
            Side::Above => Self { value, kept: above, broken: below, known, side },
        })
    }

    /// The measured value less the limit, with the interval that has this one-sided level on each side.
    fn margin(&self, level: f64) -> Option<Margin> {
        let (limit, value, interval) = match &self.known {
            Known::Figure(sample, limit) => (*limit, sample.value, sample.interval_at(2.0 * level)?),
            Known::Difference(difference, offset) => {
                (*offset, difference.absolute, difference.interval_at(2.0 * level)?)
            }
        };
        let interval = RateInterval { low: interval.low - limit, high: interval.high - limit };
        Some(Margin { value: value - limit, interval })
    }

    /// How many times as large a sample has its bound, at this one-sided level, where the limit is.
    fn times(&self, level: f64) -> f64 {
        let interval = match &self.known {
            Known::Figure(sample, _) => sample.interval_at(2.0 * level),
            Known::Difference(difference, _) => difference.interval_at(2.0 * level),
        };
        let measured = match &self.known {
            Known::Figure(sample, _) => sample.value,
            Known::Difference(difference, _) => difference.absolute,
        };
        let Some(interval) = interval else { return f64::INFINITY };
        // The end that looks towards the limit.
        let towards_high = (self.side == Side::Below) == (self.value > 0.0);
        let half = if towards_high { interval.high - measured } else { measured - interval.low };
        if half > 0.0 { (half / self.value).powi(2) } else { 1.0 }
    }
}
