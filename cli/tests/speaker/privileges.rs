//! What the processes of a node may do once they run, read from /proc thread by thread; and that it is enough for all that
//! comes later. Only root can become another user: whoever else runs these tests does so by sudo, which `tests/run` needs
//! anyway.

#[cfg(target_arch = "x86_64")]
#[path = "privileges/filtered.rs"]
mod filtered;
#[path = "privileges/root.rs"]
mod root;
#[path = "privileges/threads.rs"]
mod threads;
#[path = "privileges/unit.rs"]
mod unit;

use std::{
    fs::{self, Permissions},
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        net::UnixStream,
    },
    path::{Path, PathBuf},
    process::{Command, Output},
};

use nix::{
    sys::signal::Signal,
    unistd::{Pid, User},
};

use super::{
    net::{Bridge, Node, in_namespace, wait_for},
    realtime::score,
};
use threads::{ADMIN, LOCK, NICE, PORTS, RAW, Thread, Who, assert_least_privilege};

/// Who runs the daemon.
const USER: &str = "nobody";
const OTHER: Who = Who { user: USER, daemon: PORTS, given: u64::MAX };

/// A test that needs root in the first user namespace.
pub(crate) fn as_root(name: &str, test: impl FnOnce()) {
    if nix::unistd::geteuid().is_root() {
        return in_namespace(name, test);
    }
    let program = std::env::current_exe().unwrap();
    let ran = Command::new("sudo").arg("-n").arg(program).args(["--exact", name]).output();
    let ran = ran.expect("sudo is here: tests/run asks for it where it is not root");
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&ran.stderr));
}

/// A node of root's whose file names another user: the program and the file are where that user finds them.
pub(crate) struct Jailed {
    pub(crate) node: Node,
    program: PathBuf,
    file: PathBuf,
    bridge: Bridge,
}

impl Jailed {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    fn start_with(arguments: &[&str]) -> Self {
        Self::start_by(&[], &format!("user = \"{USER}\"\n"), arguments)
    }

    /// Started by `wrapper`, with a file that has the lines `global` in `[global]`.
    fn start_by(wrapper: &[&str], global: &str, arguments: &[&str]) -> Self {
        let bridge = Bridge::new("");
        let folder = bridge.folder.path();
        fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
        let program = folder.join("bin/lbctl");
        fs::create_dir(folder.join("bin")).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_lbctl"), &program).unwrap();
        let file = folder.join("lb.toml");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replacen("[global]\n", &format!("[global]\n{global}"), 1)).unwrap();
        let mut node = Node::new(&bridge, 1, true);
        give(node.folder());
        node.start_by(wrapper, &program, arguments);
        wait_for("lb1 holds the address", || node.has_vip().then_some(()));
        Self { node, program, file, bridge }
    }

    /// Replaces a part of the file, as an editor does.
    pub(crate) fn edit(&self, from: &str, to: &str) {
        let text = fs::read_to_string(&self.file).unwrap();
        assert!(text.contains(from), "{text}");
        let fresh = self.file.with_extension("new");
        fs::write(&fresh, text.replacen(from, to, 1)).unwrap();
        fs::rename(fresh, &self.file).unwrap();
    }

    fn verb(&self, words: &[&str]) -> Output {
        let control = self.node.folder().join("control.sock");
        Command::new(&self.program).args(words).arg("--control").arg(control).output().unwrap()
    }

    #[track_caller]
    pub(crate) fn done(&self, words: &[&str]) -> String {
        let output = self.verb(words);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        said
    }

    pub(crate) fn daemon(&self) -> Pid {
        let pid = self.node.status()["pid"].as_i64().expect("it answers");
        Pid::from_raw(i32::try_from(pid).unwrap())
    }
}

fn give(path: &Path) {
    let user = User::from_name(USER).unwrap().unwrap();
    chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
}

/// Kills the speaker and waits for the next one.
fn replace_speaker(jailed: &Jailed, daemon: Pid) -> Pid {
    let node = &jailed.node;
    let old = wait_for("a speaker", || node.speaker_of(daemon));
    node.signal(old, Signal::SIGKILL);
    wait_for("another speaker resumes", || {
        let now = node.speaker_of(daemon).filter(|now| *now != old)?;
        (node.state() == "Active").then_some(now)
    })
}

