//! The Records of a run of any size.
//!
//! Up to [`MANY_REQUESTS`] they are all in memory. A run of more requests has them in its record log alone: what needs
//! every Record reads the log, one Record after the other, and what needs many at once works on a sample.

use std::borrow::Cow;
use std::io;
use std::ops::Range;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::concurrency::{ActiveSessions, ConcurrencyBins, ConcurrencyCurve, FlightStart, PeakSearch};
use super::record::Record;
use super::record_log::LoggedRecords;
use crate::model::run_spec::Load;

/// The number of requests up to which a run keeps all its Records in memory.
pub(crate) const MANY_REQUESTS: usize = 200_000;

/// The Records of a run, in the order of the schedule.
#[derive(Debug, Clone)]
pub(crate) struct RunRecords {
    /// All Records, or a sample of them.
    kept: Vec<Record>,
    /// The number of requests that each kept one stands for.
    weight: usize,
    /// The number of Records.
    count: usize,
    /// The logs that have all Records; `None` if all are kept.
    logs: Option<LoggedRecords>,
    /// The requests in flight of all Records; `None` if all are kept.
    bins: Option<Box<LoadBins>>,
}

/// How the Records of a run were kept that had too many for memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SampledRecords {
    /// The number of requests.
    pub requests: usize,
    /// The number of requests in the sample that intervals, trends and charts are made of.
    pub sample: usize,
    /// The file name of the record log with every request, if it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
}

/// The requests in flight and the active sessions of a run that does not keep its Records.
#[derive(Debug, Clone, Default)]
struct LoadBins {
    sent: ConcurrencyBins,
    due: ConcurrencyBins,
    sessions: ConcurrencyBins,
}

impl From<Vec<Record>> for RunRecords {
    fn from(kept: Vec<Record>) -> Self {
        Self { count: kept.len(), kept, weight: 1, logs: None, bins: None }
    }
}

impl RunRecords {
    /// Reads the Records of logs: all of them if there are at most `limit`, else a sample of at most that many. `note`
    /// sees each of them, with the index of its log.
    ///
    /// # Errors
    /// A log cannot be read.
    pub(crate) fn read(
        logs: LoggedRecords,
        limit: usize,
        note: &mut dyn FnMut(usize, &Record),
    ) -> io::Result<Self> {
        let mut sample = RecordSample::new(limit);
        let (mut bins, mut sessions) = (Box::<LoadBins>::default(), ActiveSessions::default());
        logs.for_each(&mut |log, record| {
            note(log, &record);
            FlightStart::Sent.span(&record).into_iter().for_each(|span| bins.sent.add(span));
            FlightStart::Due.span(&record).into_iter().for_each(|span| bins.due.add(span));
            sessions.add(&record);
            sample.add(record);
        })?;
        if sample.weight() == 1 {
            return Ok(sample.into_sorted().into());
        }
        bins.sessions = sessions.into_bins();
        let (count, weight) = (sample.count, sample.weight());
        Ok(Self { kept: sample.into_sorted(), weight, count, logs: Some(logs), bins: Some(bins) })
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How the Records are kept; `None` if all are in memory.
    pub(crate) fn sampled(&self) -> Option<SampledRecords> {
        let sampled = SampledRecords { requests: self.count, sample: self.kept.len(), log: None };
        (!self.is_whole()).then_some(sampled)
    }

    /// Whether all Records are in memory.
    pub(crate) fn is_whole(&self) -> bool {
        self.logs.is_none()
    }

    /// The kept Records: all of them, or a sample.
    pub(crate) fn sample(&self) -> &[Record] {
        &self.kept
    }

    /// The kept Records: all of them, or a sample.
    pub(crate) fn into_sample(self) -> Vec<Record> {
        self.kept
    }

    /// All Records; `None` if they are not in memory.
    pub(crate) fn into_whole(self) -> Option<Vec<Record>> {
        self.logs.is_none().then_some(self.kept)
    }

    /// Prepares a look at all Records for the peak of the requests in flight, of the whole run or an interval; `None` if
    /// all are kept.
    pub(crate) fn peak_search(&self, load: &Load, within: Option<Range<Duration>>) -> Option<PeakSearch> {
        let most = load.max_concurrency.map(|cap| u32::try_from(cap.get()).unwrap_or(u32::MAX));
        Some(PeakSearch::new(&self.bins.as_ref()?.sent, within, most))
    }

    /// Takes every Record, one after the other: in the order of the schedule if they are in memory, else in the order
    /// in which the requests ended.
    ///
    /// # Errors
    /// A log cannot be read, or it was changed meanwhile.
    pub(crate) fn for_each(&self, take: &mut dyn FnMut(&Record)) -> io::Result<()> {
        let Some(logs) = &self.logs else {
            self.kept.iter().for_each(take);
            return Ok(());
        };
        let mut count = 0;
        logs.for_each(&mut |_, record| {
            count += 1;
            take(&record);
        })?;
        if count == self.count {
            return Ok(());
        }
        let why =
            format!("the record log had {} requests, and now it has {count}: it was changed", self.count);
        Err(io::Error::other(why))
    }

    /// What the whole run is judged by.
    pub(crate) fn curves(&self) -> LoadCurves {
        let curve =
            |bins: fn(&LoadBins) -> &ConcurrencyBins| self.bins.as_deref().map(|all| bins(all).curve());
        LoadCurves {
            sent: curve(|all| &all.sent),
            due: curve(|all| &all.due),
            sessions: curve(|all| &all.sessions),
        }
    }

    /// The Records that the whole run is judged by, with these [`RunRecords::curves`].
    pub(crate) fn view<'a>(&'a self, curves: &'a LoadCurves) -> RunView<'a> {
        RunView {
            records: &self.kept,
            weight: self.weight,
            curves: Some(curves).filter(|_| !self.is_whole()),
        }
    }
}

/// The requests in flight and the active sessions of a run that does not keep its Records; of another, none.
#[derive(Debug)]
pub(crate) struct LoadCurves {
    sent: Option<ConcurrencyCurve>,
    due: Option<ConcurrencyCurve>,
    sessions: Option<ConcurrencyCurve>,
}

/// The Records that judgments of a whole run are made of: all of them, or a sample together with the requests in flight
/// of all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunView<'a> {
    /// The Records, in the order of the schedule.
    pub records: &'a [Record],
    /// The number of requests that each of them stands for.
    pub weight: usize,
    curves: Option<&'a LoadCurves>,
}

