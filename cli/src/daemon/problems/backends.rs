//! Servers that don't serve, and what clients get instead.

use std::time::Duration;

use crate::{
    control::{Backend, Problem, Server, ServerState, Timestamp, Why},
    output::age::age,
};

/// Refusals go on as long as the last one is not older.
const GOES_ON: Duration = Duration::from_secs(10);

/// In the operating system's words: the process has as many files open as it may.
const NO_DESCRIPTOR: &str = "Too many open files";

/// All of `backends`, the gravest kind first.
pub(super) fn of(backends: &[Backend], at: Timestamp) -> Vec<Problem> {
    let mut problems: Vec<_> = backends.iter().flat_map(|backend| servers(backend, at)).collect();
    problems.extend(backends.iter().flat_map(names));
    problems.extend(backends.iter().flat_map(|backend| refused(backend, at)));
    problems.extend(backends.iter().filter_map(unanswered));
    problems
}

fn servers(backend: &Backend, at: Timestamp) -> Vec<Problem> {
    let usable = backend.servers.iter().filter(|server| server.is_usable()).count();
    let is_down = |server: &Server| matches!(server.state, ServerState::Down | ServerState::AgentDown);
    let is_one_down = backend.servers.len() == 1 && backend.servers.iter().all(is_down);
    if usable == 0 && !is_one_down && !backend.servers.is_empty() {
        return vec![Problem {
            what: format!("backend {} has no usable server", backend.name),
            since: Some(at.saturating_sub(Duration::from_secs(backend.statistics.outage.seconds))),
            look_at: format!("{}. {}", what_clients_get(backend), all_reports(backend, at)),
        }];
    }
    let down = backend.servers.iter().filter(|server| is_down(server));
    down.map(|server| Problem {
        what: format!("{}/{} is down", backend.name, server.name),
        since: Some(server.since),
        look_at: format!("{} {}", report_of(server), who_carries(backend, usable)),
    })
    .collect()
}

/// Names that no longer resolve, of servers that go on at their last address.
fn names(backend: &Backend) -> impl Iterator<Item = Problem> {
    backend.servers.iter().filter_map(|server| {
        let (problem, address) = (server.name_problem.as_ref()?, server.resolved?);
        Some(Problem {
            what: format!("{} of {}/{} does not resolve", server.address, backend.name, server.name),
            since: Some(problem.since),
            look_at: format!(
                "{}. Its last address, {}, is still used. Is the name right, and do the nameservers work?",
                problem.why,
                address.ip()
            ),
        })
    })
}

/// Requests that are refused at this moment, whatever the checks say. Where no server is usable, that is a problem of its own.
fn refused(backend: &Backend, at: Timestamp) -> impl Iterator<Item = Problem> {
    let how_many = |count| match (backend.statistics.mode.as_str(), count) {
        ("tcp", 1) => "1 connection was closed".to_owned(),
        ("tcp", _) => format!("{count} connections were closed"),
        (_, 1) => "1 request got 503".to_owned(),
        _ => format!("{count} requests got 503"),
    };
    backend.refused.iter().filter_map(move |refused| {
        let (what, look_at) = match refused.why {
            Why::Full => ("is full", "May `maxconn` be larger? Else it takes another server."),
            Why::NotConnected if refused.reason.contains(NO_DESCRIPTOR) => (
                "can't be reached",
                "Raise LimitNOFILE= of the unit (ulimit -Hn) and restart, or lower maxconn.",
            ),
            Why::NotConnected => {
                ("can't be reached", "Does the service run there, and does a firewall let this node in?")
            }
            Why::NoBackend | Why::NoServer | Why::Passwords | Why::Source | Why::ProxyHeader | Why::Other => {
                return None;
            }
        };
        (at.saturating_since(refused.last) < GOES_ON).then(|| Problem {
            what: format!("backend {} {what}", backend.name),
            since: Some(refused.since),
            look_at: format!("{}: {}. {look_at}", how_many(refused.count), refused.reason),
        })
    })
}

