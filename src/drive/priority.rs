//! A thread that is let run as soon as it has something to do.
//!
//! The kernel's stamps make a late read harmless, but only up to the next event on the same connection (see
//! [`stamp`](super::client::stamp)), and nothing makes a late request harmless. Beside a vLLM on the same two cores, requests
//! left up to a second late at an ordinary priority and at nice −20 alike, since Linux's autogroups weigh whole sessions
//! against each other, and 0.2 to 0.4 ms late (p99) at the lowest real-time priority. A sender waits nearly all the time, and
//! the kernel keeps real-time threads below 95 % of a core.
//!
//! It takes their share in one piece: beside a busy loop on Linux 6.18, a thread that had kept its core for most of a second
//! lost it for 36 to 50 ms, in which every stream gets several events and all stamps but the last are lost. So a thread that
//! is that busy [leaves](leave_room) the others their share by itself, in pieces of less than a millisecond.

use std::convert::Infallible;
use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
    thread_native_id,
};

/// What a real-time thread leaves of its core. The kernel would take 5 %; of 6 % it still took some, of 8 % hardly any.
const ROOM: f64 = 0.08;

/// The longest it sleeps for that at a time: what is due then waits. What is missing after this follows soon.
const PIECE: Duration = Duration::from_micros(250);

/// How often it looks whether it does.
const LOOK: Duration = Duration::from_millis(100);

/// The same when it is busy.
const BUSY_LOOK: Duration = Duration::from_millis(2);

/// How a thread is scheduled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// Before all ordinary threads.
    RealTime,
    /// Before the ordinary threads of its session.
    Nice,
    /// As any other: more needs a permission (CAP_SYS_NICE, or a limit of `rtprio` or `nice`) that we do not have.
    Usual,
}

/// Raises the calling thread above ordinary ones, as far as that is permitted. Threads that it starts inherit it.
#[cfg(target_os = "linux")]
pub fn raise_this_thread() -> Priority {
    let round_robin = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::RoundRobin);
    if set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, round_robin).is_ok() {
        return Priority::RealTime;
    }
    // POSIX has one nice value for a process, Linux one for each thread.
    match rustix::process::setpriority_process(Some(rustix::thread::gettid()), -20) {
        Ok(()) => Priority::Nice,
        Err(_) => Priority::Usual,
    }
}

/// Elsewhere a priority is the whole process's, which would gain nothing.
#[cfg(not(target_os = "linux"))]
pub fn raise_this_thread() -> Priority {
    Priority::Usual
}

/// Keeps the current thread from taking all of its core, as long as it is polled there: if it is a real-time thread, it
/// sleeps now and then.
pub async fn leave_room(priority: Priority) -> Infallible {
    if priority != Priority::RealTime {
        return std::future::pending().await;
    }
    let mut look = LOOK;
    loop {
        let (cpu, start) = (thread_cpu(), Instant::now());
        tokio::time::sleep(look).await;
        let (used, span) = (thread_cpu().saturating_sub(cpu), start.elapsed());
        std::thread::sleep(room_missing(used, span).min(PIECE));
        let is_busy = used > span.mul_f64(1.0 - 3.0 * ROOM);
        look = if is_busy { BUSY_LOOK } else { LOOK };
    }
}

/// How long to sleep after a span in which the thread was running for `used`.
fn room_missing(used: Duration, span: Duration) -> Duration {
    span.mul_f64(ROOM).saturating_sub(span.saturating_sub(used))
}

/// The processor time of the calling thread.
pub fn thread_cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(now).unwrap_or_default()
}

#[cfg(test)]
mod room {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn only_who_leaves_too_little_sleeps_and_only_for_what_is_missing() {
        let (span, room) = (10 * MS, (10 * MS).mul_f64(ROOM));
        assert_eq!(room_missing(span, span), room);
        assert_eq!(room_missing(span - room / 4, span), room - room / 4);
        assert_eq!(room_missing(span - room, span), Duration::ZERO);
        assert_eq!(room_missing(MS, 100 * MS), Duration::ZERO);
    }

    #[tokio::test]
    async fn an_ordinary_thread_is_not_held_up() {
        for priority in [Priority::Nice, Priority::Usual] {
            let left = tokio::time::timeout(MS, leave_room(priority)).await;
            assert!(left.is_err());
        }
    }

    #[tokio::test]
    async fn a_real_time_thread_that_never_waits_leaves_its_share() {
        let (cpu, start) = (thread_cpu(), Instant::now());
        let busy = async {
            while start.elapsed() < 600 * MS {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            never = leave_room(Priority::RealTime) => match never {},
            () = busy => {}
        }
        let share = (thread_cpu() - cpu).as_secs_f64() / start.elapsed().as_secs_f64();
        assert!(share < 0.97, "{share}");
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use thread_priority::thread_schedule_policy;

    use super::*;

    /// Policy and nice value of the calling thread.
    fn scheduling() -> (ThreadSchedulePolicy, i32) {
        let this = rustix::thread::gettid();
        let nice = rustix::process::getpriority_process(Some(this));
        (thread_schedule_policy().expect("a thread has a policy"), nice.expect("a thread has a nice value"))
    }

    #[test]
    fn only_the_calling_thread_is_raised() {
        let usual = scheduling();
        let raised = std::thread::spawn(|| (raise_this_thread(), scheduling()));
        match raised.join().unwrap() {
            (Priority::RealTime, (policy, _)) => {
                assert!(matches!(policy, ThreadSchedulePolicy::Realtime(_)), "{policy:?}");
            }
            (Priority::Nice, (_, nice)) => assert_eq!(nice, -20),
            (Priority::Usual, scheduling) => assert_eq!(scheduling, usual),
        }
        assert_eq!(scheduling(), usual);
    }
}