fn get(mut stream: impl std::io::Read + Write) -> String {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines();
    let head = lines.next().unwrap().unwrap();
    head + " " + &lines.map_while(Result::ok).last().unwrap_or_default()
}

#[test]
fn every_thread_has_what_it_needs_and_no_more() {
    as_root("privileges::every_thread_has_what_it_needs_and_no_more", || {
        let jailed = Jailed::start();
        let daemon = jailed.node.daemon();
        assert_least_privilege(&OTHER, daemon, jailed.node.speaker());
        // A speaker that dies is replaced by one with the same.
        let speaker = replace_speaker(&jailed, daemon);
        assert_least_privilege(&OTHER, daemon, speaker);
        assert!(jailed.node.has_vip());
    });
}

#[test]
fn what_a_reload_brings_works_without_the_rights_of_the_start() {
    as_root("privileges::what_a_reload_brings_works_without_the_rights_of_the_start", || {
        let jailed = Jailed::start();
        let (node, folder) = (&jailed.node, jailed.bridge.folder.path());
        let page = folder.join("503.http");
        fs::write(&page, "one").unwrap();
        let log = node.folder().join("access.log");
        let socket = node.folder().join("web.sock");
        jailed.edit("maxconn = 100\n", &format!("maxconn = 100\nlog = {{ file = \"{}\" }}\n", log.display()));
        jailed.edit("\"198.51.100.10\"", "\"198.51.100.10\", \"198.51.100.20\"");
        let binds = format!(
            "bind = [{{ vip = \"web\", port = 80 }}, \"{}:81\", {{ unix = \"{}\", mode = \"0600\" }}]\nlog = \"global\"\n\
             error_page = {{ 503 = \"503.http\" }}",
            node.address,
            socket.display()
        );
        jailed.edit("bind = { vip = \"web\", port = 80 }", &binds);
        jailed.edit("servers = [\"198.51.100.21:80\"]", "servers = [\"127.0.0.1:1\"]");
        let said = jailed.done(&["reload"]);
        assert!(said.contains("addresses"), "{said}");
        wait_for("the address that is new", || {
            node.ip(&["-4", "addr", "show"]).contains("inet 198.51.100.20/").then_some(())
        });
        let through = |address: &str| TcpStream::connect(address).unwrap();
        for address in ["198.51.100.20:80".to_owned(), format!("{}:81", node.address)] {
            assert_eq!(get(through(&address)), "HTTP/1.1 503 Service Unavailable one");
        }
        assert_eq!(get(UnixStream::connect(&socket).unwrap()), "HTTP/1.1 503 Service Unavailable one");

        // Files that were there are read again, and those that were moved away are made anew.
        fs::write(&page, "two").unwrap();
        jailed.done(&["reload"]);
        assert_eq!(get(UnixStream::connect(&socket).unwrap()), "HTTP/1.1 503 Service Unavailable two");
        wait_for("a line", || fs::read_to_string(&log).ok().filter(|text| !text.is_empty()));
        fs::rename(&log, log.with_extension("1")).unwrap();
        jailed.done(&["log", "reopen"]);
        get(UnixStream::connect(&socket).unwrap());
        wait_for("a line in the next file", || fs::read_to_string(&log).ok().filter(|text| !text.is_empty()));
        assert_least_privilege(&OTHER, node.daemon(), node.speaker());
    });
}

#[test]
fn interfaces_that_come_later_are_used_by_both_processes() {
    as_root("privileges::interfaces_that_come_later_are_used_by_both_processes", || {
        let jailed = Jailed::start();
        let node = &jailed.node;
        // For the daemon: what a reload binds.
        node.ip(&["link", "add", "eth2", "type", "bridge"]);
        node.ip(&["addr", "add", "203.0.113.5/24", "dev", "eth2"]);
        node.ip(&["link", "set", "eth2", "up"]);
        super::net::run("ip", &["route", "add", "203.0.113.0/24", "via", &node.address]);
        jailed.edit(
            "bind = { vip = \"web\", port = 80 }",
            "bind = [{ vip = \"web\", port = 80 }, \"203.0.113.5:82\"]",
        );
        jailed.edit("servers = [\"198.51.100.21:80\"]", "servers = [\"127.0.0.1:1\"]");
        jailed.done(&["reload"]);
        let said = get(TcpStream::connect("203.0.113.5:82").unwrap());
        assert!(said.starts_with("HTTP/1.1 503"), "{said}");
        // For the speaker: that of its vip, as another one of the same name, with another speaker and before that.
        for replaced in [false, true] {
            node.ip(&["link", "delete", "eth1"]);
            wait_for("it can't hold the address", || (node.state() == "Initialize").then_some(()));
            if replaced {
                let old = node.speaker();
                node.signal(old, Signal::SIGKILL);
                wait_for("another speaker", || node.speaker_of(node.daemon()).filter(|now| *now != old));
            }
            node.plug_in();
            wait_for("it holds the address again", || {
                (node.has_vip() && node.state() == "Active").then_some(())
            });
        }
        assert_least_privilege(&OTHER, node.daemon(), node.speaker());
    });
}

