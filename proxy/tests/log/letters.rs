//! The table of letters in the book, beside HAProxy's own list, the sources, and what the tests here produce.

use std::{collections::BTreeSet, fs, path::Path};

use regex::Regex;

/// Section 8.5 of HAProxy's configuration manual, version 2.6; the last three are its letters of who else ends a session.
const HAPROXYS: [&str; 27] = [
    "--", "CC", "CD", "cD", "CH", "cH", "CQ", "CR", "cR", "CT", "LR", "PC", "PD", "PH", "PR", "PT", "RC",
    "SC", "sC", "SD", "sD", "SH", "sH", "sQ", "UD", "KD", "DD",
];

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// All that the first cells of a table name.
fn named(table: &str) -> BTreeSet<String> {
    let first_cells = table.lines().filter_map(|line| line.strip_prefix("| ")?.split('|').next());
    let pair = Regex::new("`([A-Za-z-]{2})`").unwrap();
    first_cells.flat_map(|cell| pair.captures_iter(cell).map(|pair| pair[1].to_owned())).collect()
}

fn all(pattern: &str, text: &str) -> BTreeSet<String> {
    Regex::new(pattern).unwrap().captures_iter(text).map(|found| found[1].to_owned()).collect()
}

#[test]
fn book_has_each_pair_that_can_occur_and_tests_produce_it() {
    let book = read("../docs/logging.md");
    let (_, section) = book.split_once("\n## How it ended\n").unwrap();
    let (occur, rest) = section.split_once("\nHAProxy's other pairs do not occur here:\n").unwrap();
    let (others, _) = rest.split_once("\nIn `httplog` two more").unwrap();
    let (occur, others) = (named(occur), named(others));
    assert!(occur.is_disjoint(&others));
    for pair in HAPROXYS {
        assert!(occur.contains(pair) != others.contains(pair), "{pair}");
    }

    // Those of sessions that end by themselves, and the letters of those that are ended.
    let mut of_sources = all("=> \"([A-Za-z]{2})\"", &read("src/http/outcome.rs"));
    of_sources.insert("--".to_owned());
    let killers = all("=> '([A-Z])'", &read("src/log/entry.rs"));
    assert_eq!(killers, ["D", "I", "K"].map(str::to_owned).into());
    let phases = all("=> '([A-Z])'", &read("src/log/record.rs"));
    let killed: BTreeSet<_> =
        killers.iter().flat_map(|by| phases.iter().map(move |at| format!("{by}{at}"))).collect();
    // A server that is down has nobody in line, and only an exchange that it has is cut.
    let never = ["DR", "DQ", "DC"].map(str::to_owned).into();
    of_sources.extend(killed.difference(&never).cloned());
    assert_eq!(occur, of_sources);

    let tests = ["answered", "content", "killed", "lines", "tcp", "terminations"]
        .map(|name| read(&format!("tests/log/{name}.rs")));
    // `503 SC--`, `- - KH--`, and the state of tcplog.
    let produced = all(r#"[ "]([A-Za-z-]{2})(?:--| 1/1/0/0/0 0/0)"#, &tests.concat());
    // Faults of our own can't be made from outside.
    let missing: Vec<_> = occur.difference(&produced).filter(|pair| !pair.starts_with('I')).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
