//! A test that runs itself again as root, in namespaces of its own: there it may start machines with systemd, and whatever it
//! has started ends with it.
//!
//! ```text
//! test ── sudo, unshare ──▶ shell: cgroup2, a group of its own ── unshare ──▶ the same test, PID 1
//! ```

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::program;

/// Set inside; its value is the folder that the outside has prepared.
const INSIDE: &str = "LBCTL_TESTS_WORLD";

/// Printed by a test that fails inside: the machine was too busy for what it shows.
const VOID: &str = "this run says nothing, the machine was too busy";

/// How often a test is run whose machine is too busy.
const ATTEMPTS: usize = 3;

/// systemd wants cgroups of version 2, which a machine may not have at the usual place. The group is what the machines are in;
/// it is empty, and goes, once the test has ended.
const OUTER: &str = "set -eu
mount --make-rprivate /
umount -l /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 cgroup2 /sys/fs/cgroup
group=/sys/fs/cgroup/lbctl-tests-$$
mkdir $group
echo $$ >$group/cgroup.procs
status=0
unshare --pid --fork --kill-child --mount-proc \"$@\" || status=$?
echo $$ >/sys/fs/cgroup/cgroup.procs
find $group -depth -type d -exec rmdir {} +
exit $status";

/// Inside it returns the folder. Outside it calls `prepare`, keeps what that returns while the test with this
/// name runs inside, and returns `None`.
///
/// # Panics
/// The test fails inside, or can't be run: it needs root, or sudo without a password.
#[must_use]
#[track_caller]
pub fn enter<T>(test: &str, prepare: impl FnOnce(&Path) -> T) -> Option<PathBuf> {
    if let Some(folder) = env::var_os(INSIDE) {
        return Some(folder.into());
    }
    let folder = tempfile::tempdir().expect("a folder");
    let _kept = prepare(folder.path());
    let mut command = as_root("unshare");
    command.args(["--mount", "--net", "--ipc", "--uts", "sh", "-c", OUTER, "sh", "env"]);
    for (name, value) in [
        (INSIDE, folder.path().display().to_string()),
        ("LBCTL", program::lbctl()),
        ("PATH", env::var("PATH").unwrap_or_default()),
        ("RUST_BACKTRACE", env::var("RUST_BACKTRACE").unwrap_or_default()),
    ] {
        command.arg(format!("{name}={value}"));
    }
    command
        .arg(env::current_exe().expect("a test has a path"))
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .stdin(Stdio::null());
    for attempt in 1..=ATTEMPTS {
        let output = command.output().expect("unshare (util-linux) is there");
        let [said, complained] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
        println!("{said}{complained}");
        if output.status.success() && said.contains("1 passed") {
            break;
        }
        assert!(said.contains(VOID) && attempt < ATTEMPTS, "{}\n{said}{complained}", output.status);
    }
    None
}

/// Inside: a test that fails is run anew, twice at most, because the machine was not as it has to be: these lines say so.
pub fn excuse(signs: &[String]) {
    println!("{VOID}: {signs:#?}");
}

/// Runs `name` with the rights of root.
#[must_use]
pub fn as_root(name: &str) -> Command {
    let path = program::find(name);
    if nix::unistd::geteuid().is_root() {
        return Command::new(path);
    }
    let mut command = Command::new(program::find("sudo"));
    command.arg("-n").arg(path);
    command
}
