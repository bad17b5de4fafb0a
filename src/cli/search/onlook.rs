//! Between a trial under way and what watches it.

use std::collections::BTreeMap;

use crate::drive::engine::{Beat, Event, Stop};
use crate::judge::search::trial::Ending;
use crate::judge::search::watch::{Order, Pulse, Watch};

/// Sees a trial's events, and stops it when it need not go on.
pub struct Onlook<'a> {
    watch: Watch<'a>,
    /// The latest of each worker.
    beats: BTreeMap<usize, Beat>,
    /// The last order.
    order: Option<Order>,
}

impl<'a> Onlook<'a> {
    /// Of a trial that is about to begin.
    pub fn new(watch: Watch<'a>) -> Self {
        Self { watch, beats: BTreeMap::new(), order: None }
    }

    /// Something happened.
    pub fn see(&mut self, event: &Event<'_>, stop: &Stop) {
        match event {
            Event::Started(_) => {}
            Event::Done(record) => self.watch.ended(record),
            Event::Beat(beat) => {
                self.beats.insert(beat.worker, *beat);
                // From whichever worker: one whose requests have all ended beats no more.
                if self.order != Some(Order::End) {
                    self.order = self.watch.pulse(self.pulse(beat)).or(self.order);
                }
            }
        }
        match self.order {
            None => {}
            Some(Order::SendNoMore) => stop.send_no_more(),
            Some(Order::End) => stop.request_at_once(),
        }
    }

    /// How it ended.
    pub fn ending(&self) -> Ending {
        self.watch.ending()
    }

    fn pulse(&self, beat: &Beat) -> Pulse {
        let beats = || self.beats.values();
        Pulse {
            elapsed: beat.elapsed,
            sent: beats().map(|beat| beat.sent).sum(),
            in_flight: beats().map(|beat| beat.in_flight).sum(),
        }
    }
}
