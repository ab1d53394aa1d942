//! A machine with systemd: a container of systemd-nspawn, which boots in a second. It is plugged into a switch that the test
//! itself is plugged into as well. Only inside a [`crate::world`].

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use nix::fcntl::{Flock, FlockArg};

use crate::{
    package::{said, tool},
    wait,
    world::as_root,
};

/// Nothing that a machine does takes longer on a computer under load.
pub const PATIENCE: Duration = Duration::from_secs(60);
const SWITCH: &str = "front";
const PLACE: &str = "/run/machines";
/// Changes with what is in the root file system.
const EDITION: u32 = 3;
/// System calls by which a program narrows what it may do.
const NARROWING: &str = "seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self";
const PACKAGES: &str = "systemd,systemd-sysv,dbus,iproute2,procps,bsdutils,rpm,logrotate";

/// Puts a link to the archive of a root file system into `folder`: this Debian's, made from the mirror that apt uses here. It is
/// made once and stays in the folder that cargo builds in.
///
/// # Panics
/// It can't be made.
#[track_caller]
pub fn prepare(folder: &Path) {
    let exe = std::env::current_exe().expect("a test has a path");
    // target/PROFILE/deps/TEST
    let target = exe.ancestors().nth(3).expect("cargo's folders");
    let lock = File::create(target.join("root.lock")).expect("a lock file");
    let _lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, error)| error).expect("locked");
    let release = fs::read_to_string("/etc/os-release").expect("a Debian");
    let codename = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME=")).expect("a Debian");
    let archive = target.join(format!("root-{codename}-{EDITION}.tar"));
    if !archive.exists() {
        make_root(codename, &archive);
    }
    std::os::unix::fs::symlink(archive, folder.join("root.tar")).expect("a link");
}

fn make_root(codename: &str, archive: &Path) {
    let half = archive.with_extension("half");
    let mut command = as_root("mmdebstrap");
    command.args(["--variant=minbase", "--quiet", "--format=tar", "--include", PACKAGES]);
    command.args(["--aptopt=Acquire::Retries \"5\"", "--aptopt=Acquire::http::Timeout \"30\""]);
    for kind in ["http", "https"] {
        let proxy = said(tool("apt-config").args(["shell", "P", &format!("Acquire::{kind}::Proxy")]));
        if let Some(proxy) = proxy.trim().strip_prefix("P='").and_then(|rest| rest.strip_suffix('\'')) {
            command.arg(format!("--aptopt=Acquire::{kind}::Proxy \"{proxy}\""));
        }
    }
    for unused in ["doc", "locale", "man"] {
        command.arg(format!("--dpkgopt=path-exclude=/usr/share/{unused}/*"));
    }
    let sources = "$(REPO_URI) $(CODENAME)";
    let sources = said(tool("apt-get").args(["indextargets", "--format", sources, "Created-By: Packages"]));
    let mirror = sources.lines().filter_map(|line| line.split_once(' ')).find(|(_, has)| *has == codename);
    command.arg(codename).arg("-").args(mirror.map(|(uri, _)| uri));
    let output = command
        .stdin(Stdio::null())
        .stdout(File::create(&half).expect("a file"))
        .output()
        .expect("tests/run installs mmdebstrap");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    fs::rename(half, archive).expect("renamed");
}

/// Unpacks the archive of `folder` to `root`.
///
/// # Panics
/// The disk is full.
#[track_caller]
pub fn unpack(folder: &Path, root: &Path) {
    fs::create_dir_all(root).expect("a folder");
    said(tool("tar").arg("-xf").arg(folder.join("root.tar")).arg("-C").arg(root));
}

/// Makes the switch; the test gets these addresses on it. To be called once, before the first machine.
///
/// # Panics
/// The kernel refuses.
#[track_caller]
pub fn build_network(addresses: &[&str]) {
    // What systemd-nspawn keeps there is nobody else's, and no disk's.
    said(tool("mount").args(["-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"]));
    ip("link set lo up");
    ip(&format!("link add {SWITCH} type bridge mcast_snooping 0"));
    ip(&format!("link set {SWITCH} up"));
    for address in addresses {
        ip(&format!("address add {address} dev {SWITCH}"));
    }
}

fn ip(words: &str) {
    said(tool("ip").args(words.split(' ')));
}

/// See the module.
#[derive(Debug)]
pub struct Machine {
    name: String,
    root: PathBuf,
    container: Option<Child>,
}

impl Machine {
    /// Boots one with this address.
    ///
    /// # Panics
    /// It does not come up.
    #[track_caller]
    #[must_use]
    pub fn boot(folder: &Path, name: &str, address: &str) -> Self {
        let root = Path::new(PLACE).join(name);
        unpack(folder, &root);
        let network = format!(
            "[Unit]\nDefaultDependencies=no\nBefore=network.target\nWants=network.target\n\
             [Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=ip address add {address} dev host0\n\
             ExecStart=ip link set host0 up\n[Install]\nWantedBy=sysinit.target\n"
        );
        fs::write(root.join("etc/systemd/system/cable.service"), network).expect("written");
        fs::write(root.join("etc/hostname"), format!("{name}\n")).expect("written");
        let wants = root.join("etc/systemd/system/sysinit.target.wants");
        fs::create_dir_all(&wants).expect("a folder");
        std::os::unix::fs::symlink("../cable.service", wants.join("cable.service")).expect("a link");
        let mut machine = Self { name: name.to_owned(), root, container: None };
        machine.start();
        machine
    }