impl<'a, R: AsRef<[Record]> + ?Sized> From<&'a R> for RunView<'a> {
    /// The view of a run that has these Records and no others.
    fn from(records: &'a R) -> Self {
        RunView { records: records.as_ref(), weight: 1, curves: None }
    }
}

impl<'a> RunView<'a> {
    /// Whether these are all Records of the run.
    pub(crate) fn is_whole(&self) -> bool {
        self.weight == 1
    }

    /// The requests in flight since this start.
    pub(crate) fn in_flight(&self, since: FlightStart) -> Cow<'a, ConcurrencyCurve> {
        let known = self.curves.and_then(|curves| match since {
            FlightStart::Due => curves.due.as_ref(),
            FlightStart::Sent => curves.sent.as_ref(),
        });
        known.map_or_else(|| Cow::Owned(ConcurrencyCurve::since(since, self.records)), Cow::Borrowed)
    }

    /// The active sessions.
    pub(crate) fn sessions(&self) -> Cow<'a, ConcurrencyCurve> {
        let known = self.curves.and_then(|curves| curves.sessions.as_ref());
        known.map_or_else(|| Cow::Owned(ConcurrencyCurve::from_sessions(self.records.iter())), Cow::Borrowed)
    }
}

/// An even sample of Records: it depends on their ordinals alone, so that the sample of a run is the same however many
/// clients sent it, and in whatever order its requests ended. Sessions are in it as a whole.
#[derive(Debug)]
pub(crate) struct RecordSample {
    limit: usize,
    /// One of 2^level Records is in the sample.
    level: u32,
    kept: Vec<Record>,
    count: usize,
}

impl RecordSample {
    /// An empty sample of at most this many Records.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), level: 0, kept: Vec::new(), count: 0 }
    }

    /// Adds a Record. A sample has no texts and gaps.
    pub(crate) fn add(&mut self, mut record: Record) {
        self.count += 1;
        if level_of(&record) < self.level {
            return;
        }
        if self.level > 0 {
            strip(&mut record);
        }
        self.kept.push(record);
        while self.kept.len() > self.limit && self.level < u64::BITS {
            if self.level == 0 {
                self.kept.iter_mut().for_each(strip);
            }
            self.level += 1;
            self.kept.retain(|record| level_of(record) >= self.level);
        }
    }

    /// The number of requests that each Record of the sample stands for.
    fn weight(&self) -> usize {
        1_usize.checked_shl(self.level).unwrap_or(usize::MAX)
    }

    /// The Records of the sample, in the order of the schedule.
    fn into_sorted(mut self) -> Vec<Record> {
        self.kept.sort_unstable_by_key(|record| record.ordinal);
        self.kept
    }
}

/// Removes the details of a Record that may take any amount of memory.
fn strip(record: &mut Record) {
    record.text = None;
    record.events.gaps = None;
}

/// The highest level of a sample that has this Record: half of all requests or sessions have the level 1 or more, a
/// quarter 2 or more.
fn level_of(record: &Record) -> u32 {
    let session = record.facets.as_deref().and_then(|facets| facets.session);
    scramble(session.map_or(record.ordinal as u64, |session| !u64::from(session))).trailing_zeros()
}

/// Spreads numbers evenly over all bits: the finalizer of MurmurHash3 in the variant that SplitMix64 uses.
fn scramble(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests;
