//! `[notify.*]` with a mail server: people are sent what happens, by a real Exim.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
};

use crate::{
    exim::{Exim, Guard},
    harness::unused_address,
    notify::{notifier, server_is},
    webhook::{problem, secret, start, tables},
};

/// What all tables here have.
fn to(address: SocketAddr, sender: &str, more: &str) -> String {
    format!(
        "smtp = \"{address}\"\nsender = \"lbctl <{sender}@example.com>\"\nrecipients = [\"ops@example.com\"]\n{more}"
    )
}

fn login(file: &str, guard: &Guard) -> String {
    format!("user = \"lbctl\"\npassword_file = \"{file}\"\nca_file = \"{}\"\n", guard.certificate)
}

/// Kinds and states in the order in which the mails of `sender` have them, a list for each; the earlier mail first.
fn told(exim: &Exim, sender: &str) -> Vec<Vec<String>> {
    let mut mails: Vec<_> =
        exim.mails().into_iter().filter(|mail| mail.contains(&format!("<{sender}@example.com>"))).collect();
    // Each begins with the moment of its first event.
    mails.sort_by_key(|mail| lines(mail).first().map(|line| line.get(..23).map(str::to_owned)));
    mails.iter().map(|mail| lines(mail).iter().map(|line| in_short(line)).collect()).collect()
}

