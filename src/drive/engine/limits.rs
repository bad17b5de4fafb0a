//! What the operating system lets one process have.

use std::fs::File;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many files and sockets the kernel's table is made for.
const TABLE: u64 = 1 << 15;

/// Lets the process have as many files and sockets as the system allows, without a wait for any of them, and returns how
/// many that is; `None` is no limit.
///
/// The kernel's table of them starts with 64 places and doubles when it is full. In a process of several threads, the one
/// that opens the socket too many then waits until every processor has been through its scheduler: 10 to 60 ms on a busy
/// machine (`expand_files` in Linux 6.18), in which requests leave late and answers lie unread. So the table is made large
/// here; called before there are other threads, it costs nothing.
pub fn prepare_descriptors() -> Option<u64> {
    let limit = raise_descriptors();
    let last = TABLE.min(limit.unwrap_or(u64::MAX)).saturating_sub(1);
    // Refused, the table grows when it has to.
    let _ = File::open("/dev/null").and_then(|file| Ok(fcntl_dupfd_cloexec(file, last as i32)?));
    limit
}

/// The usual soft limit of 1,024 is fewer than the connections of a larger run.
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
        assert!(size.trim().parse::<u64>().unwrap() >= TABLE.min(limit), "{size}");
    }
}
