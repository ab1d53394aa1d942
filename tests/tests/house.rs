//! The rules of the house that a compiler doesn't check: what the book names exists, what is forbidden isn't there.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

#[path = "house/commands.rs"]
mod commands;
#[path = "house/pages.rs"]
mod pages;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the workspace").to_owned()
}

/// All files of the tree whose name ends with one of `endings`, relative to the root, with their text.
fn files(endings: &[&str]) -> Vec<(String, String)> {
    fn walk(folder: &Path, root: &Path, endings: &[&str], found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_symlink() || [".git", "target", ".vagrant", "corpus"].contains(&name) {
                continue;
            }
            if path.is_dir() {
                walk(&path, root, endings, found);
            } else if endings.iter().any(|ending| name.ends_with(ending))
                && let Ok(text) = fs::read_to_string(&path)
            {
                found.push((path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), text));
            }
        }
    }
    let (root, mut found) = (root(), Vec::new());
    walk(&root, &root, endings, &mut found);
    found.sort();
    assert!(found.len() > 3, "the tree is not where it should be: {}", root.display());
    found
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What stands between backquotes in `text`.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2))
}

#[track_caller]
fn none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_file_names_a_path_of_a_machine() {
    // In pieces, so that this file doesn't name one.
    let forbidden =
        [["/wo", "rk/"].concat(), ["/ho", "me/"].concat(), ["/Us", "ers/"].concat(), ["/mn", "t/"].concat()];
    let wrong: Vec<String> = files(&[""])
        .iter()
        .flat_map(|(path, text)| text.lines().enumerate().map(move |(number, line)| (path, number + 1, line)))
        .filter(|(_, _, line)| forbidden.iter().any(|path| line.contains(path.as_str())))
        .map(|(path, number, line)| format!("{path}:{number}: {}", line.trim()))
        .collect();
    none(&wrong);
}

/// Where `unsafe` may stand, each with a reason at the module: see docs/architecture.md.
const UNSAFE_ALLOWED: [&str; 8] = [
    "vrrp/src/io/",
    "cli/src/keeper/",
    "cli/src/privileges/filter.rs",
    "proxy/src/listener/inherited.rs",
    "proxy/src/listener/readiness.rs",
    "proxy/src/slack.rs",
    "proxy/tests/allocations.rs",
    "proxy/tests/http/old_kernel.rs",
];

#[test]
fn unsafe_stands_only_in_the_modules_that_may_have_it_and_says_why() {
    let book = read("docs/architecture.md");
    let mut wrong = Vec::new();
    for (path, text) in files(&[".rs"]) {
        // In pieces, as above.
        let block = ["uns", "afe {"].concat();
        let permission = ["allow(uns", "afe_code"].concat();
        let code = |line: &str| !line.trim_start().starts_with("//");
        if text.lines().any(|line| code(line) && line.contains(&permission))
            && !UNSAFE_ALLOWED.iter().any(|allowed| path.starts_with(allowed))
        {
            wrong.push(format!("{path}: may not allow it"));
        }
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let above = &lines[number.saturating_sub(6)..=number];
            if code(line) && line.contains(&block) && !above.iter().any(|line| line.contains("SAFETY:")) {
                wrong.push(format!("{path}:{}: no SAFETY comment", number + 1));
            }
        }
    }
    wrong.extend(
        UNSAFE_ALLOWED
            .iter()
            .filter(|allowed| root().join(allowed).exists() && !book.contains(**allowed))
            .map(|allowed| format!("docs/architecture.md doesn't list {allowed}")),
    );
    none(&wrong);
}

/// What decides who holds an address, whether a server is up, or when a connection has waited for long enough. A clock
/// that jumps changes nothing there, because nobody there reads one that can.
const WITHOUT_WALL_CLOCK: [&str; 16] = [
    "vrrp/src/",
    "cli/src/daemon/hello",
    "cli/src/daemon/speaker_link",
    "cli/src/daemon/stop.rs",
    "cli/src/daemon/track",
    "cli/src/keeper",
    "cli/src/speaker",
    "proxy/src/health.rs",
    "proxy/src/health/rounds.rs",
    "proxy/src/health/slowstart.rs",
    "proxy/src/rates",
    "proxy/src/resolve",
    "proxy/src/table",
    "proxy/src/tcp",
    "proxy/src/upstream",
    "proxy/src/wheel",
];

