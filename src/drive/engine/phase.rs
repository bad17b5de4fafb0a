//! How one phase hands over to the next.

use std::time::Duration;

use super::{Phase, Plan};
use crate::core::arrival::Schedule;

/// Connections that may idle where there is no cap on requests in flight.
const IDLE_CONNECTIONS: usize = 2048;

/// When a warm-up is over and the measured phase begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandOver {
    /// At an offset from the warm-up's start: open loops go on at their pace.
    At(Duration),
    /// When the first measured request gets a slot from the last unmeasured ones: closed loops stay full.
    FreeSlot,
    /// When all have landed: everything at once has no pace to go on at.
    Landed,
}

impl Phase<'_> {
    /// How this phase, as a warm-up, hands over.
    pub fn hand_over(&self) -> HandOver {
        let Schedule::Open(offsets) = &self.schedule else { return HandOver::FreeSlot };
        let last = offsets.last().copied().unwrap_or_default();
        match self.duration {
            _ if last.is_zero() => HandOver::Landed,
            Some(duration) => HandOver::At(duration),
            None => HandOver::At(last),
        }
    }
}

impl Plan<'_> {
    /// Unused connections that a worker keeps.
    pub fn idle_connections(&self) -> usize {
        self.cap.unwrap_or(IDLE_CONNECTIONS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phase(schedule: Schedule, duration: Option<Duration>) -> Phase<'static> {
        Phase { requests: &[], schedule, cycle: false, duration }
    }

    #[test]
    fn every_law_of_arrival_hands_over_in_its_way() {
        let second = Duration::from_secs(1);
        let paced = Schedule::Open(vec![second / 2, second]);
        assert_eq!(phase(paced.clone(), None).hand_over(), HandOver::At(second));
        assert_eq!(phase(paced, Some(second * 3)).hand_over(), HandOver::At(second * 3));
        assert_eq!(phase(Schedule::Open(vec![Duration::ZERO; 3]), None).hand_over(), HandOver::Landed);
        assert_eq!(phase(Schedule::Closed, Some(second)).hand_over(), HandOver::FreeSlot);
    }
}
