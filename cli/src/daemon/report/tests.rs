//! What is reported, and which problems are found, from literal states of speaker, hello and proxy.

use std::net::{IpAddr, SocketAddr};

use lb_vrrp::{
    GroupStatus,
    status::{Advertiser, MemberStatus, PeerHeard, Rejected, Said},
};

use super::*;
use crate::{
    config,
    daemon::{
        hello::{Hello, Local, LocalGroup, Session, message},
        refusing,
    },
};

mod alarms;
mod cause;
mod drained;
mod earlier;
mod limits;
mod refused;
mod routers;
mod strangers;
mod usable;

const FILE: &str = "[cluster]\nnode.lb1 = \"192.0.2.11\"\nnode.lb2 = \"192.0.2.12\"\n[vip.web]\ninterface = \"eth1\"\n\
                    vrid = 51\naddresses = [\"192.0.2.10\"]\n[listen.web]\nbind = { vip = \"web\", port = 80 }\n\
                    servers = [\"192.0.2.21:80\", \"192.0.2.22:80\"]\n";
const LB2: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 12));

/// Milliseconds after the start of the daemon.
fn at(milliseconds: u64) -> Moment {
    Moment::from_nanos(1_000_000_000_000 + milliseconds * 1_000_000)
}

fn instants(milliseconds: u64) -> Instants {
    let wall = Timestamp::parse("2026-09-21T14:00:00Z").expect("RFC 3339");
    let earlier = wall.saturating_sub(Duration::from_secs(3600));
    let seconds = wall.saturating_since(earlier) - Duration::from_millis(milliseconds);
    Instants { moment: at(milliseconds), wall: wall.saturating_sub(seconds) }
}

/// Somebody who said that alone.
fn advertises(said: Said) -> Advertiser {
    Advertiser { since: said.at(), until: said.at() + Duration::from_secs(3), is_node: false, said }
}

/// lb1, ten seconds after its start.
struct World {
    config: Config,
    groups: Vec<Group>,
    session: Session,
    proxy: proxy::Status,
    nowhere: Vec<(String, SocketAddr)>,
    /// Its last word is as old as the report.
    speaker_speaks: bool,
    up: Option<Timestamp>,
    earlier: Vec<EarlierProcess>,
    drained: Option<Ordered>,
    alarms: Vec<Alarm>,
    /// Hellos of lb2 so far.
    hellos: u64,
}

impl World {
    fn new() -> Self {
        Self::of(FILE)
    }

    fn of(file: &str) -> Self {
        let config = config::parse(file, "lb.toml").expect("a good file");
        let groups = config.groups.iter().filter_map(|group| Group::new(&config, group, 0, at(0))).collect();
        let session =
            Session::new(at(0), "boot-1".to_owned(), local("lb1", &config.hash), [("lb2".to_owned(), LB2)]);
        let proxy = proxy::Status {
            frontends: Vec::new(),
            backends: Vec::new(),
            connections: 0,
            maxconn: config.proxy.maxconn.into(),
            full_since: None,
            tables: Vec::new(),
            generation: 1,
            old_generations: 0,
            logs: Vec::new(),
            delays: Vec::new(),
        };
        let nowhere = Vec::new();
        let (speaker_speaks, up, earlier, drained, hellos) = (true, None, Vec::new(), None, 0);
        let alarms = Vec::new();
        Self { config, groups, session, proxy, nowhere, speaker_speaks, up, earlier, drained, alarms, hellos }
    }

    /// The speaker says that this node is in `state` since `since`, and heard lb2 at `heard`.
    fn is(&mut self, state: State, since: Moment, heard: Option<Moment>) {
        let group = &mut self.groups[0];
        let config = &group.config.members[0];
        let member = MemberStatus {
            vip: config.vip.clone(),
            interface: Some("eth1".to_owned()),
            vrid: config.vrid,
            addresses: config.addresses.clone(),
            installed: if state == State::Active { config.addresses.clone() } else { Vec::new() },
            heard: heard.map(|at| PeerHeard::new(LB2, 253, at)),
            advertisers: Vec::new(),
            unsaid: 0,
            stolen: None,
            trouble: None,
            looped: Vec::new(),
            counters: Default::default(),
        };
        let status = GroupStatus {
            name: group.config.name.clone(),
            state,
            since,
            reason: "nobody advertises".to_owned(),
            priority: 254,
            readiness: Readiness::Ready,
            members: vec![member],
            untrusted: None,
            transitions: Vec::new(),
            counters: Default::default(),
        };
        group.status = Some((since, status));
    }

