//! Golden screens from literal values.

use std::time::Duration;

use crate::control::{
    Backend, Bind, Check, FileReport, Frontend, Group, GroupNode, Peer, Phase, Problem, Ready, Server,
    ServerState, Status, Timestamp, TransitionReport, Vip,
};

use super::{Paint, WIDTH, render};

mod book;
mod header;
mod refused;

fn time(text: &str) -> Timestamp {
    Timestamp::parse(text).expect("RFC 3339")
}

const NOW: &str = "2026-09-21T14:13:20Z";

fn node(name: &str, local: bool, state: &str, priority: u8) -> GroupNode {
    GroupNode {
        name: name.to_owned(),
        local,
        state: Some(state.to_owned()),
        since: Some(time("2026-09-21T12:02:20Z")),
        ready: Some(Ready::Yes),
        priority: Some(priority),
        heard: (!local).then(|| time("2026-09-21T14:13:19.6Z")),
        silent: false,
    }
}

fn server(name: &str, address: &str, in_flight: u64) -> Server {
    Server {
        name: name.to_owned(),
        address: address.to_owned(),
        resolved: Some(address.parse().expect("an address")),
        name_problem: None,
        state: ServerState::Up,
        since: time("2026-09-18T10:13:20Z"),
        in_flight,
        queued: 0,
        requests_total: 1_000_000,
        connect_errors: 0,
        weight: 1,
        share: 100,
        backup: false,
        maxconn: None,
        last_check: Some(Check {
            passed: true,
            code: "L7OK".to_owned(),
            what: "200".to_owned(),
            info: String::new(),
            microseconds: 1_200,
            in_a_row: 7_000,
            fall: 5,
            at: time("2026-09-21T14:13:19Z"),
        }),
        statistics: Default::default(),
        ordered: Vec::new(),
    }
}

pub(crate) fn healthy() -> Status {
    Status {
        at: time(NOW),
        node: "lb1".to_owned(),
        version: "0.3.0".to_owned(),
        pid: 1,
        started: time("2026-09-18T10:13:20Z"),
        upgraded: None,
        drained: None,
        giving: None,
        speaker: None,
        runner_restarts_total: 0,
        trackers: Vec::new(),
        earlier: Vec::new(),
        phase: Phase::Running,
        file: FileReport {
            path: "/etc/lbctl/lb.toml".to_owned(),
            hash: "8f31c2aa".to_owned(),
            loaded: None,
            generation: 1,
            old_generations: 0,
        },
        signs: "off".to_owned(),
        peers: vec![Peer {
            name: "lb2".to_owned(),
            address: "192.0.2.12".to_owned(),
            says_hello: true,
            heard: Some(time("2026-09-21T14:13:19.6Z")),
            silent: false,
            ended: false,
            drained: None,
            version: Some("0.3.0".to_owned()),
            hash: Some("8f31c2aa".to_owned()),
            signs: None,
        }],
        groups: vec![Group {
            name: "default".to_owned(),
            vips: vec![Vip {
                name: "web".to_owned(),
                addresses: vec!["192.0.2.10".to_owned(), "2001:db8::10".to_owned()],
                unheld: Vec::new(),
                installed: vec!["192.0.2.10".to_owned(), "2001:db8::10".to_owned()],
                interface: Some("eth1".to_owned()),
                vrid: 51,
                interval_ms: 100,
                routers: Vec::new(),
            }],
            holders: vec!["lb1".to_owned()],
            since: Some(time("2026-09-21T12:02:20Z")),
            why: "lb2 gave it up: switchover by root".to_owned(),
            nodes: vec![node("lb1", true, "Active", 254), node("lb2", false, "Backup", 253)],
            transitions: Vec::new(),
            counters: Default::default(),
        }],
        connections: 212,
        maxconn: 4096,
        full_since: None,
        frontends: vec![Frontend {
            name: "web".to_owned(),
            mode: "http".to_owned(),
            binds: vec![Bind {
                label: "web:80".to_owned(),
                address: Some("192.0.2.10:80".parse().expect("an address")),
                error: None,
            }],
            connections: 212,
            maxconn: 2000,
            full_since: None,
            connections_total: 90_000,
            requests_total: 4_000_000,
            requests_per_second: 1_804.2,
            responses: [0, 0, 4_000_000, 0, 0, 0],
            server_errors_per_minute: 0,
            bytes_in: 1,
            bytes_out: 1,
            counters: Default::default(),
            refused: Vec::new(),
            statistics: Default::default(),
            paused: None,
            certificates: Vec::new(),
        }],
        backends: vec![Backend {
            certificates: Vec::new(),
            name: "app".to_owned(),
            queued: 0,
            servers: vec![server("web1", "192.0.2.21:80", 101), server("web2", "192.0.2.22:80", 111)],
            refused: Vec::new(),
            unanswered: None,
            statistics: Default::default(),
        }],
        tables: Vec::new(),
        logs: Vec::new(),
        delays: Vec::new(),
        counters: Default::default(),
        problems: Vec::new(),
        alarms: Vec::new(),
        notifiers: Vec::new(),
        events: Vec::new(),
        notes: Vec::new(),
    }
}

