//! GPU memory in use on this machine, as `nvidia-smi` reports it.

use std::process::{Command, Stdio};

/// The driver and other programs may take a little memory: an increase up to this is not the server's.
const SLACK_MIB: u64 = 1024;

/// Memory in use, over all GPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GpuMemoryUse {
    used_mib: u64,
}

impl GpuMemoryUse {
    /// Reads the current use. Returns `None` without `nvidia-smi`, which must not make anything fail.
    pub(super) fn read() -> Option<Self> {
        let mut question = Command::new("nvidia-smi");
        question.args(["--query-gpu=memory.used", "--format=csv,noheader,nounits"]);
        let answer = question.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
        answer.status.success().then(|| Self::parse(&String::from_utf8_lossy(&answer.stdout)))?
    }

    fn parse(text: &str) -> Option<Self> {
        let used: Option<Vec<u64>> = text.lines().map(|line| line.trim().parse().ok()).collect();
        used.filter(|used| !used.is_empty()).map(|used| Self { used_mib: used.iter().sum() })
    }

    /// Whether the memory in use is at most slightly above this reading.
    pub(super) fn is_free_again(self) -> bool {
        Self::read().is_none_or(|now| now.used_mib <= self.used_mib + SLACK_MIB)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_all_gpus_is_added_up() {
        assert_eq!(GpuMemoryUse::parse("512\n 81000 \n"), Some(GpuMemoryUse { used_mib: 81_512 }));
    }

    #[test]
    fn an_answer_that_is_no_number_is_none() {
        assert_eq!(GpuMemoryUse::parse(""), None);
        assert_eq!(GpuMemoryUse::parse("[N/A]\n"), None);
        assert_eq!(GpuMemoryUse::parse("No devices were found\n"), None);
    }
}
