//! Builds what `lbctl status` shows from what proxy, speaker and hello say of themselves.

use std::{collections::HashMap, time::Duration};

use lb_proxy::status as proxy;
use lb_vrrp::{Moment, PeerKind, Readiness, State};

use super::{certificates, clock::Instants, group::Group, hello, node::Identity, orders, problems};
use crate::{
    config::{Config, model},
    control::{
        Alarm, Backend, Bind, Check, EarlierProcess, FileReport, Frontend, GroupNode, InForce, Log,
        LogProblem, NameProblem, Ordered, Peer, Phase, Problem, Ready, Refused, Server, ServerState, Status,
        Table, Timestamp, TransitionReport, Unanswered, Why,
    },
    output::age::age,
};

mod heard;
mod statistics;
pub(super) mod vips;

pub(super) use heard::{advertisement_of, heard_at, heard_by_member, is_from};

/// A foreign peer whose last advertisement is older than this is not Active as far as we know.
const ADVERTISES: Duration = Duration::from_secs(4);

/// Everything that a report is made from.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) at: Instants,
    /// This process.
    pub(super) started: Instants,
    /// Since when the first of a row of processes runs, if this one took the place of another.
    pub(super) up: Option<Timestamp>,
    pub(super) identity: &'a Identity,
    pub(super) config: &'a Config,
    pub(super) path: &'a str,
    /// Since when the configuration is in force.
    pub(super) loaded: Timestamp,
    pub(super) phase: Phase,
    pub(super) drained: Option<Ordered>,
    /// Processes before an upgrade whose connections still end.
    pub(super) earlier: Vec<EarlierProcess>,
    /// Of the process that runs commands.
    pub(super) runner_restarts: u64,
    /// A drain or switchover that is under way, and how long exchanges may still take.
    pub(super) giving: Option<(Ordered, Option<Duration>)>,
    pub(super) groups: &'a [Group],
    pub(super) session: Option<&'a hello::Session>,
    pub(super) proxy: &'a proxy::Status,
    /// Those that are on.
    pub(super) alarms: Vec<Alarm>,
    /// Problems that only the daemon's loop knows of.
    pub(super) own_problems: &'a [Problem],
    /// Frontends, and where they listen though this machine has no such address.
    pub(super) nowhere: Vec<(&'a str, std::net::SocketAddr)>,
}

/// Who the nodes are, as far as the file and what they say tell it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nodes<'a> {
    pub(super) config: &'a Config,
    /// The name of this one.
    pub(super) own: &'a str,
    pub(super) session: Option<&'a hello::Session>,
}

impl Facts<'_> {
    pub(super) fn nodes(&self) -> Nodes<'_> {
        Nodes { config: self.config, own: self.identity.name(), session: self.session }
    }
}

