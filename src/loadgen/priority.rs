//! Raises a thread's priority so that it runs as soon as it has work.
//!
//! The kernel's timestamps make a late read harmless, but only until the next event on the same connection (see
//! [`rx_timestamp`](crate::client::rx_timestamp)). Nothing makes a late request harmless. Beside a vLLM on the same two
//! cores, requests left up to a second late at an ordinary priority and also at nice −20, because Linux's autogroups
//! weigh whole sessions against each other. At the lowest real-time priority they left 0.2 to 0.4 ms late (p99). A
//! sender waits nearly all the time, and the kernel keeps real-time threads below 95 % of a core.
//!
//! The kernel takes the remaining 5 % in one piece. Beside a busy loop on Linux 6.18, a thread that had kept its core
//! for most of a second lost it for 36 to 50 ms. In that time every stream gets several events, and all timestamps but
//! the last are lost. A thread that is this busy therefore [yields](yield_cpu_share) that share itself, in pieces of
//! less than a millisecond.

use std::convert::Infallible;
use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
    thread_native_id,
};

/// The share of its core that a real-time thread yields. The kernel would take 5 %. When the thread yielded 6 %, the
/// kernel still took some time; at 8 % it took hardly any.
const RESERVED_SHARE: f64 = 0.08;

/// The longest single pause. A request that becomes due in a pause waits. The next pause follows soon if this one is
/// too short.
const MAX_PAUSE: Duration = Duration::from_micros(250);

/// The time between two checks of the thread's CPU usage.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// The time between two checks when the thread is busy.
const BUSY_CHECK_INTERVAL: Duration = Duration::from_millis(2);

/// The scheduling priority of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SchedulingClass {
    /// A real-time priority, above all ordinary threads.
    RealTime,
    /// A nice value below zero, above the ordinary threads of its session.
    Nice,
    /// The ordinary priority. A higher one needs a permission that the process does not have: CAP_SYS_NICE, or a limit
    /// of `rtprio` or `nice`.
    Usual,
}

/// Raises the calling thread above ordinary ones, if the system permits it. Threads that it starts inherit the
/// priority.
#[cfg(target_os = "linux")]
pub(crate) fn raise_this_thread() -> SchedulingClass {
    let round_robin = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::RoundRobin);
    if set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, round_robin).is_ok() {
        return SchedulingClass::RealTime;
    }
    // POSIX has one nice value for a process, Linux one for each thread.
    match rustix::process::setpriority_process(Some(rustix::thread::gettid()), -20) {
        Ok(()) => SchedulingClass::Nice,
        Err(_) => SchedulingClass::Usual,
    }
}

/// Does nothing: on other systems a priority applies to the whole process, which would gain nothing.
#[cfg(not(target_os = "linux"))]
pub fn raise_this_thread() -> SchedulingClass {
    SchedulingClass::Usual
}

/// Keeps the current thread from using all of its core, while this future is polled there: a real-time thread sleeps
/// periodically.
pub(crate) async fn yield_cpu_share(priority: SchedulingClass) -> Infallible {
    if priority != SchedulingClass::RealTime {
        return std::future::pending().await;
    }
    let mut look = CHECK_INTERVAL;
    loop {
        let (cpu, start) = (thread_cpu(), Instant::now());
        tokio::time::sleep(look).await;
        let (used, span) = (thread_cpu().saturating_sub(cpu), start.elapsed());
        std::thread::sleep(missing_pause(used, span).min(MAX_PAUSE));
        let is_busy = used > span.mul_f64(1.0 - 3.0 * RESERVED_SHARE);
        look = if is_busy { BUSY_CHECK_INTERVAL } else { CHECK_INTERVAL };
    }
}

/// How long to sleep after a span in which the thread ran for `used`.
fn missing_pause(used: Duration, span: Duration) -> Duration {
    span.mul_f64(RESERVED_SHARE).saturating_sub(span.saturating_sub(used))
}

/// The processor time of the calling thread.
pub(crate) fn thread_cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(now).unwrap_or_default()
}

#[cfg(test)]
mod room {
    use super::*;
    #[cfg(target_os = "linux")]
    use crate::testing::machine::has_realtime;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn only_who_leaves_too_little_sleeps_and_only_for_what_is_missing() {
        let (span, room) = (10 * MS, (10 * MS).mul_f64(RESERVED_SHARE));
        assert_eq!(missing_pause(span, span), room);
        assert_eq!(missing_pause(span - room / 4, span), room - room / 4);
        assert_eq!(missing_pause(span - room, span), Duration::ZERO);
        assert_eq!(missing_pause(MS, 100 * MS), Duration::ZERO);
    }

    #[tokio::test]
    async fn an_ordinary_thread_is_not_held_up() {
        for priority in [SchedulingClass::Nice, SchedulingClass::Usual] {
            let left = tokio::time::timeout(MS, yield_cpu_share(priority)).await;
            assert!(left.is_err());
        }
    }

    /// How often the calling thread has given up its core by itself.
    #[cfg(target_os = "linux")]
    fn pauses() -> u64 {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.unwrap().trim().parse().unwrap()
    }

    /// Without pauses, the kernel would stop the thread for the 5 % that real-time threads must leave.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_real_time_thread_that_never_waits_pauses_again_and_again() {
        let busy = async {
            let (before, start) = (pauses(), Instant::now());
            let busy = async {
                while pauses() < before + 5 && start.elapsed() < 10_000 * MS {
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                never = yield_cpu_share(SchedulingClass::RealTime) => match never {},
                () = busy => {}
            }
            pauses() - before
        };
        let test = std::thread::current().name().unwrap_or_default().to_owned();
        let thread = std::thread::Builder::new().name(test).spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            has_realtime(raise_this_thread()).then(|| runtime.block_on(busy))
        });
        let Some(pauses) = thread.unwrap().join().unwrap() else { return };
        assert!(pauses >= 5, "{pauses}");
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use thread_priority::thread_schedule_policy;

    use super::*;
    use crate::testing::machine::has_realtime;

    /// The scheduling policy and nice value of the calling thread.
    fn scheduling() -> (ThreadSchedulePolicy, i32) {
        let this = rustix::thread::gettid();
        let nice = rustix::process::getpriority_process(Some(this));
        (thread_schedule_policy().expect("a thread has a policy"), nice.expect("a thread has a nice value"))
    }

    #[test]
    fn only_the_calling_thread_is_raised() {
        let usual = scheduling();
        let raised = std::thread::spawn(|| (raise_this_thread(), scheduling()));
        let (priority, (policy, nice)) = raised.join().unwrap();
        assert_eq!(scheduling(), usual, "the caller is as it was");
        let is_realtime = matches!(policy, ThreadSchedulePolicy::Realtime(_));
        assert_eq!(is_realtime, priority == SchedulingClass::RealTime, "{policy:?}");
        assert_eq!(nice == -20, priority == SchedulingClass::Nice, "{nice}");
        has_realtime(priority);
    }
}
