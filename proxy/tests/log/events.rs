//! What happens to servers and proxies, as the log of their backend has it.

use std::{net::SocketAddr, time::Duration};

use lb_proxy::{
    Proxy,
    config::{
        AccessLog, Check, CheckKind, EventFormat, Facility, Layer, LogTarget, LogWire, Mode, Observe,
        OnError, Pace,
    },
    health::orders::{Duty, ServerOrder},
};

use crate::{
    peers::*,
    rig::{ANY, Scripted, apart, config, connect, eventually, quick_check},
    syslog::Syslog,
};

/// A target of facility local3, as in the article.
fn local3(syslog: &Syslog) -> LogTarget {
    let facility = Facility::all().find(|(name, _)| *name == "local3").unwrap().1;
    LogTarget { facility, ..syslog.target() }
}

/// `<153>Server ..` of the next line, with the time of its check masked.
async fn event(syslog: &Syslog) -> String {
    let line = syslog.raw().await;
    let (importance, rest) = line.split_once('>').unwrap();
    let message = rest.split_once("]: ").unwrap().1.trim_end();
    let duration = regex::Regex::new(r"check duration: \d+ms").unwrap();
    // A check may meet the server when it ends.
    let message = message.replace("Connection reset by peer", "Connection refused");
    format!("{importance}>{}", duration.replace(&message, "check duration: Tms"))
}

#[tokio::test]
async fn server_that_goes_and_comes_has_lines_in_the_words_and_with_the_importance_of_haproxy() {
    let syslog = Syslog::start().await;
    let server = Scripted::named_at(apart(), "hello").await;
    let address = server.address;
    let mut config = config(Mode::Tcp, &[address]);
    config.backends[0].log = vec![local3(&syslog)];
    config.backends[0].check = Some(Check { rise: 1, fall: 1, ..quick_check(CheckKind::Tcp) });
    let proxy = Proxy::start(config).unwrap();
    eventually("up", || proxy.health().borrow().backends[0].usable == 1).await;
    drop(server);
    assert_eq!(
        event(&syslog).await,
        "<153>Server back/s1 is DOWN, reason: Layer4 connection problem, info: \"Connection refused\", \
         check duration: Tms. 0 active and 0 backup servers left. 0 sessions active, 0 requeued, 0 remaining in queue."
    );
    assert_eq!(event(&syslog).await, "<152>backend back has no server available!");
    let _server = Scripted::named_at(address, "hello").await;
    assert_eq!(
        event(&syslog).await,
        "<157>Server back/s1 is UP, reason: Layer4 check passed, check duration: Tms. \
         1 active and 0 backup servers online. 0 sessions requeued, 0 total in queue."
    );
    proxy.stop(Duration::ZERO).await;
    assert_eq!(event(&syslog).await, "<156>Proxy back stopped (cumulated conns: FE: 0, BE: 0).");
    assert_eq!(syslog.pending(), None);
}

/// One server, up or down after so many checks, each of which has a line.
fn checked(address: SocketAddr, target: LogTarget, rounds: u32) -> lb_proxy::Config {
    let mut config = config(Mode::Tcp, &[address]);
    config.backends[0].log = vec![target];
    config.backends[0].log_health_checks = true;
    config.backends[0].check = Some(Check { rise: rounds, fall: rounds, ..quick_check(CheckKind::Tcp) });
    config
}

#[tokio::test]
async fn checks_have_lines_when_their_outcome_is_news() {
    let syslog = Syslog::start().await;
    let server = Scripted::named_at(apart(), "hello").await;
    let address = server.address;
    let _proxy = Proxy::start(checked(address, local3(&syslog), 2)).unwrap();
    let up = "<157>Health check for server back/s1 succeeded, reason: Layer4 check passed, check duration: Tms, status: ";
    let down = "<157>Health check for server back/s1 failed, reason: Layer4 connection problem, \
                info: \"Connection refused\", check duration: Tms, status: ";
    assert_eq!(event(&syslog).await, format!("{up}2/2 UP."));
    drop(server);
    assert_eq!(event(&syslog).await, format!("{down}1/2 UP."));
    assert_eq!(event(&syslog).await, format!("{down}0/2 DOWN."));
    // The reason has been told.
    assert_eq!(
        event(&syslog).await,
        "<153>Server back/s1 is DOWN. 0 active and 0 backup servers left. 0 sessions active, 0 requeued, \
         0 remaining in queue."
    );
    assert_eq!(event(&syslog).await, "<152>backend back has no server available!");
    let _server = Scripted::named_at(address, "hello").await;
    assert_eq!(event(&syslog).await, format!("{up}1/2 DOWN."));
    assert_eq!(event(&syslog).await, format!("{up}2/2 UP."));
    assert_eq!(
        event(&syslog).await,
        "<157>Server back/s1 is UP. 1 active and 0 backup servers online. 0 sessions requeued, 0 total in queue."
    );
}

