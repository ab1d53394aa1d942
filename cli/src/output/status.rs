//! `lbctl status` on one screen: who holds which address and why, is everything healthy, is the file the same.

mod refused;

use std::time::Duration;

use lb_vrrp::is_link_local;

use super::{
    age::{age, fine_age, milliseconds, short_age, took},
    table::{Cell, Table, WIDTH},
    text::{Paint, Tone, printable, thousands, wrap},
};
use crate::control::{
    AlarmName, Backend, Frontend, Group, GroupNode, Phase, Ready, Server, ServerState, Status,
    TransitionReport, Vip,
};

/// Up to this width names of vips stand beside their addresses.
const NAME_BESIDE: usize = 20;

/// Digits of a file's hash that are shown.
const HASH_DIGITS: usize = 6;

/// The whole screen. Times are relative to `status.at`.
pub fn render(status: &Status, paint: Paint) -> String {
    let mut text = header(status, paint);
    for group in &status.groups {
        text.push('\n');
        text.push_str(&addresses(group, status, paint));
        text.push_str(&last_move(group, status));
        text.push_str(&nodes(group, status, paint));
    }
    if !status.frontends.is_empty() || !status.backends.is_empty() {
        text.push('\n');
    }
    if !status.frontends.is_empty() {
        text.push_str(&frontends(&status.frontends, paint));
    }
    if !status.backends.is_empty() {
        text.push_str(&backends(&status.backends, status, paint));
    }
    text.push_str(&refused::render(status, paint));
    if !status.problems.is_empty() {
        text.push('\n');
        text.push_str(&problems(status, paint));
    }
    if !status.notes.is_empty() {
        text.push('\n');
        text.push_str(&notes(&status.notes));
    }
    text
}

fn header(status: &Status, paint: Paint) -> String {
    let mut parts = vec![status.node.clone(), version(status), file(status)];
    match &status.phase {
        Phase::Running => {}
        Phase::Waiting { .. } => parts.push("waiting".to_owned()),
        Phase::Stopping { .. } => parts.push("stopping".to_owned()),
    }
    // What the tables say in other words.
    if status.alarms.iter().any(|alarm| alarm.name == AlarmName::NoStandby) {
        parts.push("no standby is ready".to_owned());
    }
    let (count, tone) = match status.problems.len() {
        0 => ("no problems".to_owned(), Tone::Good),
        1 => ("1 problem".to_owned(), Tone::Bad),
        n => (format!("{n} problems"), Tone::Bad),
    };
    let line = printable(&parts.join(" · "));
    if line.chars().count() + 3 + count.len() <= WIDTH {
        return format!("{line} · {}\n", paint.apply(tone, &count));
    }
    let mut lines = wrap(&line, WIDTH);
    lines.push(format!("  {}", paint.apply(tone, &count)));
    lines.join("\n") + "\n"
}

fn version(status: &Status) -> String {
    let ago = |then| age(status.at.saturating_since(then));
    let upgraded = status.upgraded.map(|then| format!(", upgraded {} ago", ago(then)));
    let heard = status.peers.iter().filter(|peer| !peer.silent);
    let others = heard.filter_map(|peer| Some((&peer.name, peer.version.as_ref()?)));
    let others: String = others
        .filter(|(_, version)| **version != status.version)
        .map(|(name, version)| format!(", {version} on {name}"))
        .collect();
    let (started, upgraded) = (ago(status.started), upgraded.unwrap_or_default());
    format!("lbctl {}{others}, up {started}{upgraded}", status.version)
}

fn file(status: &Status) -> String {
    let mut text = format!("file {}", digits(&status.file.hash));
    if let Some(loaded) =
        status.file.loaded.filter(|loaded| *loaded > status.upgraded.unwrap_or(status.started))
    {
        text.push_str(&format!(", loaded {} ago", age(status.at.saturating_since(loaded))));
    }
    for peer in status.peers.iter().filter(|peer| peer.says_hello) {
        text.push_str(&match &peer.hash {
            Some(hash) if *hash == status.file.hash => format!(", same on {}", peer.name),
            Some(hash) => format!(", differs on {} ({})", peer.name, digits(hash)),
            None => format!(", unknown on {}", peer.name),
        });
    }
    text
}

