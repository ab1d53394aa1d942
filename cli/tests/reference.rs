//! `docs/configuration.md` describes every key that the program reads, and none that it doesn't.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::{collections::BTreeSet, fs, path::Path};

use lbctl::config;

/// A heading of the reference, and a file with an unknown key in the table it describes: the error lists the known
/// ones.
const TABLES: &[(&str, &str)] = &[
    ("[cluster]", "[cluster]\nzzzzzzzz = 1"),
    ("[cluster] node.NAME", "[cluster]\nnode.lb1 = { zzzzzzzz = 1 }"),
    ("[vip.NAME]", "[vip.web]\nzzzzzzzz = 1"),
    ("[global]", "[global]\nzzzzzzzz = 1"),
    ("[map.NAME]", "[map.hosts]\nzzzzzzzz = 1"),
    ("[defaults]", "[defaults]\nzzzzzzzz = 1"),
    ("[defaults] timeout", "[defaults]\ntimeout = { zzzzzzzz = 1 }"),
    ("[frontend.NAME]", "[frontend.web]\nzzzzzzzz = 1"),
    ("[frontend.NAME] bind", "[frontend.web]\nbind = { zzzzzzzz = 1 }"),
    ("[frontend.NAME] unique_id", "[frontend.web]\nunique_id = { zzzzzzzz = 1 }"),
    ("[frontend.NAME] timeout", "[frontend.web]\ntimeout = { zzzzzzzz = 1 }"),
    ("[backend.NAME]", "[backend.app]\nzzzzzzzz = 1"),
    ("[backend.NAME] server.NAME", "[backend.app]\nserver.web1 = { zzzzzzzz = 1 }"),
    ("[backend.NAME] balance", "[backend.app]\nbalance = { zzzzzzzz = 1 }"),
    ("[backend.NAME] balance.uri", "[backend.app]\nbalance = { uri = { zzzzzzzz = 1 } }"),
    ("[backend.NAME] timeout", "[backend.app]\ntimeout = { zzzzzzzz = 1 }"),
    ("[backend.NAME] check", "[backend.app]\ncheck = { zzzzzzzz = 1 }"),
    ("[backend.NAME] check.http", "[backend.app]\ncheck = { http = { zzzzzzzz = 1 } }"),
    ("[backend.NAME] check.http.expect", "[backend.app]\ncheck.http.expect = { zzzzzzzz = 1 }"),
    ("[backend.NAME] check.http.expect", "[backend.app]\ncheck.http.expect_not = { zzzzzzzz = 1 }"),
    ("[backend.NAME] check.mysql", "[backend.app]\ncheck.mysql = { zzzzzzzz = 1 }"),
    ("[backend.NAME] check.smtp", "[backend.app]\ncheck.smtp = { zzzzzzzz = 1 }"),
    ("[backend.NAME] check.pgsql", "[backend.app]\ncheck.pgsql = { zzzzzzzz = 1 }"),
    ("[backend.NAME] check.sequence", "[backend.app]\ncheck.sequence = [{ zzzzzzzz = 1 }]"),
    ("[backend.NAME] agent_check", "[backend.app]\nagent_check = { zzzzzzzz = 1 }"),
    ("[backend.NAME] observe", "[backend.app]\nobserve = { zzzzzzzz = 1 }"),
    ("[backend.NAME] check", "[listen.web]\ncheck = { zzzzzzzz = 1 }"),
    ("[backend.NAME] pool", "[backend.app]\npool = { zzzzzzzz = 1 }"),
    ("tcp_keepalive", "[frontend.web]\ntcp_keepalive = { zzzzzzzz = 1 }"),
    ("tcp_keepalive", "[backend.app]\ntcp_keepalive = { zzzzzzzz = 1 }"),
    ("[frontend.NAME] per_source", "[frontend.web]\nper_source = { zzzzzzzz = 1 }"),
    ("[backend.NAME] stick", "[backend.app]\nstick = { zzzzzzzz = 1 }"),
    ("[listen.NAME]", "[listen.web]\nzzzzzzzz = 1"),
    // The same timeouts and checks are read in all sections.
    ("[defaults] timeout", "[listen.web]\ntimeout = { zzzzzzzz = 1 }"),
    ("[backend.NAME] check", "[defaults]\ncheck = { zzzzzzzz = 1 }"),
];

fn reference() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    fs::read_to_string(path).unwrap()
}

/// The keys in the first column of the table under a heading.
fn described(reference: &str, heading: &str) -> BTreeSet<String> {
    let mut lines = reference
        .lines()
        .skip_while(|line| !line.starts_with("##") || line.trim_start_matches('#').trim() != heading);
    assert!(lines.next().is_some(), "docs/configuration.md has no heading {heading}");
    lines
        .take_while(|line| !line.starts_with('#'))
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .map(str::to_owned)
        .collect()
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
    assert_eq!(sections, ["backend", "cluster", "defaults", "frontend", "global", "listen", "map", "vip"]);
    for section in sections {
        let headings = [format!("## [{section}]"), format!("## [{section}.NAME]")];
        assert!(headings.iter().any(|heading| reference().lines().any(|line| line == heading)), "{section}");
    }
}

#[test]
fn the_files_of_the_reference_are_fine() {
    let reference = reference();
    let files: Vec<_> =
        reference.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!files.is_empty());
    for file in files {
        let config = config::parse(file, "docs/configuration.md").unwrap();
        assert!(config.warnings.is_empty(), "{}", config.warnings);
    }
}