    /// lb2 says hello at `now`.
    fn hears(&mut self, now: Moment, state: State, ready: Ready, file: &str) {
        let mut said = local("lb2", file);
        said.groups[0].state = state;
        said.groups[0].ready = ready;
        self.hears_that(now, said);
    }

    /// lb2 says that at `now`.
    fn hears_that(&mut self, now: Moment, said: Local) {
        self.hears_of_boot(now, said, "boot", false);
    }

    /// This boot of lb2 says that at `now`, and perhaps that it ends.
    fn hears_of_boot(&mut self, now: Moment, said: Local, boot: &str, ending: bool) {
        let to = [("lb1".to_owned(), IpAddr::from([192, 0, 2, 11]))];
        let mut other = Session::new(now, boot.to_owned(), said, to);
        other.handle_timeout(now);
        let (_, bytes) = other.poll_transmit().expect("due");
        let hello = message::decode(&bytes, None).expect("a hello");
        self.hellos += 1;
        let bytes = message::encode(&Hello { counter: self.hellos, ending, ..hello }, None);
        self.session.handle_datagram(now, SocketAddr::new(LB2, 3112), Some(255), &bytes);
    }

    fn status(&mut self, milliseconds: u64) -> Status {
        self.session.handle_timeout(at(milliseconds));
        if self.speaker_speaks {
            self.groups
                .iter_mut()
                .filter_map(|group| group.status.as_mut())
                .for_each(|(said, _)| *said = at(milliseconds));
        }
        status(&Facts {
            at: instants(milliseconds),
            started: instants(0),
            up: self.up,
            identity: &Identity::Node {
                index: 0,
                name: "lb1".to_owned(),
                address: IpAddr::from([192, 0, 2, 11]),
            },
            config: &self.config,
            path: "/etc/lbctl/lb.toml",
            loaded: instants(0).wall,
            drained: self.drained.clone(),
            giving: None,
            earlier: self.earlier.clone(),
            runner_restarts: 0,
            phase: Phase::Running,
            groups: &self.groups,
            session: Some(&self.session),
            proxy: &self.proxy,
            alarms: self.alarms.clone(),
            own_problems: &[],
            nowhere: self.nowhere.iter().map(|(name, address)| (name.as_str(), *address)).collect(),
        })
    }
}

fn local(node: &str, file: &str) -> Local {
    Local {
        node: node.to_owned(),
        file: file.to_owned(),
        signs: None,
        drained: None,
        groups: vec![LocalGroup {
            name: "default".to_owned(),
            state: State::Backup,
            since: at(0),
            why: "started".to_owned(),
            priority: 253,
            ready: Ready::Yes,
            announced: None,
            refused: refusing::Refused::default(),
        }],
        addresses: Vec::new(),
    }
}

#[track_caller]
fn only_problem(status: &Status) -> String {
    match status.problems.as_slice() {
        [one] => format!("{}: {}", one.what, one.look_at),
        other => panic!("{other:#?}"),
    }
}

#[test]
fn a_healthy_pair_has_no_problems_and_shows_both_nodes() {
    let mut world = World::new();
    let hash = world.config.hash.clone();
    world.is(State::Active, at(1_000), None);
    world.hears(at(9_500), State::Backup, Ready::Yes, &hash);
    let status = world.status(10_000);
    assert_eq!(status.problems, []);
    let group = &status.groups[0];
    assert_eq!(group.holders, ["lb1"]);
    assert_eq!(group.since, Some(instants(1_000).wall));
    assert_eq!((group.vips[0].interface.as_deref(), group.vips[0].vrid), (Some("eth1"), 51));
    assert_eq!(group.vips[0].installed, ["192.0.2.10"]);
    let [lb1, lb2] = group.nodes.as_slice() else { panic!("two nodes") };
    assert_eq!((lb1.local, lb1.state.as_deref(), lb1.priority), (true, Some("Active"), Some(254)));
    assert_eq!((lb2.local, lb2.state.as_deref(), lb2.priority), (false, Some("Backup"), Some(253)));
    assert_eq!(lb2.heard, Some(instants(9_500).wall));
}

