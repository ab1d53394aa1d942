//! What the kernel says of this process.

use nix::sys::{
    resource::{Resource, UsageWho, getrlimit, getrusage},
    time::TimeValLike,
};

/// See the module. What can't be read is `None`: a jail may hide `/proc`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process {
    /// Time of all its threads on processors, in seconds.
    pub cpu_seconds: Option<f64>,
    /// Memory that it has in RAM.
    pub resident_bytes: Option<u64>,
    /// Memory that it has mapped.
    pub virtual_bytes: Option<u64>,
    /// Descriptors that are open.
    pub open_fds: Option<u64>,
    /// How many may be.
    pub max_fds: Option<u64>,
}

impl Process {
    /// Now. Counts its descriptors one by one, so it is not for a thread that others wait for.
    pub fn read() -> Self {
        let usage = getrusage(UsageWho::RUSAGE_SELF).ok();
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        // One more is open while they are counted.
        let open = std::fs::read_dir("/proc/self/fd").ok().map(|all| all.count().saturating_sub(1));
        Self {
            cpu_seconds: usage
                .map(|usage| (usage.user_time() + usage.system_time()).num_microseconds() as f64 / 1e6),
            resident_bytes: bytes(&status, "VmRSS:"),
            virtual_bytes: bytes(&status, "VmSize:"),
            open_fds: open.map(|open| open as u64),
            max_fds: getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft),
        }
    }
}

/// Of a line `VmRSS:      6512 kB`.
fn bytes(status: &str, name: &str) -> Option<u64> {
    let rest = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_what_the_kernel_says_of_this_process() {
        let process = Process::read();
        assert!(process.cpu_seconds.is_some_and(|seconds| seconds > 0.0), "{process:?}");
        assert!(process.resident_bytes.is_some_and(|bytes| bytes > 100_000), "{process:?}");
        assert!(process.virtual_bytes > process.resident_bytes, "{process:?}");
        assert!(process.open_fds.is_some_and(|open| open >= 3), "{process:?}");
        assert!(process.max_fds >= process.open_fds, "{process:?}");
        assert_eq!(bytes("Name:\tlbctl\nVmRSS:\t    6512 kB\n", "VmRSS:"), Some(6_668_288));
    }
}