#[track_caller]
fn assert_screen(status: &Status, expected: &str) {
    let screen = render(status, Paint::Never);
    assert_eq!(screen, expected.strip_prefix('\n').expect("begins on a line of its own"), "\n{screen}");
    for line in screen.lines() {
        assert!(line.chars().count() <= WIDTH, "longer than {WIDTH}: {line}");
        assert_eq!(line, line.trim_end(), "trailing spaces");
    }
}

#[test]
fn a_healthy_pair() {
    assert_screen(
        &healthy(),
        "
lb1 · lbctl 0.3.0, up 3 d 4 h · file 8f31c2, same on lb2 · no problems

ADDRESS                           HELD BY  SINCE     WHY
web  192.0.2.10, 2001:db8::10     lb1      2 h 11 m  lb2 gave it up: switchover
     eth1, vrid 51, every 100 ms                     by root
NODE   STATE   READY                     PRIORITY  LAST HEARD
lb1 *  Active  yes                       254       -
lb2    Backup  yes, could take over now  253       0.4 s ago

FRONTEND  BIND    MODE  CONNECTIONS  REQUESTS/S  5xx/MIN
web       web:80  http  212 / 2000   1,804       0
BACKEND  SERVER  STATE  FOR  CONNECTIONS  LAST CHECK
app      web1    up     3 d  101          L7OK 200 in 1 ms
         web2    up     3 d  111          L7OK 200 in 1 ms
",
    );
}

#[test]
fn a_server_that_is_down() {
    let mut status = healthy();
    let web2 = &mut status.backends[0].servers[1];
    web2.state = ServerState::Down;
    web2.since = time("2026-09-21T14:13:08Z");
    web2.in_flight = 0;
    web2.last_check = Some(Check {
        passed: false,
        code: "L7STS".to_owned(),
        what: "404 on HEAD /check.txt".to_owned(),
        info: String::new(),
        microseconds: 900,
        in_a_row: 5,
        fall: 5,
        at: time("2026-09-21T14:13:19Z"),
    });
    status.problems = vec![Problem {
        what: "app/web2 is down".to_owned(),
        since: Some(time("2026-09-21T14:13:08Z")),
        look_at: "192.0.2.22:80 answers HEAD /check.txt with 404. Does the file exist there? The other server carries all."
            .to_owned(),
    }];
    assert_screen(
        &status,
        "
lb1 · lbctl 0.3.0, up 3 d 4 h · file 8f31c2, same on lb2 · 1 problem

ADDRESS                           HELD BY  SINCE     WHY
web  192.0.2.10, 2001:db8::10     lb1      2 h 11 m  lb2 gave it up: switchover
     eth1, vrid 51, every 100 ms                     by root
NODE   STATE   READY                     PRIORITY  LAST HEARD
lb1 *  Active  yes                       254       -
lb2    Backup  yes, could take over now  253       0.4 s ago

FRONTEND  BIND    MODE  CONNECTIONS  REQUESTS/S  5xx/MIN
web       web:80  http  212 / 2000   1,804       0
BACKEND  SERVER  STATE  FOR   CONNECTIONS  LAST CHECK
app      web1    up     3 d   101          L7OK 200 in 1 ms
         web2    DOWN   12 s  0            L7STS 404 on HEAD /check.txt, 5 of 5
                                           failed

! app/web2 is down for 12 s: 192.0.2.22:80 answers HEAD /check.txt with 404.
  Does the file exist there? The other server carries all.
",
    );
}

