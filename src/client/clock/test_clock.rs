//! A wall clock that a test sets, by `SERVEGAUGE_TEST_WALL_CLOCK=offset=3600s,step=-2s@5s,drift=50ppm`. Released programs
//! have no such variable.

use std::sync::OnceLock;
use std::time::Duration;

/// How the wall clock of this process differs from the system's.
#[derive(Debug, Default, PartialEq)]
struct TestClock {
    offset: f64,
    /// The size of a step, and when it comes.
    step: (f64, f64),
    drift: f64,
}

impl TestClock {
    fn parse(text: &str) -> Option<Self> {
        let mut clock = Self::default();
        let number = |text: &str, unit: &str| text.strip_suffix(unit)?.parse::<f64>().ok();
        for part in text.split(',') {
            match part.split_once('=')? {
                ("offset", value) => clock.offset = number(value, "s")?,
                ("drift", value) => clock.drift = number(value, "ppm")? / 1e6,
                ("step", value) => {
                    let (size, at) = value.split_once('@')?;
                    clock.step = (number(size, "s")?, number(at, "s")?);
                }
                _ => return None,
            }
        }
        Some(clock)
    }

    /// How far the clock is ahead after this time.
    fn ahead(&self, elapsed: f64) -> f64 {
        let (size, at) = self.step;
        self.offset + self.drift * elapsed + if elapsed >= at { size } else { 0.0 }
    }
}

/// What the wall clock says when the system's has this time since the Unix epoch.
pub(super) fn adjust(system: Duration) -> Duration {
    static CLOCK: OnceLock<Option<(TestClock, Duration)>> = OnceLock::new();
    let clock = CLOCK.get_or_init(|| {
        let text = std::env::var("SERVEGAUGE_TEST_WALL_CLOCK").ok()?;
        Some((TestClock::parse(&text).expect("a clock of a test"), system))
    });
    let Some((clock, began)) = clock else { return system };
    let elapsed = system.as_secs_f64() - began.as_secs_f64();
    let ahead = clock.ahead(elapsed);
    let distance = Duration::from_secs_f64(ahead.abs());
    if ahead < 0.0 { system.saturating_sub(distance) } else { system + distance }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_has_an_offset_a_step_and_a_drift() {
        let clock = TestClock::parse("offset=3600s,step=-2s@5s,drift=50ppm").unwrap();
        assert!((clock.ahead(4.0) - 3600.0002).abs() < 1e-9);
        assert!((clock.ahead(10.0) - 3598.0005).abs() < 1e-9);
        assert_eq!(TestClock::parse("offset=1h"), None);
    }
}