fn digits(hash: &str) -> &str {
    hash.get(..HASH_DIGITS).unwrap_or(hash)
}

fn addresses(group: &Group, status: &Status, paint: Paint) -> String {
    let mut table = Table::new(["ADDRESS", "HELD BY", "SINCE", "WHY"], [36, 16, 12, 0]);
    let held_by = match group.holders.as_slice() {
        [] if group.is_holder_unknown() => Cell::toned("unknown", Tone::Bad),
        [] => Cell::toned("nobody", Tone::Bad),
        [one] if group.is_held_in_part() => Cell::toned(&format!("{one}, in part"), Tone::Bad),
        [one] => Cell::from(one.as_str()),
        several => Cell::toned(&several.join(", "), Tone::Bad),
    };
    let since = group.since.map_or_else(|| "-".to_owned(), |since| age(status.at.saturating_since(since)));
    let name_width = group.vips.iter().map(|vip| vip.name.chars().count()).max().unwrap_or(0) + 2;
    let lines = group.vips.iter().flat_map(|vip| vip_lines(vip, name_width));
    table.row([Cell::lines(lines), held_by, since.into(), group.why.as_str().into()]);
    table.render(paint)
}

/// The last time that this node took the addresses or let them go: each step in milliseconds from the moment that its
/// cause was seen.
fn last_move(group: &Group, status: &Status) -> String {
    let is_move = |one: &&TransitionReport| one.to == "Active" || one.from == "Active";
    let Some(last) = group.transitions.iter().rfind(is_move) else { return String::new() };
    let mut steps = vec![(last.to.as_str(), last.at)];
    let named = [
        ("heard", last.heard),
        ("removed", last.removed),
        ("resigned", last.resigned),
        ("added", last.added),
        ("announced", last.announced),
    ];
    steps.extend(named.into_iter().filter_map(|(name, at)| at.map(|at| (name, at))));
    steps.sort_by_key(|(_, at)| *at);
    let steps: Vec<String> = steps
        .into_iter()
        .map(|(name, at)| format!("{name} +{}", milliseconds(at.saturating_since(last.detected))))
        .collect();
    // That of the holder is as old as SINCE says.
    let ago = match group.since {
        Some(since) if since == last.at => String::new(),
        _ => format!(", {} ago", age(status.at.saturating_since(last.at))),
    };
    let text = format!("{}'s last move{ago}: {} ms", status.node, steps.join(", "));
    wrap(&printable(&text), WIDTH - 2).join("\n  ") + "\n"
}

/// The addresses that clients are sent to. A link-local one is there for the protocol's sake.
fn served(vip: &Vip) -> Vec<&str> {
    let all = || vip.addresses.iter().map(String::as_str);
    let served: Vec<_> = all().filter(|text| !text.parse().is_ok_and(is_link_local)).collect();
    if served.is_empty() { all().collect() } else { served }
}

fn vip_lines(vip: &Vip, name_width: usize) -> Vec<String> {
    let interface = vip.interface.as_deref().unwrap_or("no interface");
    let every = took(Duration::from_millis(vip.interval_ms));
    // A long name has a line of its own.
    let indent = if name_width > NAME_BESIDE { 2 } else { name_width };
    let (unheld, held): (Vec<_>, Vec<_>) =
        served(vip).into_iter().partition(|address| vip.unheld.iter().any(|one| one == address));
    let mut lines = if held.is_empty() { Vec::new() } else { wrap(&held.join(", "), 34 - indent) };
    lines.extend(unheld.iter().map(|address| format!("{address} (nobody)")));
    lines.push(format!("{interface}, vrid {}, every {every}", vip.vrid));
    for line in &mut lines {
        line.insert_str(0, &" ".repeat(indent));
    }
    match lines.first_mut() {
        Some(first) if indent == name_width => {
            *first = format!("{:name_width$}{}", vip.name, first.trim_start())
        }
        _ => lines.insert(0, vip.name.clone()),
    }
    lines
}

