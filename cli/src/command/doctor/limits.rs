//! What a container or the machine allows, and what time it is there.

use std::{fs, path::Path, process::Command};

use super::{Findings, Scene, processes};
use crate::{keeper::may_run_before_others, privileges};

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
    of_speaker(scene, findings);
    of_machine(&fs::read_to_string("/proc/sys/kernel/sched_rt_runtime_us").unwrap_or_default(), findings);
    let asked = Command::new("timedatectl").args(["show", "--property=NTPSynchronized", "--value"]).output();
    if asked.is_ok_and(|output| output.stdout.trim_ascii() == b"no") {
        findings.harm(
            "clock",
            "this machine's clock follows no other one: logs of the two nodes will not fit together, and certificates may seem out of date: \
             timedatectl set-ntp true, or chrony",
        );
    }
}

/// `runtime`: how long real time may have of each second, as the kernel says it; -1 is all.
fn of_machine(runtime: &str, findings: &mut Findings) {
    if runtime.trim() == "0" {
        findings.harm(
            CHECK,
            "real time is off on this machine (kernel.sched_rt_runtime_us is 0): under load advertisements may be late, and the other node takes \
             over: sysctl -w kernel.sched_rt_runtime_us=950000",
        );
    }
}

/// Does the speaker run before others, and stays in memory? That of the lbctl that runs here, or one that is started from here.
fn of_speaker(scene: &Scene<'_>, findings: &mut Findings) {
    let process = scene.status.and_then(|status| processes::speaker_of(status.pid));
    let [is_first, is_locked] = match process {
        Some(process) => {
            let read = |name: &str| fs::read_to_string(format!("/proc/{process}/{name}")).unwrap_or_default();
            [runs_before_others(&read("stat")), is_in_memory(&read("status"))]
        }
        // Who is not root starts it from a unit, which has other limits.
        None if nix::unistd::geteuid().is_root() => [may_run_before_others(), privileges::may_lock_memory()],
        None => return,
    };
    let verb = if process.is_some() { "has" } else { "would have, started from here," };
    let missing = [
        (
            is_first,
            "no real-time priority: on a busy machine its advertisements may be late, and the other node takes over: LimitRTPRIO=20 in the \
             unit, --cap-add=SYS_NICE for a container",
        ),
        (
            is_locked,
            "no locked memory: where memory is short its advertisements may be late: LimitMEMLOCK=infinity in the unit, --cap-add=IPC_LOCK for \
             a container",
        ),
    ];
    for (_, what) in missing.into_iter().filter(|(is_there, _)| !is_there) {
        let message = format!("the speaker {verb} {what}");
        // A user namespace gives no such right, whatever one writes there.
        if privileges::root_is_real() { findings.harm(CHECK, message) } else { findings.note(message) }
    }
}

/// By /proc/PID/stat (proc_pid_stat(5)): its 41st field is the policy, 1 and 2 are those of real time.
fn runs_before_others(stat: &str) -> bool {
    // The name of the program, the second one, may have blanks.
    let fields = stat.rsplit_once(") ").map(|(_, fields)| fields).unwrap_or_default();
    matches!(fields.split(' ').nth(38), Some("1" | "2"))
}

/// By /proc/PID/status: something of it is locked.
fn is_in_memory(status: &str) -> bool {
    let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:"));
    locked.is_some_and(|locked| !locked.trim().starts_with("0 "))
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
    fn what_a_speaker_runs_like_is_in_its_files() {
        let stat = |policy: &str| {
            let before = "0 ".repeat(37);
            format!("7 (a b) c) S {before}{policy} 0 0 0")
        };
        assert!(runs_before_others(&stat("2")) && runs_before_others(&stat("1")));
        assert!(!runs_before_others(&stat("0")) && !runs_before_others("") && !runs_before_others("7 (a"));
        assert!(is_in_memory("Name:\tx\nVmLck:\t    9216 kB\n"));
        assert!(!is_in_memory("VmLck:\t       0 kB\n") && !is_in_memory(""));
    }

    /// The setting is the whole machine's, so no test changes it.
    #[test]
    fn real_time_that_is_off_is_found() {
        let found = |runtime: &str| {
            let mut findings = Findings::default();
            of_machine(runtime, &mut findings);
            findings.found.into_iter().map(|one| one.message).collect::<String>()
        };
        assert!(
            found("0\n").starts_with("real time is off on this machine (kernel.sched_rt_runtime_us is 0)")
        );
        for fine in ["950000\n", "-1\n", ""] {
            assert_eq!(found(fine), "");
        }
    }

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
