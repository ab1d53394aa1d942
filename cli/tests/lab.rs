//! The lab itself: its network, its verbs, and that nothing is left of it. What the pair does in it is tested in `tests/`.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    net::IpAddr,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use lbctl::lab::{Change, How, Lab, LabStatus, LoadOptions, Options, VIP};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

const LBCTL: &str = env!("CARGO_BIN_EXE_lbctl");
/// The user `nobody`.
const NOBODY: u32 = 65534;

fn options() -> Options {
    Options::default().program(LBCTL).without_daemons()
}

fn lbctl(name: &str, words: &[&str]) -> Command {
    let mut command = Command::new(LBCTL);
    command.args(["lab", "--name", name]).args(words);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Who of the machine lives in one of these network namespaces.
fn inhabitants(namespaces: &BTreeSet<u64>) -> Vec<PathBuf> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let lives_there = |link: PathBuf| {
        let target = fs::read_link(link).unwrap_or_default();
        let inode = target.to_str().and_then(|text| text.strip_prefix("net:[")?.strip_suffix(']'));
        inode.and_then(|inode| inode.parse().ok()).is_some_and(|inode| namespaces.contains(&inode))
    };
    processes
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|process| {
            let tasks = fs::read_dir(process.join("task")).into_iter().flatten().flatten();
            tasks.map(|task| task.path().join("ns/net")).any(lives_there)
        })
        .collect()
}

fn namespaces(status: &LabStatus) -> BTreeSet<u64> {
    status.nodes.iter().map(|node| node.network_namespace).collect()
}

#[test]
fn both_balancers_reach_both_servers_and_the_client_reaches_a_balancer() {
    let lab = Lab::up(&options()).unwrap();
    let web = [LBCTL, "lab", "web", "--name", "on-lb2"];
    let _web = lab.spawn("lb2", "web", web).unwrap();
    for (node, address, server) in [
        ("lb1", "198.51.100.141", "web1"),
        ("lb1", "198.51.100.142", "web2"),
        ("lb2", "198.51.100.141", "web1"),
        ("lb2", "198.51.100.142", "web2"),
        ("client", "198.51.100.12", "on-lb2"),
    ] {
        let target = format!("{address}:80").parse().unwrap();
        let load = LoadOptions { target, connections: 2, rate: 100, ..LoadOptions::default() };
        let load = lab.load_from(node, &load).unwrap();
        wait_until("ten answers", || load.report().ok() >= 10);
        let report = load.stop().unwrap();
        assert_eq!(report.per_server().into_keys().collect::<Vec<_>>(), [server], "from {node}");
    }
}

#[test]
fn nodes_have_their_own_hostname_and_run_folder() {
    let lab = Lab::up(&options()).unwrap();
    for node in ["client", "lb1", "lb2", "web1", "web2"] {
        let output = lab.exec(node, ["cat", "/proc/sys/kernel/hostname"]).unwrap();
        assert_eq!(output.stdout.trim(), node);
    }
    assert!(lab.exec("lb1", ["touch", "/run/lab-mark"]).unwrap().success());
    assert!(lab.exec("lb1", ["test", "-e", "/run/lab-mark"]).unwrap().success());
    assert!(!lab.exec("lb2", ["test", "-e", "/run/lab-mark"]).unwrap().success());
    assert!(!Path::new("/run/lab-mark").exists());
}

#[test]
fn exec_passes_stdin_output_and_exit_code() {
    let lab = Lab::up(&options()).unwrap();
    let mut child = lbctl(lab.name(), &["exec", "client", "--", "sh", "-c", "cat; echo oops >&2; exit 7"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"from outside").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(&output.stdout), "from outside");
    assert_eq!(text(&output.stderr), "oops\n");
    assert_eq!(output.status.code(), Some(7));
}

