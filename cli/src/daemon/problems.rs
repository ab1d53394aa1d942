//! What is wrong, one sentence each: what, since when, what to look at. `docs/operations.md` lists them all.

use std::time::Duration;

use lb_vrrp::{Moment, State, status::Untrusted};

use super::{
    certificates,
    group::Group,
    hello::{self, Refusal},
    refusing::worse,
    report::{Facts, heard_by_member},
};
use crate::{
    config::MAXCONN,
    control::{Alarm, AlarmName, Frontend, GroupNode, Log, Peer, Phase, Problem, Ready, Status, Timestamp},
    service,
};

mod addresses;
mod backends;
mod strangers;

pub(super) use strangers::{is_node, rejected, stranger, strangers_at};

/// Two Actives are ordinary for the time of a hello; for longer they are a problem.
pub(super) const DUAL_ACTIVE: Duration = Duration::from_millis(2_500);

/// A node that holds the address and is unheard for so long is filtered.
pub(super) const UNHEARD: Duration = Duration::from_secs(3);

/// An address that was taken away so long ago is no problem any more.
const STOLEN: Duration = Duration::from_secs(60);

/// What a drained node says of itself begins so.
const DRAINED: &str = "drained by ";

/// Over with the next reload.
pub(super) const NOT_TOLD: &str = "the data plane does not know which node this is";

/// All problems, the gravest first.
pub(super) fn find(facts: &Facts<'_>, status: &Status) -> Vec<Problem> {
    let mut problems = facts.own_problems.to_vec();
    if let Phase::Waiting { reason } = &status.phase {
        problems.push(Problem {
            what: "this node holds no address".to_owned(),
            since: Some(status.started),
            look_at: sentence(reason),
        });
    }
    for (group, report) in facts.groups.iter().zip(&status.groups) {
        problems.extend(speaker(facts, group, report));
        problems.extend(addresses::looped(facts, group));
        problems.extend(strangers::find(facts, group));
        problems.extend(unheard(facts, group));
        problems.extend(untrusted(facts, group));
        problems.extend(stolen(facts, group));
        problems.extend(owners(facts, status, group, report));
        problems.extend(addresses::unheld(facts, group, report));
        // That this node is drained, or has no speaker, is a problem of its own.
        let is_other = status.drained.is_some() || group.silent_since(facts.at.moment).is_some();
        let is_told = |node: &&GroupNode| !(node.local && is_other);
        problems.extend(report.nodes.iter().filter(is_told).filter_map(|node| unready(status, report, node)));
        problems.extend(refusing(facts, group, report));
    }
    problems.extend(status.drained.as_ref().map(|drained| Problem {
        what: format!("{} is drained", status.node),
        since: Some(drained.at),
        look_at: format!(
            "by {}. It takes no part in elections, so it takes over from nobody. To end that: lbctl resume",
            drained.by
        ),
    }));
    problems.extend(status.peers.iter().filter(|peer| peer.silent).map(|peer| silence(facts, status, peer)));
    problems.extend(status.peers.iter().filter_map(|peer| {
        let theirs = peer.hash.as_deref().filter(|theirs| *theirs != status.file.hash)?;
        Some(Problem {
            what: format!("the file differs on {}", peer.name),
            since: alarm_since(facts, AlarmName::FilesDiffer, None),
            look_at: format!(
                "{} here, {} there. Compare {} on both nodes, copy the right one over the other, then: lbctl reload.",
                digits(&status.file.hash),
                digits(theirs),
                status.file.path
            ),
        })
    }));
    problems.extend(facts.nowhere.iter().map(|(frontend, address)| Problem {
        what: format!("nobody can come in at {address} of frontend {frontend}"),
        since: None,
        look_at: format!(
            "no interface of this machine has {}, and no [vip.*] brings it. Is the address right? ip addr",
            address.ip()
        ),
    }));
    problems.extend(status.frontends.iter().filter_map(paused));
    problems.extend(limits(facts, status));
    for frontend in &status.frontends {
        problems.extend(frontend.binds.iter().filter_map(|bind| {
            let error = bind.error.as_ref()?;
            let who_has = match bind.address {
                Some(address) if !error.contains("ss -") => {
                    format!(". Who has it: ss -ltnp 'sport = :{}'", address.port())
                }
                Some(_) | None => String::new(),
            };
            let stop = if error.ends_with('?') { "" } else { "." };
            // As the label of an inherited socket has it.
            let is_inherited = ["fd ", "socket "].iter().any(|kind| bind.label.starts_with(kind));
            let then = if is_inherited {
                "It has to be there when lbctl starts."
            } else {
                "It is tried again each second."
            };
            Some(Problem {
                what: format!("frontend {} does not listen on {}", frontend.name, bind.label),
                since: None,
                look_at: format!("{error}{who_has}{stop} {then}"),
            })
        }));
    }
    problems.extend(backends::of(&status.backends, status.at));
    problems.extend(status.logs.iter().filter_map(log));
    problems.extend(certificates::expiring(status));
    problems
}

