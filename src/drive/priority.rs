//! A thread that is let run as soon as it has something to do.
//!
//! The kernel's stamps make a late read harmless, but only up to the next event on the same connection (see
//! [`stamp`](super::client::stamp)). Beside a busy loop on the same core, 512 streams with 20 ms between tokens lost the
//! stamps of 1–11 % of their events (up to 40 % with more on the machine), and of at most 1.5 %, mostly none, at nice −20. A
//! shorter time slice (`sched_setattr`), which needs no permission, changed nothing.

/// How a thread is scheduled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// Before ordinary threads.
    Raised,
    /// As any other: raising it needs a permission (CAP_SYS_NICE, or a nice limit) that we do not have.
    Usual,
}

/// Raises the calling thread above ordinary ones, if that is permitted. Threads that it starts inherit it.
#[cfg(target_os = "linux")]
pub fn raise_this_thread() -> Priority {
    let this = rustix::thread::gettid();
    // POSIX has one nice value for a process, Linux one for each thread.
    match rustix::process::setpriority_process(Some(this), -20) {
        Ok(()) => Priority::Raised,
        Err(_) => Priority::Usual,
    }
}

/// Elsewhere a nice value is the whole process's, which would gain nothing.
#[cfg(not(target_os = "linux"))]
pub fn raise_this_thread() -> Priority {
    Priority::Usual
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn only_the_calling_thread_is_raised() {
        let nice_of = |thread| rustix::process::getpriority_process(Some(thread)).unwrap();
        let usual = nice_of(rustix::thread::gettid());
        let raised = std::thread::spawn(move || (raise_this_thread(), nice_of(rustix::thread::gettid())));
        match raised.join().unwrap() {
            (Priority::Raised, nice) => assert_eq!(nice, -20),
            (Priority::Usual, nice) => assert_eq!(nice, usual),
        }
        assert_eq!(nice_of(rustix::thread::gettid()), usual);
    }
}
