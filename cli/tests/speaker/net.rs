//! Namespaces for one test: a bridge with two nodes on it, as root or as a plain user.

use std::{
    env,
    fs::File,
    io::Read,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sched::{CloneFlags, setns},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

/// The address that moves.
pub(crate) const VIP: &str = "198.51.100.10";

/// Long enough for a loaded machine; a state that is reached is seen at once.
const LIMIT: Duration = Duration::from_secs(30);

const INSIDE: &str = "LBCTL_TEST_INSIDE";

/// How often a test is run whose machine is too busy.
const ATTEMPTS: usize = 3;

/// What a node says whose processes did not get the processor.
const STARVATION: [&str; 3] =
    ["the daemon does not answer", "worker is stalled", "late: no advertisement sent for"];

/// Runs `test` in namespaces of its own: starts this test binary again for just the test called `name`. It is the init
/// of its PID namespace, so nothing that it started outlives it. Where it fails, and a node says that its processes did not
/// get the processor, it is run anew, twice at most: such a node gives the address away as it should.
pub(crate) fn in_namespace(name: &str, test: impl FnOnce()) {
    if env::var_os(INSIDE).is_some() {
        return test();
    }
    let mut command = Command::new("unshare");
    if !nix::unistd::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command
        .args(["--net", "--pid", "--mount", "--mount-proc", "--fork", "--kill-child"])
        .arg(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1");
    for attempt in 1..=ATTEMPTS {
        let output = command.output().expect("unshare (util-linux) is there");
        let said = String::from_utf8_lossy(&output.stderr);
        eprintln!("{}{said}", String::from_utf8_lossy(&output.stdout));
        if output.status.success() {
            return;
        }
        let is_starved = STARVATION.iter().any(|sign| said.contains(sign));
        assert!(is_starved && attempt < ATTEMPTS, "{name} failed in its namespaces");
        eprintln!("attempt {attempt} says nothing: the machine was too busy");
    }
}

/// Waits until `reached` says so.
pub(crate) fn wait_for<T>(what: &str, mut reached: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + LIMIT;
    loop {
        if let Some(value) = reached() {
            return value;
        }
        assert!(Instant::now() < until, "not reached: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The bridge; this process is on it with 198.51.100.1.
pub(crate) struct Bridge {
    pub(crate) folder: TempDir,
}

impl Bridge {
    /// `vip`: further lines of the `[vip.web]` table.
    pub(crate) fn new(vip: &str) -> Self {
        Self::with(&format!("addresses = [\"{VIP}\"]\n{vip}"))
    }

    /// `vip`: the lines of the `[vip.web]` table but for its vrid.
    pub(crate) fn with(vip: &str) -> Self {
        run("ip", &["link", "set", "lo", "up"]);
        run("ip", &["link", "add", "br0", "type", "bridge"]);
        run("ip", &["addr", "add", "198.51.100.1/24", "dev", "br0"]);
        run("ip", &["link", "set", "br0", "up"]);
        let folder = TempDir::new().unwrap();
        let file = format!(
            "[cluster]\nnode.lb1 = \"198.51.100.11\"\nnode.lb2 = \"198.51.100.12\"\n\
             [global]\nthreads = 1\nmaxconn = 100\n\
             [vip.web]\nvrid = 51\n{vip}\n\
             [listen.web]\nbind = {{ vip = \"web\", port = 80 }}\nservers = [\"198.51.100.21:80\"]\ncheck = false\n"
        );
        std::fs::write(folder.path().join("lb.toml"), file).unwrap();
        Self { folder }
    }
}

/// One node: a network namespace with `eth1` on the bridge.
pub(crate) struct Node {
    pub(crate) name: &'static str,
    pub(crate) address: String,
    folder: PathBuf,
    file: PathBuf,
    holder: Child,
    daemon: Option<Child>,
}

impl Node {
    /// Number 1 or 2. `interface`: whether `eth1` exists from the start.
    pub(crate) fn new(bridge: &Bridge, number: u8, interface: bool) -> Self {
        let name = if number == 1 { "lb1" } else { "lb2" };
        let holder = Command::new("unshare").args(["--net", "sleep", "infinity"]).spawn().unwrap();
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        let theirs = format!("/proc/{}/ns/net", holder.id());
        wait_for("a namespace of the node's own", || {
            (std::fs::read_link(&theirs).ok()? != own).then_some(())
        });
        let folder = bridge.folder.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        let node = Self {
            name,
            address: format!("198.51.100.1{number}"),
            folder,
            file: bridge.folder.path().join("lb.toml"),
            holder,
            daemon: None,
        };
        node.ip(&["link", "set", "lo", "up"]);
        if interface {
            node.plug_in();
        }
        node
    }

    /// Creates `eth1` and gives it the node's address.
    pub(crate) fn plug_in(&self) {
        let port = format!("port-{}", self.name);
        let pid = self.holder.id().to_string();
        run("ip", &["link", "add", &port, "type", "veth", "peer", "name", "eth1", "netns", &pid]);
        run("ip", &["link", "set", &port, "master", "br0", "up"]);
        self.ip(&["addr", "add", &format!("{}/24", self.address), "dev", "eth1"]);
        self.ip(&["link", "set", "eth1", "up"]);
    }

    /// Runs `ip` on the node.
    pub(crate) fn ip(&self, arguments: &[&str]) -> String {
        let pid = self.holder.id().to_string();
        let mut all = vec!["-t", &pid, "-n", "ip"];
        all.extend_from_slice(arguments);
        run("nsenter", &all)
    }

    /// Runs `inside` on a thread that is in the node's namespace.
    pub(crate) fn inside<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/proc/{}/ns/net", self.holder.id())).unwrap();
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(&namespace, CloneFlags::CLONE_NEWNET).unwrap();
                inside()
            });
            thread.join().unwrap()
        })
    }

    pub(crate) fn has_vip(&self) -> bool {
        self.ip(&["-4", "addr", "show"]).contains(&format!("inet {VIP}/"))
    }

    /// The hardware address of `eth1`.
    pub(crate) fn mac(&self) -> [u8; 6] {
        let shown = self.ip(&["-o", "link", "show", "dev", "eth1"]);
        let text = shown.split("link/ether ").nth(1).unwrap().split(' ').next().unwrap();
        let octets = text.split(':').map(|octet| u8::from_str_radix(octet, 16).unwrap());
        octets.collect::<Vec<_>>().try_into().unwrap()
    }

    /// `lbctl run` with further arguments, started by `wrapper` (a command and its arguments, or nothing).
    pub(crate) fn command(&self, wrapper: &[&str], arguments: &[&str]) -> Command {
        self.command_in(&self.folder, wrapper, arguments)
    }

    /// With another runtime folder.
    pub(crate) fn command_in(&self, folder: &Path, wrapper: &[&str], arguments: &[&str]) -> Command {
        self.command_of(Path::new(env!("CARGO_BIN_EXE_lbctl")), folder, wrapper, arguments)
    }

    fn command_of(&self, program: &Path, folder: &Path, wrapper: &[&str], arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.holder.id().to_string(), "-n"]).args(wrapper);
        command.arg(program).arg("run").arg(&self.file);
        command.args(["--node", self.name, "--runtime-dir"]).arg(folder).args(arguments);
        command.stdin(Stdio::null()).env("LBCTL_LOG", "debug").process_group(0);
        command
    }

    pub(crate) fn start(&mut self) {
        self.start_program(Path::new(env!("CARGO_BIN_EXE_lbctl")), &[]);
    }

    /// The same with a copy of the program.
    pub(crate) fn start_program(&mut self, program: &Path, arguments: &[&str]) {
        self.start_by(&[], program, arguments);
    }

    /// The same, started by `wrapper`.
    pub(crate) fn start_by(&mut self, wrapper: &[&str], program: &Path, arguments: &[&str]) {
        let log = File::options().create(true).append(true).open(self.folder.join("log")).unwrap();
        let mut command = self.command_of(program, &self.folder, wrapper, arguments);
        self.daemon = Some(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
    }

    /// A daemon that was started otherwise.
    pub(crate) fn adopt(&mut self, daemon: Child) {
        self.daemon = Some(daemon);
    }

    pub(crate) fn log(&self) -> String {
        let mut text = String::new();
        if let Ok(mut file) = File::open(self.folder.join("log")) {
            file.read_to_string(&mut text).unwrap();
        }
        text
    }

    pub(crate) fn daemon(&self) -> Pid {
        let daemon = self.daemon.as_ref().expect("the node was started");
        Pid::from_raw(i32::try_from(daemon.id()).unwrap())
    }

    /// The speaker of the daemon, once there is one.
    pub(crate) fn speaker(&self) -> Pid {
        wait_for("a speaker", || self.speaker_now())
    }

    pub(crate) fn speaker_now(&self) -> Option<Pid> {
        self.speaker_of(self.daemon())
    }

    /// The one that this process has started.
    pub(crate) fn speaker_of(&self, daemon: Pid) -> Option<Pid> {
        children(daemon).into_iter().find(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.starts_with(b"lbctl\0speaker\0") && !is_dead(*pid)
        })
    }

    pub(crate) fn signal(&self, pid: Pid, signal: Signal) {
        kill(pid, signal).unwrap();
    }

    /// Waits for the daemon's end.
    pub(crate) fn wait(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.wait().unwrap();
        }
    }

    /// A counter of the group, as `lbctl status` shows it.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        let status = self.status();
        status["groups"][0]["counters"][name].as_u64().unwrap_or(0)
    }

    /// `Active`, `Backup` or `Initialize`; empty while it does not answer.
    pub(crate) fn state(&self) -> String {
        let status = self.status();
        let nodes = status["groups"][0]["nodes"].as_array().cloned().unwrap_or_default();
        let own = nodes.iter().find(|node| node["local"] == true);
        own.and_then(|node| node["state"].as_str()).unwrap_or_default().to_owned()
    }

    pub(crate) fn status(&self) -> serde_json::Value {
        let output = Command::new(env!("CARGO_BIN_EXE_lbctl"))
            .args(["status", "--json", "--control"])
            .arg(self.folder.join("control.sock"))
            .output()
            .unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- log of {}\n{}", self.name, self.log());
        }
        for child in self.daemon.iter_mut().chain([&mut self.holder]) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Waits until both nodes say that as the reason why the address is where it is.
pub(crate) fn wait_until_both_say(nodes: [&Node; 2], why: &str) {
    for node in nodes {
        wait_for(why, || (node.status()["groups"][0]["why"] == why).then_some(()));
    }
}

/// Whether a process is gone, or is a zombie.
pub(crate) fn is_dead(pid: Pid) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with(['Z', 'X']))
}

pub(crate) fn children(of: Pid) -> Vec<Pid> {
    let tasks = std::fs::read_dir(format!("/proc/{of}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| {
            list.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw).collect::<Vec<_>>()
        })
        .collect()
}
