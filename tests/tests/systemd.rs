//! The package under real systemd: two machines in which it is installed, broken, upgraded and purged as an operator does it.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

#[path = "systemd/book.rs"]
mod book;
#[path = "systemd/broken.rs"]
mod broken;
#[path = "systemd/orders.rs"]
mod orders;
#[path = "systemd/pair.rs"]
mod pair;

use std::{
    collections::BTreeSet,
    fs,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::SystemTime,
};

use lb_tests::{
    machine::{self, Machine, PATIENCE},
    order::other,
    package::{build, tool},
    program,
    scene::take_slot,
    wait, world,
};
use lbctl::lab::CONFIGURATION;
use serde_json::Value;

use self::{
    broken::{
        both_that_die_leave_nothing, cable_that_is_pulled_moves_the_address,
        daemon_that_dies_or_hangs_is_replaced, error_that_lasts_is_not_tried_all_the_time,
        part_that_does_not_move_is_found_by_the_watchdog, restarts, speaker_runs_before_others,
        speaker_that_dies_moves_nothing,
    },
    orders::{
        daemon_that_is_stopped_stays_stopped, logs_are_rotated,
        node_that_reboots_gives_the_address_away_and_comes_back, orders_of_systemd_are_an_orderly_move,
        refuses_a_bad_file,
    },
    pair::{Clients, Pair},
};

/// The next version; as long as the one that there is.
const NEXT: &str = "0.9.9";

/// This version.
const THIS: &str = env!("CARGO_PKG_VERSION");

/// As `systemctl edit` writes it. What follows takes longer than that: a daemon that does not feed its watchdog is found out.
const PATIENT_FOR: &str = "[Service]\nWatchdogSec=2s\n";

/// As the book has it for machines whose systemd may not raise limits (LimitRTPRIO=).
const WITHOUT_LIMITS: &str = "AmbientCapabilities=CAP_SYS_NICE\nCapabilityBoundingSet=CAP_SYS_NICE\n";