/// A failover to such a node serves nobody; a switchover or a drain is refused.
fn refusing(facts: &Facts<'_>, group: &Group, report: &crate::control::Group) -> Vec<Problem> {
    let peers = facts.session.iter().flat_map(|session| session.peers());
    let told = peers.filter_map(|peer| {
        let why = worse(peer.group(&report.name)?, &group.refused)?;
        Some(Problem {
            what: format!("{} would refuse clients of {}", peer.name, vip_names(report)),
            since: None,
            look_at: format!(
                "{why}. It takes over all the same when this node fails; a switchover or a drain here is refused. To end that, there: {}",
                if why.starts_with("frontend ") { "lbctl frontend NAME resume" } else { "lbctl server BACKEND/SERVER ready" }
            ),
        })
    });
    told.collect()
}

/// Whoever has forgotten it looks for the reason elsewhere.
fn paused(frontend: &Frontend) -> Option<Problem> {
    let pause = frontend.paused.as_ref()?;
    Some(Problem {
        what: format!("frontend {} is paused", frontend.name),
        since: Some(pause.at),
        look_at: format!(
            "by {}. New connections are refused. To end that: lbctl frontend {} resume",
            pause.by, frontend.name
        ),
    })
}

/// Connections that are not taken.
fn limits(facts: &Facts<'_>, status: &Status) -> Vec<Problem> {
    let full = |what: String, taken: u64, max: u64, since, remedy: &str| Problem {
        what: format!("{what} is full"),
        since: Some(since),
        look_at: format!(
            "{taken} of {max} connections; clients wait in the kernel's queue. {remedy}, or see who holds them: \
             ss -tnp state established."
        ),
    };
    let raise = "Raise maxconn";
    let mut problems = Vec::new();
    let wanted = u64::from(facts.config.proxy.maxconn);
    // Who leaves it to the default wants what the machine allows.
    if status.maxconn < wanted && facts.config.proxy.maxconn != MAXCONN {
        problems.push(Problem {
            what: format!("open files are too few for maxconn {wanted}"),
            since: None,
            look_at: format!(
                "{} connections are taken and no more. Raise LimitNOFILE= of the unit (ulimit -Hn) and restart, or lower \
                 maxconn.",
                status.maxconn
            ),
        });
    }
    if let Some(since) = status.full_since {
        problems.push(full("the process".to_owned(), status.connections, status.maxconn, since, raise));
    }
    problems.extend(status.frontends.iter().filter_map(|one| {
        // That of [statistics] has a number that no key changes.
        let is_apart =
            |name: &str| facts.config.proxy.frontends.iter().any(|it| it.is_apart && it.name == name);
        let remedy = if is_apart(&one.name) { "Keep strangers out by `allow`" } else { raise };
        Some(full(format!("frontend {}", one.name), one.connections, one.maxconn, one.full_since?, remedy))
    }));
    problems
}

