//! The book describes every key that the program reads, and none that it doesn't; what it says of them is true.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use lbctl::config;

#[path = "reference/says.rs"]
mod says;
#[path = "reference/table.rs"]
mod table;
#[path = "reference/values.rs"]
mod values;

use table::{TABLES, rows};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn book(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn reference() -> String {
    book("docs/configuration.md")
}

/// The keys in the first column of the table under a heading.
fn described(book: &str, heading: &str) -> BTreeSet<String> {
    rows(book, heading).into_iter().map(|row| row.key).collect()
}

/// The keys that the error about `zzzzzzzz` lists.
fn known(file: &str) -> BTreeSet<String> {
    let report = config::parse(file, "lb.toml").unwrap_err();
    let message = report.iter().find(|diagnostic| diagnostic.message.contains("`zzzzzzzz`")).unwrap();
    let (_, keys) = message.message.split_once("keys are ").unwrap_or_else(|| panic!("{report}"));
    keys.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_reference_has_every_key_and_no_other() {
    let reference = reference();
    for (heading, file) in TABLES.iter().copied() {
        assert_eq!(described(&reference, heading), known(file), "{heading}");
    }
}

#[test]
fn the_reference_has_every_section() {
    let report = config::parse("zzzzzzzz = 1", "lb.toml").unwrap_err().to_string();
    let (_, sections) = report.split_once("sections are ").unwrap();
    let sections: Vec<_> = sections.lines().next().unwrap().split('`').skip(1).step_by(2).collect();
    assert_eq!(
        sections,
        [
            "backend",
            "cluster",
            "defaults",
            "frontend",
            "global",
            "listen",
            "map",
            "notify",
            "statistics",
            "track",
            "users",
            "vip"
        ]
    );
    for section in sections {
        let headings = [format!("## [{section}]"), format!("## [{section}.NAME]")];
        assert!(headings.iter().any(|heading| reference().lines().any(|line| line == heading)), "{section}");
    }
}

#[test]
fn the_rules_of_the_book_have_every_key_and_no_other() {
    let rules = book("docs/rules.md");
    let tables = [
        ("Conditions", "[frontend.web]\nrules = [{ when = { zzzzzzzz = 1 } }]"),
        ("Actions", "[frontend.web]\nrules = [{ zzzzzzzz = 1 }]"),
        ("redirect", "[frontend.web]\nrules = [{ redirect = { zzzzzzzz = 1 } }]"),
        ("respond", "[frontend.web]\nrules = [{ respond = { zzzzzzzz = 1 } }]"),
        ("rate_limit", "[frontend.web]\nrules = [{ rate_limit = { zzzzzzzz = 1 } }]"),
        ("require_auth", "[frontend.web]\nrules = [{ require_auth = { zzzzzzzz = 1 } }]"),
    ];
    for (heading, file) in tables {
        let mut known = known(file);
        known.remove("when");
        assert_eq!(described(&rules, heading), known, "{heading}");
    }
}

/// Every block of TOML in the book and the README is a whole file that `lbctl check` takes without a warning.
#[test]
fn the_files_of_the_book_are_fine() {
    let docs = fs::read_dir(root().join("docs")).unwrap();
    let mut books: Vec<_> = docs
        .map(|entry| format!("docs/{}", entry.unwrap().file_name().into_string().unwrap()))
        .filter(|path| path.ends_with(".md"))
        .collect();
    books.push("README.md".to_owned());
    let mut files = 0;
    for path in books {
        let text = book(&path);
        for file in text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            files += 1;
            let good = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/good");
            let file = ["site.pem", "certificates", "clients.pem", "clients.crl"]
                .iter()
                .map(|name| (*name, *name))
                .chain([("ca.pem", "clients.pem")])
                .fold(file.to_owned(), |file, (name, there)| {
                    file.replace(&format!("/etc/lbctl/{name}"), &format!("{good}/{there}"))
                });
            let file = &file;
            let config = config::parse(file, &path).unwrap_or_else(|report| panic!("{report}{file}"));
            assert!(config.warnings.is_empty(), "{}{file}", config.warnings);
            let effective = config::effective(&config);
            config::parse(&effective, &path).unwrap_or_else(|report| panic!("{report}{effective}"));
        }
    }
    assert!(files >= 5, "{files} files found");
}

/// What HAProxy's words became: each `key = value` in the right column is one that lbctl takes.
#[test]
fn the_table_for_those_who_come_from_haproxy_says_what_is_taken() {
    const PAIR: &str = "[cluster]\nnode.lb1 = \"192.0.2.11\"\nnode.lb2 = \"192.0.2.12\"\n\
        [vip.web]\nvrid = 51\naddresses = [\"192.0.2.10\"]\n";
    const LISTEN: &str = "[listen.web]\nservers = [\"192.0.2.21:80\"]\n";
    let reference = reference();
    let rows = reference.lines().skip_while(|line| !line.starts_with("## Where HAProxy's"));
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("503.http");
    fs::write(&page, "HTTP/1.0 503 Service Unavailable\r\nContent-Type: text/html\r\n\r\nsorry\n").unwrap();
    let mut tried = 0;
    for here in rows.filter_map(|row| row.split(" | ").nth(1)) {
        let settings = here.split('`').skip(1).step_by(2);
        for (key, value) in settings.filter_map(|setting| setting.split_once(" = ")) {
            tried += 1;
            let value = value
                .replace("..,", "address = \"192.0.2.23:80\",")
                .replace("/etc/haproxy/503.http", &page.display().to_string())
                .replace("backend = \"app\"", "backend = \"web\"");
            let section = match key {
                "bind" => format!("{PAIR}{LISTEN}"),
                _ => format!("{PAIR}{LISTEN}bind = \"*:80\"\n"),
            };
            let variable =
                if value.contains("{var.x}") { "rules = [{ set_var = { x = \"1\" } }]\n" } else { "" };
            let file = format!("{section}{key} = {value}\n{variable}");
            config::parse(&file, "lb.toml").unwrap_or_else(|report| panic!("{report}{file}"));
        }
    }
    assert!(tried >= 30, "{tried} settings found");
}

/// What Keepalived's words became, the same.
#[test]
fn the_table_for_those_who_come_from_keepalived_says_what_is_taken() {
    let page = book("docs/coming-from-keepalived.md");
    let rows = page.lines().skip_while(|line| !line.starts_with("| keepalived.conf"));
    let cells = rows.take_while(|row| !row.starts_with("## ")).flat_map(|row| row.split(" | ").skip(1));
    let settings = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let mut tried = 0;
    for (key, value) in settings.filter_map(|setting| setting.split_once(" = ")) {
        tried += 1;
        let setting = format!("{key} = {value}\n");
        let [mut node, mut vip, mut listen, mut track] = ["node.lb1 = \"192.0.2.11\"\n", "", "", ""];
        let mut peer = "\"192.0.2.12\"";
        match key {
            "node.lb1" => {
                node = &setting;
                peer = "{ address = \"192.0.2.12\", priority = 100 }";
            }
            "mode" => listen = &setting,
            "address" | "command" | "file" => track = &setting,
            _ => vip = &setting,
        }
        let track = if track.is_empty() { String::new() } else { format!("[track.one]\n{track}") };
        let beside = match key {
            "preempt_delay" => "preempt = \"always\"\n",
            "unicast_addresses" | "minimum_ttl" => "transport = \"unicast\"\n",
            "password" => "version = 2\n",
            _ => "",
        };
        let vrid = if key == "vrid" { "" } else { "vrid = 51\n" };
        let addresses = if key == "addresses" { "" } else { "addresses = [\"192.0.2.10\"]\n" };
        let file = format!(
            "[cluster]\n{node}node.lb2 = {peer}\n[vip.web]\n{vrid}{addresses}{beside}{vip}[listen.web]\nbind = \"*:80\"\n\
             servers = [\"192.0.2.21:80\"]\n{listen}{track}"
        );
        config::parse(&file, "lb.toml").unwrap_or_else(|report| panic!("{report}{file}"));
    }
    assert!(tried >= 15, "{tried} settings found");
}
