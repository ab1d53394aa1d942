//! Upgrades that come to nothing: whatever the next process fails at, the one before serves on, and the pair has its address.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::{fs, net::TcpListener, process::Command, time::Duration};

use lb_tests::{
    order::{self, other},
    plain::{Plain, unused_address, wait_until},
    preload::install_dying,
    program::{self, Installed, write_script},
    scene::{Scene, slower},
    wait,
};
use lbctl::lab::{How, Options};
use serde_json::Value;

const LONG: Duration = Duration::from_secs(30);

fn said(output: &std::process::Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn what_cannot_take_over_leaves_the_old_one_in_charge() {
    let program = Installed::default();
    let address = unused_address(8000);
    let text = format!(
        "[frontend.web]\nbind = \"{address}\"\nrules = [{{ respond = {{ status = 200, body = \"here\" }} }}]\n"
    );
    let plain = Plain::start_program(program.path(), &text);
    let refused = |code: i32, why: &str| {
        let output = plain.upgrade();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(why), "{said}");
        let status: Value = serde_json::from_slice(&plain.status(&["--json"]).stdout).unwrap();
        assert_eq!(status["pid"], plain.id());
        let answer = Command::new("curl").args(["-s", &format!("http://{address}/")]).output().unwrap();
        assert_eq!(answer.stdout, b"here");
    };
    program.install_script("exit 3");
    refused(1, "the new process ended (exit status: 3); see its output");
    program.install_script("exec sleep 100");
    refused(1, "the new process said nothing for 10 s");
    fs::remove_file(program.path()).unwrap();
    refused(1, "there is no ");
    program.install();
    fs::write(plain.file(), text.replace("bind", "bund")).unwrap();
    refused(78, "unknown key `bund`");
    fs::write(plain.file(), text.replace("status = 200", "status = 203")).unwrap();
    let output = plain.upgrade();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer = Command::new("curl").args(["-si", &format!("http://{address}/")]).output().unwrap();
    assert!(answer.stdout.starts_with(b"HTTP/1.1 203"), "the next process has read the file");
}

/// A next process that says this after it was started, and that once it has everything; and then waits for the file `over`. In
/// the log it says when it is to be in charge.
fn install_impostor(program: &Installed, first: &str, second: Option<&str>) {
    let (script, over) = (program.beside("impostor"), program.beside("over"));
    let _ = fs::remove_file(&over);
    let hear = |word: &str| {
        format!("while (1) {{ sysread $s, my $m, 1 << 18 or exit; last if $m =~ /^[{{\"]+{word}/ }}\n")
    };
    let mut text = format!("open my $s, q(+<&=0);\nsyswrite $s, q({first});\n{}", hear("Control"));
    if let Some(second) = second {
        text += &format!("syswrite $s, q({second});\n{}print STDERR qq({IN_CHARGE}\\n);\n", hear("Go"));
    }
    text += &format!("select undef, undef, undef, 0.01 until -e q({});\n", over.display());
    fs::write(&script, text).unwrap();
    program.install_script(&format!("exec perl {}", script.display()));
}

const IN_CHARGE: &str = "the impostor is to be in charge";
const HELLO: &str = r#"{"Hello":{"version":"9.9.9","protocol":2}}"#;
const READY: &str = r#"{"Ready":{"file":""}}"#;

