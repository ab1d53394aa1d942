//! What is different in another configuration, in the words of the file. Compared is what `check --effective` prints: what
//! the file means, with every default in it, and not how it was written.

use std::collections::BTreeMap;

use lb_proxy::config::Backend;
use toml::{Table, Value};

use crate::{
    config::{Config, effective},
    control::{Change, How},
};

/// Sections of the file, in the order in which a reader wants them.
const KINDS: [&str; 7] = ["global", "cluster", "vip", "map", "users", "frontend", "backend"];

/// What is said of a thing whose keys are the same while a file that it names is not.
const CONTENTS: &str = "the contents of a file";

/// Things by what they are called (`backend app`, `server app/web1`), each with its keys.
type Things = Vec<(String, BTreeMap<String, Value>)>;

/// By section and name; what is gone comes last. `maps` are those whose files say something else.
pub(super) fn between(old: &Config, new: &Config, maps: &[String]) -> Vec<Change> {
    let (before, after) = (things(old), things(new));
    let mut changes = Vec::new();
    for (what, keys) in &after {
        let Some((_, known)) = before.iter().find(|(known, _)| known == what) else {
            changes.push(Change { what: what.clone(), how: How::Added, keys: Vec::new() });
            continue;
        };
        let names = known.keys().chain(keys.keys()).collect::<std::collections::BTreeSet<_>>();
        let mut differing: Vec<String> =
            names.into_iter().filter(|key| known.get(*key) != keys.get(*key)).cloned().collect();
        let is_other_map = || maps.iter().any(|map| format!("map {map}") == *what);
        if differing.is_empty() && (is_other_map() || has_other_contents(old, new, what)) {
            differing.push(CONTENTS.to_owned());
        }
        if !differing.is_empty() {
            changes.push(Change { what: what.clone(), how: How::Changed, keys: differing });
        }
    }
    let gone = before.iter().filter(|(what, _)| after.iter().all(|(known, _)| known != what));
    changes.extend(gone.map(|(what, _)| Change { what: what.clone(), how: How::Removed, keys: Vec::new() }));
    changes
}

fn things(config: &Config) -> Things {
    // What `effective` writes is read again by its own tests; if it were not, nothing would be said of the changes.
    let table: Table = effective(config).parse().unwrap_or_default();
    let mut sections: Vec<_> = table.into_iter().collect();
    sections.sort_by_key(|(kind, _)| KINDS.iter().position(|known| known == kind).unwrap_or(KINDS.len()));
    let mut things = Vec::new();
    for (kind, value) in sections {
        let Value::Table(table) = value else { continue };
        if matches!(kind.as_str(), "cluster" | "global") {
            things.push((kind, leaves(table)));
            continue;
        }
        for (name, value) in table {
            let Value::Table(mut table) = value else { continue };
            let servers = if kind == "backend" { servers(&name, &mut table) } else { Vec::new() };
            things.push((format!("{kind} {name}"), leaves(table)));
            things.extend(servers);
        }
    }
    things
}

/// Takes the servers out of a backend.
fn servers(backend: &str, table: &mut Table) -> Things {
    let named = match table.remove("server") {
        Some(Value::Table(named)) => named,
        Some(_) | None => Table::new(),
    };
    let listed = match table.remove("servers") {
        Some(Value::Array(listed)) => listed,
        Some(_) | None => Vec::new(),
    };
    let listed = listed.into_iter().filter_map(|one| Some((one.as_str()?.to_owned(), BTreeMap::new())));
    let named = named.into_iter().map(|(name, value)| match value {
        Value::Table(table) => (name, leaves(table)),
        _ => (name, BTreeMap::new()),
    });
    named.chain(listed).map(|(name, keys)| (format!("server {backend}/{name}"), keys)).collect()
}

/// `check.interval` and so on; what is no table is one leaf.
fn leaves(table: Table) -> BTreeMap<String, Value> {
    let mut leaves = BTreeMap::new();
    for (key, value) in table {
        match value {
            Value::Table(inner) => {
                leaves.extend(
                    self::leaves(inner).into_iter().map(|(rest, value)| (format!("{key}.{rest}"), value)),
                );
            }
            value => {
                leaves.insert(key, value);
            }
        }
    }
    leaves
}

/// Does a file that is named there say something else now (pages, say)? Frontends know backends by their places, so not
/// where these have changed.
fn has_other_contents(old: &Config, new: &Config, what: &str) -> bool {
    let places =
        |config: &Config| config.proxy.backends.iter().map(|one| one.name.clone()).collect::<Vec<_>>();
    places(old) == places(new) && contents(old, what) != contents(new, what)
}