fn silence(facts: &Facts<'_>, status: &Status, peer: &Peer) -> Problem {
    let nodes = status.groups.iter().flat_map(|group| &group.nodes).filter(|node| node.name == peer.name);
    let since = Some(nodes.filter_map(|node| node.heard).chain(peer.heard).max().unwrap_or(status.started));
    if peer.ended {
        return Problem {
            what: format!("{} is stopped", peer.name),
            since,
            look_at: format!(
                "it said so itself. Nobody could take over now; start it there: {}.",
                service::start()
            ),
        };
    }
    let refusal = facts.session.and_then(|session| {
        session.peers().iter().find(|found| found.name == peer.name)?.refusal(facts.at.moment)
    });
    if let Some(why) = refusal {
        let (what, look_at) = match why {
            Refusal::Unsigned => (
                "are not signed",
                "It runs without the secret of [cluster]: another file, or one that was not reloaded yet.",
            ),
            Refusal::OtherSecret => (
                "are signed with another secret",
                "Compare the file that secret_file of [cluster] names on both nodes (sha256sum), copy the right one over, \
                 then: lbctl reload.",
            ),
            Refusal::Unreadable => (
                "can't be read",
                "Compare the versions: lbctl --version on both nodes. Upgrade the older one.",
            ),
        };
        return Problem {
            what: format!("hellos of {} {what}", peer.name),
            since,
            look_at: format!("What {} says is not believed; no address moves by that. {look_at}", peer.name),
        };
    }
    let says_hello = facts
        .session
        .is_some_and(|session| session.peers().iter().any(|found| found.name == peer.name && !found.silent));
    if says_hello {
        return Problem {
            what: format!("{} is silent", peer.name),
            since,
            look_at: "it held the address and stopped advertising, so this node took it. Is the machine up? \
                      Does lbctl run there?"
                .to_owned(),
        };
    }
    Problem {
        what: format!("{} is silent", peer.name),
        since,
        look_at: format!(
            "no hello from {}. Does lbctl run there? Does UDP port {} pass between the nodes?",
            peer.address,
            hello::endpoint::PORT
        ),
    }
}

/// What is shown of the group is old: nobody speaks for it.
fn speaker(facts: &Facts<'_>, group: &Group, report: &crate::control::Group) -> Option<Problem> {
    group.silent_since(facts.at.moment)?;
    let (at, _) = group.status.as_ref()?;
    let look_at = format!(
        "this node sends no advertisement and holds nothing. It is started again by itself; why it ends is in the log: {}.",
        service::log()
    );
    Some(new(format!("the speaker for {} is silent", vip_names(report)), facts.at.wall_of(*at), look_at))
}

/// Since when that alarm is on.
fn alarm_since(facts: &Facts<'_>, name: AlarmName, group: Option<&Group>) -> Option<Timestamp> {
    let group = group.map(|group| &group.config.name);
    facts
        .alarms
        .iter()
        .find(|alarm| alarm.name == name && alarm.group.as_ref() == group)
        .map(|alarm| alarm.since)
}

/// A node that lives and holds the addresses is not heard, and not because both hold them, which is told already.
fn unheard(facts: &Facts<'_>, group: &Group) -> Option<Problem> {
    let is_it = |alarm: &&Alarm| {
        alarm.name == AlarmName::AdvertisementsMissing && alarm.group.as_ref() == Some(&group.config.name)
    };
    let alarm = facts.alarms.iter().find(is_it).filter(|_| group.dual_active_since.is_none())?;
    Some(new(
        alarm.why.clone(),
        alarm.since,
        "its hello comes, over UDP, and IP protocol 112 does not, or can't be taken. Look at the firewalls of both nodes and of the \
         network between them (lbctl doctor), at IGMP snooping on the switch, and whether vrid and version match on both.",
    ))
}