#[tokio::test]
async fn checks_in_maintenance_are_neither_told_nor_counted_and_drain_behind_it_is_told_twice() {
    let syslog = Syslog::start().await;
    let server = Scripted::named_at(apart(), "hello").await;
    let address = server.address;
    let proxy = Proxy::start(checked(address, local3(&syslog), 1)).unwrap();
    let order = |duty| proxy.order("back", "s1", ServerOrder::Duty(duty), "root").unwrap();
    assert!(event(&syslog).await.ends_with("status: 1/1 UP."));
    order(Duty::Maintenance);
    assert!(event(&syslog).await.starts_with("<153>Server back/s1 is going DOWN for maintenance."));
    assert_eq!(event(&syslog).await, "<152>backend back has no server available!");
    let passes = || proxy.status().backends[0].servers[0].last_check.as_ref().map(|check| check.passed());
    drop(server);
    eventually("it is found down", || passes() == Some(false)).await;
    let _server = Scripted::named_at(address, "hello").await;
    eventually("it is found up", || passes() == Some(true)).await;
    assert_eq!(proxy.status().backends[0].servers[0].history.failed_checks, 0);
    order(Duty::Drain);
    assert_eq!(event(&syslog).await, "<157>Server back/s1 is UP/DRAIN (leaving forced maintenance).");
    assert_eq!(event(&syslog).await, "<157>Server back/s1 remains in forced drain mode.");
    proxy.stop(Duration::ZERO).await;
    assert!(event(&syslog).await.starts_with("<156>Proxy "));
    assert_eq!(syslog.pending(), None);
}

/// HAProxy's own lines, from its version 2.6 with the same file and the same answers.
#[tokio::test]
async fn errors_of_traffic_that_count_have_the_lines_of_a_failed_check() {
    for (log_checks, then, expected) in [
        (
            false,
            OnError::MarkDown,
            vec![
                "<153>Server back/s1 is DOWN, reason: Health analyze, info: \"Detected 2 consecutive errors, last one \
                 was: Wrong http response\". 0 active and 0 backup servers left. 0 sessions active, 0 requeued, \
                 0 remaining in queue.",
                "<152>backend back has no server available!",
            ],
        ),
        (
            true,
            OnError::MarkDown,
            vec![
                "<157>Health check for server back/s1 failed, reason: Health analyze, info: \"Detected 2 consecutive \
                 errors, last one was: Wrong http response\", status: 0/2 DOWN.",
                "<153>Server back/s1 is DOWN. 0 active and 0 backup servers left. 0 sessions active, 0 requeued, \
                 0 remaining in queue.",
                "<152>backend back has no server available!",
            ],
        ),
        (
            true,
            OnError::FailCheck,
            vec![
                "<157>Health check for server back/s1 failed, reason: Health analyze, info: \"Detected 2 consecutive \
                 errors, last one was: Wrong http response\", status: 2/3 UP.",
            ],
        ),
    ] {
        let syslog = Syslog::start().await;
        let server = Recording::answering("HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n").await;
        let mut config = http_config(&[server.server.address]);
        let backend = &mut config.backends[0];
        backend.log = vec![local3(&syslog)];
        backend.log_health_checks = log_checks;
        backend.observe = Some(Observe { layer: Layer::Layer7, error_limit: 2, on_error: then });
        // Nothing but its first check, which tells of nothing.
        let hour = Duration::from_secs(3600);
        let pace = Pace { interval: hour, fast: hour, down: hour };
        backend.check = Some(Check { pace, rise: 2, fall: 3, ..quick_check(CheckKind::Tcp) });
        let proxy = Proxy::start(config).unwrap();
        eventually("up", || proxy.health().borrow().backends[0].usable == 1).await;
        if log_checks {
            assert!(event(&syslog).await.ends_with("status: 3/3 UP."));
        }
        let mut client = connect(&proxy).await;
        ask(&mut client, GET).await;
        ask(&mut client, GET).await;
        for line in expected {
            // The request that made it may not have ended yet.
            let found = event(&syslog).await.replace("1 sessions active", "0 sessions active");
            assert_eq!(found, line);
        }
        let check = proxy.status().backends[0].servers[0].last_check.clone().unwrap();
        assert_eq!(check.to_string(), "HANA 2 errors in a row, the last: status 500");
        assert_eq!(proxy.status().backends[0].servers[0].history.failed_checks, 1);
        drop(client);
        proxy.stop(Duration::ZERO).await;
        assert!(event(&syslog).await.starts_with("<156>Proxy "));
        assert_eq!(syslog.pending(), None);
    }
}