/// Makes the packages of this program, and of one that says wherever it says so that it is the next version: to the package manager,
/// in the hello, to who asks it, and to the process before. What else a next version may say, and does not yet, is among the
/// tests of the hello and of the upgrade. Building it would take minutes.
fn packages(folder: &Path, rpm: bool) {
    let program = PathBuf::from(program::lbctl());
    let _ = build(&program, &folder.join("this"), rpm);
    let (mut bytes, version) = (fs::read(&program).unwrap(), THIS.as_bytes());
    assert_eq!(version.len(), NEXT.len());
    let mut at = 0;
    while let Some(found) = bytes[at..].windows(version.len()).position(|bytes| bytes == version) {
        at += found;
        bytes[at..at + NEXT.len()].copy_from_slice(NEXT.as_bytes());
    }
    let next = folder.join("lbctl");
    fs::write(&next, bytes).unwrap();
    fs::set_permissions(&next, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let _ = build(&next, &folder.join("next"), rpm);
}

/// Where dpkg or rpm of a machine finds them.
fn put_packages(folder: &Path, root: &Path) {
    for version in ["this", "next"] {
        for path in fs::read_dir(folder.join(version)).unwrap().map(|entry| entry.unwrap().path()) {
            let kind = path.extension().unwrap().display().to_string();
            fs::copy(path, root.join(format!("root/{version}.{kind}"))).unwrap();
        }
    }
}

/// Everything in a machine that a package could leave behind.
fn files(machine: &Machine) -> BTreeSet<String> {
    let found = machine.said(
        "find /etc /usr /opt /srv /var /root -xdev -not -path '/var/log/journal/*' -not -path '/var/lib/dpkg/*' \
         -not -path '/var/tmp/*' -not -path '/var/log/dpkg.log' -not -path '/etc/*-' -not -path '/etc/.pwd.lock'",
    );
    found.lines().map(str::to_owned).collect()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

#[test]
fn package_is_installed_broken_upgraded_and_purged_under_systemd() {
    let test = "package_is_installed_broken_upgraded_and_purged_under_systemd";
    let prepare = |folder: &Path| {
        machine::prepare(folder);
        packages(folder, false);
        // Held by this process, the outer one, for as long as the machines run.
        take_slot()
    };
    let Some(folder) = world::enter(test, prepare) else { return };
    let mut pair = Pair::boot(&folder);
    let before = files(&pair.nodes[0]);

    // Installed: nothing runs, since there is no file. Enabled: it does.
    for node in &pair.nodes {
        node.said("dpkg -i /root/this.deb");
        assert_eq!(node.property("lbctl", "ActiveState"), "inactive");
        assert_eq!(node.property("lbctl", "UnitFileState"), "disabled");
        fs::write(node.root().join("etc/lbctl/lb.toml"), CONFIGURATION).unwrap();
        node.said("mkdir /etc/systemd/system/lbctl.service.d");
        fs::write(node.root().join("etc/systemd/system/lbctl.service.d/override.conf"), override_of(node))
            .unwrap();
        node.said("systemctl daemon-reload && systemctl enable --now lbctl");
    }
    let holder = pair.holder();
    pair.wait_until_well();
    is_hardened(pair.node(holder));
    speaker_runs_before_others(pair.node(holder));
    refuses_a_bad_file(pair.node(holder));
    speaker_that_dies_moves_nothing(&pair);
    daemon_that_dies_or_hangs_is_replaced(&pair);
    part_that_does_not_move_is_found_by_the_watchdog(&pair);
    both_that_die_leave_nothing(&pair);
    cable_that_is_pulled_moves_the_address(&pair);
    daemon_that_is_stopped_stays_stopped(&pair);
    error_that_lasts_is_not_tried_all_the_time(&pair);
    excused(&mut pair, |pair| {
        let clients = Clients::start();
        orders_of_systemd_are_an_orderly_move(pair, &clients);
        logs_are_rotated(pair, &clients);
        node_that_reboots_gives_the_address_away_and_comes_back(pair);
        package_is_upgraded_node_by_node(pair, &clients);
        purge_leaves_nothing(pair, &before);
        clients.end_without_failures();
    });
}

/// Does what breaks nothing: where a node says all the same that its processes were not run, a failure shows nothing.
fn excused(pair: &mut Pair, what: impl FnOnce(&mut Pair)) {
    let begun = SystemTime::now();
    if let Err(failure) = panic::catch_unwind(AssertUnwindSafe(|| what(pair))) {
        let signs = pair.signs_of_starvation(begun);
        if !signs.is_empty() {
            world::excuse(&signs);
        }
        panic::resume_unwind(failure);
    }
}

fn override_of(node: &Machine) -> String {
    let may_raise = node.run("prlimit --rtprio=20 true").status.success();
    format!("{PATIENT_FOR}{}", if may_raise { "" } else { WITHOUT_LIMITS })
}

fn is_hardened(node: &Machine) {
    // It narrows itself, beside what the unit does.
    let journal = node.journal("lbctl");
    assert!(journal.contains("lbctl runs version=") && !journal.contains("lbctl runs without "), "{journal}");
    // Under another name, without the drop-in.
    let packaged = "cp /usr/lib/systemd/system/lbctl.service /run/packaged.service";
    let analyze = "systemd-analyze security --no-pager --offline=yes /run/packaged.service";
    let said = node.said(&format!("{packaged} && {analyze}"));
    let exposure = said.lines().last().unwrap().split_whitespace().find_map(|word| word.parse::<f64>().ok());
    assert!(exposure.is_some_and(|exposure| exposure < 2.5), "{said}");
    let daemon = node.property("lbctl", "MainPID");
    assert_eq!(node.said(&format!("ps -o user= -p {daemon}")), "lbctl");
    // What runs commands is somebody else's.
    let whose = |name: &str| node.said(&format!("ps -o user:20= -C {name}"));
    assert_eq!([whose("lbctl-starter"), whose("lbctl-runner")], ["lbctl-commands", "lbctl-commands"]);
    // A container may not be allowed to carry it out.
    assert_eq!(node.property("lbctl", "OOMScoreAdjust"), "-900");
    assert_eq!(node.property("lbctl", "OOMPolicy"), "continue");
    let score =
        |process: &str| node.said(&format!("cat /proc/{process}/oom_score_adj")).parse::<i32>().unwrap();
    let speaker = node.said("pgrep -x lbctl-speaker");
    assert_eq!(score(&daemon), score(&speaker) + 100, "memory that is short costs the daemon");
    // As many as the machine lets anybody have.
    let most = node.said("ulimit -Hn").parse::<u64>().unwrap().min(131_072);
    let limits = node.said(&format!("grep 'open files' /proc/{daemon}/limits"));
    assert!(limits.split_whitespace().any(|word| word == most.to_string()), "{limits} {most}");
}

/// Versions as text has them: what dpkg has installed, and what `lbctl status` names.
#[track_caller]
fn versions_are(pair: &Pair, expected: [(&str, &str); 2]) {
    let others = expected.iter().rev();
    for ((name, own), (other, theirs)) in expected.iter().zip(others) {
        let node = pair.node(name);
        assert_eq!(node.said("dpkg-query -W -f '${Version}' lbctl"), format!("{own}-1"));
        assert_eq!(node.said("lbctl --version"), format!("lbctl {own}"));
        // What runs, and what it was told by the other one's hello.
        let beside = if own == theirs { String::new() } else { format!(", {theirs} on {other}") };
        let first = format!("{name} · lbctl {own}{beside}, up ");
        wait::until(&first, PATIENCE, || text(&node.run("lbctl status")).starts_with(&first).then_some(()));
    }
}

fn package_is_upgraded_node_by_node(pair: &Pair, clients: &Clients) {
    let upgrade = |name: &str| {
        let node = pair.node(name);
        let (daemon, before) = (node.property("lbctl", "MainPID"), restarts(node));
        let said = text(&node.run("dpkg -i /root/next.deb"));
        assert!(said.contains(&format!("lbctl {NEXT} after {THIS}")), "{said}");
        wait::until("systemd knows the new process", PATIENCE, || {
            (node.property("lbctl", "MainPID") != daemon).then_some(())
        });
        assert_eq!(node.property("lbctl", "MainPID"), pair.status(name)["pid"].to_string());
        pair.wait_until_well();
        // Longer than its watchdog waits.
        (0..4).for_each(|_| clients.wait_for_more());
        assert_eq!(restarts(node), before, "{}", node.journal("lbctl"));
        assert!(!node.journal("lbctl").contains("permitted only for"), "{}", node.journal("lbctl"));
    };
    let holder = pair.holder();
    let backup = other(holder);
    versions_are(pair, [(holder, THIS), (backup, THIS)]);
    upgrade(backup);
    versions_are(pair, [(holder, THIS), (backup, NEXT)]);
    assert_eq!(pair.holder(), holder);
    // To the next version, back to this one as by somebody who does not like it, and to it again.
    for (from, to) in [(holder, backup), (backup, holder), (holder, backup)] {
        pair.node(from).said("lbctl switchover");
        assert_eq!(pair.holder(), to);
        clients.wait_for_more();
        pair.wait_until_well();
    }
    upgrade(holder);
    versions_are(pair, [(holder, NEXT), (backup, NEXT)]);
    assert_eq!(pair.holder(), backup);

    // Its end is noticed like that of the first one.
    let (node, before) = (pair.node(holder), restarts(pair.node(holder)));
    node.said(&format!("kill -9 {}", node.property("lbctl", "MainPID")));
    wait::until("systemd has started another one", PATIENCE, || (restarts(node) == before + 1).then_some(()));
    pair.wait_until_well();
}

fn purge_leaves_nothing(pair: &Pair, before: &BTreeSet<String>) {
    let holder = pair.holder();
    let node = pair.node(holder);
    // Its operator's, not ours.
    node.said("rm -r /etc/systemd/system/lbctl.service.d");
    node.said("dpkg --purge lbctl");
    assert_eq!(pair.holder(), other(holder));
    let after = files(node);
    let left: Vec<_> = after.difference(before).collect();
    assert_eq!(left, Vec::<&String>::new());
    let questions = [
        "getent passwd lbctl",
        "getent group lbctl",
        "getent passwd lbctl-commands",
        "getent group lbctl-commands",
        "pgrep lbctl",
        "ls /run/lbctl",
    ];
    for question in questions {
        let output = node.run(question);
        assert!(!output.status.success(), "{question}: {}", text(&output));
    }
    assert_eq!(node.property("lbctl", "LoadState"), "not-found");
}

/// By rpm itself, in a machine of Debian: the same files and scripts, but no repository that knows what they need.
#[test]
fn rpm_is_installed_upgraded_and_erased_under_systemd() {
    let prepare = |folder: &Path| {
        machine::prepare(folder);
        packages(folder, true);
        take_slot()
    };
    let Some(folder) = world::enter("rpm_is_installed_upgraded_and_erased_under_systemd", prepare) else {
        return;
    };
    machine::build_network(&["198.51.100.1/24"]);
    let node = Machine::boot(&folder, "lb1", "198.51.100.11/24");
    put_packages(&folder, node.root());
    let rpm = |words: &str| node.said(&format!("rpm --nodeps {words} 2>&1"));
    let status = || serde_json::from_str::<Value>(&node.said("lbctl status --json")).unwrap();

    rpm("-i /root/this.rpm");
    // Each file has the mode, the owner and the bytes that the package says.
    assert_eq!(rpm("-V lbctl"), "");
    assert_eq!(
        node.said("stat -c '%a %U' /usr/bin/lbctl /etc/lbctl /etc/lbctl/lb.toml.example"),
        "755 root\n755 root\n644 root"
    );
    node.said("getent passwd lbctl && getent group lbctl");
    assert_eq!(node.property("lbctl", "ActiveState"), "inactive");
    assert_eq!(node.property("lbctl", "UnitFileState"), "disabled");
    node.said("test ! -e /etc/init.d/lbctl && test -e /usr/share/zsh/site-functions/_lbctl");
    let file = "[global]\ncommand_user = \"daemon\"\n[notify.all]\ncommand = [\"/bin/true\"]\n\
                [listen.web]\nmode = \"tcp\"\nbind = \"127.0.0.1:8080\"\nservers = [\"127.0.0.1:8081\"]\ncheck = false\n";
    fs::write(node.root().join("etc/lbctl/lb.toml"), file).unwrap();
    node.said("echo '# of mine' >>/etc/lbctl/lb.toml.example && systemctl enable --now lbctl");
    let first = status()["pid"].clone();
    // The key of the file counts under the unit.
    assert_eq!(node.said("ps -o user= -C lbctl-starter"), "daemon");

    let said = rpm("-U /root/next.rpm");
    assert!(said.contains(&format!("lbctl {NEXT} after {THIS}")), "{said}");
    let now = status();
    assert_eq!(now["version"], NEXT);
    assert_ne!(now["pid"], first);
    let pid = now["pid"].to_string();
    wait::until("systemd knows the new process", PATIENCE, || {
        (node.property("lbctl", "MainPID") == pid).then_some(())
    });
    assert_eq!(
        node.property("lbctl", "UnitFileState"),
        "enabled",
        "the package before was not erased, but replaced"
    );
    node.said("grep 'of mine' /etc/lbctl/lb.toml.example");

    rpm("-e lbctl");
    assert!(!node.run("pgrep lbctl").status.success());
    assert_eq!(node.property("lbctl", "LoadState"), "not-found");
    let left = node.said("find /usr /etc -xdev -name '*lbctl*' -not -name 'lbctl' ; ls /etc/lbctl");
    // What is the operator's own.
    assert_eq!(left, "lb.toml\nlb.toml.example.rpmsave");
}

#[test]
fn script_of_those_without_systemd_starts_stops_and_refuses_a_bad_file() {
    let test = "script_of_those_without_systemd_starts_stops_and_refuses_a_bad_file";
    let prepare = |folder: &Path| {
        machine::prepare(folder);
        packages(folder, false);
        take_slot()
    };
    let Some(folder) = world::enter(test, prepare) else { return };
    machine::build_network(&[]);
    let root = Path::new("/run/root");
    machine::unpack(&folder, root);
    put_packages(&folder, root);
    let inside = |command: &str| {
        let command =
            format!("mount -t proc proc /proc 2>/dev/null; PATH=/usr/sbin:/usr/bin:/sbin:/bin; {command}");
        tool("chroot").arg(root).args(["sh", "-c", &command]).stdin(Stdio::null()).output().unwrap()
    };
    #[track_caller]
    fn said(output: &Output, code: i32) -> String {
        assert_eq!(output.status.code(), Some(code), "{}", text(output));
        text(output)
    }
    let script = |order: &str| inside(&format!("/etc/init.d/lbctl {order}"));
    let daemon = || {
        let output = inside(". /etc/default/lbctl; lbctl status --json --control $CONTROL");
        serde_json::from_slice::<Value>(&output.stdout).map_or(Value::Null, |status| status["pid"].clone())
    };
    let pid_file = || {
        let text = fs::read_to_string(root.join("run/lbctl/lbctl.pid")).unwrap_or_default();
        text.trim().parse::<u64>().map_or(Value::Null, Value::from)
    };
    said(&inside("dpkg -i /root/this.deb"), 0);
    fs::write(root.join("etc/default/lbctl"), "CONTROL=/run/lbctl/control.sock\n").unwrap();
    assert!(said(&script("start"), 6).contains("/etc/lbctl/lb.toml"));
    assert!(said(&script("stop"), 0).contains("lbctl does not run"));
    let file = root.join("etc/lbctl/lb.toml");
    let good = "[listen.web]\nmode = \"tcp\"\nbind = \"127.0.0.1:8080\"\nservers = [\"127.0.0.1:8081\"]\ncheck = false\n";
    fs::write(&file, good).unwrap();
    said(&script("configtest"), 0);
    // Left by a daemon that was killed; another program has the number by now.
    said(&inside("mkdir -p /run/lbctl; sleep 1000 >/dev/null 2>&1 & echo $! >/run/lbctl/lbctl.pid"), 0);
    let other = pid_file();
    said(&script("status"), 3);
    assert!(said(&script("stop"), 0).contains("lbctl does not run"));
    said(&script("start"), 0);
    // Who may not look does not say that nothing runs.
    for order in ["status", "stop", "start"] {
        let nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups";
        let said = said(&inside(&format!("{nobody} /etc/init.d/lbctl {order}")), 4);
        assert!(said.contains("may not see whether lbctl runs"), "{order}: {said}");
    }
    said(&inside(&format!("kill {other}")), 0);
    let killed = daemon();
    assert_eq!(pid_file(), killed);
    said(&inside(&format!("kill -9 {killed}")), 0);
    wait::until("it is gone", PATIENCE, || (daemon() == Value::Null).then_some(()));
    said(&script("status"), 3);
    assert!(said(&script("start"), 0).contains("lbctl is started"));
    let first = daemon();
    assert!(first.is_number() && first != killed && pid_file() == first, "{first}");
    assert!(said(&script("start"), 0).contains("runs already"));
    said(&script("status"), 0);
    fs::write(&file, "[listen.web]\nbnd = 1\n").unwrap();
    for order in ["restart", "force-reload"] {
        assert!(said(&script(order), 6).contains("lb.toml:2:1: unknown key `bnd`"));
    }
    said(&script("reload"), 78);
    said(&script("configtest"), 78);
    // A good one, with which this machine can't start.
    fs::write(&file, format!("[global]\nuser = \"nosuch\"\n{good}")).unwrap();
    for (order, code) in [("restart", 6), ("configtest", 78)] {
        assert!(said(&script(order), code).contains("no user is called `nosuch`"), "{order}");
    }
    assert_eq!(daemon(), first);
    fs::write(&file, good).unwrap();
    said(&script("reload"), 0);
    assert_eq!(daemon(), first);
    // One that hangs is not taken for one that does not run.
    said(&inside(&format!("kill -STOP {first}")), 0);
    said(&script("status"), 4);
    for order in ["start", "stop", "restart"] {
        let said = said(&script(order), 1);
        assert!(said.contains("lbctl runs, but does not answer; nothing was st"), "{order}: {said}");
        assert!(said.contains(&format!("Its process: {first}.")), "{order}: {said}");
    }
    said(&inside(&format!("kill -CONT {first}")), 0);
    assert_eq!(daemon(), first);
    said(&script("restart"), 0);
    let second = daemon();
    assert!(second.is_number() && second != first, "{second}");

    // The package looks for what runs, and not for systemd, nor in one place.
    said(&script("stop"), 0);
    assert_eq!(pid_file(), Value::Null);
    said(&inside("mkdir /run/other"), 0);
    fs::write(root.join("etc/default/lbctl"), "CONTROL=/run/other/control.sock\n").unwrap();
    said(&script("start"), 0);
    let second = daemon();
    // Of somebody, who may put in the place of its socket what he likes.
    let somebodys = "printf '[listen.a]\\nbind = \"127.0.0.1:8082\"\\nservers = [\"127.0.0.1:8081\"]\\n' >/tmp/lb.toml
        setpriv --reuid=1000 --regid=1000 --clear-groups lbctl run /tmp/lb.toml --runtime-dir /tmp/his >/dev/null 2>&1 &
        until lbctl status --json --control /tmp/his/control.sock >/dev/null || [ $? -eq 2 ]; do sleep 0.1; done";
    said(&inside(somebodys), 0);
    let upgraded = said(&inside("dpkg -i /root/next.deb"), 0);
    assert!(upgraded.contains(&format!("lbctl {NEXT} after")), "{upgraded}");
    assert_eq!(upgraded.matches("is in charge").count(), 1, "{upgraded}");
    said(&inside("lbctl stop --now --control /tmp/his/control.sock"), 0);
    assert!(daemon().is_number() && daemon() != second && daemon() == pid_file());
    said(&script("stop"), 0);
    said(&script("status"), 3);
    said(&script("start"), 0);
    said(&inside("dpkg --purge lbctl"), 0);
    let left = inside(
        "pgrep -r D,R,S,T lbctl; ls -d /etc/init.d/lbctl /etc/rc?.d/*lbctl /etc/lbctl /run/lbctl 2>/dev/null",
    );
    assert_eq!(text(&left), "");
}
