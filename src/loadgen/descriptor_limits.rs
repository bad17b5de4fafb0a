//! Raises the limits on open files and sockets.

use std::fs::File;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The number of files and sockets that the kernel's descriptor table is sized for.
const DESCRIPTOR_TABLE_SIZE: u64 = 1 << 15;

/// Raises the number of files and sockets that the process may open to the hard limit, sizes the kernel's table for
/// them, and returns the limit; `None` means no limit.
///
/// The kernel's table starts with 64 entries and doubles when it is full. In a process with several threads, the thread
/// that needs a larger table then waits until every processor has passed through its scheduler: 10 to 60 ms on a busy
/// machine (`expand_files` in Linux 6.18). In that time requests leave late and answers are not read. So the table is
/// enlarged here; before the process has other threads, this costs nothing.
pub(crate) fn prepare_descriptors() -> Option<u64> {
    let limit = raise_descriptors();
    let last = DESCRIPTOR_TABLE_SIZE.min(limit.unwrap_or(u64::MAX)).saturating_sub(1);
    // If this fails, the table grows when it has to.
    let _ = File::open("/dev/null").and_then(|file| Ok(fcntl_dupfd_cloexec(file, last as i32)?));
    limit
}

/// Raises the soft limit. The usual one of 1,024 is below the number of connections of a larger run.
fn raise_descriptors() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(_) => current,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_the_hard_one_afterwards() {
        let limit = raise_descriptors();
        assert_eq!(limit, getrlimit(Resource::Nofile).current);
        assert_eq!(limit, getrlimit(Resource::Nofile).maximum);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_table_is_made_before_the_sockets_are() {
        let limit = prepare_descriptors().unwrap_or(u64::MAX);
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let size = status.lines().find_map(|line| line.strip_prefix("FDSize:")).unwrap();
        assert!(size.trim().parse::<u64>().unwrap() >= DESCRIPTOR_TABLE_SIZE.min(limit), "{size}");
    }
}