#[test]
fn the_next_process_of_an_upgrade_has_the_same_and_starts_speakers() {
    as_root("privileges::the_next_process_of_an_upgrade_has_the_same_and_starts_speakers", || {
        let jailed = Jailed::start();
        let node = &jailed.node;
        let (first, speaker) = (node.daemon(), node.speaker());
        jailed.done(&["upgrade"]);
        let second = jailed.daemon();
        assert_ne!(second, first);
        assert_least_privilege(&OTHER, second, speaker);
        // The program that is installed now, and a speaker of it.
        let fresh = jailed.program.with_extension("new");
        fs::copy(env!("CARGO_BIN_EXE_lbctl"), &fresh).unwrap();
        fs::rename(fresh, &jailed.program).unwrap();
        jailed.done(&["upgrade"]);
        let third = jailed.daemon();
        let next = wait_for("a speaker of the new program", || node.speaker_of(third));
        wait_for("it resumes", || (node.state() == "Active").then_some(()));
        assert_least_privilege(&OTHER, third, next);
        assert_least_privilege(&OTHER, third, replace_speaker(&jailed, third));
        jailed.done(&["stop", "--now"]);
    });
}

#[test]
fn what_is_out_of_reach_since_the_start_is_refused_with_what_helps() {
    as_root("privileges::what_is_out_of_reach_since_the_start_is_refused_with_what_helps", || {
        let jailed = Jailed::start();
        // Folders that the machine has are open, whatever the file named at the start.
        let page = "error_page = { 503 = \"/etc/os-release\" }";
        jailed.edit("check = false", &format!("check = false\n{page}"));
        jailed.done(&["reload"]);

        let elsewhere = tempfile::tempdir().unwrap();
        let path = |name: &str| elsewhere.path().join(name).display().to_string();
        fs::set_permissions(elsewhere.path(), Permissions::from_mode(0o755)).unwrap();
        give(elsewhere.path());
        fs::write(path("503.http"), "one").unwrap();
        let key = format!("error_page = {{ 503 = \"{}\" }}", path("503.http"));
        jailed.edit(page, &key);
        let refused = jailed.verb(&["reload"]);
        let why = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(78), "{why}");
        assert!(
            why.contains(
                "503.http\" is out of reach: user nobody may read it, but the running lbctl does not"
            ),
            "{why}"
        );
        assert!(why.contains("restart it, or put the file elsewhere"), "{why}");

        // A socket is what a reload needs, and a log is not.
        let bind = "bind = { vip = \"web\", port = 80 }";
        let socket =
            format!("bind = [{{ vip = \"web\", port = 80 }}, {{ unix = \"{}\" }}]", path("web.sock"));
        jailed.edit(&key, "");
        jailed.edit(bind, &socket);
        let refused = jailed.verb(&["reload"]);
        let why = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(1), "{why}");
        assert!(
            why.contains("web.sock: out of reach since lbctl was started (Landlock): restart it, or"),
            "{why}"
        );
        jailed.edit(&socket, &format!("{bind}\nlog = {{ file = \"{}\" }}", path("access.log")));
        jailed.done(&["reload"]);
        wait_for("a problem that says what helps", || {
            let problems = jailed.node.status()["problems"].to_string();
            (problems.contains("access.log") && problems.contains("out of reach since")).then_some(())
        });
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 1, "nothing was made there");
    });
}