#[test]
fn elections_checks_and_timeouts_know_no_wall_clock() {
    let clocks = ["SystemTime", "Timestamp", "CLOCK_REALTIME", "OffsetDateTime"];
    let sources = files(&[".rs"]);
    let mut wrong = Vec::new();
    for place in WITHOUT_WALL_CLOCK {
        let here = sources.iter().filter(|(path, _)| path.starts_with(place) && !path.contains("tests"));
        let here: Vec<_> = here.collect();
        assert!(!here.is_empty(), "there is no {place}");
        for (path, text) in here {
            let code = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]"));
            let is_wrong = |line: &str| {
                !line.trim_start().starts_with("//") && clocks.iter().any(|clock| line.contains(clock))
            };
            wrong.extend(
                code.enumerate()
                    .filter(|(_, line)| is_wrong(line))
                    .map(|(number, line)| format!("{path}:{}: {}", number + 1, line.trim())),
            );
        }
    }
    none(&wrong);
}

#[test]
fn every_lock_of_the_data_plane_is_listed_with_when_it_is_taken() {
    let page = read("docs/architecture/request.md");
    let listed: BTreeSet<&str> =
        page.lines().filter_map(|line| line.strip_prefix("| `proxy/src/")?.split('`').next()).collect();
    let sources = files(&[".rs"]);
    let production = sources.iter().filter(|(path, _)| !path.contains("tests"));
    let locking: BTreeSet<&str> = production
        .filter_map(|(path, text)| Some((path.strip_prefix("proxy/src/")?, text)))
        .filter(|(_, text)| {
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            code.into_iter().any(|line| ["Mutex<", "RwLock<"].iter().any(|lock| line.contains(lock)))
        })
        .map(|(path, _)| path)
        .collect();
    assert_eq!(locking, listed);
}