/// The whole report, problems included.
pub(super) fn status(facts: &Facts<'_>) -> Status {
    let counters = facts
        .session
        .map(|session| session.counters().iter().map(|(name, n)| ((*name).to_owned(), *n)).collect())
        .unwrap_or_default();
    let (of_frontends, of_backends) = positions(facts.config);
    let mut status = Status {
        at: facts.at.wall,
        node: facts.identity.name().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        started: facts.up.unwrap_or(facts.started.wall),
        upgraded: facts.up.map(|_| facts.started.wall),
        phase: facts.phase.clone(),
        drained: facts.drained.clone(),
        giving: facts.giving.as_ref().map(|(ordered, _)| ordered.clone()),
        file: FileReport {
            path: facts.path.to_owned(),
            hash: facts.config.hash.clone(),
            loaded: Some(facts.loaded),
            generation: facts.proxy.generation,
            old_generations: facts.proxy.old_generations,
        },
        signs: crate::signing::word(facts.config.cluster.sign_advertisements).to_owned(),
        peers: peers(facts),
        groups: facts.groups.iter().map(|group| report_group(facts, group)).collect(),
        speaker: None,
        runner_restarts_total: facts.runner_restarts,
        trackers: Vec::new(),
        earlier: facts.earlier.clone(),
        connections: facts.proxy.connections,
        maxconn: facts.proxy.maxconn,
        full_since: facts.proxy.full_since.map(Timestamp::from),
        frontends: (facts.proxy.frontends.iter())
            .map(|found| {
                let mut frontend = frontend(found, facts.proxy.maxconn);
                frontend.statistics.position = of_frontends.get(&*found.name).copied().unwrap_or(0);
                let own = facts.config.proxy.frontends.iter().find(|own| own.name == found.name);
                frontend.certificates = own.map(certificates::of_frontend).unwrap_or_default();
                frontend
            })
            .collect(),
        backends: (facts.proxy.backends.iter())
            .map(|found| {
                let mut backend = backend(facts.config, found);
                backend.statistics.position = of_backends.get(&*found.name).copied().unwrap_or(0);
                backend
            })
            .collect(),
        tables: facts.proxy.tables.iter().map(table).collect(),
        logs: facts.proxy.logs.iter().map(log).collect(),
        delays: facts.proxy.delays.iter().map(statistics::histogram).collect(),
        counters,
        problems: Vec::new(),
        alarms: facts.alarms.clone(),
        notifiers: Vec::new(),
        events: Vec::new(),
        notes: notes(facts.config),
    };
    status.notes.extend(facts.giving.as_ref().map(|(ordered, waits)| under_way(facts, ordered, *waits)));
    status.notes.extend(facts.earlier.iter().map(|process| still_there(facts, process)));
    let ordered = orders::in_force(&status);
    // A drained node and a paused frontend are problems and no notes.
    let is_problem =
        |one: &&InForce| one.ordered.what == "pause" || one.of == format!("node {}", status.node);
    let ordered = ordered.iter().filter(|one| !is_problem(one));
    status.notes.extend(ordered.map(|one| one.sentence(status.at)).collect::<Vec<_>>());
    status.notes.extend(facts.groups.iter().filter_map(|group| problems::forged(facts, group)));
    status.notes.extend(certificates::made(&status.frontends).collect::<Vec<_>>());
    status.notes.extend(certificates::notes(&status).collect::<Vec<_>>());
    status.problems = problems::find(facts, &status);
    status
}

/// A drain or switchover, and how it is called off.
fn under_way(facts: &Facts<'_>, Ordered { what, by, at }: &Ordered, waits: Option<Duration>) -> String {
    let since = age(facts.at.wall.saturating_since(*at));
    match waits {
        Some(waits) => format!(
            "a {what} by {by} is under way for {since}: exchanges have {} to finish; to call it off: lbctl resume",
            age(waits)
        ),
        None => format!("a {what} by {by} is under way for {since}: the addresses are on their way"),
    }
}

/// A process before an upgrade, which is in no other number.
fn still_there(facts: &Facts<'_>, process: &EarlierProcess) -> String {
    let EarlierProcess { pid, since, until, connections, exchanges, silent_ms, .. } = process;
    let now = facts.at.wall;
    let connections = match connections {
        1 => "1 connection".to_owned(),
        many => format!("{many} connections"),
    };
    let since = age(now.saturating_since(*since));
    match silent_ms.map(Duration::from_millis) {
        None => format!(
            "process {pid}, in charge until {since} ago, still has {connections} ({exchanges} busy) for {} at most; they \
             are not among those above",
            age(until.saturating_since(now))
        ),
        Some(silent) => format!(
            "process {pid}, in charge until {since} ago, has said nothing for {}, when it had {connections}; they hang \
             with it. It is stopped or stuck; to end it: kill -9 {pid}",
            age(silent)
        ),
    }
}

/// What the file leaves open.
fn notes(config: &Config) -> Vec<String> {
    let open = |frontend: &lb_proxy::config::Frontend| {
        let page = frontend.statistics.as_ref().filter(|page| page.is_open_by_omission())?;
        Some(crate::config::statistics_are_open(&frontend.name, &page.uri))
    };
    config.proxy.frontends.iter().filter_map(open).collect()
}

fn peers(facts: &Facts<'_>) -> Vec<Peer> {
    let Identity::Node { index, .. } = facts.identity else { return Vec::new() };
    let others = facts.config.cluster.nodes.iter().enumerate().filter(|(other, _)| other != index);
    others
        .map(|(_, node)| {
            let session =
                facts.session.and_then(|session| session.peers().iter().find(|p| p.name == node.name));
            let last = session.and_then(|peer| peer.last.as_ref());
            Peer {
                name: node.name.clone(),
                address: node.address.to_string(),
                says_hello: node.kind == PeerKind::Lbctl,
                heard: last.map(|(at, _)| facts.at.wall_of(*at)),
                silent: session.is_some_and(|peer| peer.silent)
                    || facts.groups.iter().any(|group| is_missed(facts, group, node)),
                ended: session.is_some_and(hello::Peer::has_ended),
                drained: last.and_then(|(at, hello)| {
                    let age =
                        Duration::from_millis(hello.drained_ms?) + facts.at.moment.saturating_since(*at);
                    Some(facts.at.wall.saturating_sub(age))
                }),
                version: last.map(|(_, hello)| hello.version.clone()),
                hash: last.map(|(_, hello)| hello.file.clone()),
                signs: last.and_then(|(_, hello)| hello.signs.clone()),
            }
        })
        .collect()
}