fn lines(mail: &str) -> Vec<String> {
    let (_, body) = mail.split_once("\n\n").unwrap_or_default();
    // Long lines are broken with a = at their end (RFC 2045 §6.7).
    let body = body.replace("=\n", "").replace("=3D", "=");
    body.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// `server down` of `2026-11-27 02:00:00.513 UTC  lb1: server web/one: up -> down (reason)`.
fn in_short(line: &str) -> String {
    let (_, what) = line.split_once(": ").unwrap_or_default();
    let kind = what.split(' ').next().unwrap_or_default();
    let to = what.split("-> ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default();
    format!("{kind} {to}")
}

#[test]
fn it_goes_over_starttls_with_a_login_once_in_an_interval_through_reload_upgrade_and_stop() {
    let (address, made) = (unused_address(), tempfile::tempdir().expect("a folder"));
    let guard = Guard::new(made.path(), &address.ip().to_string());
    let exim = Exim::at(address, Some(&guard));
    let keys = to(address, "fine", &login("password", &guard)) + "mail_interval = \"1h\"\n";
    let daemon = start(&tables(&[("mail", keys)]), |folder| secret(folder, "password", "4b1d\n"));
    daemon.wait_until("the first is there at once", |_| !told(&exim, "fine").is_empty());
    daemon.wait_until("the others wait for the next", |daemon| {
        server_is(daemon, "down") && notifier(daemon, "mail")["waiting"] == 2
    });
    assert_eq!(told(&exim, "fine"), [["node running"]]);
    let mail = exim.mails().swap_remove(0);
    for part in ["\nTo: ops@example.com", "\nAuto-Submitted: auto-generated", "\nSubject: ", "esmtpsa"] {
        assert!(mail.contains(part), "{part} is not in {mail}");
    }
    let path = daemon.folder.path().join("lb.toml");
    let text = fs::read_to_string(&path).expect("read").replace("\"1h\"", "\"1s\"");
    fs::write(&path, text).expect("written");
    assert!(daemon.verb(&["reload"]).status.success(), "{}", daemon.log());
    daemon.wait_until("the interval is that of the new file", |_| told(&exim, "fine").len() == 2);
    assert_eq!(told(&exim, "fine")[1], ["server down", "backend down"]);
    assert!(exim.mails().iter().any(|mail| mail.contains("(1 more)")), "{:?}", exim.mails());
    assert!(daemon.verb(&["upgrade"]).status.success(), "{}", daemon.log());
    assert!(daemon.verb(&["stop"]).status.success(), "{}", daemon.log());
    daemon.wait_until("the end is told", |_| told(&exim, "fine").len() == 3);
    assert_eq!(told(&exim, "fine")[2], ["node stopping"], "{:#?}", exim.mails());
    assert!(!daemon.log().contains("4b1d"), "{}", daemon.log());
}

#[test]
fn what_is_wrong_is_named_and_only_what_may_be_otherwise_later_is_tried_again() {
    let (address, open, made) = (unused_address(), unused_address(), tempfile::tempdir().expect("a folder"));
    let guard = Guard::new(made.path(), &address.ip().to_string());
    let (guarded, plain) = (Exim::at(address, Some(&guard)), Exim::at(open, None));
    let half = to(address, "half", &login("right", &guard)).replace("[", "[\"x@example.net\", ");
    let daemon = start(
        &tables(&[
            ("stranger", to(address, "stranger", &login("wrong", &guard))),
            ("untrusted", to(address, "untrusted", "")),
            ("careful", to(open, "careful", "")),
            ("open", to(open, "open", "security = \"none\"\n")),
            ("half", half),
        ]),
        |folder| {
            secret(folder, "right", "4b1d\n");
            secret(folder, "wrong", "guess\n");
        },
    );
    for (name, why) in [
        ("stranger", "it does not let lbctl in: "),
        ("untrusted", "its certificate leads to no authority that is trusted (`ca_file`)"),
        ("careful", "it does not offer STARTTLS, and nothing is sent"),
        ("half", "x@example.net is refused: "),
    ] {
        daemon.wait_until(&format!("{name} is named"), |daemon| problem(daemon, name).starts_with(why));
    }
    daemon.wait_until("the others have it", |_| {
        told(&plain, "open").len() == 1 && told(&guarded, "half").len() == 1
    });
    assert!(
        problem(&daemon, "half").ends_with("nobody here is called so; the others have the mail"),
        "{}",
        problem(&daemon, "half")
    );
    assert!(problem(&daemon, "stranger").contains("535"), "{}", problem(&daemon, "stranger"));
    let counts = |name| {
        let one = notifier(&daemon, name);
        (one["told_total"].as_u64(), one["failed_total"].as_u64())
    };
    daemon.wait_until("they are counted", |_| {
        (counts("stranger"), counts("half"), counts("open"))
            == ((Some(0), Some(1)), (Some(0), Some(1)), (Some(1), Some(0)))
    });
    for name in ["untrusted", "careful"] {
        assert_eq!(counts(name), (Some(0), Some(0)), "{name} is not over");
        assert!(
            told(&guarded, name).is_empty() && told(&plain, name).is_empty(),
            "{name} has sent something"
        );
    }
    assert!(!daemon.log().contains("guess"), "{}", daemon.log());
}

#[test]
fn while_the_server_is_gone_all_is_kept_and_comes_in_one_mail_or_is_over_at_the_end() {
    let (later, never) = (unused_address(), unused_address());
    let table = |address| to(address, "late", "security = \"none\"\nmail_interval = \"1s\"\n");
    let mut daemon = start(&tables(&[("later", table(later)), ("never", table(never))]), |_| {});
    daemon.wait_until("all has happened, and nobody has it", |daemon| {
        server_is(daemon, "down")
            && notifier(daemon, "later")["waiting"] == 3
            && problem(daemon, "later") == format!("{later}: connection refused")
    });
    assert_eq!(notifier(&daemon, "later")["failed_total"], 0, "it is not over");
    let exim = Exim::at(later, None);
    daemon.wait_until("it is there once the server is", |_| !told(&exim, "late").is_empty());
    assert_eq!(told(&exim, "late"), [["node running", "server down", "backend down"]]);
    daemon.wait_until("nothing is wrong any more", |daemon| {
        problem(daemon, "later").is_empty() && notifier(daemon, "later")["told_total"] == 3
    });
    assert!(daemon.verb(&["stop"]).status.success(), "{}", daemon.log());
    daemon.wait_for_exit();
    let untold = format!("lbctl ends notify=\"never\" events=4 reason=\"{never}: connection refused\"");
    assert!(daemon.log().contains(&untold), "{}", daemon.log());
    drop(TcpListener::bind(never).expect("nobody ever was there"));
}