fn nodes(group: &Group, status: &Status, paint: Paint) -> String {
    let mut table = Table::new(["NODE", "STATE", "READY", "PRIORITY", "LAST HEARD"], [16, 10, 30, 8, 0]);
    let name_width = group.nodes.iter().map(|node| node.name.chars().count()).max().unwrap_or(0);
    for node in &group.nodes {
        let mark = if node.local { " *" } else { "" };
        let heard = match node.heard {
            Some(heard) => format!("{} ago", fine_age(status.at.saturating_since(heard))),
            None if node.local => "-".to_owned(),
            None => "never".to_owned(),
        };
        let (ready, tone) = readiness(node, status);
        table.row([
            format!("{:name_width$}{mark}", node.name).into(),
            node.state.as_deref().unwrap_or("unknown").into(),
            Cell::toned(&ready, tone),
            node.priority.map_or_else(|| "-".to_owned(), |priority| priority.to_string()).into(),
            heard.into(),
        ]);
    }
    table.render(paint)
}

fn readiness(node: &GroupNode, status: &Status) -> (String, Tone) {
    if node.silent {
        let word = if status.peers.iter().any(|peer| peer.name == node.name && peer.ended) {
            "stopped"
        } else {
            "silent"
        };
        return match node.heard {
            Some(heard) => (format!("{word} for {}", age(status.at.saturating_since(heard))), Tone::Bad),
            None => (word.to_owned(), Tone::Bad),
        };
    }
    match &node.ready {
        None => ("unknown".to_owned(), Tone::Plain),
        Some(Ready::Yes) if node.state.as_deref() == Some("Backup") => {
            ("yes, could take over now".to_owned(), Tone::Good)
        }
        Some(Ready::Yes) => ("yes".to_owned(), Tone::Good),
        Some(Ready::Degraded { reasons }) => (format!("degraded: {}", reasons.join("; ")), Tone::Warning),
        Some(Ready::Starting { reason }) => (format!("not yet: {reason}"), Tone::Plain),
        Some(Ready::Leaving { reason }) => (format!("leaving: {reason}"), Tone::Warning),
        Some(Ready::Fault { reason }) => (format!("no: {reason}"), Tone::Bad),
    }
}

/// A line for each bind of the file: that of a vip is several sockets, one for each address.
fn binds(frontend: &Frontend) -> Vec<String> {
    let lines = frontend.binds.iter().map(|bind| match bind.error {
        None if frontend.paused.is_some() => format!("{} PAUSED", bind.label),
        None => bind.label.clone(),
        Some(_) => format!("{} NOT BOUND", bind.label),
    });
    let mut lines: Vec<_> = lines.collect();
    lines.dedup();
    lines
}

fn frontends(frontends: &[Frontend], paint: Paint) -> String {
    let mut table = Table::new(
        ["FRONTEND", "BIND", "MODE", "CONNECTIONS", "REQUESTS/S", "5xx/MIN"],
        [16, 24, 4, 15, 12, 0],
    );
    for frontend in frontends {
        let http = frontend.mode == "http";
        let errors = frontend.server_errors_per_minute;
        table.row([
            frontend.name.as_str().into(),
            Cell::lines(binds(frontend)),
            frontend.mode.as_str().into(),
            format!("{} / {}", thousands(frontend.connections), frontend.maxconn).into(),
            if http { rate(frontend.requests_per_second) } else { "-".to_owned() }.into(),
            match errors {
                _ if !http => "-".into(),
                0 => "0".into(),
                _ => Cell::toned(&thousands(errors), Tone::Warning),
            },
        ]);
    }
    table.render(paint)
}

/// Tenths below ten.
fn rate(per_second: f64) -> String {
    if per_second > 0.0 && per_second < 9.95 {
        format!("{per_second:.1}")
    } else {
        // Rates are far below 2^53.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0.. first")]
        let whole = per_second.max(0.0).round() as u64;
        thousands(whole)
    }
}