fn report_group(facts: &Facts<'_>, group: &Group) -> crate::control::Group {
    let name = &group.config.name;
    let status = group.status.as_ref().map(|(_, status)| status);
    // The same as the other nodes are told.
    let said = group.local(facts.at.moment, facts.started.moment);
    let local = GroupNode {
        name: facts.identity.name().to_owned(),
        local: true,
        state: status.map(|_| said.state.to_string()),
        since: status.map(|_| facts.at.wall_of(said.since)),
        ready: Some(said.ready),
        priority: status.map(|_| said.priority),
        heard: None,
        silent: false,
    };
    let mut nodes = vec![local];
    nodes.extend(peers(facts).iter().map(|peer| peer_node(facts, group, peer)));
    let holders: Vec<String> = nodes
        .iter()
        .filter(|node| node.state.as_deref() == Some("Active"))
        .map(|node| node.name.clone())
        .collect();
    let (since, why) = match (&status, peer_that_holds(facts, name)) {
        (Some(_), _) if said.state == State::Active => (Some(facts.at.wall_of(said.since)), said.why),
        (_, Some((at, hello))) => {
            let age = Duration::from_millis(hello.age_ms) + facts.at.moment.saturating_since(at);
            (Some(facts.at.wall.saturating_sub(age)), hello.why.clone())
        }
        (Some(_), None) => (Some(facts.at.wall_of(said.since)), said.why),
        (None, None) => (None, "the speaker has not said anything yet".to_owned()),
    };
    crate::control::Group {
        name: name.clone(),
        vips: vips::vips(facts, group, &holders),
        holders,
        since,
        why,
        nodes,
        transitions: status
            .map(|status| status.transitions.iter().map(|one| transition(&facts.at, one)).collect())
            .unwrap_or_default(),
        counters: status.map(|status| status.counters.clone()).unwrap_or_default(),
    }
}

fn peer_that_holds<'a>(facts: &Facts<'a>, group: &str) -> Option<(Moment, &'a hello::GroupHello)> {
    let session = facts.session?;
    session.peers().iter().find_map(|peer| {
        let hello = peer.group(group).filter(|found| found.state == State::Active)?;
        peer.last.as_ref().map(|(at, _)| (*at, hello))
    })
}

/// This node took `group` because `peer` stopped advertising, and has heard nothing of it since. Known as soon as the
/// address moves, long before its hello is overdue.
pub(super) fn is_missed(facts: &Facts<'_>, group: &Group, peer: &model::Node) -> bool {
    // A foreign one that comes back as a Backup would never be heard again.
    if peer.kind != PeerKind::Lbctl {
        return false;
    }
    let Some((_, status)) = group.status.as_ref().filter(|(_, status)| status.state == State::Active) else {
        return false;
    };
    let [.., listening, claim] = status.transitions.as_slice() else { return false };
    let by_silence = listening.to == State::Backup && claim.moments.heard.is_none();
    let was_active = advertisement_of(&facts.nodes(), group, &peer.name)
        .is_some_and(|heard| heard.priority > 0 && heard.at >= listening.at && heard.at < claim.at);
    let session = facts.session.and_then(|session| session.peers().iter().find(|p| p.name == peer.name));
    let said = session.and_then(|peer| peer.last.as_ref()).map(|(at, _)| *at);
    by_silence && was_active && said.is_none_or(|at| at < claim.at)
}