#[test]
fn a_peer_that_is_silent() {
    let mut status = healthy();
    status.peers[0].silent = true;
    status.peers[0].heard = Some(time("2026-09-21T14:13:08Z"));
    let peer = &mut status.groups[0].nodes[1];
    *peer = GroupNode {
        silent: true,
        state: None,
        since: None,
        ready: None,
        priority: None,
        heard: Some(time("2026-09-21T14:13:08Z")),
        ..peer.clone()
    };
    status.problems = vec![Problem {
        what: "lb2 is silent".to_owned(),
        since: Some(time("2026-09-21T14:13:08Z")),
        look_at: "no hello from 192.0.2.12. Does lbctl run there? Does UDP port 3112 pass between the nodes?"
            .to_owned(),
    }];
    assert_screen(
        &status,
        "
lb1 · lbctl 0.3.0, up 3 d 4 h · file 8f31c2, same on lb2 · 1 problem

ADDRESS                           HELD BY  SINCE     WHY
web  192.0.2.10, 2001:db8::10     lb1      2 h 11 m  lb2 gave it up: switchover
     eth1, vrid 51, every 100 ms                     by root
NODE   STATE    READY            PRIORITY  LAST HEARD
lb1 *  Active   yes              254       -
lb2    unknown  silent for 12 s  -         12 s ago

FRONTEND  BIND    MODE  CONNECTIONS  REQUESTS/S  5xx/MIN
web       web:80  http  212 / 2000   1,804       0
BACKEND  SERVER  STATE  FOR  CONNECTIONS  LAST CHECK
app      web1    up     3 d  101          L7OK 200 in 1 ms
         web2    up     3 d  111          L7OK 200 in 1 ms

! lb2 is silent for 12 s: no hello from 192.0.2.12. Does lbctl run there? Does
  UDP port 3112 pass between the nodes?
",
    );
}

#[test]
fn a_fault_here_and_the_other_node_holds_it() {
    let mut status = healthy();
    let group = &mut status.groups[0];
    group.holders = vec!["lb2".to_owned()];
    group.why = "lb1 gave it up: fault: worker 1 stalled for 1.2 s".to_owned();
    group.since = Some(time("2026-09-21T14:13:10Z"));
    group.nodes = vec![node("lb1", true, "Initialize", 0), node("lb2", false, "Active", 253)];
    group.nodes[0].ready = Some(Ready::Fault { reason: "all 2 workers stalled, for up to 1.2 s".to_owned() });
    status.problems = vec![Problem {
        what: "lb1 can't hold web".to_owned(),
        since: None,
        look_at: "all 2 workers stalled, for up to 1.2 s.".to_owned(),
    }];
    assert_screen(
        &status,
        "
lb1 · lbctl 0.3.0, up 3 d 4 h · file 8f31c2, same on lb2 · 1 problem

ADDRESS                           HELD BY  SINCE  WHY
web  192.0.2.10, 2001:db8::10     lb2      10 s   lb1 gave it up: fault: worker
     eth1, vrid 51, every 100 ms                  1 stalled for 1.2 s
NODE   STATE       READY                           PRIORITY  LAST HEARD
lb1 *  Initialize  no: all 2 workers stalled, for  0         -
                   up to 1.2 s
lb2    Active      yes                             253       0.4 s ago

FRONTEND  BIND    MODE  CONNECTIONS  REQUESTS/S  5xx/MIN
web       web:80  http  212 / 2000   1,804       0
BACKEND  SERVER  STATE  FOR  CONNECTIONS  LAST CHECK
app      web1    up     3 d  101          L7OK 200 in 1 ms
         web2    up     3 d  111          L7OK 200 in 1 ms

! lb1 can't hold web: all 2 workers stalled, for up to 1.2 s.
",
    );
}

