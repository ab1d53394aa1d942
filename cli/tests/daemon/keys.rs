//! Keys that can't be read: what is said of them, and what clients are shown meanwhile.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command, time::Duration};

use crate::{
    certificates::{client, is_answered, subject},
    harness::{Daemon, file, lbctl, started_by, unused_address, web_server},
};

const CERTIFICATE: &str = include_str!("../good/site.crt");
const KEY: &str = include_str!("../good/site.key");
const PROTECTED: &str = include_str!("../bad/tls-protected.key");

/// A file with a key; how it comes to be one that can't be read, and what is said of it.
type Spoilt = (&'static str, fn(&Path), &'static str);

const KEYS: [Spoilt; 4] = [
    ("closed.key", |key| set_mode(key, 0o000), "may not be read by user "),
    ("folder.key", replace_with_a_folder, "is a folder, not a file"),
    (
        "cut.key",
        |key| write(key, &KEY[..KEY.len() / 2]),
        "is broken: a section has no line -----END ...-----",
    ),
    (
        "protected.key",
        |key| write(key, PROTECTED),
        "has a key that is protected by a password; take that off with `openssl pkey",
    ),
];

fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("written");
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("changed");
}

fn replace_with_a_folder(path: &Path) {
    fs::remove_file(path).expect("removed");
    fs::create_dir(path).expect("made");
}

/// As it was.
fn mend(path: &Path) {
    if path.is_dir() {
        fs::remove_dir(path).expect("removed");
    } else {
        set_mode(path, 0o600);
    }
    write(path, KEY);
}

/// The same command, by whom a file's rights are not passed over: root's are that otherwise.
fn bound_by_rights(command: &Command) -> Command {
    let mut starter = Command::new(if nix::unistd::geteuid().is_root() { "setpriv" } else { "env" });
    if nix::unistd::geteuid().is_root() {
        starter.arg("--bounding-set=-dac_override,-dac_read_search");
    }
    started_by(starter, command)
}

/// What is said of the certificates that are not renewed.
fn told(daemon: &Daemon) -> Vec<String> {
    let status = daemon.status_json().unwrap_or_default();
    let problems = status["problems"].as_array().cloned().unwrap_or_default();
    let of_web = problems.iter().filter(|one| one["what"] == "certificates of frontend web are not renewed");
    of_web.filter_map(|one| Some(one["look_at"].as_str()?.to_owned())).collect()
}

#[test]
fn key_that_can_not_be_read_is_told_and_clients_are_shown_what_was_there_before() {
    let listeners = KEYS.map(|(key, ..)| (key, unused_address()));
    let frontend = listeners[0].1;
    let binds = listeners.map(|(key, address)| {
        format!("{{ address = \"{address}\", tls = {{ certificate = \"site.crt\", key = \"{key}\" }} }}")
    });
    let text = file("http", frontend, web_server(Duration::ZERO)).replace(
        &format!("bind = \"{frontend}\""),
        &format!("bind = [\n{},\n]\ntimeout.http_keep_alive = \"10m\"", binds.join(",\n")),
    );
    let daemon = Daemon::spawn_with(&text, frontend, None, |command| {
        let path = command.get_args().nth(1).map(std::path::PathBuf::from).expect("the file");
        write(&path.with_file_name("site.crt"), CERTIFICATE);
        KEYS.iter().for_each(|(key, ..)| write(&path.with_file_name(key), KEY));
        *command = bound_by_rights(command);
    });
    let all_are_shown = |daemon: &Daemon| {
        listeners.iter().all(|(_, address)| subject(*address).contains("www.example.com"))
            && told(daemon).is_empty()
    };
    daemon.wait_until("it serves", all_are_shown);
    let mut open = client(frontend, &["-quiet"]);
    assert!(is_answered(&mut open));

    let path = |key: &str| daemon.folder.path().join(key);
    KEYS.iter().for_each(|(key, spoil, _)| spoil(&path(key)));
    let are_all_told = |report: &str| {
        KEYS.iter().all(|(key, _, why)| report.contains(&format!("\"{key}\" {why}")))
            && report.contains("\n4 errors.")
    };
    let check = bound_by_rights(lbctl().arg("check").arg(path("lb.toml"))).output().expect("ran");
    let report = String::from_utf8_lossy(&check.stderr).into_owned();
    assert!(check.status.code() == Some(78) && are_all_told(&report), "{report}");
    assert!(report.contains("lb.toml:8:"), "{report}");
    let reload = daemon.verb(&["reload"]);
    let report = String::from_utf8_lossy(&reload.stderr).into_owned();
    assert!(reload.status.code() == Some(78) && are_all_told(&report), "{report}");
    // It looks at the files by itself as well.
    daemon.wait_until("each is a problem", |daemon| {
        let told = told(daemon);
        KEYS.iter().all(|(key, _, why)| told.iter().any(|one| one.starts_with(&format!("{key} {why}"))))
    });
    assert_eq!(
        daemon.log().matches("a certificate can't be shown as its file has it").count(),
        4,
        "{}",
        daemon.log()
    );
    for (key, address) in listeners {
        assert!(subject(address).contains("www.example.com"), "{key}");
    }
    assert!(is_answered(&mut open), "a connection that was open is still there");

    KEYS.iter().for_each(|(key, ..)| mend(&path(key)));
    daemon.wait_until("nothing is wrong", all_are_shown);
    assert_eq!(daemon.verb(&["reload"]).status.code(), Some(0), "{}", daemon.log());
    assert!(is_answered(&mut open), "and is there still");
    open.kill().expect("killed");
    open.wait().expect("ended");
}
