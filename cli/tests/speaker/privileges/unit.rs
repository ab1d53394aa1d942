//! Started as the packaged unit does it, with what its file says: as a user, with ambient capabilities. That to become another user is
//! for who runs commands, and for nobody else.

use std::{os::unix::net::UnixListener, process::Command};

use nix::{
    sys::signal::Signal,
    unistd::{Pid, User},
};

use super::{
    super::{
        commands::runners,
        is_dead,
        net::children,
        tracked::{passes, tracker},
        wait_for,
    },
    Jailed, USER, as_root, give, replace_speaker,
    threads::{ADMIN, GROUPS, OTHERS, PORTS, RAW, Thread, Who, assert_least_privilege},
};

const UNIT: &str = include_str!("../../../package/lbctl.service");

/// What the unit gives.
const GIVEN: u64 = PORTS | ADMIN | RAW | OTHERS | GROUPS;
const WHO: Who = Who { user: USER, daemon: PORTS, given: GIVEN };

/// Another user that every machine has.
const COMMANDS: &str = "daemon";

/// What starts a program as the unit does.
fn wrapper() -> Vec<String> {
    let line = |key: &str| UNIT.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    let names = line("AmbientCapabilities=").split(' ').map(|name| name.strip_prefix("CAP_").unwrap());
    let all = names.fold("-all".to_owned(), |all, name| format!("{all},+{}", name.to_lowercase()));
    assert_eq!(line("CapabilityBoundingSet="), line("AmbientCapabilities="));
    let user = User::from_name(USER).unwrap().unwrap();
    [
        "setpriv",
        &format!("--reuid={}", user.uid),
        &format!("--regid={}", user.gid),
        &format!("--groups={}", user.gid),
        &format!("--inh-caps={all}"),
        &format!("--ambient-caps={all}"),
        &format!("--bounding-set={all}"),
        "--no-new-privs",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// They are somebody else's for good.
#[track_caller]
fn assert_commands(process: Pid) {
    let user = User::from_name(COMMANDS).unwrap().unwrap();
    let threads = Thread::all(process);
    assert!(!threads.is_empty(), "{process} is gone");
    for thread in threads {
        for (key, id) in [("Uid", user.uid.as_raw()), ("Gid", user.gid.as_raw())] {
            assert_eq!(thread.value(key), [id.to_string().as_str(); 4].join("\t"), "{}", thread.name);
        }
        assert_eq!(thread.sets(), [0, 0, 0, GIVEN, 0], "{}", thread.name);
        assert_eq!(thread.value("NoNewPrivs"), "1", "{}", thread.name);
    }
}

/// The process that runs commands, beside its starter.
fn worker(starter: Pid) -> Pid {
    wait_for("one that runs commands", || children(starter).into_iter().find(|pid| !is_dead(*pid)))
}

#[test]
fn right_of_the_unit_to_become_others_is_left_to_nobody() {
    as_root("privileges::unit::right_of_the_unit_to_become_others_is_left_to_nobody", || {
        let wrapper = wrapper();
        let wrapper: Vec<_> = wrapper.iter().map(String::as_str).collect();
        let jailed = Jailed::start_by(&wrapper, &format!("command_user = \"{COMMANDS}\"\n"), &[]);
        let daemon = jailed.daemon();
        let [starter] = runners(daemon)[..] else { panic!("one process starts what runs commands") };
        let first = worker(starter);
        assert_least_privilege(&WHO, daemon, jailed.node.speaker());
        assert_commands(starter);
        assert_commands(first);

        // So is a command.
        let confined = "grep -E '^(Uid|CapEff|CapPrm)' /proc/self/status | tr -d '\\n'; exit 1";
        let track = format!(
            "[track.fit]\ncommand = [\"/bin/sh\", \"-c\", {confined:?}]\ninterval = \"100ms\"\nfall = 1\n"
        );
        jailed.edit("[vip.web]", &format!("{track}[vip.web]"));
        jailed.done(&["reload"]);
        passes(&jailed.node, false);
        let said = tracker(&jailed.node)["reason"].to_string();
        let user = User::from_name(COMMANDS).unwrap().unwrap().uid.to_string();
        let nothing = "0".repeat(16);
        let expected = format!("Uid:?{}CapPrm:?{nothing}CapEff:?{nothing}", [user.as_str(); 4].join("?"));
        assert!(said.contains(&expected), "{said}");

        // What is started later has no more: another one that runs commands, another speaker, the next daemon.
        jailed.node.signal(first, Signal::SIGKILL);
        // Known by its name: a command of the one that was killed, which ends soon, is the starter's child by now as well.
        let second = wait_for("another one", || {
            let others = children(starter).into_iter().filter(|pid| *pid != first && !is_dead(*pid));
            let mut named = others
                .filter(|pid| Thread::all(*pid).first().is_some_and(|thread| thread.name == "lbctl-runner"));
            named.next()
        });
        assert_commands(second);
        let speaker = replace_speaker(&jailed, daemon);
        assert_least_privilege(&WHO, daemon, speaker);
        jailed.done(&["upgrade"]);
        let next = jailed.daemon();
        assert_ne!(next, daemon);
        // The one that is there is passed on.
        jailed.node.signal(speaker, Signal::SIGKILL);
        assert_least_privilege(&WHO, next, wait_for("a speaker", || jailed.node.speaker_of(next)));
        assert!(!is_dead(starter) && runners(next).is_empty(), "it stays");
        assert_commands(starter);
        jailed.done(&["stop", "--now"]);
    });
}

#[test]
fn other_verbs_of_the_unit_give_that_right_away_at_once() {
    as_root("privileges::unit::other_verbs_of_the_unit_give_that_right_away_at_once", || {
        let folder = tempfile::tempdir().unwrap();
        let control = folder.path().join("control.sock");
        let listener = UnixListener::bind(&control).unwrap();
        for path in [folder.path(), &control] {
            give(path);
        }
        let wrapper = wrapper();
        let mut command = Command::new(&wrapper[0]);
        command
            .args(&wrapper[1..])
            .arg(env!("CARGO_BIN_EXE_lbctl"))
            .args(["reload", "--control"])
            .arg(&control);
        let mut reload = command.spawn().unwrap();
        // It waits for an answer, which never comes.
        let _asked = listener.accept().unwrap();
        let threads = Thread::all(Pid::from_raw(i32::try_from(reload.id()).unwrap()));
        reload.kill().unwrap();
        reload.wait().unwrap();
        let left = PORTS | ADMIN | RAW;
        assert!(!threads.is_empty());
        for thread in threads {
            assert_eq!(thread.sets(), [0, left, left, GIVEN, 0], "{}", thread.name);
        }
    });
}