#[test]
fn every_direct_dependency_has_its_line_of_reason() {
    let manifest = read("Cargo.toml");
    let section = manifest.split("[workspace.dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    let used: BTreeSet<&str> = section
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .filter(|(_, value)| !value.contains("path ="))
        .map(|(name, _)| name)
        .collect();
    let book = read("docs/dependencies.md");
    let explained: BTreeSet<&str> =
        book.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert!(used.len() > 10, "the section was not found");
    assert_eq!(used, explained);
    none(
        &book
            .lines()
            .filter(|line| {
                line.starts_with("| `") && line.split('|').nth(2).is_none_or(|r| r.trim().len() < 10)
            })
            .map(|line| format!("no reason: {line}"))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn every_dependency_of_a_crate_is_used_by_it() {
    let mut wrong = Vec::new();
    for folder in ["proxy", "vrrp", "cli", "tests"] {
        let manifest = read(&format!("{folder}/Cargo.toml"));
        let sources: Vec<String> = files(&[".rs"])
            .into_iter()
            .filter_map(|(path, text)| path.starts_with(&format!("{folder}/")).then_some(text))
            .collect();
        let tables = manifest.split("dependencies]\n").skip(1);
        let names = tables.flat_map(|rest| rest.split("\n[").next().unwrap_or(rest).lines());
        for name in names.filter_map(|line| line.split(['.', ' ']).next()).filter(|name| !name.is_empty()) {
            let module = name.replace('-', "_");
            let uses = [format!("{module}::"), format!("use {module};")];
            if !sources.iter().any(|text| uses.iter().any(|one| text.contains(one.as_str()))) {
                wrong.push(format!("{folder}/Cargo.toml: nothing uses {name}"));
            }
        }
    }
    none(&wrong);
}

/// The names of all functions of the tree.
fn functions(sources: &[(String, String)]) -> BTreeSet<&str> {
    let after_fn = sources.iter().flat_map(|(_, text)| text.split("fn ").skip(1));
    after_fn.filter_map(|rest| rest.split(['(', '<']).next()).collect()
}

/// Rows of the tables of a ledger: the first cell and the last.
fn rows(ledger: &str) -> Vec<(&str, &str)> {
    ledger
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
        .filter_map(|row| {
            Some((row.split(" | ").next()?.trim_matches(['`', '*', ' ']), row.rsplit(" | ").next()?))
        })
        .filter(|(id, _)| id.ends_with(|c: char| c.is_ascii_digit()) && id.len() <= 5)
        .collect()
}

/// The names of all tests of the tree.
fn tests(sources: &[(String, String)]) -> BTreeSet<&str> {
    let marks = ["#[test]", "#[tokio::test"];
    let after_marks = sources.iter().flat_map(|(_, text)| {
        marks.iter().flat_map(|mark| text.split(mark).skip(1)).filter_map(|rest| rest.split("fn ").nth(1))
    });
    after_marks.filter_map(|rest| rest.split(['(', '<']).next()).collect()
}

/// Every row of reference V-1 to V-66 is there, and each names the tests that show it, or says why it has none.
#[test]
fn every_row_of_the_ledger_of_rfc_9568_names_its_tests_and_they_exist() {
    let sources = files(&[".rs"]);
    let tests = tests(&sources);
    let text = read("docs/rfc9568.md");
    let is_name = |name: &&str| {
        name.contains('_') && name.chars().all(|c| c == '_' || c.is_ascii_lowercase() || c.is_ascii_digit())
    };
    // In what is no row names may be quoted that are no tests; a long one is a test.
    let named: Vec<&str> =
        quoted(&text).filter(is_name).filter(|name| name.matches('_').count() >= 3).collect();
    assert!(named.len() > 20, "it names {} tests", named.len());
    let rows = rows(&text);
    let in_rows = rows.iter().flat_map(|(_, cell)| quoted(cell)).filter(is_name);
    let unknown: BTreeSet<&str> =
        named.into_iter().chain(in_rows).filter(|name| !tests.contains(name)).collect();
    let mut wrong: Vec<String> = unknown.into_iter().map(|name| format!("no test {name}")).collect();
    for id in (1..=66).map(|number| format!("V-{number}")) {
        match rows.iter().filter(|(found, _)| *found == id).collect::<Vec<_>>().as_slice() {
            [] => wrong.push(format!("no row {id}")),
            [(_, cell)] => {
                let excused = cell.starts_with("No requirement") || cell.starts_with("Not owed: ");
                if !excused && !quoted(cell).any(|name| tests.contains(name)) {
                    wrong.push(format!("{id} names no test"));
                }
            }
            _ => wrong.push(format!("{id} has several rows")),
        }
    }
    none(&wrong);
}

/// A row of this ledger names tests by the beginning of their names (`h8_...`), files of tests (`smuggling`), or the
/// tables, whose entries begin with the row.
#[test]
fn every_test_that_the_ledger_of_http_names_exists() {
    let sources = files(&[".rs"]);
    let tests = functions(&sources);
    let text = read("docs/http1.md");
    let in_tables = |id: &str| {
        let tables = sources.iter().filter(|(path, _)| path.starts_with("proxy/src/http/tests"));
        tables
            .into_iter()
            .any(|(_, text)| text.contains(&format!("\"{id}\"")) || text.contains(&format!("\"{id} ")))
    };
    let exists = |name: &str| match name.strip_suffix("...") {
        Some(beginning) => tests.iter().any(|test| test.starts_with(beginning)),
        None => {
            tests.contains(name)
                || sources.iter().any(|(path, _)| {
                    path.starts_with("proxy/")
                        && path.contains("test")
                        && path.ends_with(&format!("/{name}.rs"))
                })
        }
    };
    let mut wrong = Vec::new();
    let rows = rows(&text);
    for (id, cell) in &rows {
        if cell.contains("tables") && !in_tables(id) {
            wrong.push(format!("{id}: no entry in a table"));
        }
        wrong.extend(quoted(cell).filter(|name| !exists(name)).map(|name| format!("{id}: no test {name}")));
        if !cell.contains("tables") && !cell.contains('`') && !cell.contains("'s") {
            wrong.push(format!("{id}: names no test: {cell}"));
        }
    }
    let rows: BTreeSet<&str> = rows.into_iter().map(|(id, _)| id).collect();
    let expected = (1..=45).map(|n| format!("H{n}")).chain((1..=6).map(|n| format!("R{n}")));
    wrong.extend(expected.filter(|id| !rows.contains(id.as_str())).map(|id| format!("no row {id}")));
    none(&wrong);
}

#[test]
fn configuration_of_the_readme_is_the_tested_one_of_twelve_lines() {
    let readme = read("README.md");
    let file = readme.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(file, read("cli/tests/good/pair.toml"));
    assert_eq!(file.lines().count(), 12, "{file}");
    let config = lbctl::config::parse(file, "README.md").unwrap_or_else(|report| panic!("{report}"));
    assert_eq!((config.cluster.nodes.len(), config.groups.len(), config.proxy.backends.len()), (2, 1, 1));
}

#[test]
fn sources_are_split_before_they_are_long() {
    let long: Vec<String> = files(&[".rs"])
        .iter()
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > 600)
        .map(|(path, lines)| format!("{path} has {lines} lines"))
        .collect();
    none(&long);
}