    /// The thread with this name of a process there, by the number that this process knows it by.
    ///
    /// # Panics
    /// There is none.
    #[track_caller]
    #[must_use]
    pub fn thread(&self, process: &str, name: &str) -> u32 {
        let leader = self.leader().expect("the machine is up");
        let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/pid")).ok();
        let own = namespace(&leader.to_string()).expect("its PID 1");
        let is_it = |path: &Path| {
            let status = fs::read_to_string(path.join("status")).unwrap_or_default();
            let inside =
                status.lines().find_map(|line| line.strip_prefix("NSpid:")?.split_whitespace().last());
            inside == Some(process)
                && path.file_name().and_then(|name| namespace(name.to_str()?)) == Some(own.clone())
        };
        let all = fs::read_dir("/proc").expect("/proc").flatten().map(|entry| entry.path());
        let found = all.into_iter().find(|path| is_it(path)).expect("the process");
        let threads = fs::read_dir(found.join("task")).expect("its threads").flatten();
        let named =
            |path: &PathBuf| fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim() == name);
        let thread = threads.map(|entry| entry.path()).find(named).expect("the thread");
        thread.file_name().and_then(|name| name.to_str()?.parse().ok()).expect("a number")
    }

    fn start(&mut self) {
        let log = File::options().create(true).append(true).open(self.log()).expect("a file");
        let errors = log.try_clone().expect("a descriptor");
        // Each in a group of its own: systemd-nspawn uses the one that it is in.
        let script = "group=$(sed -n 's/^0:://p' /proc/self/cgroup)/$1
            mkdir -p /sys/fs/cgroup$group && echo $$ >/sys/fs/cgroup$group/cgroup.procs && shift && exec \"$@\"";
        let mut command = tool("sh");
        command.args([
            "-c",
            script,
            "sh",
            &self.name,
            "systemd-nspawn",
            "--quiet",
            "--boot",
            "--register=no",
        ]);
        command.args(["--keep-unit", "--console=pipe", "--machine", &self.name]);
        // As on a machine of its own, what runs there may lock its memory and narrow itself.
        command.arg(format!("--system-call-filter={}", ["@memlock", NARROWING].join(" ")));
        command.arg(format!("--network-bridge={SWITCH}")).arg("--directory").arg(&self.root);
        command.env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1");
        let container = command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn();
        self.container = Some(container.expect("tests/run installs systemd-nspawn"));
        wait::until(&format!("{} is up", self.name), PATIENCE, || {
            let state = self.try_run("systemctl is-system-running")?;
            (String::from_utf8_lossy(&state.stdout).trim() == "running").then_some(())
        });
    }

    fn log(&self) -> PathBuf {
        self.root.with_extension("log")
    }

    /// Its folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Its PID 1, as this process knows it.
    fn leader(&self) -> Option<u32> {
        let container = self.container.as_ref()?.id();
        let children = fs::read_to_string(format!("/proc/{container}/task/{container}/children")).ok()?;
        children.split_whitespace().next()?.parse().ok()
    }

    /// Runs a command of the shell there; `None` while it is not up.
    fn try_run(&self, command: &str) -> Option<Output> {
        let leader = self.leader()?.to_string();
        let mut enter = tool("nsenter");
        enter.args(["--target", &leader, "--all", "--", "env", "-i", "LC_ALL=C.UTF-8"]);
        enter.args(["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "sh", "-c", command]);
        enter.stdin(Stdio::null()).output().ok()
    }

    /// Runs a command of the shell there: how it ended.
    ///
    /// # Panics
    /// The machine is not up.
    #[track_caller]
    #[must_use]
    pub fn run(&self, command: &str) -> Output {
        self.try_run(command).unwrap_or_else(|| panic!("{} is not up", self.name))
    }

    /// What a command that has to work wrote to stdout.
    ///
    /// # Panics
    /// It failed.
    #[track_caller]
    pub fn said(&self, command: &str) -> String {
        let output = self.run(command);
        let [said, complained] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
        assert!(output.status.success(), "{}: {command}: {said}{complained}", self.name);
        said.trim_end().to_owned()
    }

    /// A property of a unit.
    #[track_caller]
    #[must_use]
    pub fn property(&self, unit: &str, name: &str) -> String {
        self.said(&format!("systemctl show --value -p {name} {unit}"))
    }

    /// As its operator does it; returns when it is up again.
    #[track_caller]
    pub fn reboot(&mut self) {
        // It does not wait for its own end.
        let _ = self.run("systemctl reboot");
        let mut container = self.container.take().expect("the machine is up");
        wait::until(&format!("{} is down", self.name), PATIENCE, || container.try_wait().ok().flatten());
        self.start();
    }

    /// Pulls its cable, or plugs it in.
    #[track_caller]
    pub fn set_cable(&self, plugged: bool) {
        ip(&format!("link set vb-{} {}", self.name, if plugged { "up" } else { "down" }));
    }

    /// The last lines of the journal of a unit.
    #[must_use]
    pub fn journal(&self, unit: &str) -> String {
        let journal = self.try_run(&format!("journalctl --no-pager -o short-precise -n 60 -u {unit}"));
        journal.map_or_else(String::new, |output| String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- journal of {} ---\n{}", self.name, self.journal("lbctl"));
            eprintln!("--- console ---\n{}", fs::read_to_string(self.log()).unwrap_or_default());
        }
        if let Some(mut container) = self.container.take() {
            // Whatever runs in there ends with this test's PID namespace.
            let _ = container.kill();
            let _ = container.wait();
        }
    }
}

/// A program of the test itself, in the world beside the machines; it ends with this value.
#[derive(Debug)]
pub struct Beside(Child);

impl Beside {
    /// Starts it.
    ///
    /// # Panics
    /// It does not start.
    #[track_caller]
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }

    /// The process.
    pub fn process(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
