//! What the process may use of the machine: memory and cores.

mod process;

use std::{fs, path::Path};

pub use process::ProcessMemory;

/// Bytes that can be taken without swapping: what the system has free or can free, or what is left of a
/// control group's limit when that is less. `None` where the system does not say.
#[must_use]
pub fn available() -> Option<u64> {
    let system = fs::read_to_string("/proc/meminfo").ok();
    let system = system.as_deref().and_then(available_in);
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let left = group_paths(&groups)
        .filter_map(|group| left_in(Path::new(&group)))
        .min();
    [system, left].into_iter().flatten().min()
}

/// Numbers of the processors that the process may run on, where the system reports it.
pub(crate) fn cores() -> Vec<usize> {
    #[cfg(target_os = "linux")]
    if let Ok(set) = rustix::thread::sched_getaffinity(None) {
        return (0..rustix::thread::CpuSet::MAX_CPU)
            .filter(|&core| set.is_set(core))
            .collect();
    }
    Vec::new()
}

/// Keeps the calling thread on a processor, where the system has a way.
pub(crate) fn pin_thread(core: usize) {
    #[cfg(target_os = "linux")]
    if core < rustix::thread::CpuSet::MAX_CPU {
        let mut set = rustix::thread::CpuSet::new();
        set.set(core);
        // Where it is not permitted the thread runs as before.
        let _ = rustix::thread::sched_setaffinity(None, &set);
    }
}

fn available_in(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// The folders of the process's control groups and of those above them, of version 2 and of version 1. In
/// a container the process is often at the root of what it sees.
fn group_paths(groups: &str) -> impl Iterator<Item = String> {
    groups.lines().flat_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let root = match parts.next() {
            Some("") => Some("/sys/fs/cgroup"),
            Some(controllers) if controllers.split(',').any(|name| name == "memory") => {
                Some("/sys/fs/cgroup/memory")
            }
            _ => None,
        };
        let group = parts.next().unwrap_or("/");
        let above = Path::new(group).ancestors();
        root.into_iter()
            .flat_map(move |root| above.map(move |group| format!("{root}{}", group.display())))
    })
}

/// What is left of the limit of a group; `None` for a group without one.
fn left_in(group: &Path) -> Option<u64> {
    let number = |name: &str| -> Option<u64> {
        fs::read_to_string(group.join(name))
            .ok()?
            .trim()
            .parse()
            .ok()
    };
    let (limit, used) = match number("memory.max") {
        Some(limit) => (limit, number("memory.current")?),
        None => (
            number("memory.limit_in_bytes")?,
            number("memory.usage_in_bytes")?,
        ),
    };
    // Pages of files count as used, and go when memory is wanted.
    let pages = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    let pages = pages
        .lines()
        .find_map(|line| {
            line.strip_prefix("inactive_file ")
                .or(line.strip_prefix("total_inactive_file "))
        })
        .and_then(|value| value.trim().parse().ok())
        .unwrap_or(0);
    Some(limit.saturating_sub(used.saturating_sub(pages)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn meminfo() {
        let text = "MemTotal:       24684084 kB\nMemAvailable:   18042740 kB\n";
        assert_eq!(available_in(text), Some(18_042_740 * 1024));
        for text in [
            "",
            "MemTotal: 5 kB",
            "MemAvailable: many kB",
            "MemAvailable: 5",
        ] {
            assert_eq!(available_in(text), None, "{text}");
        }
    }

    #[test]
    fn groups() {
        let text = "4:cpu,memory:/pod/one\n2:cpu:/x\n0::/\nnonsense\n";
        let paths: Vec<_> = group_paths(text).collect();
        let expected = [
            "/sys/fs/cgroup/memory/pod/one",
            "/sys/fs/cgroup/memory/pod",
            "/sys/fs/cgroup/memory/",
            "/sys/fs/cgroup/",
        ];
        assert_eq!(paths, expected);
    }

    #[test]
    fn limits() {
        let group = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(group.path().join(name), text).unwrap();
        assert_eq!(left_in(group.path()), None);
        write("memory.max", "max\n");
        write("memory.current", "700\n");
        assert_eq!(left_in(group.path()), None);
        write("memory.max", "1000\n");
        assert_eq!(left_in(group.path()), Some(300));
        write("memory.stat", "anon 3\ninactive_file 200\n");
        assert_eq!(left_in(group.path()), Some(500));

        let old = tempfile::tempdir().unwrap();
        fs::write(old.path().join("memory.limit_in_bytes"), "900\n").unwrap();
        fs::write(old.path().join("memory.usage_in_bytes"), "1000\n").unwrap();
        assert_eq!(left_in(old.path()), Some(0));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_machine() {
        assert!(available().unwrap() > 1 << 20);
    }
}
