//! Faults of the machine under a pair: no memory or no descriptor left for a node, a clock that jumps, and both nodes started at
//! the same instant.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::{fmt::Write as _, fs, process::Command, thread, time::Duration};

use lb_tests::{
    order::{self, other},
    preload::Clock,
    processes,
    scene::Scene,
    wait,
};
use lbctl::lab::{BALANCERS, CONFIGURATION, How, Options};

const LONG: Duration = Duration::from_secs(30);
const MEGABYTE: u64 = 1 << 20;

/// Runs a script as root: by sudo, which `tests/run` needs anyway, where the test is not.
fn as_root(script: &str) -> String {
    let is_root = nix::unistd::geteuid().is_root();
    let mut command = if is_root { Command::new("sh") } else { Command::new("sudo") };
    let command = if is_root { &mut command } else { command.args(["-n", "sh"]) };
    let output = command.args(["-c", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A cgroup of this test, of either version, with processes that use memory in it from now on.
struct Cgroup(String);

impl Cgroup {
    fn with(processes: &[i32], most: u64) -> Self {
        let name = format!("lbctl-test-{}", std::process::id());
        let members: String = processes.iter().fold(String::new(), |mut text, pid| {
            writeln!(text, "echo {pid} > $group/cgroup.procs").unwrap();
            text
        });
        let script = format!(
            "set -e\n\
             if [ -e /sys/fs/cgroup/memory/cgroup.procs ]; then group=/sys/fs/cgroup/memory/{name} limit=memory.limit_in_bytes\n\
             else group=/sys/fs/cgroup/{name} limit=memory.max; echo +memory > /sys/fs/cgroup/cgroup.subtree_control || true; fi\n\
             mkdir $group\n{members}echo {most} > $group/$limit\necho $group"
        );
        Self(as_root(&script).trim().to_owned())
    }

    /// How often the kernel has killed one of them.
    fn kills(&self) -> u64 {
        let files = ["memory.oom_control", "memory.events"]
            .map(|file| fs::read_to_string(format!("{}/{file}", self.0)));
        let text: String = files.into_iter().flatten().collect();
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or_default()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Who is still in it stays where it was made.
        let up = format!(
            "group={}; for pid in $(cat $group/cgroup.procs); do echo $pid > $group/../cgroup.procs; done; rmdir $group",
            self.0
        );
        as_root(&format!("{up} || true"));
    }
}

/// The numbers of the daemon and the speaker of a node, as this process has them.
fn processes(scene: &Scene, node: &str) -> Vec<i32> {
    let all = processes::of(scene, node).into_iter();
    all.filter(|process| process.is_daemon() || process.is_speaker()).map(|process| process.pid).collect()
}

/// A reload brings a map that is far too large. The kernel kills what uses the most, which is the daemon.
#[test]
fn node_whose_cgroup_has_no_memory_left_gives_the_address_to_the_other() {
    Scene::unless_starved(&Options::default(), |scene| {
        let holder = scene.holder();
        let heir = other(&holder);
        scene.wait_until_other_is_ready(&holder);
        let found = processes(scene, &holder);
        assert_eq!(found.len(), 2, "{found:?}");
        let group = Cgroup::with(&found, 40 * MEGABYTE);
        scene.shell(&holder, "seq 600000 | sed 's/.*/host-&.example.com web/' > /run/hosts.map");
        let more = r#"
[frontend.more]
bind  = "127.0.0.1:81"
rules = [{ backend = '{request.host|map("hosts")}' }]

[map.hosts]
file = "/run/hosts.map"
"#;
        let text = format!("{CONFIGURATION}{more}");
        scene.write_file(&holder, "/run/lab.toml", &text).unwrap();
        let read = scene.record().unwrap().len();
        let (code, _, errors) = scene.verb(&holder, &["reload"]);
        assert_eq!(code, Some(1), "{errors}");
        scene.wait_until_held_by(heir, LONG).unwrap();
        assert!(group.kills() > 0);
        assert!(order::first_move(scene, &holder, read).in_order);
        assert!(!scene.has_vip(&holder));
        scene.wait_for_answer();
        drop(group);
        // Started again, with the file as it was.
        scene.write_file(&holder, "/run/lab.toml", CONFIGURATION).unwrap();
        scene.heal(&holder).unwrap();
        scene.wait_until_all_ready().unwrap();
        assert_eq!(scene.holders().unwrap(), [heir]);
    });
}

/// The daemon can't open a file any more, so it can't start another speaker, and nobody can ask it anything.
#[test]
fn node_without_descriptors_whose_speaker_dies_says_so_to_the_other_and_comes_back() {
    Scene::unless_starved(&Options::default(), |scene| {
        let holder = scene.holder();
        let heir = other(&holder);
        scene.wait_until_other_is_ready(&holder);
        let daemon = scene.status().unwrap().node(&holder).unwrap().pid.unwrap();
        scene.shell(
            &holder,
            &format!("prlimit --pid {daemon} --nofile=3: && kill -9 $(pgrep -x -P {daemon} lbctl-speaker)"),
        );
        scene.wait_until_held_by(heir, LONG).unwrap();
        wait::until("the other node is told", LONG, || {
            let problems = scene.status_of(heir)["problems"].to_string();
            problems.contains(&format!("{holder} can't hold web")).then_some(problems)
        });
        let status = scene.status_of(heir);
        assert_eq!(status["groups"][0]["holders"], serde_json::json!([heir]));
        let problem = &status["problems"][0];
        assert_eq!(problem["what"], format!("{holder} can't hold web"), "{status}");
        assert_eq!(problem["look_at"], "its speaker is silent.");
        scene.wait_for_answer();
        let hard = format!("$(prlimit --pid {daemon} --nofile --noheadings --output HARD)");
        scene.shell(&holder, &format!("prlimit --pid {daemon} --nofile={hard}:"));
        scene.wait_until_all_ready().unwrap();
        assert_eq!(scene.holders().unwrap(), [heir]);
        let log = scene.log(&holder, "lbctl").unwrap();
        assert!(log.contains("could not be started: Too many open files"), "{log}");
        let speaker = &scene.status_of(&holder)["speaker"];
        assert!(
            speaker["restarts_total"].as_u64() >= Some(2),
            "the one that was killed, and those that could not be started: {speaker}"
        );
        assert_eq!(speaker["last_restart"]["is_missing"], true, "{speaker}");
    });
}

/// As somebody sets it, or a time server that was wrong: for all programs of both nodes.
#[test]
fn clock_that_jumps_by_an_hour_either_way_moves_nothing_and_holds_up_nothing() {
    const HOUR: i64 = 3600;
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::new(folder.path());
    Scene::unless_starved(&Options::default().program(clock.program()), |scene| {
        clock.set_ahead(0);
        let holder = scene.holder();
        scene.wait_until_other_is_ready(&holder);
        let seconds = |time: &str| -> i64 {
            scene.shell("client", &format!("date -d {time} +%s")).trim().parse().unwrap()
        };
        let begun = seconds(scene.status_of(&holder)["at"].as_str().unwrap());
        let read = scene.record().unwrap().len();
        for ahead in [HOUR, 0, -HOUR, 0] {
            let load = scene.clients();
            clock.set_ahead(ahead);
            for node in BALANCERS {
                wait::until("it has the new time", LONG, || {
                    let off = seconds(scene.status_of(node)["at"].as_str()?) - begun;
                    (off - ahead).abs().lt(&(HOUR / 2)).then_some(())
                });
            }
            let served = load.report().ok();
            wait::until("clients are served", LONG, || (load.report().ok() > served + 200).then_some(()));
            let report = load.stop().unwrap();
            assert_eq!(report.failures(), Default::default(), "of {}", report.total());
            // Checks find a server that is gone and one that is back, and problems are over.
            let web1_is = |state: &str| {
                for node in BALANCERS {
                    wait::until(state, LONG, || {
                        let status = scene.status_of(node);
                        (status["backends"][0]["servers"][0]["state"] == state).then_some(())
                    });
                }
            };
            scene.fail("web1", How::Kill).unwrap();
            web1_is("down");
            scene.heal("web1").unwrap();
            web1_is("up");
            for verb in ["reload", "upgrade"] {
                scene.done(&holder, &[verb, "--json"]);
            }
            for node in BALANCERS {
                wait::until("no problems", LONG, || {
                    (scene.status_of(node)["problems"] == serde_json::json!([])).then_some(())
                });
            }
        }
        assert_eq!(order::claims(scene, read), 0, "the address was never away");
        // In the middle of a failover.
        scene.fail(&holder, How::Kill).unwrap();
        clock.set_ahead(HOUR);
        scene.wait_until_held_by(other(&holder), LONG).unwrap();
        scene.heal(&holder).unwrap();
        scene.wait_for_answer();
    });
}

/// As after a power cut, several times. Each node claims once at most: of two that claim in the same moment the loser takes back what it has
/// added, and from then on it is no better than the one that holds the address, so it takes it from nobody. Only a holder that is late is
/// followed by another claim, and it says so.
#[test]
fn nodes_that_are_started_at_the_same_instant_have_one_holder() {
    Scene::unless_starved_from_the_start(&Options::default().without_daemons(), |scene| {
        for round in 1..=5 {
            let read = scene.record().unwrap().len();
            let start = &|node: &str| if round == 1 { scene.start(node) } else { scene.heal(node) };
            thread::scope(|scope| {
                for one in BALANCERS.map(|node| scope.spawn(move || start(node))) {
                    one.join().unwrap().unwrap();
                }
            });
            scene.wait_until_all_ready().unwrap();
            let holder = scene.holder();
            assert!(scene.has_vip(&holder) && !scene.has_vip(other(&holder)), "round {round}");
            scene.wait_for_answer();
            let claims = order::claims(scene, read);
            assert!((1..=2).contains(&claims), "round {round}: {claims} claims");
            for node in BALANCERS {
                wait::until("no problems", LONG, || {
                    (scene.status_of(node)["problems"] == serde_json::json!([])).then_some(())
                });
            }
            for node in BALANCERS {
                scene.fail(node, How::Kill).unwrap();
            }
        }
    });
}
