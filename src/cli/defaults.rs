//! Defaults that several commands share, as they are written on the command line.

use std::time::Duration;

use crate::cli::args::values;

/// The probability of a false alarm over a whole table or gate.
pub(super) const ALPHA: &str = "5%";

/// The share of a capacity that a suggestion leaves free.
pub(super) const HEADROOM: &str = "30%";

/// The time limit until a server that a command starts is healthy: loading a large model takes minutes.
pub(super) const HEALTH_TIMEOUT: Duration = Duration::from_secs(1200);

/// [`HEALTH_TIMEOUT`] as it is written.
pub(super) const HEALTH_TIMEOUT_TEXT: &str = "20m";

/// Reads a probability of a false alarm.
pub(super) fn alpha(text: &str) -> Result<f64, String> {
    match values::share(text)? {
        level if 0.0 < level && level < 1.0 => Ok(level),
        _ => Err("must be above 0% and below 100%, such as 5% or 0.05".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::{compare::CompareConfig, gate, search};

    #[test]
    fn commands_and_library_have_the_same_defaults() {
        assert_eq!(alpha(ALPHA), Ok(gate::ALPHA));
        assert_eq!(alpha(ALPHA), Ok(CompareConfig::default().alpha));
        assert_eq!(values::share(HEADROOM), Ok(search::DEFAULT_HEADROOM));
        assert_eq!(values::seconds(HEALTH_TIMEOUT_TEXT), Ok(HEALTH_TIMEOUT));
    }
}