/// Something else takes addresses away that are ours.
fn stolen(facts: &Facts<'_>, group: &Group) -> Option<Problem> {
    let (_, status) = group.status.as_ref()?;
    let stolen = status.members.iter().filter_map(|member| Some((member, member.stolen?)));
    let (member, (address, at)) = stolen.max_by_key(|(_, (_, at))| *at)?;
    if facts.at.moment.saturating_since(at) >= STOLEN {
        return None;
    }
    let interface = member.interface.as_deref().unwrap_or("its interface");
    let times = status.counters.get("addresses_stolen").copied().unwrap_or(1);
    Some(Problem {
        what: format!("somebody removes {} of {} from {interface}", address.address, member.vip),
        since: Some(facts.at.wall_of(at)),
        look_at: format!(
            "it was put back and announced, {times} times by now. systemd-networkd: KeepConfiguration=yes in the .network file of \
             {interface}; other programs: let them leave addresses alone that they have not added. ip monitor address shows when."
        ),
    })
}

/// An advertisement that is not signed as this node's are, of late; and whether its sender is rightly heard as well.
fn distrusted<'a>(facts: &Facts<'_>, group: &'a Group) -> Option<(&'a Untrusted, bool)> {
    let (_, status) = group.status.as_ref()?;
    let recent = |at: Moment| facts.at.moment.saturating_since(at) < UNHEARD;
    let found = status.untrusted.as_ref().filter(|found| recent(found.at))?;
    let is_heard = heard_by_member(group)
        .any(|(_, heard)| heard.source == found.source && recent(heard.at) && heard.at != found.at);
    Some((found, is_heard))
}

/// Somebody sends in the name of a node that is rightly heard: nothing comes of it.
pub(super) fn forged(facts: &Facts<'_>, group: &Group) -> Option<String> {
    let (found, _) = distrusted(facts, group).filter(|(found, is_heard)| *is_heard && found.dropped)?;
    let Untrusted { source, why, .. } = found;
    Some(format!(
        "somebody sends advertisements in the name of {source}, which are dropped: {why}; the right ones are heard"
    ))
}

/// The other node's advertisements are not signed as this one's are.
fn untrusted(facts: &Facts<'_>, group: &Group) -> Option<Problem> {
    let (found, _) = distrusted(facts, group).filter(|(_, is_heard)| !is_heard)?;
    let then = if found.dropped {
        "It is dropped, so this node may not take over, or both may hold the address."
    } else {
        "It is heard all the same, and would not be with sign_advertisements = \"accept\"."
    };
    Some(Problem {
        what: format!("an advertisement from {} is not to be trusted", found.source),
        since: None,
        look_at: format!(
            "{}. {then} Is it the other node? Then compare secret_file and sign_advertisements of [cluster] on both.",
            found.why
        ),
    })
}

fn owners(
    facts: &Facts<'_>,
    status: &Status,
    group: &Group,
    report: &crate::control::Group,
) -> Option<Problem> {
    let names = vip_names(report);
    if report.holders.is_empty() {
        // While the first election is on, nobody holding it is no news.
        let settled = facts.at.moment.saturating_since(facts.started.moment) > Duration::from_secs(5);
        return settled.then(|| Problem {
            what: if report.is_holder_unknown() {
                format!("who holds {names} is not known here")
            } else {
                format!("nobody holds {names}")
            },
            since: report.since,
            look_at: match report.why.strip_prefix("over: fault: ") {
                _ if status.drained.is_some() => addresses::kept_from(status, report),
                Some(fault) => {
                    format!("the election is on. What kept this node out of it is over: {}", sentence(fault))
                }
                None => sentence(&report.why),
            },
        });
    }
    let since = group.dual_active_since?;
    if facts.at.moment.saturating_since(since) < DUAL_ACTIVE {
        return None;
    }
    let nodes = facts.nodes();
    // A stranger may be heard, too.
    let heard = heard_by_member(group).filter(|(member, heard)| is_node(&nodes, member, heard.source));
    let last = heard.map(|(_, heard)| heard.at).max();
    let unheard = last.is_none_or(|at| facts.at.moment.saturating_since(at) > UNHEARD);
    Some(Problem {
        what: format!("{} both hold {names}", report.holders.join(" and ")),
        since: Some(facts.at.wall_of(since)),
        look_at: if unheard && group.config.members.iter().all(|member| member.transport.unicast().is_some())
        {
            "they hear each other's hello but no advertisement: IP protocol 112 is filtered between their addresses. Look at \
             the firewalls of both nodes and of the network between them."
                .to_owned()
        } else if unheard {
            "they hear each other's hello but no advertisement: IP protocol 112 to 224.0.0.18 is filtered between them. \
             Look at the firewalls of both nodes and at IGMP snooping on the switch; transport = \"unicast\" needs none."
                .to_owned()
        } else {
            "they hear each other and do not agree. Do vrid, version and addresses match on both?".to_owned()
        },
    })
}