fn peer_node(facts: &Facts<'_>, group: &Group, peer: &Peer) -> GroupNode {
    let session = facts.session.and_then(|session| session.peers().iter().find(|p| p.name == peer.name));
    let hello = session.and_then(|session| session.group(&group.config.name));
    let said_at = session.and_then(|session| session.last.as_ref()).map(|(at, _)| *at);
    let advertised = advertisement_of(&facts.nodes(), group, &peer.name);
    let heard = said_at.into_iter().chain(advertised.map(|heard| heard.at)).max();
    // This node changed after that was said, and it was not what this change is about: the next hello will say better.
    let overtaken = group.status.as_ref().is_some_and(|(_, status)| {
        let disagrees = match status.state {
            State::Active => hello.is_some_and(|hello| hello.state == State::Active),
            State::Initialize => hello.is_some_and(|hello| hello.state == State::Backup),
            State::Backup => false,
        };
        disagrees && said_at.is_some_and(|at| at < status.since)
    });
    let resigned = advertised
        .filter(|heard| !peer.silent && heard.priority == 0 && said_at.is_none_or(|at| at < heard.at));
    let hello = hello.filter(|_| !overtaken && !peer.silent && resigned.is_none());
    let foreign_active = !peer.says_hello
        && advertised.is_some_and(|heard| {
            heard.priority > 0 && facts.at.moment.saturating_since(heard.at) < ADVERTISES
        });
    GroupNode {
        name: peer.name.clone(),
        local: false,
        state: match hello {
            Some(hello) => Some(hello.state.to_string()),
            None if peer.ended => Some(State::Initialize.to_string()),
            None => foreign_active.then(|| State::Active.to_string()),
        },
        since: hello.zip(said_at).map(|(hello, said_at)| {
            let age = Duration::from_millis(hello.age_ms) + facts.at.moment.saturating_since(said_at);
            facts.at.wall.saturating_sub(age)
        }),
        ready: match resigned {
            Some(_) => Some(Ready::Leaving { reason: "it gave the addresses up".to_owned() }),
            None => hello.map(|hello| hello.ready.clone()),
        },
        // As old as `ready` beside it: the last advertisement may be of another time.
        priority: match resigned.or(advertised.filter(|_| !peer.says_hello)) {
            Some(heard) => Some(heard.priority),
            None => hello.map(|hello| hello.priority),
        },
        heard: heard.map(|at| facts.at.wall_of(at)),
        silent: peer.silent,
    }
}

fn transition(at: &Instants, transition: &lb_vrrp::Transition) -> TransitionReport {
    let moments = transition.moments;
    let wall = |moment: Option<Moment>| moment.map(|moment| at.wall_of(moment));
    TransitionReport {
        from: transition.from.to_string(),
        to: transition.to.to_string(),
        reason: transition.reason.clone(),
        detected: at.wall_of(transition.detected),
        at: at.wall_of(transition.at),
        heard: wall(moments.heard),
        removed: wall(moments.removed),
        resigned: wall(moments.resigned),
        added: wall(moments.added),
        announced: wall(moments.announced),
    }
}

/// As the control interface and the hello carry it.
pub(super) fn ready(readiness: &Readiness) -> Ready {
    match readiness.clone() {
        Readiness::Ready => Ready::Yes,
        Readiness::Degraded { reasons } => Ready::Degraded { reasons },
        Readiness::Starting { reason, .. } => Ready::Starting { reason },
        Readiness::Leaving { reason } => Ready::Leaving { reason },
        Readiness::Fault { reason } => Ready::Fault { reason },
    }
}

/// The whole process takes `maxconn` connections.
fn frontend(found: &proxy::FrontendStatus, maxconn: u64) -> Frontend {
    Frontend {
        name: found.name.clone(),
        mode: found.mode.name().to_owned(),
        binds: found
            .binds
            .iter()
            .map(|bind| Bind { label: bind.label.clone(), address: bind.address, error: bind.error.clone() })
            .collect(),
        connections: found.connections,
        maxconn: found.maxconn.min(maxconn),
        full_since: found.full_since.map(Timestamp::from),
        connections_total: found.connections_total,
        requests_total: found.requests_total,
        requests_per_second: found.requests_per_second,
        responses: found.responses,
        server_errors_per_minute: found.server_errors_per_minute,
        bytes_in: found.bytes_in,
        bytes_out: found.bytes_out,
        counters: found.counters.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect(),
        refused: found.refused.iter().map(refused).collect(),
        statistics: statistics::frontend(found),
        paused: found.paused.as_ref().map(orders::paused),
        certificates: Vec::new(),
    }
}

fn table(found: &proxy::TableStatus) -> Table {
    Table {
        name: found.name.clone(),
        entries: found.entries,
        size: found.size,
        evictions_total: found.evictions_total,
    }
}

fn log(found: &proxy::LogStatus) -> Log {
    Log {
        target: found.target.clone(),
        written_total: found.written_total,
        lost_total: found.lost_total,
        problem: found
            .problem
            .as_ref()
            .map(|problem| LogProblem { what: problem.what.clone(), since: problem.since.into() }),
    }
}