#[test]
fn whatever_the_next_process_fails_at_the_old_one_serves_on_and_a_stop_is_not_lost() {
    let program = Installed::default();
    let address = unused_address(8000);
    let text = format!(
        "[frontend.web]\nbind = \"{address}\"\nrules = [{{ respond = {{ status = 200, body = \"here\" }} }}]\n"
    );
    let plain = Plain::start_program(program.path(), &text);
    let over = program.beside("over");
    let serves = |plain: &Plain| {
        let status: Value = serde_json::from_slice(&plain.status(&["--json"]).stdout).unwrap();
        assert_eq!(status["pid"], plain.id());
        assert!(lb_tests::plain::get(address, "/").ends_with("here"));
    };
    install_impostor(&program, r#"{"Hello":{"version":"9.9.9","protocol":99}}"#, None);
    let refused = said(&plain.upgrade());
    assert!(refused.contains("lbctl 9.9.9 can't take over from lbctl "), "{refused}");
    serves(&plain);

    // It ends once it has everything, and once it is to be in charge.
    for second in [None, Some(READY)] {
        install_impostor(&program, HELLO, second);
        fs::write(&over, "").unwrap();
        let refused = said(&plain.upgrade());
        assert!(refused.contains("the new process ended (exit status: 0)"), "{refused}");
        serves(&plain);
    }

    // It is to be in charge, and hangs: a stop that comes then is one.
    install_impostor(&program, HELLO, Some(READY));
    let (refused, stopped) = std::thread::scope(|scope| {
        let upgrade = scope.spawn(|| plain.upgrade());
        wait_until("it is to be in charge", || plain.log(), || plain.log().matches(IN_CHARGE).count() == 2);
        let stop = scope.spawn(|| plain.verb(&["stop"]));
        wait_until(
            "the stop waits",
            || plain.log(),
            || plain.log().contains("the stop waits for what comes"),
        );
        fs::write(&over, "").unwrap();
        (upgrade.join().unwrap(), stop.join().unwrap())
    });
    assert!(said(&refused).contains("the new process ended"), "{}", said(&refused));
    assert!(stopped.status.success() && said(&stopped).starts_with("stopped after"), "{}", said(&stopped));
    wait_until("it ends", || plain.log(), || plain.log().contains("stopped cut=0"));
}

#[test]
fn listener_that_cannot_be_bound_is_refused_as_a_reload_refuses_it_and_other_changes_are_told() {
    let (address, taken) = (unused_address(8000), unused_address(8001));
    let _other = TcpListener::bind(taken).unwrap();
    let bind = |text: &str, status: u16| {
        format!(
            "[frontend.web]\nbind = [{text}]\nrules = [{{ respond = {{ status = {status}, body = \"here\" }} }}]\n"
        )
    };
    let plain = Plain::start(&bind(&format!("\"{address}\""), 200));
    fs::write(plain.file(), bind(&format!("\"{address}\", \"{taken}\""), 200)).unwrap();
    let output = plain.upgrade();
    let why = said(&output);
    assert_eq!(output.status.code(), Some(1), "{why}");
    assert!(why.contains(&format!("frontend web: {taken}: port 8001 of ")), "{why}");
    let status: Value = serde_json::from_slice(&plain.status(&["--json"]).stdout).unwrap();
    assert_eq!(status["pid"], plain.id());
    // A process that could not bind it either is no worse.
    let plain = Plain::start(&bind(&format!("\"{taken}\""), 200));
    fs::write(plain.file(), bind(&format!("\"{taken}\""), 203)).unwrap();
    let output = plain.upgrade();
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
    assert_eq!(report["changes"][0]["what"], "frontend web", "{report}");
    assert_ne!(report["hash"], report["hash_before"]);
}

#[test]
fn process_whose_end_would_be_taken_for_that_of_lbctl_is_not_succeeded() {
    let folder = tempfile::tempdir().unwrap();
    let lbctl = program::lbctl();
    for (name, script, why) in [
        (
            "container",
            format!("exec unshare -Urpf --kill-child --mount-proc {lbctl} \"$@\""),
            "it is process 1",
        ),
        ("unit", format!("SYSTEMD_EXEC_PID=$$ exec {lbctl} \"$@\""), "its unit is not of Type=notify"),
        ("runsv", format!("setpriv --pdeathsig KILL {lbctl} \"$@\" & wait"), "runsv watches this process"),
    ] {
        let program = folder.path().join(name);
        write_script(&program, &script);
        let text =
            format!("[frontend.web]\nbind = \"{}\"\nrules = [{{ deny = 403 }}]\n", unused_address(8000));
        let plain = Plain::start_program(&program, &text);
        let output = plain.upgrade();
        let refused = said(&output);
        assert_eq!(output.status.code(), Some(1), "{refused}");
        assert!(refused.contains(why), "{refused}");
        assert!(plain.status(&["--json"]).stdout.starts_with(b"{"), "{}", plain.log());
    }
}

/// Alone on a machine, a proxy whose next process dies loses nothing. In a pair there is more to be lost: the hello's socket and the
/// speaker are the next process's by then.
#[test]
fn next_process_that_dies_in_a_pair_gives_everything_back_and_no_address_moves() {
    let make = || {
        let program = Installed::default();
        let options = Options::default().configuration(&slower("1s")).program(program.path());
        (program, options)
    };
    Scene::unless_starved_anew(make, |scene, program| {
        let holder = scene.holder();
        scene.wait_until_other_is_ready(&holder);
        let read = scene.record().unwrap().len();
        let load = scene.clients();
        let is_refused = |why: &str| {
            let before = scene.status_of(&holder)["pid"].clone();
            let said = scene.refused(&holder, &["upgrade"], 1);
            assert!(said.contains(why), "{said}");
            wait::until("the one before goes on", LONG, || {
                let status = scene.status_of(&holder);
                (status["pid"] == before && status["problems"] == serde_json::json!([])).then_some(())
            });
        };
        // Once it has everything but the speaker, and wants none; and once it has that as well, which comes back.
        install_impostor(program, HELLO, Some(READY));
        is_refused("the new process wants no speaker");
        let report = load.stop().unwrap();
        assert_eq!(report.failures(), Default::default(), "of {}", report.total());
        // What such a process had taken from the queues ends with it, so nobody asks for anything here.
        install_dying(program);
        for _ in 0..3 {
            is_refused("the new process ended (signal: 9 (SIGKILL))");
        }
        let log = scene.log(&holder, "lbctl").unwrap();
        assert_eq!(log.matches("the speaker is this process's again").count(), 3, "{log}");
        assert_eq!(order::claims(scene, read), 0, "the address was never away");
        // It can be given away again, and is its keeper as it was before.
        program.install();
        scene.done(&holder, &["upgrade", "--json"]);
        assert_eq!(order::claims(scene, read), 0, "the address was never away");
        scene.fail(&holder, How::Kill).unwrap();
        scene.wait_until_held_by(other(&holder), LONG).unwrap();
    });
}
