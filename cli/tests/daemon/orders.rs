//! `lbctl server`: orders while the daemon serves, through reload and upgrade.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{Daemon, exchange, get, unused_address, web_server};

/// Two servers behind one frontend.
fn pair_of_servers() -> Daemon {
    let (frontend, server) = (unused_address(), web_server(Duration::ZERO));
    let text = format!(
        "[global]\nthreads = 2\n\n[frontend.web]\nbind = \"{frontend}\"\ndefault_backend = \"app\"\nstatistics = {{ uri = \"/stats\" }}\n\n\
         [backend.app]\ncheck = {{ interval = \"200ms\", timeout = \"1s\", rise = 1, fall = 2 }}\n\
         server.web1 = {{ address = \"{server}\" }}\nserver.web2 = {{ address = \"{server}\" }}\n"
    );
    let daemon = Daemon::spawn(&text, frontend, None);
    daemon.wait_until("both are up", |daemon| {
        let state = |index: usize| server_of(daemon, index)["state"].clone();
        [state(0), state(1)] == ["up", "up"]
    });
    daemon
}

fn server_of(daemon: &Daemon, index: usize) -> Value {
    let status = daemon.status_json().unwrap_or_default();
    status["backends"][0]["servers"][index].clone()
}

/// What a verb that works prints.
#[track_caller]
fn says(daemon: &Daemon, arguments: &[&str]) -> String {
    let output = daemon.verb(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// The column `status` of a server in the CSV.
fn csv_status(daemon: &Daemon, server: &str) -> String {
    let request = b"GET /stats;csv HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let mut stream = std::net::TcpStream::connect(daemon.frontend).expect("connected");
    std::io::Write::write_all(&mut stream, request).expect("sent");
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).expect("answered");
    let line = answer.lines().find(|line| line.starts_with(&format!("app,{server},"))).expect("a row");
    line.split(',').nth(17).expect("its status").to_owned()
}

#[test]
fn orders_outlive_reloads_and_upgrades_and_are_shown_everywhere() {
    let daemon = pair_of_servers();
    assert_eq!(says(&daemon, &["server", "app/web1", "drain"]), "app/web1: DRAIN, was up, weight 0, was 1");
    assert_eq!(
        says(&daemon, &["server", "app/web2", "weight", "50%"]),
        "app/web2: up\nnote: 50% make no difference: its weight is still 1; where all servers of app have a weight of 100 in \
         the file, shares count"
    );
    assert_eq!(says(&daemon, &["server", "app/web2", "weight", "7"]), "app/web2: up, weight 7, was 1");
    says(&daemon, &["reload"]);
    says(&daemon, &["upgrade"]);
    let (web1, web2) = (server_of(&daemon, 0), server_of(&daemon, 1));
    let user = nix::unistd::User::from_uid(nix::unistd::getuid()).expect("asked").expect("a user").name;
    assert_eq!((&web1["state"], &web1["ordered"][0]["what"]), (&"drain".into(), &"drain".into()));
    assert_eq!(web1["ordered"][0]["by"], user);
    assert_eq!((&web2["weight"], &web2["ordered"][0]["what"]), (&7.into(), &"weight 7".into()));
    daemon.wait_until("the CSV says so", |daemon| csv_status(daemon, "web1") == "DRAIN");
    let screen = daemon.verb(&["status"]);
    assert_eq!(screen.status.code(), Some(0), "what was ordered is no problem");
    let screen = String::from_utf8_lossy(&screen.stdout).into_owned();
    assert!(
        screen.contains("DRAIN") && screen.contains(&format!("app/web1 has `drain` by {user}")),
        "{screen}"
    );
    assert_eq!(get(daemon.frontend).as_deref(), Some("hello"));
    assert_eq!(
        says(&daemon, &["server", "app/web1", "maint"]),
        "app/web1: MAINT, was DRAIN, weight 1, was 0"
    );
    // The page is as old as a second.
    daemon.wait_until("the CSV says so", |daemon| csv_status(daemon, "web1") == "MAINT");
    says(&daemon, &["server", "app/web2", "maint"]);
    let screen = String::from_utf8_lossy(&daemon.verb(&["status"]).stdout).replace("\n  ", " ");
    assert!(screen.contains(&format!("web1: by {user}, MAINT")), "{screen}");
    assert_eq!(says(&daemon, &["server", "app/web1", "ready"]), "app/web1: up, was MAINT");
    let checked = says(&daemon, &["server", "app/web1", "check", "now"]);
    assert!(checked.starts_with("app/web1: up; L4OK in "), "{checked}");
    daemon.wait_until("the log says so", |daemon| {
        let log = daemon.log();
        log.contains("server takes no new clients") && log.contains(&format!("reason=\"by {user}\""))
    });
    assert!(daemon.verb(&["stop", "--now"]).status.success());
}

#[test]
fn what_differs_from_the_file_is_an_order_and_what_leaves_nobody_is_said() {
    let (frontend, server) = (unused_address(), web_server(Duration::ZERO));
    let text = format!(
        "[global]\nthreads = 1\n\n[listen.web]\nbind = \"{frontend}\"\ncheck = false\n\
         server.web1 = {{ address = \"{server}\", disabled = true }}\nserver.web2 = {{ address = \"{server}\" }}\n"
    );
    let daemon = Daemon::spawn(&text, frontend, None);
    let differs = || String::from_utf8_lossy(&daemon.verb(&["diff"]).stdout).into_owned();
    assert!(!differs().contains("web1"), "{}", differs());
    assert_eq!(
        says(&daemon, &["server", "web/web2", "maint"]),
        "web/web2: MAINT, was no check\nnote: no server of web is usable any more: new clients get 503"
    );
    says(&daemon, &["server", "web/web1", "ready"]);
    let shown = differs();
    assert!(
        shown.contains("web/web1 has `ready` by ") && shown.contains("lbctl server web/web1 maint"),
        "{shown}"
    );
    assert!(daemon.verb(&["stop", "--now"]).status.success());
}

#[test]
fn what_can_not_be_ordered_is_refused_with_the_nearest_name() {
    let daemon = pair_of_servers();
    let refused = |arguments: &[&str], code: i32| {
        let output = daemon.verb(arguments);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = refused(&["server", "app/wbe1", "drain"], 2);
    assert_eq!(said, "lbctl: there is no server `app/wbe1`; did you mean `app/web1`?\n");
    let said = refused(&["server", "app/web1", "weight", "257"], 64);
    assert!(said.contains("a weight is 0..256"), "{said}");
    refused(&["server", "app/web1", "stop"], 64);
    let said = refused(&["frontend", "wbe", "pause"], 2);
    assert_eq!(said, "lbctl: there is no frontend `wbe`; did you mean `web`?\n");
    refused(&["frontend", "web", "stop"], 64);
    let body = r#"{"server": "app/web1", "order": "halt"}"#;
    let request = format!(
        "POST /v1/server HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let (head, body) = exchange(&daemon.socket, request.as_bytes());
    assert!(head.starts_with("http/1.1 400"), "{head}");
    assert!(body.contains("unknown variant `halt`"), "{body}");
    assert_eq!(server_of(&daemon, 0)["ordered"], Value::Array(Vec::new()), "nothing has changed");
}

#[test]
fn paused_frontend_refuses_newcomers_through_reload_and_upgrade_until_it_is_resumed() {
    let daemon = pair_of_servers();
    let label = daemon.frontend.to_string();
    let paused = "web: paused, new connections are refused; no connection is open";
    daemon.wait_until("nobody is connected", |daemon| {
        daemon.status_json().is_some_and(|status| status["frontends"][0]["connections"] == 0)
    });
    assert_eq!(says(&daemon, &["frontend", "web", "pause"]), paused);
    assert!(says(&daemon, &["frontend", "web", "pause"]).starts_with("web: is paused already, by "));
    for verb in ["reload", "upgrade"] {
        says(&daemon, &[verb]);
        let refused = std::net::TcpStream::connect(daemon.frontend).expect_err("paused");
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused, "{verb}");
    }
    let screen = daemon.verb(&["status"]);
    assert_eq!(screen.status.code(), Some(2), "clients are refused");
    let screen = String::from_utf8_lossy(&screen.stdout).into_owned();
    assert!(screen.contains("PAUSED") && screen.contains("frontend web is paused"), "{screen}");
    assert!(screen.contains("lbctl frontend web"), "{screen}");
    assert_eq!(daemon.verb(&["nagios"]).status.code(), Some(1), "a warning");
    assert_eq!(says(&daemon, &["frontend", "web", "resume"]), format!("web: listens again on {label}"));
    assert_eq!(get(daemon.frontend).as_deref(), Some("hello"));
    assert_eq!(
        says(&daemon, &["frontend", "web", "resume"]),
        format!("web: was not paused; it listens on {label}")
    );
    assert!(daemon.verb(&["stop", "--now"]).status.success());
}

#[test]
fn diff_shows_what_is_ordered_and_what_a_reload_would_change() {
    let daemon = pair_of_servers();
    let diff = |code: i32| {
        let output = daemon.verb(&["diff"]);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    assert!(diff(0).ends_with(" is what runs\n"));
    let file = daemon.folder.path().join("lb.toml");
    let text = std::fs::read_to_string(&file).expect("read");
    std::fs::write(&file, text.replace("web2 = {", "web3 = {").replace("rise = 1", "rise = 7"))
        .expect("written");
    says(&daemon, &["server", "app/web1", "maint"]);
    says(&daemon, &["frontend", "web", "pause"]);
    let said = diff(1);
    for part in [
        "backend app changed (check.rise)\n  server app/web3 added\n  server app/web2 removed\nordered while it runs:\n",
        "  frontend web has `pause` by ",
        "  app/web1 has `maint` by ",
        "; to take it back: lbctl server app/web1 ready\n",
    ] {
        assert!(said.contains(part), "{said}");
    }
    let json: Value = serde_json::from_slice(&daemon.verb(&["diff", "--json"]).stdout).expect("JSON");
    assert_eq!((&json["orders"][1]["of"], &json["orders"][1]["what"]), (&"app/web1".into(), &"maint".into()));
    // What is ordered goes before the file, and so does it after a reload.
    says(&daemon, &["reload"]);
    assert!(diff(1).contains(" is what runs\nordered while it runs:\n"), "{}", diff(1));
    says(&daemon, &["server", "app/web1", "ready"]);
    says(&daemon, &["frontend", "web", "resume"]);
    diff(0);
    std::fs::write(&file, text.replace("[global]", "[global]\nthread = 1")).expect("written");
    assert!(diff(78).contains("did you mean `threads`?"));
    std::fs::write(&file, text.replace("threads = 2", "threads = 3")).expect("written");
    assert!(diff(1).contains("but it would be refused: "), "{}", diff(1));
    assert!(daemon.verb(&["stop", "--now"]).status.success());
    assert!(diff(2).contains("lbctl is not running here"));
}

#[test]
fn daemon_that_hangs_is_told_as_that() {
    let daemon = Daemon::start("http", web_server(Duration::ZERO));
    daemon.signal(Signal::SIGSTOP);
    let orders: [&[&str]; 7] = [
        &["frontend", "web", "pause"],
        &["server", "web/web1", "maint"],
        &["reload"],
        &["upgrade"],
        &["drain"],
        &["switchover"],
        &["stop"],
    ];
    std::thread::scope(|scope| {
        let daemon = &daemon;
        for order in orders {
            scope.spawn(move || {
                let output = daemon.verb(order);
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert_eq!(output.status.code(), Some(1), "{order:?}: {said}");
                assert!(
                    said.contains("does not answer on ") && said.contains(" within 3 s"),
                    "{order:?}: {said}"
                );
            });
        }
    });
}
