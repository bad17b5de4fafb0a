//! A thread that is let run as soon as it has something to do.
//!
//! The kernel's stamps make a late read harmless, but only up to the next event on the same connection (see
//! [`stamp`](super::client::stamp)), and nothing makes a late request harmless. Beside a vLLM on the same two cores, requests
//! left up to a second late at an ordinary priority and at nice −20 alike, since Linux's autogroups weigh whole sessions
//! against each other, and 0.2 to 0.4 ms late (p99) at the lowest real-time priority. A sender waits nearly all the time, and
//! the kernel keeps real-time threads below 95 % of a core.

#[cfg(target_os = "linux")]
use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
    thread_native_id,
};

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