fn unready(status: &Status, report: &crate::control::Group, node: &GroupNode) -> Option<Problem> {
    let names = vip_names(report);
    let (what, reason) = match node.ready.as_ref()? {
        Ready::Fault { reason } if !node.local && reason.starts_with(DRAINED) => {
            let by = reason.trim_start_matches(DRAINED);
            let said = status.peers.iter().find(|peer| peer.name == node.name).and_then(|peer| peer.drained);
            // One that does not say it is out of the election since then, for this or for another fault before.
            let out = node.since.filter(|_| node.state.as_deref() == Some("Initialize"));
            return Some(Problem {
                what: format!("{} is drained", node.name),
                since: said.or(out),
                look_at: format!(
                    "by {by}. It takes no part in elections, so it could not take over. To end that, there: lbctl resume"
                ),
            });
        }
        Ready::Yes | Ready::Starting { .. } => return None,
        Ready::Degraded { reasons } => {
            (format!("{} is a worse holder of {names}", node.name), reasons.join("; "))
        }
        Ready::Leaving { reason } => (format!("{} gives {names} away", node.name), reason.clone()),
        Ready::Fault { reason } => (format!("{} can't hold {names}", node.name), reason.clone()),
    };
    Some(Problem { what, since: None, look_at: sentence(&reason) })
}

/// A place that gets no lines now.
fn log(log: &Log) -> Option<Problem> {
    let problem = log.problem.as_ref()?;
    let lost = match log.lost_total {
        0 => "Nothing is lost yet: its lines wait, a megabyte for each worker".to_owned(),
        lost => format!("{lost} of its lines are lost"),
    };
    let hint = match problem.what.as_str() {
        "nobody listens there" => " Does a syslog daemon listen there?",
        "there is no such file or folder" => {
            " Does the folder exist, and the socket's daemon run? A folder that is made now is in reach below /var/log; elsewhere after \
             a restart (Landlock)."
        }
        "this process may not write there" => " Whose is it, and does the unit let lbctl write there?",
        "the disk is full" => " Make room: df -h",
        "nothing is taken" => " Is its reader stuck?",
        _ => "",
    };
    Some(Problem {
        what: format!("the log to {} gets nothing", log.target),
        since: Some(problem.since),
        look_at: format!("{}. {lost}; requests go on.{hint}", problem.what),
    })
}

fn vip_names(report: &crate::control::Group) -> String {
    report.vips.iter().map(|vip| vip.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// Begins as it is, ends with a full stop.
fn sentence(clause: &str) -> String {
    if clause.ends_with(['.', '!', '?']) { clause.to_owned() } else { format!("{clause}.") }
}

fn digits(hash: &str) -> &str {
    hash.get(..6).unwrap_or(hash)
}

/// Do two nodes claim the group? Read from this node's state and from the peers' hellos.
pub(super) fn is_dual_active(now: Moment, group: &Group, session: Option<&hello::Session>) -> bool {
    let claims = group.status.as_ref().filter(|(_, status)| status.state == State::Active);
    let Some((_, status)) = claims.filter(|_| group.silent_since(now).is_none()) else { return false };
    let mut peers = session.iter().flat_map(|session| session.peers());
    peers.any(|peer| peer.claims(&group.config.name, status.since))
}

/// Now, for a problem that begins.
pub(super) fn new(what: impl Into<String>, since: Timestamp, look_at: impl Into<String>) -> Problem {
    Problem { what: what.into(), since: Some(since), look_at: look_at.into() }
}