#[tokio::test]
async fn frontend_and_backend_of_one_section_are_one_proxy_and_the_end_tells_what_was_served() {
    let syslog = Syslog::start().await;
    let server = Recording::answering(OK).await;
    let mut config = http_config(&[server.server.address]);
    config.backends[0].name = "front".to_owned();
    config.backends[0].log = vec![local3(&syslog)];
    config.backends[0].servers.push(lb_proxy::config::Server::new("s2", ANY));
    config.backends[0].servers[1].backup = true;
    config.frontends[0].log = AccessLog { targets: vec![local3(&syslog)], ..AccessLog::default() };
    let proxy = Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    ask(&mut client, GET).await;
    ask(&mut client, GET).await;
    for _ in 0..2 {
        assert!(event(&syslog).await.starts_with("<158>127.0.0.1:"));
    }
    drop(client);
    proxy.stop(Duration::ZERO).await;
    assert_eq!(event(&syslog).await, "<156>Proxy front stopped (cumulated conns: FE: 1, BE: 2).");
    assert_eq!(syslog.pending(), None);
}

/// The next line, which is an object: what it says but the time, which has to be one.
async fn object(syslog: &Syslog) -> serde_json::Value {
    let line = syslog.raw().await;
    let mut object: serde_json::Value =
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let time = object.as_object_mut().unwrap().remove("time").unwrap();
    let form = regex::Regex::new(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}[+-]\d\d:\d\d$").unwrap();
    assert!(form.is_match(time.as_str().unwrap()), "{time}");
    if let Some(check) = object.get_mut("check").and_then(serde_json::Value::as_object_mut) {
        assert!(check.remove("ms").unwrap().is_u64());
    }
    object
}

#[tokio::test]
async fn events_as_objects_have_the_words_and_the_facts_of_what_happened() {
    let syslog = Syslog::start().await;
    let server = Scripted::named_at(apart(), "hello").await;
    let address = server.address;
    let target = LogTarget { wire: LogWire::Raw, events: EventFormat::Json, ..syslog.target() };
    let mut config = checked(address, target, 1);
    config.node = "lb1".to_owned();
    let proxy = Proxy::start(config).unwrap();
    let first = object(&syslog).await;
    assert_eq!(
        (&first["event"], &first["passed"], &first["check"]["code"]),
        (&"check".into(), &true.into(), &"L4OK".into())
    );
    drop(server);
    let check = object(&syslog).await;
    let message = check["message"].as_str().unwrap();
    assert!(
        message.starts_with("Health check for server back/s1 failed, reason: Layer4 connection problem"),
        "{check}"
    );
    // A check may meet the server when it ends.
    let reason = check["reason"].as_str().unwrap().to_owned();
    assert!(["L4CON connection refused", "L4CON connection reset"].contains(&&*reason), "{reason}");
    let info = check["check"]["info"].clone();
    let of_check = serde_json::json!({ "code": "L4CON", "info": info });
    assert_eq!(
        check,
        serde_json::json!({
            "level": "notice", "source": "health", "message": message, "event": "check", "node": "lb1",
            "backend": "back", "server": "s1", "backup": false, "passed": false, "state": "down", "so_far": 0, "of": 1,
            "reason": reason, "check": of_check,
        })
    );
    let message = "Server back/s1 is DOWN. 0 active and 0 backup servers left. 0 sessions active, 0 requeued, \
                   0 remaining in queue.";
    assert_eq!(
        object(&syslog).await,
        serde_json::json!({
            "level": "alert", "source": "health", "message": message, "event": "server", "node": "lb1",
            "backend": "back", "server": "s1", "backup": false, "from": "up", "to": "down", "reason": reason,
            "check": of_check, "active": 0, "backups": 0, "sessions": 0, "queued": 0,
        })
    );
    assert_eq!(
        object(&syslog).await,
        serde_json::json!({
            "level": "emerg", "source": "health", "message": "backend back has no server available!",
            "event": "no_server", "node": "lb1", "backend": "back",
        })
    );
    proxy.stop(Duration::ZERO).await;
    assert_eq!(
        object(&syslog).await,
        serde_json::json!({
            "level": "warning", "source": "proxy", "event": "stopped", "node": "lb1", "proxy": "back",
            "message": "Proxy back stopped (cumulated conns: FE: 0, BE: 0).",
            "connections": { "frontend": 0, "backend": 0 },
        })
    );
}