/// A vip with both families: one bind of the file is two sockets.
#[test]
fn a_bind_on_several_addresses_is_one_line_and_another_if_one_of_them_failed() {
    let mut status = healthy();
    let alone = render(&status, Paint::Never);
    let bind = status.frontends[0].binds[0].clone();
    status.frontends[0].binds.push(bind.clone());
    assert_eq!(render(&status, Paint::Never), alone);
    status.frontends[0].binds.push(Bind { error: Some("address in use".to_owned()), ..bind });
    let screen = render(&status, Paint::Never);
    assert_eq!(
        (screen.matches("web:80").count(), screen.matches("web:80 NOT BOUND").count()),
        (2, 1),
        "{screen}"
    );
}

#[test]
fn files_that_differ_and_a_bind_that_failed() {
    let mut status = healthy();
    status.peers[0].hash = Some("77aa0192".to_owned());
    status.frontends[0].binds[0].error = Some("address in use".to_owned());
    status.problems = vec![
        Problem {
            what: "the file differs on lb2".to_owned(),
            since: None,
            look_at: "8f31c2 here, 77aa01 there. Compare /etc/lbctl/lb.toml on both nodes, copy the right one over the other, then: lbctl reload."
                .to_owned(),
        },
        Problem {
            what: "frontend web does not listen on web:80".to_owned(),
            since: None,
            look_at: "address in use. Who has it: ss -ltnp 'sport = :80'. It is tried again each second.".to_owned(),
        },
    ];
    assert_screen(
        &status,
        "
lb1 · lbctl 0.3.0, up 3 d 4 h · file 8f31c2, differs on lb2 (77aa01)
  2 problems

ADDRESS                           HELD BY  SINCE     WHY
web  192.0.2.10, 2001:db8::10     lb1      2 h 11 m  lb2 gave it up: switchover
     eth1, vrid 51, every 100 ms                     by root
NODE   STATE   READY                     PRIORITY  LAST HEARD
lb1 *  Active  yes                       254       -
lb2    Backup  yes, could take over now  253       0.4 s ago

FRONTEND  BIND              MODE  CONNECTIONS  REQUESTS/S  5xx/MIN
web       web:80 NOT BOUND  http  212 / 2000   1,804       0
BACKEND  SERVER  STATE  FOR  CONNECTIONS  LAST CHECK
app      web1    up     3 d  101          L7OK 200 in 1 ms
         web2    up     3 d  111          L7OK 200 in 1 ms

! the file differs on lb2: 8f31c2 here, 77aa01 there. Compare /etc/lbctl/lb.toml
  on both nodes, copy the right one over the other, then: lbctl reload.
! frontend web does not listen on web:80: address in use. Who has it: ss -ltnp
  'sport = :80'. It is tried again each second.
",
    );
}

