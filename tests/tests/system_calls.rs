//! What an exchange over connections that are kept asks of the kernel: the request is read and written, and so is the
//! response. All else is the wait for events. And what the speaker asks of it: nothing that a disk could be late with.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::{collections::BTreeMap, fs, process::Command, time::Duration};

use lb_tests::{
    lockstep::{Conversation, Lockstep},
    order::other,
    plain::{PATIENCE, Running, unused_address},
    program,
    scene::{Scene, slower},
    wait,
};
use lbctl::lab::Options;
use nix::sys::signal::Signal;

const EXCHANGES: u32 = 500;

/// How often the worker has called what.
fn calls(mode: &str, conversation: &Conversation, rest: &str) -> BTreeMap<String, u32> {
    let mut calls = BTreeMap::new();
    for line in traced(mode, conversation, rest, EXCHANGES).lines() {
        if let Some((name, _)) = line.split_once('(') {
            *calls.entry(name.to_owned()).or_default() += 1;
        }
    }
    calls
}

/// What the worker has called, of the threads the one that called most; `rest` stands in the file behind what is always there.
fn traced(mode: &str, conversation: &Conversation, rest: &str, exchanges: u32) -> String {
    let folder = tempfile::tempdir().unwrap();
    let (front, lockstep) = (unused_address(8080), Lockstep::listen().unwrap());
    let file = folder.path().join("lb.toml");
    let text = format!(
        "[global]\nthreads = 1\n\n[listen.a]\nbind = \"{front}\"\nmode = \"{mode}\"\ncheck = false\n\
         servers = [\"{}\"]\n{rest}",
        lockstep.server().unwrap()
    );
    fs::write(&file, text.replace("SYSLOG", &lockstep.syslog().unwrap().to_string())).unwrap();
    let mut command = Command::new(program::find("strace"));
    // Told to end it ends at once (-I2), and what it runs with it.
    command.args(["-ff", "-I2", "-o"]).arg(folder.path().join("calls")).arg(program::lbctl());
    // A program that is traced gains no rights, and needs none.
    command.args(["run", "--unconfined"]).arg(&file).arg("--runtime-dir").arg(folder.path().join("run"));
    command.env_remove("LBCTL_LOG").env_remove("NOTIFY_SOCKET");
    let log = folder.path().join("log");
    let running = Running::start(&mut command, &log);
    let played = lockstep.play(front, conversation, exchanges, PATIENCE);
    played.unwrap_or_else(|error| panic!("{error:#}\n{}", fs::read_to_string(&log).unwrap_or_default()));
    let _ = running.stop();
    let files = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let threads = files.filter(|path| path.file_stem().is_some_and(|name| name == "calls"));
    let texts = threads.map(|path| fs::read_to_string(path).unwrap());
    texts.max_by_key(|text| text.lines().count()).unwrap()
}

/// Two reads and two writes each, and what begins and ends a worker and two connections.
#[track_caller]
fn are_four(calls: &BTreeMap<String, u32>, more: u32) {
    let moves = ["read", "recvfrom", "recvmsg", "readv", "write", "writev", "sendto", "sendmsg"];
    let moved: u32 = moves.iter().filter_map(|name| calls.get(*name)).sum();
    let waits: u32 =
        calls.iter().filter(|(name, _)| name.starts_with("epoll_")).map(|(_, count)| count).sum();
    let all: u32 = calls.values().sum();
    assert!(moved >= 4 * EXCHANGES, "it was looked at: {calls:?}");
    assert!(all - waits <= 4 * EXCHANGES + more, "{calls:?}");
}

/// Of a worker's start and end, of ticks on a machine under load, and of connections.
const REST: u32 = 200;

#[test]
fn exchange_over_kept_connections_is_two_reads_and_two_writes() {
    are_four(&calls("http", &Conversation::GET, ""), REST);
}

/// Lines of the log go ten times a second, many in one call.
#[test]
fn rules_a_cookie_and_a_line_in_the_log_call_the_kernel_no_more() {
    let rest = "forwardfor = true\nlog = { syslog = \"SYSLOG\" }\n\
        cookie = { name = \"SRV\", mode = \"insert\", indirect = true, nocache = true }\n\
        rules = [{ when = { path_prefix = \"/admin\" }, deny = 403 }, { set_header = { \"X-A\" = \"{client.ip}\" } }]\n";
    are_four(&calls("http", &Conversation::GET, rest), REST + EXCHANGES / 5);
}

#[test]
fn bytes_in_mode_tcp_are_two_reads_and_two_writes() {
    are_four(&calls("tcp", &Conversation::PING, ""), REST);
}

/// Its reader is woken once, and it is a packet less.
#[test]
fn head_of_a_large_response_is_sent_with_what_the_kernel_moves_behind_it() {
    let said = traced("http", &Conversation::LARGE, "", 100);
    let with_more: Vec<_> = said.lines().filter(|line| line.contains("MSG_MORE")).collect();
    assert!(with_more.len() >= 50, "{} of 100: {said}", with_more.len());
    let is_head = |line: &&str| line.starts_with("sendmsg(") && line.contains("HTTP/1.1 200 OK");
    assert!(with_more.iter().all(is_head), "{with_more:#?}");
}

/// Calls that reach a file system, or might; and those that send.
const TRACED: &str = "trace=%file,write,writev,pwrite64,pwritev,fsync,fdatasync,sendto,sendmsg";