#[test]
fn exec_ends_like_a_shell_for_a_signal_and_for_a_missing_program() {
    let lab = Lab::up(&options()).unwrap();
    let killed = lbctl(lab.name(), &["exec", "lb1", "--", "sh", "-c", "kill -9 $$"]).output().unwrap();
    assert_eq!(killed.status.code(), Some(128 + 9));
    let missing = lbctl(lab.name(), &["exec", "lb1", "--", "no-such-program"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(127));
    assert!(text(&missing.stderr).contains("no-such-program"), "{}", text(&missing.stderr));
}

#[test]
fn command_on_a_node_ends_when_its_caller_does() {
    let lab = Lab::up(&options()).unwrap();
    let mut caller =
        lbctl(lab.name(), &["exec", "client", "--", "sh", "-c", "echo $$ >/run/pid; sleep 600; true"])
            .spawn()
            .unwrap();
    let written = || lab.exec("client", ["cat", "/run/pid"]).unwrap().stdout.trim().to_owned();
    wait_until("the command runs", || !written().is_empty());
    let process = format!("/proc/{}", written());
    assert!(lab.exec("client", ["test", "-e", &process]).unwrap().success());
    caller.kill().unwrap();
    caller.wait().unwrap();
    wait_until("the command has ended", || !lab.exec("client", ["test", "-e", &process]).unwrap().success());
}

#[test]
fn record_has_every_change_in_order_and_no_refreshed_lease() {
    let lab = Lab::up(&options()).unwrap();
    let ip = |node: &str, words: &str| {
        let output = lab.exec(node, words.split(' ')).unwrap();
        assert!(output.success(), "{}", output.stderr);
    };
    ip("lb1", "ip address add 198.51.100.10/32 dev eth0 valid_lft 60 preferred_lft 60");
    ip("lb1", "ip address change 198.51.100.10/32 dev eth0 valid_lft 60 preferred_lft 60");
    assert_eq!(lab.wait_for_holder(Duration::from_secs(5)).unwrap(), "lb1");
    ip("lb1", "ip address del 198.51.100.10/32 dev eth0");
    ip("lb2", "ip address add 198.51.100.10/32 dev eth0");
    lab.wait_until_held_by("lb2", Duration::from_secs(5)).unwrap();

    let vip = IpAddr::V4(VIP);
    let events = lab.record_of_vip().unwrap();
    let seen: Vec<_> =
        events.iter().map(|event| (event.node.as_str(), event.interface.as_str(), event.change)).collect();
    assert_eq!(
        seen,
        [
            ("lb1", "eth0", Change::AddressAdded(vip)),
            ("lb1", "eth0", Change::AddressRemoved(vip)),
            ("lb2", "eth0", Change::AddressAdded(vip)),
        ]
    );
    assert!(events.is_sorted_by_key(|event| event.at));
}

/// By the record: the last change of the carrier.
fn has_carrier(lab: &Lab, node: &str, interface: &str) -> bool {
    let record = lab.record().unwrap();
    let mine = record.iter().rev().filter(|event| event.node == node && event.interface == interface);
    mine.map(|event| event.change)
        .find(|change| matches!(change, Change::CarrierUp | Change::CarrierDown))
        .is_some_and(|change| change == Change::CarrierUp)
}

#[test]
fn pulled_cable_costs_the_carrier_of_its_network_until_healed() {
    let lab = Lab::up(&options()).unwrap();
    for (how, pulled, other) in [(How::Cable, "eth0", "eth1"), (How::Backends, "eth1", "eth0")] {
        wait_until("carrier at the start", || has_carrier(&lab, "lb1", pulled));
        lab.fail("lb1", how).unwrap();
        wait_until("no carrier", || !has_carrier(&lab, "lb1", pulled));
        wait_until("carrier of the other", || has_carrier(&lab, "lb1", other));
        assert_eq!(lab.status().unwrap().node("lb1").unwrap().fault, Some(how));
        lab.heal("lb1").unwrap();
        wait_until("carrier", || has_carrier(&lab, "lb1", pulled));
        assert_eq!(lab.status().unwrap().node("lb1").unwrap().fault, None);
    }
    assert!(has_carrier(&lab, "lb2", "eth0"));
}

#[test]
fn harmed_server_answers_nobody_until_healed() {
    let lab = Lab::up(&options()).unwrap();
    for how in [How::Kill, How::Stop, How::Freeze, How::Cable] {
        let target = "198.51.100.141:80".parse().unwrap();
        let options = LoadOptions { target, rate: 100, patience: 500, ..LoadOptions::default() };
        let load = lab.load_from("lb1", &options).unwrap();
        wait_until("answers", || load.report().ok() > 0);
        let failed_at = lab.fail("web1", how).unwrap();
        let harmed = lbctl::lab::now();
        let long_enough = harmed + Duration::from_millis(300);
        wait_until("failures", || load.report().failed() > 0 && lbctl::lab::now() > long_enough);
        let healed_at = lab.heal("web1").unwrap();
        wait_until("answers again", || {
            load.report().samples().iter().any(|sample| sample.is_ok() && sample.at > healed_at)
        });
        let report = load.stop().unwrap();
        // What was on its way when the harm was done may still arrive.
        let late = report
            .samples()
            .iter()
            .find(|sample| sample.is_ok() && sample.at > harmed && sample.end() < healed_at);
        assert_eq!(late, None, "{how}");
        assert!(report.gap_around(failed_at) > Duration::from_millis(100), "{how}");
    }
}

#[test]
fn second_fault_on_a_node_and_impossible_ones_are_refused() {
    let lab = Lab::up(&options()).unwrap();
    lab.fail("web2", How::Kill).unwrap();
    let again = lab.fail("web2", How::Cable).unwrap_err().to_string();
    assert!(again.contains("web2 has failed already (kill)"), "{again}");
    let impossible = lab.fail("web1", How::Worker).unwrap_err().to_string();
    assert!(impossible.contains("kill, stop, cable, freeze"), "{impossible}");
    let nothing = lab.fail("lb1", How::Kill).unwrap_err().to_string();
    assert!(nothing.contains("nothing of the lab runs on lb1"), "{nothing}");
}

#[test]
fn labs_live_side_by_side_and_a_second_of_the_same_name_is_refused() {
    let first = Lab::up(&options()).unwrap();
    let second = Lab::up(&options()).unwrap();
    assert!(namespaces(&first.status().unwrap()).is_disjoint(&namespaces(&second.status().unwrap())));
    let refused = lbctl(first.name(), &["up", "--detach"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let pid = first.status().unwrap().pid;
    assert!(text(&refused.stderr).contains(&format!("pid {pid}")), "{}", text(&refused.stderr));
    first.down().unwrap();
    second.down().unwrap();
}

#[test]
fn detached_lab_stays_until_down() {
    let name = format!("detached-{}", std::process::id());
    let up = lbctl(&name, &["up", "--detach"]).output().unwrap();
    assert!(up.status.success(), "{}", text(&up.stderr));
    let status = lbctl(&name, &["status", "--json"]).output().unwrap();
    let status: LabStatus = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status.name, name);
    let down = lbctl(&name, &["down"]).output().unwrap();
    assert!(down.status.success(), "{}", text(&down.stderr));
    assert_nothing_left(&name, &status);
    let gone = lbctl(&name, &["status"]).output().unwrap();
    assert_eq!(gone.status.code(), Some(1));
    assert!(text(&gone.stderr).contains(&format!("lbctl lab --name {name} up")), "{}", text(&gone.stderr));
}

#[test]
fn what_a_lab_says_of_a_node_can_be_understood_and_what_it_hints_at_can_be_typed() {
    let lab = Lab::up(&Options::default().program(LBCTL)).unwrap();
    lab.wait_until_all_ready().unwrap();
    assert!(lbctl(lab.name(), &["fail", "lb1"]).output().unwrap().status.success());
    let again = text(&lbctl(lab.name(), &["fail", "lb1"]).output().unwrap().stderr);
    let hint = format!("lbctl lab --name {} heal lb1", lab.name());
    assert!(again.trim_end().ends_with(&hint), "{again}");
    let healed = lbctl(lab.name(), &["heal", "lb1"]).output().unwrap();
    let said = text(&healed.stdout);
    assert!(healed.status.success(), "{said}{}", text(&healed.stderr));
    // `lb1: does not listen yet`, `lb1: not yet: the first round of checks is not done`, ... as far as it was seen.
    let (waiting, end) = said.trim_end().rsplit_once('\n').unwrap_or(("", said.trim_end()));
    assert_eq!(end, "lb1 is back");
    for line in waiting.lines() {
        assert!(line.starts_with("lb1: ") && !line.contains('?') && !line.contains("os error"), "{said}");
    }
}

/// A lab in the foreground, and its status once it is up.
fn foreground(name: &str) -> (Child, LabStatus) {
    let child = lbctl(name, &["up"]).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let mut status = None;
    wait_until("the lab is up", || {
        status = Lab::attach(name).and_then(|lab| lab.status()).ok();
        status.is_some()
    });
    (child, status.unwrap())
}

fn assert_nothing_left(name: &str, status: &LabStatus) {
    let namespaces = namespaces(status);
    wait_until("nobody lives there", || inhabitants(&namespaces).is_empty());
    let outer = format!("/proc/{}", status.pid);
    wait_until("the outer process has ended", || !Path::new(&outer).exists());
    assert!(Lab::attach(name).is_err());
}

#[test]
fn killing_the_command_leaves_no_process_and_no_namespace() {
    let name = format!("killed-{}", std::process::id());
    let (mut child, status) = foreground(&name);
    assert!(!inhabitants(&namespaces(&status)).is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    assert_nothing_left(&name, &status);
}

#[test]
fn killing_the_outer_process_leaves_no_process_and_no_namespace() {
    let name = format!("outer-{}", std::process::id());
    let (mut child, status) = foreground(&name);
    let outer = Pid::from_raw(i32::try_from(status.pid).unwrap());
    kill(outer, Signal::SIGKILL).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "the command says that the lab was ended");
    assert_nothing_left(&name, &status);
    // The socket of a lab that was killed this way does not stand in the way of the next.
    let (mut child, status) = foreground(&name);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_nothing_left(&name, &status);
}

#[test]
fn interrupt_takes_everything_down() {
    let name = format!("interrupted-{}", std::process::id());
    let (mut child, status) = foreground(&name);
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
    assert!(child.wait().unwrap().success());
    assert_nothing_left(&name, &status);
}

#[test]
fn plain_user_runs_the_lab_in_a_user_namespace() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("lbctl");
    fs::copy(LBCTL, &program).unwrap();
    for path in [folder.path(), &program] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let name = format!("plain-{}", std::process::id());
    let run = |words: &[&str]| -> Output {
        let mut command = Command::new(&program);
        command.args(["lab", "--name", &name]).args(words).current_dir("/").env_remove("XDG_RUNTIME_DIR");
        if nix::unistd::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command.output().unwrap()
    };
    let up = run(&["up", "--detach"]);
    assert!(up.status.success(), "{}", text(&up.stderr));
    assert!(text(&up.stdout).contains("198.51.100.10 is held by lb"), "{}", text(&up.stdout));
    let exec = run(&["exec", "lb1", "--", "cat", "/proc/self/uid_map"]);
    assert!(exec.status.success(), "{}", text(&exec.stderr));
    let map: Vec<u32> = text(&exec.stdout).split_whitespace().map(|word| word.parse().unwrap()).collect();
    assert_eq!((map[0], map[2]), (0, 1), "root inside, one plain user outside");
    for verb in
        [&["fail", "web1"][..], &["heal", "web1"], &["fail", "lb2"], &["heal", "lb2"], &["status"], &["down"]]
    {
        let output = run(verb);
        assert!(output.status.success(), "{verb:?}: {}", text(&output.stderr));
    }
}

#[test]
fn forbidden_user_namespaces_are_named_with_the_setting_that_forbids_them() {
    // Inside a user namespace of its own the limit is its own as well.
    let script = "echo 0 >/proc/sys/user/max_user_namespaces && exec setpriv --bounding-set -all \"$@\"";
    // Who is root inside is not the root that owns /tmp/lbctl-lab-0.
    let runtime = std::env::temp_dir().join(format!("lbctl-forbidden-{}", std::process::id()));
    fs::create_dir(&runtime).unwrap();
    let output = Command::new("unshare")
        .env("XDG_RUNTIME_DIR", &runtime)
        .args([
            "--user",
            "--map-root-user",
            "sh",
            "-c",
            script,
            "sh",
            LBCTL,
            "lab",
            "--name",
            "forbidden",
            "up",
        ])
        .output()
        .unwrap();
    fs::remove_dir_all(&runtime).unwrap();
    assert_eq!(output.status.code(), Some(1));
    let complaint = text(&output.stderr);
    assert!(complaint.contains("user.max_user_namespaces is 0"), "{complaint}");
    assert!(complaint.contains("sudo"), "{complaint}");
}

#[test]
fn typos_are_usage_errors_that_name_what_was_meant() {
    for (words, meant) in [
        (&["fial", "lb1"][..], "fail"),
        (&["fail", "lb3"], "lb1, lb2"),
        (&["fail", "lb1", "--how", "frezee"], "freeze"),
        (&["exec", "cleint", "--", "true"], "client"),
    ] {
        let output = lbctl("typo", words).output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{words:?}");
        assert!(text(&output.stderr).contains(meant), "{words:?}: {}", text(&output.stderr));
    }
}

#[test]
fn lbctl_is_found_on_a_node_even_if_it_is_not_installed() {
    let lab = Lab::up(&options()).unwrap();
    let output = lab.exec("lb1", ["lbctl", "--version"]).unwrap();
    assert!(output.success(), "{output:?}");
    assert!(output.stdout.starts_with("lbctl "), "{output:?}");
}