#[test]
fn speaker_of_a_program_that_was_replaced_or_removed_is_started_again() {
    as_root("privileges::speaker_of_a_program_that_was_replaced_or_removed_is_started_again", || {
        let jailed = Jailed::start();
        let daemon = jailed.node.daemon();
        let fresh = jailed.program.with_extension("new");
        fs::copy(&jailed.program, &fresh).unwrap();
        fs::rename(&fresh, &jailed.program).unwrap();
        assert_least_privilege(&OTHER, daemon, replace_speaker(&jailed, daemon));
        fs::remove_file(&jailed.program).unwrap();
        assert_least_privilege(&OTHER, daemon, replace_speaker(&jailed, daemon));
    });
}

#[test]
fn unconfined_daemon_has_its_capabilities_taken_and_nothing_else() {
    as_root("privileges::unconfined_daemon_has_its_capabilities_taken_and_nothing_else", || {
        let jailed = Jailed::start_with(&["--unconfined"]);
        let (first, speaker) = (jailed.node.daemon(), jailed.node.speaker());
        let mut threads = [Thread::all(first), Thread::all(speaker)].concat();
        let before = score(first);
        jailed.done(&["upgrade"]);
        let next = jailed.daemon();
        assert_ne!(next, first);
        assert_eq!(score(next), before, "it is not raised once more");
        jailed.node.signal(speaker, Signal::SIGKILL);
        let speaker = wait_for("another speaker", || jailed.node.speaker_of(next));
        threads.extend([Thread::all(next), Thread::all(speaker)].concat());
        for thread in threads {
            assert_eq!(thread.value("Seccomp"), "0", "{}", thread.name);
            assert_eq!(thread.value("NoNewPrivs"), "1", "{}", thread.name);
            assert_eq!(thread.sets()[3] & !(PORTS | ADMIN | RAW | NICE | LOCK), 0, "{}", thread.name);
        }
    });
}

#[test]
fn file_that_the_user_cant_read_is_refused_with_the_name_of_the_user() {
    as_root("privileges::file_that_the_user_cant_read_is_refused_with_the_name_of_the_user", || {
        let mut jailed = Jailed::start();
        let page = jailed.bridge.folder.path().join("503.http");
        fs::write(&page, "one").unwrap();
        jailed.edit("check = false", "check = false\nerror_page = { 503 = \"503.http\" }");
        jailed.done(&["reload"]);
        fs::set_permissions(&page, Permissions::from_mode(0o600)).unwrap();
        let refused = jailed.verb(&["reload"]);
        let why = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(78), "{why}");
        assert!(why.contains("\"503.http\" may not be read by user nobody"), "{why}");
        assert!(jailed.node.has_vip());
        // It would have been refused at the start as well, although it is root who starts.
        jailed.done(&["stop", "--now"]);
        jailed.node.wait();
        let again = jailed.node.command(&[], &[]).output().unwrap();
        let why = String::from_utf8_lossy(&again.stderr).into_owned();
        assert_eq!(again.status.code(), Some(78), "{why}");
        assert!(why.contains("\"503.http\" may not be read by user nobody"), "{why}");
    });
}

/// A proxy without a pair, of a program and a file that everybody may read.
struct Alone {
    folder: tempfile::TempDir,
}

impl Alone {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_lbctl"), folder.path().join("lbctl")).unwrap();
        Self { folder }
    }

    /// Runs until `then` returns.
    fn run(&self, user: &str, runtime: &Path, then: impl FnOnce()) {
        let file = self.folder.path().join(format!("{}.toml", runtime.file_name().unwrap().display()));
        let socket = self.folder.path().join(user.len().to_string());
        let text = format!(
            "[global]\nmaxconn = 10\nthreads = 1\n[listen.web]\nbind = \"unix:{}\"\n\
             servers = [\"192.0.2.9:80\"]\ncheck = false\n",
            socket.display()
        );
        fs::write(&file, text.replacen("[global]\n", &format!("[global]\n{user}"), 1)).unwrap();
        let program = self.folder.path().join("lbctl");
        let mut daemon =
            Command::new(&program).arg("run").arg(file).arg("--runtime-dir").arg(runtime).spawn().unwrap();
        let status = || {
            Command::new(&program).arg("status").arg("--control").arg(runtime.join("control.sock")).output()
        };
        wait_for("it answers", || {
            assert_eq!(daemon.try_wait().unwrap(), None, "it runs");
            status().unwrap().status.success().then_some(())
        });
        then();
        nix::sys::signal::kill(Pid::from_raw(i32::try_from(daemon.id()).unwrap()), Signal::SIGTERM).unwrap();
        daemon.wait().unwrap();
    }
}