/// All that the proxy is told of it.
fn contents(config: &Config, what: &str) -> Option<String> {
    let (kind, name) = what.split_once(' ')?;
    if kind == "frontend" {
        return config.proxy.frontends.iter().find(|one| one.name == name).map(|one| format!("{one:?}"));
    }
    // A server by itself: what is said of it is said once.
    let (backend, server) = name.split_once('/').filter(|_| kind == "server").unwrap_or((name, ""));
    let found = config.proxy.backends.iter().find(|one| one.name == backend)?;
    if kind == "server" {
        return found.servers.iter().find(|one| one.name == server).map(|one| format!("{one:?}"));
    }
    (kind == "backend").then(|| format!("{:?}", Backend { servers: Vec::new(), ..found.clone() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn parse(text: &str) -> Config {
        config::parse(text, "lb.toml").expect("a good file")
    }

    fn changes(old: &str, new: &str) -> Vec<String> {
        between(&parse(old), &parse(new), &[]).iter().map(ToString::to_string).collect()
    }

    const OLD: &str = "[frontend.web]\nbind = \"*:80\"\ndefault_backend = \"app\"\n\
                       [backend.app]\nserver.web1 = \"192.0.2.21:80\"\nserver.web2 = \"192.0.2.22:80\"\n";

    #[test]
    fn what_is_written_in_another_way_is_no_change() {
        let listed = "# a comment\n[defaults]\nretries = 3\n[backend.app]\nserver.web1 = { address = \"192.0.2.21:80\" }\n\
                      server.web2 = { weight = 1, address = \"192.0.2.22:80\" }\n\
                      [frontend.web]\nbind = [\"*:80\"]\ndefault_backend = \"app\"\n";
        assert_eq!(changes(OLD, listed), [""; 0]);
    }

    #[test]
    fn servers_frontends_backends_and_their_keys_are_named() {
        let new = "[global]\nmaxconn = 500\n[frontend.web]\nbind = \"*:81\"\ndefault_backend = \"app\"\n\
                   [frontend.admin]\nbind = \"*:8080\"\ndefault_backend = \"app\"\n\
                   [backend.app]\nretries = 1\ncheck = { interval = \"5s\" }\n\
                   server.web1 = { address = \"192.0.2.21:80\", weight = 9 }\nserver.web3 = \"192.0.2.23:80\"\n";
        assert_eq!(
            changes(OLD, new),
            [
                "global changed (maxconn)",
                "frontend admin added",
                // Without one of its own it is that of the process.
                "frontend web changed (bind, maxconn)",
                "backend app changed (check.down_interval, check.fast_interval, check.interval, check.timeout, retries)",
                "server app/web1 changed (weight)",
                "server app/web3 added",
                "server app/web2 removed",
            ]
        );
    }

    #[test]
    fn listed_servers_are_called_by_their_addresses_and_order_counts_for_nothing() {
        let file = |servers: &str| format!("[listen.web]\nbind = \"*:80\"\nservers = [{servers}]\n");
        let old = file("\"192.0.2.21:80\", \"192.0.2.22:80\"");
        let new = file("\"192.0.2.23:80\", \"192.0.2.21:80\"");
        assert_eq!(
            changes(&old, &new),
            ["server web/192.0.2.23:80 added", "server web/192.0.2.22:80 removed"]
        );
    }

    #[test]
    fn page_that_says_something_else_is_a_change_although_the_file_is_the_same() {
        let folder = tempfile::tempdir().expect("a folder");
        let page = folder.path().join("503.http");
        let text = format!("{OLD}error_page.503 = \"{}\"\n", page.display());
        std::fs::write(&page, "HTTP/1.1 503 X\r\n\r\none").expect("written");
        let old = parse(&text);
        std::fs::write(&page, "HTTP/1.1 503 X\r\n\r\ntwo").expect("written");
        let changes = between(&old, &parse(&text), &[]);
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].to_string(), "backend app changed (the contents of a file)");
    }

    #[test]
    fn every_good_file_is_the_same_as_itself() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/good");
        let mut seen = 0;
        for file in std::fs::read_dir(folder).expect("a folder") {
            let path = file.expect("a file").path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                let load = || config::load(&path).expect("a good file");
                assert_eq!(between(&load(), &load(), &[]), [], "{}", path.display());
                seen += 1;
            }
        }
        assert!(seen > 10, "{seen}");
    }

    #[test]
    fn map_whose_file_says_something_else_is_a_change() {
        let text = format!("{OLD}[map.hosts]\nfile = \"hosts.map\"\n");
        let changes = |maps: &[String]| between(&parse(&text), &parse(&text), maps);
        assert_eq!(changes(&[]), []);
        let hosts = changes(&["hosts".to_owned()]);
        assert_eq!(hosts.len(), 1);
        assert_eq!(hosts[0].to_string(), "map hosts changed (the contents of a file)");
    }
}
