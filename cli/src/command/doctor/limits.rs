//! What a container or the machine allows, and what time it is there.

use std::{fs, path::Path, process::Command};

use super::{Findings, Scene};

const CHECK: &str = "limits";

/// Processes and threads of a pair of processes with a few workers, with room for commands.
const PROCESSES: u64 = 64;

/// Of memory, in bytes: what a node takes before it has served anybody, twice.
const MEMORY: u64 = 64 << 20;

pub(super) fn look(scene: &Scene<'_>, findings: &mut Findings) {
    let process = scene.status.map_or_else(|| "self".to_owned(), |status| status.pid.to_string());
    let cgroup = fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap_or_default();
    if let Some(path) = cgroup.lines().find_map(|line| line.strip_prefix("0::/")) {
        of_cgroup(Path::new("/sys/fs/cgroup"), path, findings);
    }
    if scene.groups.is_empty() {
        return;
    }
    let runtime = fs::read_to_string("/proc/sys/kernel/sched_rt_runtime_us").unwrap_or_default();
    if runtime.trim() == "0" {
        findings.harm(
            CHECK,
            "real time is off on this machine (kernel.sched_rt_runtime_us is 0): under load advertisements may be late, and the other node takes \
             over: sysctl -w kernel.sched_rt_runtime_us=950000",
        );
    }
    let asked = Command::new("timedatectl").args(["show", "--property=NTPSynchronized", "--value"]).output();
    if asked.is_ok_and(|output| output.stdout.trim_ascii() == b"no") {
        findings.harm(
            "clock",
            "this machine's clock follows no other one: logs of the two nodes will not fit together, and certificates may seem out of date: \
             timedatectl set-ntp true, or chrony",
        );
    }
}

/// Limits of a cgroup and all above it; the smallest one counts.
fn of_cgroup(root: &Path, path: &str, findings: &mut Findings) {
    let smallest = |name: &str| {
        let folders = Path::new(path).ancestors().map(|folder| root.join(folder).join(name));
        let numbers = folders.filter_map(|file| {
            let text = fs::read_to_string(&file).ok()?;
            Some((text.trim().parse::<u64>().ok()?, file))
        });
        numbers.min_by_key(|(number, _)| *number)
    };
    if let Some((most, file)) = smallest("pids.max").filter(|(most, _)| *most < PROCESSES) {
        findings.harm(
            CHECK,
            format!(
                "at most {most} processes and threads ({}), and lbctl may need {PROCESSES}: TasksMax= of the unit, or --pids-limit of the container",
                file.display()
            ),
        );
    }
    if let Some((most, file)) = smallest("memory.max").filter(|(most, _)| *most < MEMORY) {
        findings.harm(
            CHECK,
            format!(
                "at most {} MiB of memory ({}), and lbctl needs {} to begin with: MemoryMax= of the unit, or --memory of the container",
                most >> 20,
                file.display(),
                MEMORY >> 20
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_limit_of_a_cgroup_and_those_above_it_counts() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("system.slice/lbctl.service");
        fs::create_dir_all(&inner).unwrap();
        let write = |path: &Path, text: &str| fs::write(path, text).unwrap();
        let found = || {
            let mut findings = Findings::default();
            of_cgroup(root.path(), "system.slice/lbctl.service", &mut findings);
            findings.found.into_iter().map(|one| one.message).collect::<Vec<_>>()
        };
        write(&inner.join("pids.max"), "max\n");
        write(&inner.join("memory.max"), "1073741824\n");
        assert!(found().is_empty());
        write(&root.path().join("system.slice/pids.max"), "20\n");
        write(&inner.join("memory.max"), "33554432\n");
        let found = found();
        assert!(found[0].starts_with("at most 20 processes and threads ("), "{found:?}");
        assert!(found[1].starts_with("at most 32 MiB of memory ("), "{found:?}");
    }
}