/// A transition whose cause was seen at `detected`; steps in microseconds after it, as heard, removed, resigned, added and
/// announced.
fn transition(from: &str, to: &str, detected: &str, at: u64, steps: [Option<u64>; 5]) -> TransitionReport {
    let detected = time(detected);
    let after = |micros: u64| {
        let next_second = time("2026-09-21T14:13:21Z").saturating_since(detected);
        time("2026-09-21T14:13:21Z").saturating_sub(next_second - Duration::from_micros(micros))
    };
    let [heard, removed, resigned, added, announced] = steps.map(|step| step.map(after));
    TransitionReport {
        from: from.to_owned(),
        to: to.to_owned(),
        reason: String::new(),
        detected,
        at: after(at),
        heard,
        removed,
        resigned,
        added,
        announced,
    }
}

/// lb1 took the address, as `since` of [`healthy`] says.
fn claim() -> TransitionReport {
    let steps = [Some(0), None, None, Some(412), Some(480)];
    transition("Backup", "Active", "2026-09-21T12:02:19.999900Z", 100, steps)
}

#[test]
fn the_moments_of_the_last_move_stand_below_the_address() {
    let mut status = healthy();
    status.frontends.clear();
    status.backends.clear();
    let start = transition("Initialize", "Backup", "2026-09-21T12:02:10Z", 0, [None; 5]);
    status.groups[0].transitions = vec![start, claim()];
    assert_screen(
        &status,
        "
lb1 · lbctl 0.3.0, up 3 d 4 h · file 8f31c2, same on lb2 · no problems

ADDRESS                           HELD BY  SINCE     WHY
web  192.0.2.10, 2001:db8::10     lb1      2 h 11 m  lb2 gave it up: switchover
     eth1, vrid 51, every 100 ms                     by root
lb1's last move: heard +0.0, Active +0.1, added +0.4, announced +0.4 ms
NODE   STATE   READY                     PRIORITY  LAST HEARD
lb1 *  Active  yes                       254       -
lb2    Backup  yes, could take over now  253       0.4 s ago
",
    );
}

/// Whoever lost the address shows how, and when: SINCE is the other's.
#[test]
fn the_move_of_a_node_that_gave_the_address_away_has_its_age_and_its_removal() {
    let mut status = healthy();
    status.frontends.clear();
    status.backends.clear();
    let steps = [Some(0), Some(5_480), Some(5_510), None, None];
    let away = transition("Active", "Backup", "2026-09-21T14:13:08Z", 5_500, steps);
    // What came later moved nothing.
    let fault = transition("Backup", "Initialize", "2026-09-21T14:13:18Z", 0, [None; 5]);
    let group = &mut status.groups[0];
    group.transitions = vec![claim(), away, fault];
    group.holders = vec!["lb2".to_owned()];
    group.since = Some(time("2026-09-21T14:13:09Z"));
    group.why = "lb1 gave it up".to_owned();
    group.nodes = vec![node("lb1", true, "Backup", 254), node("lb2", false, "Active", 253)];
    assert_screen(
        &status,
        "
lb1 · lbctl 0.3.0, up 3 d 4 h · file 8f31c2, same on lb2 · no problems

ADDRESS                           HELD BY  SINCE  WHY
web  192.0.2.10, 2001:db8::10     lb2      11 s   lb1 gave it up
     eth1, vrid 51, every 100 ms
lb1's last move, 11 s ago: heard +0.0, removed +5.4, Backup +5.5, resigned
  +5.5 ms
NODE   STATE   READY                     PRIORITY  LAST HEARD
lb1 *  Backup  yes, could take over now  254       -
lb2    Active  yes                       253       0.4 s ago
",
    );
}

