//! Memory of the process, as the operating system counts it.

use std::fs;

/// Memory of the process that is in use, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessMemory {
    /// Now.
    pub resident: u64,
    /// The most there ever was.
    pub peak: u64,
}

impl ProcessMemory {
    /// What the system says of this process; `None` where it does not, which is anywhere but on Linux.
    #[must_use]
    pub fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/status").ok()?)
    }

    fn parse(status: &str) -> Option<Self> {
        let bytes = |name: &str| -> Option<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
            Some(kilobytes * 1024)
        };
        Some(Self {
            resident: bytes("VmRSS:")?,
            peak: bytes("VmHWM:")?,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn status_lines() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        let memory = ProcessMemory::parse(status).unwrap();
        assert_eq!((memory.resident, memory.peak), (1 << 20, 2 << 20));
        for broken in ["", "VmHWM: 1 kB\n", "VmHWM: 1 kB\nVmRSS: 1\n"] {
            assert_eq!(ProcessMemory::parse(broken), None, "{broken}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process() {
        let memory = ProcessMemory::read().unwrap();
        assert!(memory.resident > 0 && memory.peak >= memory.resident);
    }
}
