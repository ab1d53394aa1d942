//! What is different in another configuration, in the words of the file. Compared is what `check --effective` prints: what
//! the file means, with every default in it, and not how it was written.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
};

use lb_proxy::{
    config::{Backend, ErrorPage, Frontend},
    rules::{Action, Content, Respond, Rule},
    tls::Shown,
};
use toml::{Table, Value};

use crate::{
    config::{Config, effective},
    control::{Change, How},
};

/// Sections of the file, in the order in which a reader wants them.
const KINDS: [&str; 10] =
    ["global", "cluster", "vip", "track", "notify", "map", "users", "statistics", "frontend", "backend"];

/// Those that are one thing; the others have one for each name.
const UNNAMED: [&str; 3] = ["global", "cluster", "statistics"];

/// What is said of a thing whose keys are the same while a file that it names is not.
const CONTENTS: &str = "the contents of a file";

/// Things by what they are called (`backend app`, `server app/web1`), each with its keys.
type Things = Vec<(String, BTreeMap<String, Value>)>;

/// By section and name; what is gone comes last. A file of ten thousand servers takes its time: not for the daemon's loop.
pub(in crate::daemon) fn between(old: &Config, new: &Config) -> Vec<Change> {
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
            names.into_iter().filter(|key| is_other(key, known, keys)).cloned().collect();
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

/// Does a key say something else, in this thing before and after? What a log is like is written out where there is a log: as it is by
/// itself, that is no change.
fn is_other(key: &str, before: &BTreeMap<String, Value>, after: &BTreeMap<String, Value>) -> bool {
    let (old, new) = (before.get(key), after.get(key));
    if old == new {
        return false;
    }
    let (Some(only), true) = (old.or(new), old.is_none() || new.is_none()) else { return true };
    let mode = |keys: &BTreeMap<String, Value>| keys.get("mode").and_then(Value::as_str).map(str::to_owned);
    match key {
        "log_asap" | "dontlog_normal" | "log_separate_errors" => only.as_bool() != Some(false),
        "log_format" => {
            let ordinary = if mode(after).as_deref() == Some("tcp") { "tcplog" } else { "httplog" };
            only.as_str() != Some(ordinary)
        }
        _ => true,
    }
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
        if UNNAMED.contains(&kind.as_str()) {
            things.push((kind, leaves(table)));
            continue;
        }
        for (name, value) in table {
            let Value::Table(mut table) = value else { continue };
            let servers = if kind == "backend" { servers(&name, &mut table) } else { Vec::new() };
            let mut keys = leaves(table);
            if kind == "users" {
                keys.extend(users_of_file(&name, config));
            }
            things.push((format!("{kind} {name}"), keys));
            things.extend(servers);
        }
    }
    things
}

/// Those who stand in the file of a list, as if they stood in the list.
fn users_of_file(list: &str, config: &Config) -> BTreeMap<String, Value> {
    let lists = config.proxy.users.iter().filter(|known| known.name == list);
    let users = lists.flat_map(|list| &list.users).filter(|user| user.is_of_file);
    users.map(|user| (format!("user.{}", user.name), Value::String(user.hash.text().to_owned()))).collect()
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

/// Things whose files say something else: where their keys are the same, that is the change.
fn other_contents(old: &Config, new: &Config) -> HashSet<String> {
    let before = contents(old);
    let other = contents(new).into_iter().filter(|(what, files)| before.get(what) != Some(files));
    let secret = |config: &Config| config.cluster.secret.as_ref().map(|file| file.secret.clone());
    let is_other_secret = secret(old) != secret(new);
    other.map(|(what, _)| what).chain(is_other_secret.then(|| "cluster".to_owned())).collect()
}

/// What stands in the pages, answers and certificates of each thing, in the order in which it names their files.
fn contents(config: &Config) -> HashMap<String, Vec<Cow<'_, [u8]>>> {
    let frontends = config.proxy.frontends.iter().map(|one| {
        let rules = one.rules.iter().chain(&one.response_rules);
        let files = of_files(&one.error_pages, rules).into_iter().chain(certificates(one).map(Cow::Owned));
        (format!("frontend {}", one.name), files.collect())
    });
    let backends = config.proxy.backends.iter().map(|one| {
        let rules = one.rules.iter().chain(&one.response_rules);
        let files = of_files(&one.error_pages, rules).into_iter().chain(of_servers(one).map(Cow::Owned));
        (format!("backend {}", one.name), files.collect())
    });
    frontends.chain(backends).collect()
}

