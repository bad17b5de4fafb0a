//! Patience with a server that is still starting.

use std::time::{Duration, Instant};

use crate::cli::exit::Halt;
use crate::cli::interrupt::Interrupts;

/// Between two attempts.
const EVERY: Duration = Duration::from_secs(1);

/// Why a server does not answer a first request.
pub enum NotReady {
    /// It may be starting.
    Yet(String),
    /// Waiting does not help.
    Never(String),
}

/// Tries until it works or the time is up; no time means no attempt.
pub fn patiently(
    patience: Duration,
    interrupts: &Interrupts,
    mut attempt: impl FnMut() -> Result<(), NotReady>,
) -> Result<(), Halt> {
    let start = Instant::now();
    while !patience.is_zero()
        && let Err(not_ready) = attempt()
    {
        let why = match not_ready {
            NotReady::Yet(why) => why,
            NotReady::Never(why) => return Err(Halt::failed(why)),
        };
        if interrupts.asked() {
            return Err(Halt::interrupted());
        }
        if start.elapsed() >= patience {
            let waited = humantime::format_duration(patience);
            return Err(Halt::failed(format!("the server was not ready within {waited}: {why}")));
        }
        std::thread::sleep(EVERY);
    }
    Ok(())
}