#[test]
fn the_other_node_holds_it_for_its_own_reason() {
    let mut world = World::new();
    let hash = world.config.hash.clone();
    world.is(State::Backup, at(1_000), Some(at(9_900)));
    world.hears(at(9_500), State::Active, Ready::Yes, &hash);
    let status = world.status(10_000);
    assert_eq!(status.groups[0].holders, ["lb2"]);
    assert_eq!(status.groups[0].why, "started");
    assert_eq!(status.groups[0].since, Some(instants(0).wall), "the age that lb2 said, from when it said so");
    assert_eq!(
        status.groups[0].nodes[1].heard,
        Some(instants(9_900).wall),
        "an advertisement is a sign of life"
    );
    assert_eq!(status.problems, []);
}

#[test]
fn a_file_that_differs_is_a_problem() {
    let mut world = World::new();
    world.is(State::Active, at(1_000), None);
    world.hears(at(9_500), State::Backup, Ready::Yes, "77aa0192");
    let hash = world.config.hash[..6].to_owned();
    assert_eq!(
        only_problem(&world.status(10_000)),
        format!(
            "the file differs on lb2: {hash} here, 77aa01 there. Compare /etc/lbctl/lb.toml on both nodes, copy the right \
             one over the other, then: lbctl reload."
        )
    );
}

#[test]
fn a_silent_node_is_a_problem_since_its_last_hello() {
    let mut world = World::new();
    let hash = world.config.hash.clone();
    world.is(State::Active, at(1_000), None);
    world.hears(at(5_000), State::Backup, Ready::Yes, &hash);
    let status = world.status(10_000);
    assert_eq!(
        only_problem(&status),
        "lb2 is silent: no hello from 192.0.2.12. Does lbctl run there? Does UDP port 3112 pass between the nodes?"
    );
    assert_eq!(status.problems[0].since, Some(instants(5_000).wall));
    assert!(status.groups[0].nodes[1].silent);
    assert_eq!(status.groups[0].nodes[1].state, None);
}

fn transition(from: State, to: State, at: Moment) -> lb_vrrp::Transition {
    let moments = lb_vrrp::Moments::default();
    lb_vrrp::Transition { from, to, reason: String::new(), detected: at, at, moments }
}

/// lb1 listened, heard lb2 advertise until 9.6 s, and took the address at 9.9 s.
fn taken_from_a_silent_active() -> World {
    let mut world = World::new();
    let hash = world.config.hash.clone();
    world.hears(at(9_000), State::Active, Ready::Yes, &hash);
    world.is(State::Active, at(9_900), Some(at(9_600)));
    let (_, status) = world.groups[0].status.as_mut().expect("said");
    status.transitions = vec![
        transition(State::Initialize, State::Backup, at(100)),
        transition(State::Backup, State::Active, at(9_900)),
    ];
    world
}

#[test]
fn an_active_that_stopped_advertising_is_silent_as_soon_as_this_node_took_over() {
    let mut world = taken_from_a_silent_active();
    let status = world.status(9_901);
    assert_eq!(
        only_problem(&status),
        "lb2 is silent: it held the address and stopped advertising, so this node took it. Is the machine up? Does \
         lbctl run there?"
    );
    assert_eq!(status.problems[0].since, Some(instants(9_600).wall), "its last sign of life");
    assert!(status.peers[0].silent);
    let lb2 = &status.groups[0].nodes[1];
    assert!(lb2.silent);
    assert_eq!((lb2.state.as_deref(), &lb2.ready, lb2.priority), (None, &None, None));
    let later = world.status(13_000);
    assert!(only_problem(&later).contains("no hello from 192.0.2.12"), "{later:#?}");
}