#[test]
fn folder_of_lbctl_is_given_to_whoever_uses_it_alone() {
    as_root("privileges::folder_of_lbctl_is_given_to_whoever_uses_it_alone", || {
        super::net::run("mount", &["-t", "tmpfs", "tmpfs", "/run"]);
        let (own, user) = (Path::new("/run/lbctl"), format!("user = \"{USER}\"\n"));
        let owners = || {
            let owner = |path: PathBuf| fs::metadata(path).unwrap().uid();
            (owner(own.to_owned()), owner(own.join("control.sock.lock")))
        };
        let nobody = User::from_name(USER).unwrap().unwrap().uid.as_raw();
        let alone = Alone::new();
        alone.run("", own, || {
            alone.run(&user, Path::new("/run/other"), || {
                assert_eq!(owners(), (0, 0), "another folder is used");
            });
        });
        alone.run(&user, own, || assert_eq!(owners(), (nobody, nobody)));
        alone.run("", own, || assert_eq!(owners(), (0, 0), "no user is wanted any more"));
    });
}

#[test]
fn folder_that_belongs_to_somebody_else_is_named_with_what_to_do() {
    as_root("privileges::folder_that_belongs_to_somebody_else_is_named_with_what_to_do", || {
        let folder = tempfile::tempdir().unwrap();
        let runtime = folder.path().join("run");
        fs::create_dir(&runtime).unwrap();
        give(&runtime);
        let file = folder.path().join("lb.toml");
        fs::write(&file, "[listen.web]\nbind = \"0.0.0.0:80\"\nservers = [\"192.0.2.9:80\"]\n").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_lbctl"));
        let ran = command.arg("run").arg(&file).arg("--runtime-dir").arg(&runtime).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        let at = runtime.display();
        let fix = format!(
            "lbctl runs as root, and {at} belongs to {USER}: choose a folder of its own by --runtime-dir or --control; or, if {at} \
             is lbctl's alone, let it belong to root with all that is in it"
        );
        assert!(said.contains(&fix), "{said}");
        assert_eq!(ran.status.code(), Some(1));
    });
}

#[test]
fn check_here_and_run_read_the_file_as_the_daemon_will() {
    as_root("privileges::check_here_and_run_read_the_file_as_the_daemon_will", || {
        super::net::run("mount", &["-t", "tmpfs", "tmpfs", "/run"]);
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let file = folder.path().join("lb.toml");
        let page = folder.path().join("503.http");
        let lbctl = |words: &[&str]| {
            let ran = Command::new(env!("CARGO_BIN_EXE_lbctl")).args(words).arg(&file).output().unwrap();
            (ran.status.code(), String::from_utf8_lossy(&ran.stderr).into_owned())
        };
        let closed = |path: &Path, owner: u32| {
            chown(path, Some(owner), None).unwrap();
            fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
        };
        let nobody = User::from_name(USER).unwrap().unwrap().uid.as_raw();
        let text = format!(
            "[listen.web]\nbind = \"127.0.0.1:8000\"\nservers = [\"192.0.2.9:80\"]\nerror_page.503 = {page:?}\n"
        );
        for (user, owner, who) in [(format!("user = \"{USER}\"\n"), 0, USER), (String::new(), nobody, "root")]
        {
            fs::write(&file, format!("[global]\nmaxconn = 10\n{user}{text}")).unwrap();
            fs::write(&page, "HTTP/1.1 503 Sorry\r\nContent-Length: 0\r\n\r\n").unwrap();
            fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
            fs::set_permissions(&page, Permissions::from_mode(0o644)).unwrap();
            let (code, said) = lbctl(&["check", "--here"]);
            assert_eq!(code, Some(0), "{said}");
            assert_eq!(said.contains("warning: lbctl stays root"), who == "root", "{said}");
            for path in [&page, &file] {
                closed(path, owner);
                assert_eq!(lbctl(&["check"]).0, Some(0), "root reads everything");
                for words in [&["check", "--here"][..], &["run"]] {
                    let (code, said) = lbctl(words);
                    assert_eq!(code, Some(78), "{words:?} {said}");
                    assert!(said.contains(&format!("may not be read by user {who}")), "{words:?} {said}");
                }
                fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
            }
        }
    });
}
