//! What /proc says of the threads of a node's processes: nobody has more than docs/operations.md says.

use std::{collections::BTreeSet, fs, path::PathBuf};

use nix::unistd::{Pid, User};

use super::super::net::wait_for;

pub(crate) const CHOWN: u64 = 1;
pub(crate) const GROUPS: u64 = 1 << 6;
pub(crate) const OTHERS: u64 = 1 << 7;
pub(crate) const PORTS: u64 = 1 << 10;
pub(crate) const ADMIN: u64 = 1 << 12;
pub(crate) const RAW: u64 = 1 << 13;
pub(crate) const LOCK: u64 = 1 << 14;
pub(crate) const NICE: u64 = 1 << 23;

/// Whose processes they are, and the capabilities of all threads of the daemon.
pub(crate) struct Who {
    pub(crate) user: &'static str,
    pub(crate) daemon: u64,
    /// The capabilities that whoever started it has. Who is not root can't narrow its bounding set, which gives nobody anything.
    pub(crate) given: u64,
}

/// What /proc says of one thread.
#[derive(Clone, Debug)]
pub(crate) struct Thread {
    pub(crate) name: String,
    status: String,
}

impl Thread {
    /// None of a process that is gone.
    pub(crate) fn all(of: Pid) -> Vec<Self> {
        let tasks = fs::read_dir(format!("/proc/{of}/task")).into_iter().flatten().flatten();
        let read = |path: PathBuf| fs::read_to_string(path.join("status")).ok();
        let named = |status: String| Some(Self { name: value(&status, "Name")?.to_owned(), status });
        // One that has ended meanwhile says nothing.
        tasks.filter_map(|task| read(task.path()).and_then(named)).collect()
    }

    #[track_caller]
    pub(crate) fn value(&self, key: &str) -> &str {
        value(&self.status, key).unwrap_or_else(|| panic!("no {key}: {}", self.status))
    }

    #[track_caller]
    pub(crate) fn sets(&self) -> [u64; 5] {
        ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]
            .map(|key| u64::from_str_radix(self.value(key), 16).unwrap())
    }

    /// What holds for every thread of both processes.
    #[track_caller]
    fn is_confined(&self, who: &Who) {
        let user = User::from_name(who.user).unwrap().unwrap();
        let ids = |id: u32| vec![id.to_string(); 4].join("\t");
        assert_eq!(self.value("Uid"), ids(user.uid.as_raw()), "{}", self.name);
        assert_eq!(self.value("Gid"), ids(user.gid.as_raw()), "{}", self.name);
        if user.uid.is_root() {
            // Those that whoever started it has.
            return self.is_filtered();
        }
        let groups: Vec<_> = self.value("Groups").split_whitespace().collect();
        assert_eq!(groups, [user.gid.as_raw().to_string()], "{}: root's are gone", self.name);
        self.is_filtered();
    }

    #[track_caller]
    fn is_filtered(&self) {
        assert_eq!(self.value("NoNewPrivs"), "1", "{}", self.name);
        assert_eq!(self.value("Seccomp"), "2", "{}: a filter", self.name);
    }
}

fn value<'a>(status: &'a str, key: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim)
}

/// Every thread of the daemon and of its speaker has what docs/operations.md says, whoever has started it.
#[track_caller]
pub(crate) fn assert_least_privilege(who: &Who, daemon: Pid, speaker: Pid) {
    // Root raises the limit of locked memory where it may (CAP_SYS_RESOURCE); then nobody needs more than the limit.
    let limits = fs::read_to_string(format!("/proc/{speaker}/limits")).unwrap();
    let locked = limits.lines().find(|line| line.starts_with("Max locked memory")).unwrap();
    let is_limited = !locked.contains("unlimited");
    let lock = if is_limited { LOCK & who.given } else { 0 };
    let most = (who.daemon | ADMIN | RAW | NICE | lock) & who.given;
    let bound = if who.given == u64::MAX { most } else { who.given };
    let threads = Thread::all(daemon);
    let names: BTreeSet<_> = threads.iter().map(|thread| &*thread.name).collect();
    for name in ["lbctl", "launcher", "guard", "log", "lbctl-worker-0", "alive"] {
        assert!(names.contains(name), "{names:?}");
    }
    for thread in &threads {
        thread.is_confined(who);
        let [inheritable, permitted, effective, bounding, ambient] = thread.sets();
        assert_eq!(bounding, bound, "{}", thread.name);
        if thread.name == "launcher" {
            assert_eq!((inheritable, permitted, effective), (most, most, most));
            assert_eq!(thread.value("Seccomp_filters"), "2");
            // Of what was started last: a speaker or another daemon.
            assert!([0, most & !who.daemon, most].contains(&ambient), "{ambient:x}");
        } else {
            let has = if thread.name == "guard" { ADMIN } else { who.daemon };
            assert_eq!((permitted, effective), (has, has), "{}", thread.name);
            assert_eq!((inheritable, ambient), (0, 0), "{}", thread.name);
            // No more after an upgrade: each one costs a moment at each call.
            assert_eq!(thread.value("Seccomp_filters"), "3", "{}", thread.name);
        }
    }
    // From its second thread on it has started.
    let threads = wait_for("a speaker that has started", || {
        Some(Thread::all(speaker)).filter(|threads| threads.len() > 1)
    });
    let lines = |pid: Pid| fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let is_locked = || value(&lines(speaker), "VmLck") != Some("0 kB");
    if is_limited && lock == 0 {
        // Its next allocations would fail.
        assert!(!is_locked());
    } else {
        wait_for("its memory is locked, since it may be", || is_locked().then_some(()));
    }
    // Under a limit its next allocations would fail.
    assert_eq!(value(&lines(daemon), "VmLck"), Some("0 kB"), "the daemon's is never");
    for thread in &threads {
        thread.is_confined(who);
        // Those of the thread that started it, and its own.
        assert_eq!(thread.value("Seccomp_filters"), "3", "speaker: {}", thread.name);
        let sets = thread.sets();
        let has = ADMIN | RAW | lock;
        assert_eq!(sets, [0, has, has, bound, 0], "speaker: {}", thread.name);
    }
}