#[test]
fn an_active_that_stopped_advertising_and_says_hello_again_is_not_silent() {
    let mut world = taken_from_a_silent_active();
    let hash = world.config.hash.clone();
    world.hears(at(10_000), State::Backup, Ready::Yes, &hash);
    assert_eq!(world.status(10_010).problems, []);
}

#[test]
fn nobody_is_missed_after_a_takeover_that_an_advertisement_decided_or_a_first_election() {
    let mut world = taken_from_a_silent_active();
    let (_, status) = world.groups[0].status.as_mut().expect("said");
    status.transitions[1].moments.heard = Some(at(9_800));
    assert_eq!(world.status(9_901).problems, []);

    let mut world = taken_from_a_silent_active();
    let (_, status) = world.groups[0].status.as_mut().expect("said");
    // It was heard before this node listened: what it was then is no news.
    status.transitions[0].at = at(9_700);
    assert_eq!(world.status(9_901).problems, []);
}

#[test]
fn the_hello_says_readiness_and_priority_of_one_moment() {
    let mut world = World::new();
    world.is(State::Active, at(1_000), None);
    // The tracker sees a fault that the speaker was not told yet; its priority is that of a ready node.
    assert!(matches!(world.groups[0].tracker.readiness(), Readiness::Fault { .. }));
    let said = world.groups[0].local(at(1_000), at(0));
    assert_eq!((said.ready, said.priority), (Ready::Yes, 254));
}

#[test]
fn a_node_that_could_not_take_over_is_a_problem() {
    let mut world = World::new();
    let hash = world.config.hash.clone();
    world.is(State::Active, at(1_000), None);
    let fault = Ready::Fault { reason: "no listener is bound (web:80)".to_owned() };
    world.hears(at(9_500), State::Initialize, fault, &hash);
    assert_eq!(only_problem(&world.status(10_000)), "lb2 can't hold web: no listener is bound (web:80).");
}

#[test]
fn two_actives_that_hear_no_advertisement_have_a_filter_between_them() {
    let mut world = World::new();
    let hash = world.config.hash.clone();
    world.is(State::Active, at(1_000), None);
    for now in [6_000, 7_000, 8_000, 9_000] {
        world.hears(at(now), State::Active, Ready::Yes, &hash);
        world.status(now);
        let dual = problems::is_dual_active(at(now), &world.groups[0], Some(&world.session));
        assert!(dual);
        world.groups[0].note_dual_active(at(now), dual);
    }
    assert_eq!(world.status(8_000).problems, [], "a second Active is ordinary for the time of a hello");
    let status = world.status(10_000);
    let problem = only_problem(&status);
    assert!(problem.starts_with("lb1 and lb2 both hold web: "), "{problem}");
    assert!(problem.contains("IP protocol 112 to 224.0.0.18 is filtered"), "{problem}");
    assert_eq!(status.problems[0].since, Some(instants(6_000).wall));
    world.is(State::Active, at(1_000), Some(at(9_900)));
    let problem = only_problem(&world.status(10_000));
    assert!(problem.contains("do not agree"), "{problem}");
}

#[test]
fn what_the_old_active_said_before_this_node_took_over_is_no_claim() {
    let mut world = World::new();
    let hash = world.config.hash.clone();
    world.hears(at(9_000), State::Active, Ready::Yes, &hash);
    world.is(State::Active, at(9_300), None);
    assert!(!problems::is_dual_active(at(9_300), &world.groups[0], Some(&world.session)));
    let status = world.status(9_900);
    assert_eq!(status.groups[0].holders, ["lb1"]);
    assert_eq!(status.groups[0].nodes[1].state, None);
}

#[test]
fn nobody_holding_the_address_is_a_problem_after_the_first_seconds() {
    let mut world = World::new();
    let hash = world.config.hash.clone();
    world.is(State::Initialize, at(100), None);
    world.hears(at(9_500), State::Backup, Ready::Yes, &hash);
    assert_eq!(world.status(4_000).problems, []);
    assert_eq!(only_problem(&world.status(10_000)), "nobody holds web: nobody advertises.");
}

