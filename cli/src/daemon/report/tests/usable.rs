//! Whether new clients can be served, and how an operator is told.

use proxy::{
    CheckCode::{L4Connection, L7Ok, L7OkConditional},
    ServerState::{AgentDown, Down, Drain, NoBalance, NoCheck, Unchecked, Up},
};

use super::*;

/// The problems of a node that has a backend of these servers.
fn problems(mode: lb_proxy::config::Mode, servers: Vec<proxy::ServerStatus>) -> Vec<String> {
    let mut world = World::new();
    let hash = world.config.hash.clone();
    world.is(State::Active, at(1_000), None);
    world.hears(at(9_500), State::Backup, Ready::Yes, &hash);
    world.proxy.backends = vec![proxy::BackendStatus { mode, ..backend(servers) }];
    let problems = world.status(10_000).problems;
    problems.iter().map(|one| format!("{}: {}", one.what, one.look_at)).collect()
}

/// As the balance sees it.
fn weightless(name: &str, state: proxy::ServerState) -> proxy::ServerStatus {
    proxy::ServerStatus { weight: 0, is_in_use: false, ..server(name, state, L7Ok, "200") }
}

#[test]
fn servers_that_only_keep_their_clients_leave_a_backend_without_a_usable_one() {
    use lb_proxy::config::Mode::{Http, Tcp};
    let refuses = |name| server(name, Down, L4Connection, "connection refused");
    let stopping =
        proxy::ServerStatus { weight: 0, ..server("c", NoBalance, L7OkConditional, "404 on GET /alive") };
    let table = [
        (
            Http,
            vec![weightless("a", Up), refuses("b")],
            "backend app has no usable server: its clients get 503. a: weight 0. b: L4CON connection refused, 1 of \
             1 failed, down for 20717 d 13 h. Does the service run there?",
        ),
        (
            Tcp,
            vec![weightless("a", NoCheck), stopping],
            "backend app has no usable server: its clients' connections are closed. a: weight 0. c: L7OKC 404 on \
             GET /alive (disable_on_404), NOLB for 20717 d 13 h.",
        ),
        (
            Http,
            vec![proxy::ServerStatus { agent: Some("0% #tired".to_owned()), ..weightless("a", Up) }],
            "backend app has no usable server: its clients get 503. a: weight 0, agent: 0% #tired.",
        ),
        (
            Http,
            vec![
                proxy::ServerStatus {
                    agent: Some("down#full disk".to_owned()),
                    ..server("a", AgentDown, L7Ok, "200")
                },
                weightless("d", Drain),
            ],
            "backend app has no usable server: its clients get 503. a: agent: down#full disk, down for 20717 d 13 \
             h. d: its agent wants so, DRAIN for 20717 d 13 h.",
        ),
        (
            Tcp,
            vec![refuses("b")],
            "app/b is down: 192.0.2.22:80: L4CON connection refused. Does the service run there? There is no other: \
             its clients' connections are closed.",
        ),
    ];
    for (mode, servers, expected) in table {
        assert_eq!(problems(mode, servers), [expected]);
    }
    // Its rules and pages answer.
    assert_eq!(problems(Http, Vec::new()), [""; 0]);
}

#[test]
fn weight_0_is_no_problem_beside_a_server_that_carries_all_and_does_not_count_as_one() {
    let mode = lb_proxy::config::Mode::Http;
    let up = |name| server(name, Up, L7Ok, "200");
    assert_eq!(problems(mode, vec![weightless("a", Up), up("b")]), [""; 0]);
    let down = server("b", Down, L4Connection, "connection refused");
    let told = problems(mode, vec![weightless("a", Up), down, up("c")]);
    assert!(told[0].ends_with("One other server carries all."), "{told:?}");
    // One that is tried because nothing better is left is usable.
    let unchecked = proxy::ServerStatus { is_in_use: true, ..server("a", Unchecked, L7Ok, "") };
    assert_eq!(problems(mode, vec![unchecked]), [""; 0]);
}

#[test]
fn names_that_do_not_resolve_are_problems_whether_an_address_is_left_or_not() {
    let named = |resolved: Option<SocketAddr>, state| proxy::ServerStatus {
        address: lb_proxy::config::ServerAddress::Named { host: "app.internal".into(), port: 80 },
        resolved,
        name_problem: Some(proxy::NameProblem {
            why: "no answer from 192.0.2.53:53".to_owned(),
            since: std::time::SystemTime::UNIX_EPOCH,
        }),
        last_check: None,
        ..server("web2", state, L4Connection, "")
    };
    let kept = named(Some(([192, 0, 2, 22], 80).into()), Up);
    let lost = named(None, Down);
    let table = [
        (
            kept,
            "app.internal:80 of app/web2 does not resolve: no answer from 192.0.2.53:53. Its last address, \
             192.0.2.22, is still used. Is the name right, and do the nameservers work?",
        ),
        (
            lost,
            "app/web2 is down: app.internal:80 does not resolve: no answer from 192.0.2.53:53. Is the name right? \
             The other server carries all.",
        ),
    ];
    for (server_of_a_name, expected) in table {
        let mut world = World::new();
        let hash = world.config.hash.clone();
        world.is(State::Active, at(1_000), None);
        world.hears(at(9_500), State::Backup, Ready::Yes, &hash);
        let servers = vec![server("web1", Up, L7Ok, "200"), server_of_a_name];
        world.proxy.backends = vec![backend(servers)];
        assert_eq!(only_problem(&world.status(10_000)), expected);
    }
    let mut world = World::new();
    world.proxy.backends = vec![backend(vec![named(None, Down), named(None, Down)])];
    let problems = world.status(10_000).problems;
    let outage = problems.iter().find(|problem| problem.what.contains("no usable server")).unwrap();
    assert!(outage.look_at.contains("Is the name right?"), "{}", outage.look_at);
}