/// All that its clients are shown.
fn certificates(frontend: &Frontend) -> impl Iterator<Item = Vec<u8>> {
    let sets = frontend.tls.values().map(|tls| tls.certificates.load());
    let chain =
        |shown: &Shown| shown.certificate.key().cert.iter().map(|one| one.to_vec()).collect::<Vec<_>>();
    sets.flat_map(move |set| set.all().iter().flat_map(chain).collect::<Vec<_>>())
}

/// All that its servers' certificates are judged by, and that they are shown.
fn of_servers(backend: &Backend) -> impl Iterator<Item = Vec<u8>> {
    let all = backend.servers.iter().flat_map(|server| [&server.tls, &server.check_tls]).flatten();
    all.flat_map(|tls| {
        let content = tls.content.load();
        let trusted = content.trusted.iter().map(|trusted| trusted.fingerprint().to_vec());
        let shown = content.certificate.iter().flat_map(|shown| &shown.key().cert);
        trusted.chain(shown.map(|one| one.to_vec())).collect::<Vec<_>>()
    })
}

fn of_files<'c>(pages: &'c [ErrorPage], rules: impl Iterator<Item = &'c Rule>) -> Vec<Cow<'c, [u8]>> {
    let pages = pages.iter().flat_map(|page| [&*page.fields, &*page.content]);
    let answers = rules.flat_map(|rule| &rule.then).filter_map(|action| match action {
        Action::Respond(Respond { content: Content::File { bytes, .. }, .. }) => Some(&**bytes),
        _ => None,
    });
    pages.chain(answers).map(Cow::Borrowed).collect()
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
    fn the_page_of_statistics_is_a_thing_of_its_own() {
        let page = format!("{OLD}[statistics]\nbind = \"*:8404\"\nallow = [\"127.0.0.1\"]\n");
        assert_eq!(changes(OLD, &page), ["statistics added"]);
        assert_eq!(changes(&page, OLD), ["statistics removed"]);
        assert_eq!(changes(&page, &page.replace("8404", "8405")), ["statistics changed (bind)"]);
        let open = page.replace("allow = [\"127.0.0.1\"]", "public = true");
        assert_eq!(changes(&page, &open), ["statistics changed (allow, public)"]);
    }

    #[test]
    fn log_that_comes_or_goes_is_told_without_keys_that_the_file_does_not_have() {
        for mode in ["http", "tcp"] {
            let old = OLD.replace("default_backend", &format!("mode = \"{mode}\"\ndefault_backend"));
            let old = old.replace("[backend.app]", &format!("[backend.app]\nmode = \"{mode}\""));
            let with = |more: &str| old.replace("bind =", &format!("log = \"stdout\"\n{more}bind ="));
            assert_eq!(changes(&old, &with("")), ["frontend web changed (log)"]);
            assert_eq!(changes(&with(""), &old), ["frontend web changed (log)"]);
            let more = with("dontlog_normal = true\nlog_format = \"json\"\n");
            assert_eq!(changes(&old, &more), ["frontend web changed (dontlog_normal, log, log_format)"]);
        }
    }

    #[test]
    fn another_certificate_in_the_same_file_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, site) = (folder.path().join("lb.toml"), folder.path().join("site.pem"));
        let text = OLD.replace("\"*:80\"", "{ address = \"*:443\", tls = \"site.pem\" }");
        std::fs::write(&path, text).expect("a file");
        let load = |pem: &str| {
            std::fs::write(&site, pem).expect("a file");
            config::load(&path).expect("a good file")
        };
        let first = load(include_str!("../../../tests/good/site.pem"));
        let second = load(include_str!("../../../tests/bad/tls-expired.pem"));
        assert!(between(&first, &first).is_empty());
        let told: Vec<_> = between(&first, &second).iter().map(ToString::to_string).collect();
        assert_eq!(told, ["frontend web changed (the contents of a file)"]);
    }

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
    fn authority_of_servers_and_what_they_are_shown_are_contents_of_files() {
        const SITE: &str = include_str!("../../../tests/good/site.pem");
        const SHOP: &str = include_str!("../../../tests/good/certificates/shop.pem");
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str| folder.path().join(name).display().to_string();
        let tls = format!("tls = {{ ca_file = \"{}\", certificate = \"{}\" }}\n", file("ca"), file("own"));
        let text = format!("{OLD}{}", tls).replace("[backend.app]\n", &format!("[backend.app]\n{tls}"));
        let text = text.strip_suffix(&tls).expect("at the end, too");
        for [first, second] in [[[SITE, SITE], [SHOP, SITE]], [[SITE, SITE], [SITE, SHOP]]] {
            let write = |[ca, own]: [&str; 2]| {
                std::fs::write(file("ca"), ca).expect("written");
                std::fs::write(file("own"), own).expect("written");
                parse(text)
            };
            let (old, new) = (write(first), write(second));
            let told: Vec<_> = between(&old, &new).iter().map(ToString::to_string).collect();
            assert_eq!(told, ["backend app changed (the contents of a file)"]);
            assert_eq!(between(&new, &write(second)), []);
        }
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
    fn page_that_says_something_else_is_found_beside_backends_that_came_and_moved() {
        let folder = tempfile::tempdir().expect("a folder");
        let page = folder.path().join("page.txt");
        let backend = |name: &str| format!("[backend.{name}]\nservers = [\"192.0.2.21:80\"]\n");
        let file = |backends: &[&str]| {
            let backends: String = backends.iter().map(|name| backend(name)).collect();
            format!(
                "[frontend.web]\nbind = \"*:80\"\ndefault_backend = \"app\"\nrules = [\n\
                 {{ when = {{ host = \"a.example\" }}, backend = \"last\" }},\n\
                 {{ when = {{ path = \"/hello\" }}, respond = {{ status = 200, file = \"{}\" }} }}]\n{backends}",
                page.display()
            )
        };
        std::fs::write(&page, "one").expect("written");
        let old = parse(&file(&["app", "last"]));
        let moved = between(&old, &parse(&file(&["last", "new", "app"])));
        let moved: Vec<_> = moved.iter().map(ToString::to_string).collect();
        assert_eq!(moved, ["backend new added", "server new/192.0.2.21:80 added"]);
        std::fs::write(&page, "two").expect("written");
        let changes = between(&old, &parse(&file(&["last", "new", "app"])));
        let changes: Vec<_> = changes.iter().map(ToString::to_string).collect();
        let frontend = "frontend web changed (the contents of a file)";
        assert_eq!(changes, [frontend, "backend new added", "server new/192.0.2.21:80 added"]);
    }

    #[test]
    fn users_and_groups_are_named_wherever_they_stand() {
        let folder = tempfile::tempdir().expect("a folder");
        let passwords = folder.path().join("passwords");
        let hash = |letter: char| format!("$5$salt${}", letter.to_string().repeat(43));
        let file = |anna: char, group: &str| {
            format!(
                "{OLD}rules = [{{ require_auth = {{ users = \"staff\", groups = [\"admins\"] }} }}]\n\
                 [users.staff]\nfile = \"{}\"\nuser.anna = \"{}\"\ngroup.admins = [{group}]\n",
                passwords.display(),
                hash(anna)
            )
        };
        let write = |text: String| std::fs::write(&passwords, text).expect("written");
        write(format!("ben:{}\neve:{}\n", hash('b'), hash('e')));
        let old = parse(&file('a', "\"anna\""));
        let changes = |new: &str| {
            let changes = between(&old, &parse(new));
            changes.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(changes(&file('a', "\"anna\"")), [""; 0]);
        assert_eq!(changes(&file('c', "\"anna\"")), ["users staff changed (user.anna)"]);
        assert_eq!(changes(&file('a', "\"anna\", \"ben\"")), ["users staff changed (group.admins)"]);
        write(format!("ben:{}\ncem:{}\n", hash('c'), hash('c')));
        let several = "users staff changed (user.ben, user.cem, user.eve)";
        assert_eq!(changes(&file('a', "\"anna\"")), [several]);
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