/// Servers that are up by their checks and answer nobody.
fn unanswered(backend: &Backend) -> Option<Problem> {
    let found = backend.unanswered.as_ref()?;
    Some(Problem {
        what: format!("backend {} does not answer", backend.name),
        since: Some(found.since),
        look_at: format!(
            "{} of {} answers in the last 10 s were 502 or 504, made up here; one of the last: {}. Its checks see nothing of that: look at that server's own log, \
             and check a path that shows it (`check = {{ http = ... }}`, or `observe`).",
            found.count, found.of, found.reason
        ),
    })
}

/// Where nobody can serve them.
fn what_clients_get(backend: &Backend) -> &'static str {
    match backend.statistics.mode.as_str() {
        "tcp" => "its clients' connections are closed",
        _ => "its clients get 503",
    }
}

/// `web1: L7STS 404 on HEAD /check.txt, 5 of 5 failed, down for 12 s.`, for each.
fn all_reports(backend: &Backend, at: Timestamp) -> String {
    let report = |server: &Server| {
        let (name, why) = (&server.name, server.why());
        let word = match server.state {
            // Since when it has that weight is not known.
            ServerState::Up | ServerState::NoCheck | ServerState::Unchecked => {
                return format!("{name}: {why}.");
            }
            ServerState::NoBalance => "NOLB",
            ServerState::Drain => "DRAIN",
            ServerState::Maintenance => "MAINT",
            ServerState::Down | ServerState::AgentDown => "down",
        };
        let age = age(at.saturating_since(server.since));
        format!("{name}: {why}, {word} for {age}.{}", hint(server))
    };
    backend.servers.iter().map(report).collect::<Vec<_>>().join(" ")
}

/// What its check found, and what to look at.
fn report_of(server: &Server) -> String {
    if let (Some(problem), None) = (&server.name_problem, server.resolved) {
        return format!("{} does not resolve: {}. Is the name right?", server.address, problem.why);
    }
    let address = &server.address;
    let is_down = server.state == ServerState::Down;
    let Some(check) = server.last_check.as_ref().filter(|check| is_down && !check.passed) else {
        return format!("{address}: {}.", server.why());
    };
    match check.what.split_once(" on ").filter(|_| check.code == "L7STS") {
        Some((status, target)) => format!("{address} answers {target} with {status}.{}", hint(server)),
        None => format!("{address}: {}.{}", check.text(), hint(server)),
    }
}

/// What to look at on that server.
fn hint(server: &Server) -> &'static str {
    if server.name_problem.is_some() && server.resolved.is_none() {
        return " Is the name right?";
    }
    let Some(check) = server.last_check.as_ref().filter(|_| server.state == ServerState::Down) else {
        return "";
    };
    let status = check.what.split(' ').next().unwrap_or_default();
    match check.code.as_str() {
        "L7STS" => match status {
            "404" => " Does the file exist there?",
            "401" | "403" => " Is the check let in there?",
            _ => " Look at that server's own log.",
        },
        "L4CON" if check.what.contains("refused") => " Does the service run there?",
        "L4CON" if check.what.contains("its source") => {
            " Is that what `source` means? See: lbctl check --here."
        }
        "L4CON" if check.what.contains("no such socket") => " Does the service run, and is that its socket?",
        "L4CON" if server.address.starts_with("unix:") => " May this process use that socket?",
        "SOCKERR" if check.what.contains("reset") => {
            " It ends the connection instead of answering: look at that server's own log."
        }
        "SOCKERR" => {
            " This node had nothing left for its check: see its limit on open files, and who uses up ports here."
        }
        "L4CON" | "L4TOUT" => " Is the machine up, and does a firewall let this node in?",
        "L7TOUT" => " It takes connections and says nothing: look at that server's own log.",
        _ => "",
    }
}

fn who_carries(backend: &Backend, usable: usize) -> String {
    match (backend.servers.len(), usable) {
        (_, 0) => format!("There is no other: {}.", what_clients_get(backend)),
        (2, _) => "The other server carries all.".to_owned(),
        (_, 1) => "One other server carries all.".to_owned(),
        (_, n) => format!("The other {n} servers carry all."),
    }
}
