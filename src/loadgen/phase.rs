//! How one phase hands over to the next.

use std::time::Duration;

use super::{LoadPhase, LoadPlan};
use crate::model::arrival::Schedule;

/// The number of idle connections to keep if there is no limit on in-flight requests.
const IDLE_CONNECTIONS: usize = 2048;

/// When the warm-up ends and the measured phase begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WarmupHandoff {
    /// At an offset from the warm-up's start: open loops continue at their pace.
    At(Duration),
    /// When the first measured request gets a slot from one of the last warm-up requests: closed loops stay full.
    FreeSlot,
    /// When all warm-up requests have completed: a burst has no pace to continue at.
    Drained,
}

impl LoadPhase<'_> {
    /// How this phase, as a warm-up, hands over to the measured phase.
    pub fn warmup_handoff(&self) -> WarmupHandoff {
        let Schedule::Open(offsets) = &self.schedule else { return WarmupHandoff::FreeSlot };
        let last = offsets.last().unwrap_or_default();
        match self.duration {
            _ if last.is_zero() => WarmupHandoff::Drained,
            Some(duration) => WarmupHandoff::At(duration),
            None => WarmupHandoff::At(last),
        }
    }
}

impl LoadPlan<'_> {
    /// The number of idle connections that a worker keeps.
    pub fn idle_connections(&self) -> usize {
        self.cap.unwrap_or(IDLE_CONNECTIONS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phase(schedule: Schedule, duration: Option<Duration>) -> LoadPhase<'static> {
        LoadPhase { requests: (&[]).into(), schedule, cycle: false, duration }
    }

    #[test]
    fn every_law_of_arrival_hands_over_in_its_way() {
        let second = Duration::from_secs(1);
        let paced = Schedule::Open(vec![second / 2, second].into());
        assert_eq!(phase(paced.clone(), None).warmup_handoff(), WarmupHandoff::At(second));
        assert_eq!(phase(paced, Some(second * 3)).warmup_handoff(), WarmupHandoff::At(second * 3));
        assert_eq!(
            phase(Schedule::Open(vec![Duration::ZERO; 3].into()), None).warmup_handoff(),
            WarmupHandoff::Drained
        );
        assert_eq!(phase(Schedule::Closed, Some(second)).warmup_handoff(), WarmupHandoff::FreeSlot);
    }
}
