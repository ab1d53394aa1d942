//! What an exchange over connections that are kept asks of the kernel: the request is read and written, and so is the
//! response. All else is the wait for events.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use lb_tests::{
    lockstep::{Conversation, Lockstep},
    plain::{PATIENCE, Running, unused_address},
    program,
};

const EXCHANGES: u32 = 500;

/// How often the worker has called what, by the thread that wrote most; `rest` stands in the file behind what is always there.
fn calls(mode: &str, conversation: &Conversation, rest: &str) -> BTreeMap<String, u32> {
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
    let played = lockstep.play(front, conversation, EXCHANGES, PATIENCE);
    played.unwrap_or_else(|error| panic!("{error:#}\n{}", fs::read_to_string(&log).unwrap_or_default()));
    let _ = running.stop();
    let files = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let threads = files.filter(|path| path.file_stem().is_some_and(|name| name == "calls"));
    threads.map(|path| counted(&path)).max_by_key(|calls| calls.values().sum::<u32>()).unwrap()
}

fn counted(path: &Path) -> BTreeMap<String, u32> {
    let mut calls = BTreeMap::new();
    for line in fs::read_to_string(path).unwrap().lines() {
        if let Some((name, _)) = line.split_once('(') {
            *calls.entry(name.to_owned()).or_default() += 1;
        }
    }
    calls
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