#[test]
fn two_nodes_that_hold_the_same_address() {
    let mut status = healthy();
    status.frontends.clear();
    status.backends.clear();
    status.groups[0].holders = vec!["lb1".to_owned(), "lb2".to_owned()];
    status.groups[0].nodes[1].state = Some("Active".to_owned());
    status.problems = vec![Problem {
        what: "lb1 and lb2 both hold web".to_owned(),
        since: Some(time("2026-09-21T14:13:08Z")),
        look_at: "they hear each other's hello but no advertisement: IP protocol 112 to 224.0.0.18 is filtered between them."
            .to_owned(),
    }];
    assert_screen(
        &status,
        "
lb1 · lbctl 0.3.0, up 3 d 4 h · file 8f31c2, same on lb2 · 1 problem

ADDRESS                           HELD BY   SINCE     WHY
web  192.0.2.10, 2001:db8::10     lb1, lb2  2 h 11 m  lb2 gave it up: switchover
     eth1, vrid 51, every 100 ms                      by root
NODE   STATE   READY  PRIORITY  LAST HEARD
lb1 *  Active  yes    254       -
lb2    Active  yes    253       0.4 s ago

! lb1 and lb2 both hold web for 12 s: they hear each other's hello but no
  advertisement: IP protocol 112 to 224.0.0.18 is filtered between them.
",
    );
}

#[test]
fn a_proxy_without_addresses() {
    let mut status = healthy();
    status.peers.clear();
    status.groups.clear();
    status.frontends[0].mode = "tcp".to_owned();
    status.backends[0].servers[0].state = ServerState::NoCheck;
    status.backends[0].servers[0].last_check = None;
    status.backends[0].servers[1].queued = 1_200;
    status.backends[0].queued = 1_230;
    assert_screen(
        &status,
        "
lb1 · lbctl 0.3.0, up 3 d 4 h · file 8f31c2 · no problems

FRONTEND  BIND    MODE  CONNECTIONS  REQUESTS/S  5xx/MIN
web       web:80  tcp   212 / 2000   -           -
BACKEND  SERVER  STATE     FOR  CONNECTIONS      LAST CHECK
app      web1    no check  3 d  101              -
         web2    up        3 d  111, 1,200 wait  L7OK 200 in 1 ms
         any                    30 wait          -
",
    );
}

#[test]
fn long_names_in_every_column_still_fit_into_80() {
    let long = "a-name-of-sixty-three-characters".repeat(2)[..63].to_owned();
    let mut status = healthy();
    for backend in &mut status.backends {
        backend.name.clone_from(&long);
        for server in &mut backend.servers {
            server.name.clone_from(&long);
            (server.in_flight, server.queued) = (1_234_567, 7_654_321);
        }
    }
    for frontend in &mut status.frontends {
        frontend.name.clone_from(&long);
        frontend.binds[0].label = format!("{long}:80");
        frontend.requests_per_second = 1_234_567.0;
    }
    for node in &mut status.groups[0].nodes {
        node.name.clone_from(&long);
        node.ready = Some(Ready::Fault { reason: long.clone() });
    }
    status.groups[0].holders = vec![long.clone(), long.clone()];
    status.groups[0].vips[0].name = long;
    let text = render(&status, Paint::Never);
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{} characters: {line}\n{text}", line.chars().count());
    }
}

#[test]
fn colour_only_where_it_is_wanted() {
    let mut status = healthy();
    status.backends[0].servers[1].state = ServerState::Down;
    assert!(!render(&status, Paint::Never).contains('\x1b'));
    assert!(render(&status, Paint::Always).contains("\x1b[31mDOWN\x1b[0m"));
}

#[test]
fn what_a_server_or_a_peer_says_can_not_steer_the_terminal() {
    let mut status = healthy();
    status.groups[0].why = "\x1b[2Jcleared".to_owned();
    status.peers[0].name = "lb2\x1b]0;title\x07".to_owned();
    assert!(!render(&status, Paint::Never).contains(['\x1b', '\x07']));
}

#[test]
fn json_and_text_come_from_the_same_value() {
    let status = healthy();
    let json = serde_json::to_string(&status).expect("serialises");
    assert_eq!(serde_json::from_str::<Status>(&json).expect("parses"), status);
    assert!(json.contains(r#""at":"2026-09-21T14:13:20.000000Z""#), "{json}");
}
