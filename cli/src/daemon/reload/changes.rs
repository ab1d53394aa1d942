//! What is different in another configuration, in the words of the file. Compared is what `check --effective` prints: what
//! the file means, with every default in it, and not how it was written.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

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

/// By section and name; what is gone comes last. A file of ten thousand servers takes its time: not for the daemon's loop.
pub(super) fn between(old: &Config, new: &Config) -> Vec<Change> {
    let (before, after) = (things(old), things(new));
    let known: HashMap<_, _> = before.iter().map(|(what, keys)| (what, keys)).collect();
    let other_contents = other_contents(old, new);
    let mut changes = Vec::new();
    for (what, keys) in &after {
        let Some(known) = known.get(what) else {
            changes.push(Change { what: what.clone(), how: How::Added, keys: Vec::new() });
            continue;
        };
        let names: BTreeSet<_> = known.keys().chain(keys.keys()).collect();
        let mut differing: Vec<_> =
            names.into_iter().filter(|key| known.get(*key) != keys.get(*key)).cloned().collect();
        if differing.is_empty() && other_contents.contains(what) {
            differing.push(CONTENTS.to_owned());
        }
        if !differing.is_empty() {
            changes.push(Change { what: what.clone(), how: How::Changed, keys: differing });
        }
    }
    let still: HashSet<_> = after.iter().map(|(what, _)| what).collect();
    let gone = before.iter().filter(|(what, _)| !still.contains(what));
    changes.extend(gone.map(|(what, _)| Change { what: what.clone(), how: How::Removed, keys: Vec::new() }));
    changes
}

/// `maps` are those whose files say something else.
pub(super) fn add_maps(changes: &mut Vec<Change>, maps: &[String]) {
    for map in maps {
        let what = format!("map {map}");
        if changes.iter().all(|change| change.what != what) {
            changes.push(Change { what, how: How::Changed, keys: vec![CONTENTS.to_owned()] });
        }
    }
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

/// Things for which the proxy is told something else: where their keys are the same, a file that they name (a page, say)
/// has changed. Frontends know backends by their places, so nothing can be said where these have changed.
fn other_contents(old: &Config, new: &Config) -> HashSet<String> {
    let places =
        |config: &Config| config.proxy.backends.iter().map(|one| one.name.clone()).collect::<Vec<_>>();
    if places(old) != places(new) {
        return HashSet::new();
    }
    let before = contents(old);
    contents(new)
        .into_iter()
        .filter(|(what, text)| before.get(what) != Some(text))
        .map(|(what, _)| what)
        .collect()
}

/// All that the proxy is told of each thing; of a server by itself, so that it is said once.
fn contents(config: &Config) -> HashMap<String, String> {
    let frontends =
        config.proxy.frontends.iter().map(|one| (format!("frontend {}", one.name), format!("{one:?}")));
    let backends = config.proxy.backends.iter().flat_map(|one| {
        let servers = one.servers.iter();
        let servers =
            servers.map(|server| (format!("server {}/{}", one.name, server.name), format!("{server:?}")));
        let backend = format!("{:?}", Backend { servers: Vec::new(), ..one.clone() });
        servers.chain([(format!("backend {}", one.name), backend)])
    });
    frontends.chain(backends).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn parse(text: &str) -> Config {
        config::parse(text, "lb.toml").expect("a good file")
    }

    fn changes(old: &str, new: &str) -> Vec<String> {
        between(&parse(old), &parse(new)).iter().map(ToString::to_string).collect()
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
        let changes = between(&old, &parse(&text));
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
                assert_eq!(between(&load(), &load()), [], "{}", path.display());
                seen += 1;
            }
        }
        assert!(seen > 10, "{seen}");
    }

    #[test]
    fn map_whose_file_says_something_else_is_a_change() {
        let mut changes = between(&parse(OLD), &parse(&format!("{OLD}[map.new]\nfile = \"new.map\"\n")));
        add_maps(&mut changes, &["hosts".to_owned(), "new".to_owned()]);
        let changes: Vec<_> = changes.iter().map(ToString::to_string).collect();
        assert_eq!(changes, ["map new added", "map hosts changed (the contents of a file)"]);
    }
}