/// A packet that is dropped and told in the log: priority 100, version 3, vrid 51, for the address of the lab, and 0 for a checksum.
const BROKEN: &str = "import socket as s
wire = s.socket(s.AF_INET, s.SOCK_RAW, 112)
wire.setsockopt(s.IPPROTO_IP, s.IP_MULTICAST_TTL, 255)
wire.setsockopt(s.IPPROTO_IP, s.IP_MULTICAST_IF, s.inet_aton(\"198.51.100.100\"))
wire.sendto(bytes([0x31, 51, 100, 1, 0, 10, 0, 0, 198, 51, 100, 10]), (\"224.0.0.18\", 0))";

/// It advertises, announces, gives the address away, takes it back, and has something for the log: what it says goes to the daemon.
#[test]
fn speaker_opens_no_file_and_writes_no_log_whatever_happens() {
    // One that is traced is slow: at ten advertisements a second it might be taken for frozen.
    Scene::unless_starved(&Options::default().configuration(&slower("1s")), |scene| {
        let holder = scene.holder();
        let standby = other(&holder);
        scene.wait_until_other_is_ready(&holder);
        let daemon = scene.status_of(&holder)["pid"].clone();
        let speaker = scene.shell(&holder, &format!("pgrep -x lbctl-speaker -P {daemon}"));
        let (calls, speaker) = (scene.folder().join("calls"), speaker.trim());
        let strace = program::find("strace");
        let words = ["-f", "-y", "-e", TRACED, "-p", speaker, "-o"].map(AsRef::as_ref);
        let command = [strace.as_os_str()].into_iter().chain(words).chain([calls.as_os_str()]);
        let tracing = scene.spawn(&holder, "strace", command).unwrap();
        let said = || fs::read_to_string(&calls).unwrap_or_default();
        let sent = || said().lines().filter(|line| line.contains(" send")).count();
        wait::until("it is traced", PATIENCE, || (sent() > 0).then_some(()));
        scene.done(&holder, &["announce", "--json"]);
        scene.shell("client", &format!("python3 -c '{BROKEN}'"));
        wait::until("the log has the packet", PATIENCE, || {
            scene
                .log(&holder, "lbctl")
                .unwrap()
                .contains("a packet from 198.51.100.100 was dropped")
                .then_some(())
        });
        scene.done(&holder, &["switchover", "--json"]);
        scene.wait_until_other_is_ready(standby);
        scene.done(standby, &["switchover", "--json"]);
        scene.wait_until_held_by(&holder, Duration::from_secs(30)).unwrap();
        let before = sent();
        wait::until("it goes on", PATIENCE, || (sent() > before + 3).then_some(()));
        tracing.signal(Signal::SIGINT).unwrap();
        let said = said();
        let is_of_no_file = |line: &&str| {
            // What was begun is in a line before.
            let is_end = [" +++ ", " --- ", " resumed>"].iter().any(|part| line.contains(part));
            let is_to_itself = line.contains("<anon_inode:[eventfd]>") || line.contains("<socket:[");
            is_end || line.contains(" send") || (line.contains(" write") && is_to_itself)
        };
        let others: Vec<_> = said.lines().filter(|line| !is_of_no_file(line)).collect();
        assert!(others.is_empty(), "{others:#?}");
    });
}

/// To close one takes up to 20 ms, to lock the memory 2, and all that there is at 10 ms between advertisements are 15.
#[test]
fn speaker_in_place_of_a_dead_one_closes_no_packet_socket_and_locks_no_memory_before_it_advertises() {
    Scene::unless_starved(&Options::default().configuration(&slower("1s")), |scene| {
        let holder = scene.holder();
        scene.wait_until_other_is_ready(&holder);
        let daemon = scene.status_of(&holder)["pid"].to_string();
        let speaker =
            || scene.shell(&holder, &format!("pgrep -x lbctl-speaker -P {daemon}")).trim().to_owned();
        let (first, strace) = (speaker(), program::find("strace"));
        let folder = scene.folder().join("calls");
        fs::create_dir(&folder).unwrap();
        // A file for each thread: in one for all a call may stand in two parts.
        let words = ["-ff", "-e", "trace=socket,close,sendmsg,futex,mlockall", "-p", &daemon, "-o"]
            .map(AsRef::as_ref);
        let each = folder.join("of");
        let command = [strace.as_os_str()].into_iter().chain(words).chain([each.as_os_str()]);
        let tracing = scene.spawn(&holder, "strace", command).unwrap();
        let threads = || {
            let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
            files.map(|path| fs::read_to_string(path).unwrap()).collect::<Vec<_>>()
        };
        wait::until("it is traced", PATIENCE, || threads().iter().any(|said| !said.is_empty()).then_some(()));
        scene.shell(&holder, &format!("kill -KILL {first}"));
        let is_advertisement = |line: &&str| line.starts_with("sendmsg(") && line.contains("224.0.0.18");
        let said = wait::until("the next one advertises", PATIENCE, || {
            threads().into_iter().find(|said| said.lines().any(|line| is_advertisement(&line)))
        });
        let before: Vec<_> = said.lines().take_while(|line| !is_advertisement(line)).collect();
        let mut open = Vec::new();
        for line in &before {
            if line.starts_with("socket(AF_PACKET") {
                open.push(line.rsplit_once("= ").expect("it was opened").1);
            }
            let closed = open.iter().find(|number| line.starts_with(&format!("close({number})")));
            assert_eq!(closed, None, "{before:#?}");
            assert!(!line.starts_with("mlockall("), "{before:#?}");
        }
        assert!(!open.is_empty(), "{before:#?}");
        // The program is read for it, which may take long.
        let locking = wait::until("its memory is locked", PATIENCE, || {
            threads().into_iter().find(|said| said.contains("mlockall("))
        });
        assert!(!locking.contains("sendmsg("), "not by the thread that advertises: {locking}");
        tracing.signal(Signal::SIGINT).unwrap();
    });
}