#[test]
fn a_node_out_of_the_election_does_not_know_who_holds_the_address() {
    let mut world = World::new();
    let hash = world.config.hash.clone();
    // The cable is pulled at 6 s: what lb2 said before that is no news of now.
    world.hears(at(5_500), State::Backup, Ready::Yes, &hash);
    world.is(State::Initialize, at(6_000), None);
    let status = world.status(7_000);
    assert_eq!(status.groups[0].nodes[1].state, None);
    assert!(status.groups[0].is_holder_unknown());
    assert_eq!(only_problem(&status), "who holds web is not known here: nobody advertises.");
    assert_eq!(status.problems[0].since, Some(instants(6_000).wall));
}

#[test]
fn a_node_that_resigned_is_not_shown_as_ready_until_it_says_so() {
    let mut world = World::new();
    let hash = world.config.hash.clone();
    world.hears(at(5_500), State::Active, Ready::Yes, &hash);
    world.is(State::Active, at(6_000), Some(at(6_000)));
    let (_, status) = world.groups[0].status.as_mut().expect("said");
    status.members[0].heard.as_mut().expect("heard").priority = 0;
    let status = world.status(7_000);
    let lb2 = &status.groups[0].nodes[1];
    assert_eq!((lb2.state.as_deref(), lb2.priority), (None, Some(0)));
    assert_eq!(only_problem(&status), "lb2 gives web away: it gave the addresses up.");
    world.hears(at(7_500), State::Backup, Ready::Yes, &hash);
    assert_eq!(world.status(8_000).problems, []);
}

#[test]
fn a_speaker_that_says_nothing_is_a_problem_since_its_last_word() {
    let mut world = World::new();
    let hash = world.config.hash.clone();
    world.speaker_speaks = false;
    world.is(State::Active, at(7_000), None);
    world.hears(at(9_500), State::Backup, Ready::Yes, &hash);
    assert_eq!(world.status(9_400).problems, []);
    let status = world.status(10_000);
    let [silent, nobody] = status.problems.as_slice() else { panic!("{:#?}", status.problems) };
    assert_eq!(silent.what, "the speaker for web is silent");
    assert_eq!(silent.since, Some(instants(7_000).wall));
    assert_eq!(nobody.what, "nobody holds web");
}

#[test]
fn a_node_whose_speaker_is_silent_holds_nothing_here_and_on_the_other_node() {
    let mut world = World::new();
    let hash = world.config.hash.clone();
    world.speaker_speaks = false;
    world.is(State::Active, at(5_000), None);
    assert_eq!(world.groups[0].local(at(7_500), at(0)).state, State::Active);
    let said = world.groups[0].local(at(7_501), at(0));
    assert_eq!((said.state, said.since), (State::Initialize, at(7_500)));
    // However long: what is said does not change, so it is no news.
    assert_eq!(world.groups[0].local(at(60_000), at(0)), said);
    let reason = "its speaker is silent".to_owned();
    assert_eq!(said.ready, Ready::Fault { reason });
    world.hears(at(9_500), State::Active, Ready::Yes, &hash);
    assert!(!problems::is_dual_active(at(9_500), &world.groups[0], Some(&world.session)));
    let status = world.status(10_000);
    assert_eq!(status.groups[0].holders, ["lb2"]);
    assert!(only_problem(&status).starts_with("the speaker for web is silent: "), "{status:?}");

    // As lb2 has it of lb1: the two swap names here.
    let mut other = World::new();
    other.is(State::Active, at(5_300), None);
    other.hears(at(9_500), said.state, said.ready, &hash);
    let status = other.status(10_000);
    assert_eq!(status.groups[0].holders, ["lb1"]);
    assert_eq!(only_problem(&status), "lb2 can't hold web: its speaker is silent.");
}

fn backend(servers: Vec<proxy::ServerStatus>) -> proxy::BackendStatus {
    proxy::BackendStatus {
        name: "app".to_owned(),
        mode: Default::default(),
        queued: 0,
        fullconn: 1,
        traffic: Default::default(),
        compressed: proxy::Compressed::default(),
        refused: Vec::new(),
        unanswered: None,
        outage: proxy::Outage::new(std::time::SystemTime::UNIX_EPOCH),
        totals: None,
        servers,
    }
}

