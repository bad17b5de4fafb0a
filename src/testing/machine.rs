//! Checks for machine features that some tests need. If a feature is missing, the test is skipped and says so on
//! stderr, even if the harness captures output. If the feature's variable is 1, the test fails instead.

use std::io::Write as _;

use crate::loadgen::priority::SchedulingClass;

/// `1` if a missing kernel timestamp is a failure, on machines that are known to have kernel timestamps.
const REQUIRE_KERNEL_STAMPS: &str = "SERVEGAUGE_REQUIRE_KERNEL_STAMPS";

/// `1` if a missing real-time priority is a failure.
const REQUIRE_REALTIME: &str = "SERVEGAUGE_REQUIRE_REALTIME";

/// Returns a test's value from the kernel's receive timestamps. If the kernel has none, returns `None` and reports the
/// skip.
pub(crate) fn kernel_stamps<T>(found: Option<T>) -> Option<T> {
    if found.is_none() {
        missing("kernel receive timestamps", REQUIRE_KERNEL_STAMPS);
    }
    found
}

/// Whether the thread has a real-time priority. If that is not permitted, returns false and reports the skip.
pub(crate) fn has_realtime(priority: SchedulingClass) -> bool {
    let has = priority == SchedulingClass::RealTime;
    if !has {
        missing("a real-time priority", REQUIRE_REALTIME);
    }
    has
}

fn missing(what: &str, variable: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let is_required = std::env::var_os(variable).is_some_and(|value| value == "1");
    assert!(!is_required, "{test} needs {what}, which {variable}=1 says are there");
    // This bypasses the harness, which would show the text only if the test failed.
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: it needs {what}; {variable}=1 makes this a failure");
}