fn backends(backends: &[Backend], status: &Status, paint: Paint) -> String {
    let mut table =
        Table::new(["BACKEND", "SERVER", "STATE", "FOR", "CONNECTIONS", "LAST CHECK"], [16, 21, 9, 6, 15, 0]);
    for backend in backends {
        for (index, server) in backend.servers.iter().enumerate() {
            let (state, tone) = server_state(server);
            table.row([
                if index == 0 { backend.name.as_str() } else { "" }.into(),
                server.name.as_str().into(),
                Cell::toned(&state, tone),
                short_age(status.at.saturating_since(server.since)).into(),
                connections(server).into(),
                last_check(server).into(),
            ]);
        }
        let for_one: u64 = backend.servers.iter().map(|server| server.queued).sum();
        if let for_any @ 1.. = backend.queued.saturating_sub(for_one) {
            let wait = format!("{} wait", thousands(for_any));
            table.row(["".into(), "any".into(), "".into(), "".into(), wait.as_str().into(), "-".into()]);
        }
    }
    table.render(paint)
}

/// The word for how a server is.
pub(crate) fn server_word(server: &Server) -> String {
    server_state(server).0
}

fn server_state(server: &Server) -> (String, Tone) {
    match server.state {
        ServerState::Up | ServerState::NoCheck if server.weight == 0 => {
            ("weight 0".to_owned(), Tone::Warning)
        }
        ServerState::Unchecked => ("new".to_owned(), Tone::Plain),
        ServerState::Up if server.share < 100 => (format!("up {} %", server.share), Tone::Good),
        ServerState::Up if server.backup => ("backup".to_owned(), Tone::Good),
        ServerState::Up => ("up".to_owned(), Tone::Good),
        ServerState::Down => ("DOWN".to_owned(), Tone::Bad),
        ServerState::AgentDown => ("DOWN (agent)".to_owned(), Tone::Bad),
        ServerState::NoBalance => ("NOLB".to_owned(), Tone::Warning),
        ServerState::Drain => ("DRAIN".to_owned(), Tone::Warning),
        ServerState::Maintenance => ("MAINT".to_owned(), Tone::Warning),
        ServerState::NoCheck => ("no check".to_owned(), Tone::Plain),
    }
}

fn connections(server: &Server) -> String {
    match server.queued {
        0 => thousands(server.in_flight),
        queued => format!("{}, {} wait", thousands(server.in_flight), thousands(queued)),
    }
}

fn last_check(server: &Server) -> String {
    let text = server.check_text();
    let text = match &server.last_check {
        Some(check) if check.passed => {
            format!("{text} in {}", took(Duration::from_micros(check.microseconds)))
        }
        _ => text,
    };
    match server.agent_text() {
        Some(said) => format!("{text}; {said}"),
        None => text,
    }
}

fn problems(status: &Status, paint: Paint) -> String {
    let mut text = String::new();
    for problem in &status.problems {
        let age = problem
            .since
            .map(|since| format!(" for {}", age(status.at.saturating_since(since))))
            .unwrap_or_default();
        let sentence = printable(&format!("{}{age}: {}", problem.what, problem.look_at));
        for (index, line) in wrap(&sentence, WIDTH - 2).iter().enumerate() {
            let mark = if index == 0 { "! " } else { "  " };
            text.push_str(&paint.apply(Tone::Bad, &format!("{mark}{line}")));
            text.push('\n');
        }
    }
    text
}

fn notes(notes: &[String]) -> String {
    let lines = notes.iter().flat_map(|note| {
        let lines = wrap(&printable(&format!("note: {note}")), WIDTH - 2);
        lines.into_iter().enumerate().map(|(index, line)| if index == 0 { line } else { format!("  {line}") })
    });
    lines.map(|line| line + "\n").collect()
}

#[cfg(test)]
pub(crate) mod tests;