fn server(name: &str, state: proxy::ServerState, code: proxy::CheckCode, what: &str) -> proxy::ServerStatus {
    proxy::ServerStatus {
        name: name.to_owned(),
        address: SocketAddr::from(([192, 0, 2, 22], 80)).into(),
        resolved: Some(([192, 0, 2, 22], 80).into()),
        name_problem: None,
        state,
        since: std::time::SystemTime::UNIX_EPOCH,
        traffic: proxy::Traffic::default(),
        history: proxy::ServerHistory::new(std::time::SystemTime::UNIX_EPOCH),
        level: None,
        is_checked: true,
        is_observed: false,
        is_in_use: matches!(state, proxy::ServerState::Up | proxy::ServerState::NoCheck),
        orders: Default::default(),
        agent: None,
        in_flight: 0,
        requests_total: 0,
        connect_errors: 0,
        weight: 1,
        share: 100,
        backup: false,
        maxconn: None,
        last_check: Some(proxy::CheckReport {
            code,
            what: what.to_owned(),
            status: None,
            info: String::new(),
            duration: Duration::from_millis(1),
            in_a_row: 3,
            at: std::time::SystemTime::UNIX_EPOCH,
        }),
    }
}

#[test]
fn servers_that_are_down_are_problems_with_something_to_look_at() {
    use proxy::{
        CheckCode::{L4Connection, L4Ok, L4Timeout, L7Ok, L7Status},
        ServerState::{Down, Up},
    };
    let up = || server("web1", Up, L7Ok, "200");
    let down = |code, what| server("web2", Down, code, what);
    let table = [
        (
            vec![up(), down(L7Status, "404 on HEAD /check.txt")],
            "app/web2 is down: 192.0.2.22:80 answers HEAD /check.txt with 404. Does the file exist there? The other server \
             carries all.",
        ),
        (
            vec![up(), down(L4Connection, "connection refused")],
            "app/web2 is down: 192.0.2.22:80: L4CON connection refused. Does the service run there? The other server carries all.",
        ),
        (
            vec![up(), down(L4Connection, "its source 192.0.2.11 is no address of this machine")],
            "app/web2 is down: 192.0.2.22:80: L4CON its source 192.0.2.11 is no address of this machine. Is that what \
             `source` means? See: lbctl check --here. The other server carries all.",
        ),
        (
            vec![
                up(),
                proxy::ServerStatus {
                    level: Some(proxy::Level { rise: 5, fall: 3, now: 3 }),
                    ..down(L4Ok, "")
                },
            ],
            "app/web2 is down: 192.0.2.22:80: L4OK, up after 2 more good checks. The other server carries all.",
        ),
        (
            vec![up(), up(), down(L4Timeout, "no answer to connect within 2 s")],
            "app/web2 is down: 192.0.2.22:80: L4TOUT no answer to connect within 2 s. Is the machine up, and does a firewall let this node \
             in? The other 2 servers carry all.",
        ),
        (
            vec![down(L4Connection, "connection refused")],
            "app/web2 is down: 192.0.2.22:80: L4CON connection refused. Does the service run there? There is no other: its \
             clients get 503.",
        ),
        (
            vec![down(L7Status, "500 on GET /"), down(L4Connection, "connection refused")],
            "backend app has no usable server: its clients get 503. web2: L7STS 500 on GET /, 1 of 1 failed, down \
             for 20717 d 13 h. Look at that server's own log. web2: L4CON connection refused, 1 of 1 failed, down \
             for 20717 d 13 h. Does the service run there?",
        ),
    ];
    for (servers, expected) in table {
        let mut world = World::new();
        let hash = world.config.hash.clone();
        world.is(State::Active, at(1_000), None);
        world.hears(at(9_500), State::Backup, Ready::Yes, &hash);
        world.proxy.backends = vec![backend(servers)];
        assert_eq!(only_problem(&world.status(10_000)), expected);
    }
}