/// By name, of frontends and of backends: what the proxy reports may be of a configuration before this one.
fn positions(config: &Config) -> (HashMap<&str, u32>, HashMap<&str, u32>) {
    let (proxy, positions) = (&config.proxy, &config.positions);
    let frontends =
        proxy.frontends.iter().map(|one| one.name.as_str()).zip(positions.frontends.iter().copied());
    let backends = proxy.backends.iter().map(|one| one.name.as_str()).zip(positions.backends.iter().copied());
    (frontends.collect(), backends.collect())
}

fn backend(config: &Config, found: &proxy::BackendStatus) -> Backend {
    let of = config.proxy.backends.iter().find(|one| one.name == found.name);
    let fall = |name: &str| {
        let own = of.and_then(|of| Some((of, of.servers.iter().find(|server| server.name == name)?)));
        own.map_or(1, |(of, server)| of.fall_of(server))
    };
    Backend {
        name: found.name.clone(),
        queued: found.queued,
        servers: found.servers.iter().map(|one| server(one, fall(&one.name))).collect(),
        refused: found.refused.iter().map(refused).collect(),
        unanswered: found.unanswered.as_ref().map(|found| Unanswered {
            count: found.count,
            of: found.of,
            since: found.since.into(),
            reason: found.reason.clone(),
        }),
        certificates: of.map(certificates::of_backend).unwrap_or_default(),
        statistics: statistics::backend(found),
    }
}

fn refused(found: &proxy::Refused) -> Refused {
    Refused {
        why: match found.why {
            proxy::Why::NoBackend => Why::NoBackend,
            proxy::Why::NoServer => Why::NoServer,
            proxy::Why::Full => Why::Full,
            proxy::Why::NotConnected => Why::NotConnected,
            proxy::Why::Passwords => Why::Passwords,
            proxy::Why::Source => Why::Source,
            proxy::Why::ProxyHeader => Why::ProxyHeader,
            // Kept apart from refusals.
            proxy::Why::Unanswered => Why::Other,
        },
        count: found.count,
        since: found.since.into(),
        last: found.last.into(),
        reason: found.reason.clone(),
    }
}

/// One frontend, if it is there.
pub(super) fn frontend_of(status: &proxy::Status, name: &str) -> Option<Frontend> {
    let found = status.frontends.iter().find(|frontend| frontend.name == name)?;
    Some(frontend(found, status.maxconn))
}

/// One server, if it is there.
pub(super) fn server_of(
    config: &Config,
    status: &proxy::Status,
    backend_name: &str,
    name: &str,
) -> Option<Server> {
    let found = status.backends.iter().find(|backend| backend.name == backend_name)?;
    backend(config, found).servers.into_iter().find(|server| server.name == name)
}

fn server(found: &proxy::ServerStatus, fall: u32) -> Server {
    Server {
        name: found.name.clone(),
        address: found.address.to_string(),
        resolved: found.resolved,
        name_problem: found
            .name_problem
            .as_ref()
            .map(|problem| NameProblem { why: problem.why.clone(), since: problem.since.into() }),
        state: match found.state {
            proxy::ServerState::Unchecked => ServerState::Unchecked,
            proxy::ServerState::Up => ServerState::Up,
            proxy::ServerState::Down => ServerState::Down,
            proxy::ServerState::AgentDown => ServerState::AgentDown,
            proxy::ServerState::NoBalance => ServerState::NoBalance,
            proxy::ServerState::Drain => ServerState::Drain,
            proxy::ServerState::Maintenance => ServerState::Maintenance,
            proxy::ServerState::NoCheck => ServerState::NoCheck,
        },
        since: found.since.into(),
        in_flight: found.in_flight,
        queued: found.traffic.queued,
        requests_total: found.requests_total,
        connect_errors: found.connect_errors,
        weight: found.weight,
        share: found.share,
        backup: found.backup,
        maxconn: found.maxconn,
        last_check: found.last_check.as_ref().map(|check| Check {
            passed: check.passed(),
            code: check.code.word().to_owned(),
            what: check.what.clone(),
            info: check.info.clone(),
            microseconds: u64::try_from(check.duration.as_micros()).unwrap_or(u64::MAX),
            in_a_row: check.in_a_row,
            fall,
            at: Timestamp::from(check.at),
        }),
        statistics: statistics::server(found),
        ordered: orders::ordered(&found.orders),
    }
}

#[cfg(test)]
mod tests;
