//! `track`: HAProxy takes the state of another server. Here the server is asked what that one is asked, at its address.

use super::{
    directive::{Fault, shown},
    file::Member,
    lexer::Word,
    proxy::Server,
};
use crate::import::{document::Value, notes::Notes};

/// A server that tracks one that tracks, and so on, at most so often.
const DEEPEST: usize = 16;

/// Where a server is: its section, and its place in it.
type At = (usize, usize);

/// Gives all servers that track others the checks of these.
pub(super) fn resolve(members: &mut [Member], notes: &Notes<'_>) {
    for section in 0..members.len() {
        // One section has one check: that of those that are asked themselves, or that of the first that is tracked.
        let mut is_given = members[section].proxy.servers.iter().any(|server| server.check.is_some());
        for place in 0..members[section].proxy.servers.len() {
            let server = &members[section].proxy.servers[place];
            let (Some(word), line) = (server.track.clone(), server.span) else { continue };
            if let Err(fault) = follow(members, (section, place), &word, is_given, notes) {
                members[section].proxy.lose(line, fault, notes);
            } else {
                is_given = true;
            }
        }
    }
}

fn follow(
    members: &mut [Member],
    (section, place): At,
    word: &Word,
    is_given: bool,
    notes: &Notes<'_>,
) -> Result<(), Fault> {
    let (other, tracked) = find(members, section, word)?;
    let checks = members[other].proxy.checks.clone();
    let tracked = members[other].proxy.servers[tracked].clone();
    if tracked.check.is_none() {
        return Err(Fault::at(
            word,
            format!("`{}` has no `check`, so it has no state that could be taken", shown(&word.text)),
        ));
    }
    let proxy = &mut members[section].proxy;
    if is_given && proxy.checks.entries() != checks.entries() {
        let why = format!(
            "`{}` is checked in another way than its own section is, and a section has one check: write it into a backend of its own",
            shown(&word.text)
        );
        return Err(Fault::at(word, why));
    }
    proxy.checks = checks;
    let server = &mut proxy.servers[place];
    server.check = Some(word.span);
    let of_check = tracked.shared.iter().filter(|shared| shared.key.starts_with("check."));
    server.shared.extend(of_check.cloned());
    let port = number(&tracked, "check_port").or(tracked.port.map(u64::from));
    if let Some(port) = port.filter(|port| server.port.map(u64::from) != Some(*port)) {
        server.own.push(("check_port", Value::Integer(port)));
    }
    let address =
        text(&tracked, "check_address").unwrap_or_else(|| tracked.host.trim_matches(['[', ']']).to_owned());
    if address != server.host.trim_matches(['[', ']']) {
        server.own.push(("check_address", Value::Text(address)));
    }
    notes.advise(
        word.span,
        format!(
            "it is asked what `{}` is asked, and at its address; HAProxy asks once for both, and names the other one in the column `tracked` of the CSV",
            shown(&word.text)
        ),
    );
    Ok(())
}

/// The server that is asked: `BACKEND/SERVER`, or one of the section itself.
fn find(members: &[Member], section: usize, word: &Word) -> Result<At, Fault> {
    let (mut section, mut name) = (section, word.text.clone());
    for _ in 0..DEEPEST {
        let (backend, server) = name.split_once('/').unwrap_or(("", &name));
        if !backend.is_empty() {
            let found = members.iter().position(|one| one.proxy.is_backend() && one.written == backend);
            section =
                found.ok_or_else(|| Fault::at(word, format!("no backend is called `{}`", shown(backend))))?;
        }
        let servers = &members[section].proxy.servers;
        let place = servers.iter().position(|one| one.name.text == server);
        let place =
            place.ok_or_else(|| Fault::at(word, format!("our file has no server `{}`", shown(&name))))?;
        match &servers[place].track {
            None => return Ok((section, place)),
            Some(next) => name.clone_from(&next.text),
        }
    }
    Err(Fault::at(word, "it tracks a server that tracks it"))
}

fn number(server: &Server, key: &str) -> Option<u64> {
    server.own.iter().find_map(|(known, value)| match value {
        Value::Integer(number) if *known == key => Some(*number),
        _ => None,
    })
}

fn text(server: &Server, key: &str) -> Option<String> {
    server.own.iter().find_map(|(known, value)| match value {
        Value::Text(text) if *known == key => Some(text.clone()),
        _ => None,
    })
}
