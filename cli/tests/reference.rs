//! The book describes every key that the program reads, and none that it doesn't; its examples are taken as they are.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use lbctl::config;

/// A heading of the reference, and a file with an unknown key in the table it describes: the error lists the known
/// ones.
const TABLES: &[(&str, &str)] = &[
    ("[cluster]", "[cluster]\nzzzzzzzz = 1"),
    ("[cluster] node.NAME", "[cluster]\nnode.lb1 = { zzzzzzzz = 1 }"),
    ("[vip.NAME]", "[vip.web]\nzzzzzzzz = 1"),
    ("[global]", "[global]\nzzzzzzzz = 1"),
    ("log", "[global]\nlog = { zzzzzzzz = 1 }"),
    ("log", "[frontend.web]\nlog = { zzzzzzzz = 1 }"),
    ("[map.NAME]", "[map.hosts]\nzzzzzzzz = 1"),
    ("[users.NAME]", "[users.staff]\nzzzzzzzz = 1"),
    ("[defaults]", "[defaults]\nzzzzzzzz = 1"),
    ("[defaults] timeout", "[defaults]\ntimeout = { zzzzzzzz = 1 }"),
    ("[frontend.NAME]", "[frontend.web]\nzzzzzzzz = 1"),
    ("[frontend.NAME] bind", "[frontend.web]\nbind = { zzzzzzzz = 1 }"),
    ("[frontend.NAME] unique_id", "[frontend.web]\nunique_id = { zzzzzzzz = 1 }"),
    ("[frontend.NAME] capture", "[frontend.web]\ncapture = { zzzzzzzz = 1 }"),
    (
        "[frontend.NAME] capture.request_headers",
        "[frontend.web]\ncapture = { request_headers = [{ zzzzzzzz = 1 }] }",
    ),
    (
        "[frontend.NAME] capture.request_headers",
        "[frontend.web]\ncapture = { response_headers = [{ zzzzzzzz = 1 }] }",
    ),
    ("[frontend.NAME] capture.cookie", "[frontend.web]\ncapture = { cookie = { zzzzzzzz = 1 } }"),
    ("[statistics]", "[statistics]\nzzzzzzzz = 1"),
    ("[frontend.NAME] statistics", "[frontend.web]\nstatistics = { zzzzzzzz = 1 }"),
    ("[frontend.NAME] monitor_uri", "[frontend.web]\nmonitor_uri = { zzzzzzzz = 1 }"),
    ("[frontend.NAME] monitor_uri.fail_if", "[frontend.web]\nmonitor_uri = { fail_if = { zzzzzzzz = 1 } }"),
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
    ("compression", "[frontend.web]\ncompression = { zzzzzzzz = 1 }"),
    ("compression", "[backend.app]\ncompression = { zzzzzzzz = 1 }"),
    ("tcp_keepalive", "[frontend.web]\ntcp_keepalive = { zzzzzzzz = 1 }"),
    ("tcp_keepalive", "[backend.app]\ntcp_keepalive = { zzzzzzzz = 1 }"),
    ("source", "[backend.app]\nsource = { address = \"192.0.2.11\", zzzzzzzz = 1 }"),
    ("source", "[backend.app]\nserver.a = { source = { ports = \"1-2\", zzzzzzzz = 1 } }"),
    ("[frontend.NAME] per_source", "[frontend.web]\nper_source = { zzzzzzzz = 1 }"),
    ("[backend.NAME] cookie", "[backend.app]\ncookie = { zzzzzzzz = 1 }"),
    ("[backend.NAME] stick", "[backend.app]\nstick = { zzzzzzzz = 1 }"),
    ("[listen.NAME]", "[listen.web]\nzzzzzzzz = 1"),
    // The same timeouts and checks are read in all sections.
    ("[defaults] timeout", "[listen.web]\ntimeout = { zzzzzzzz = 1 }"),
    ("[backend.NAME] check", "[defaults]\ncheck = { zzzzzzzz = 1 }"),
];

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
fn described(reference: &str, heading: &str) -> BTreeSet<String> {
    let mut lines = reference
        .lines()
        .skip_while(|line| !line.starts_with("##") || line.trim_start_matches('#').trim() != heading);
    assert!(lines.next().is_some(), "the book has no heading {heading}");
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

/// What else has to stand behind an example: a key that it goes with.
const COMPANIONS: &[(&str, &str, &str)] = &[
    ("[cluster] node.NAME", "priority", ", address = \"192.0.2.11\""),
    ("[cluster] node.NAME", "foreign", ", address = \"192.0.2.11\" }\nnode.lb2 = { address = \"192.0.2.12\""),
    ("[vip.NAME]", "preempt_delay", "\npreempt = \"always\""),
    ("[frontend.NAME] bind", "vip", ", port = 80"),
    ("[frontend.NAME] bind", "port", ", vip = \"web\""),
    ("[frontend.NAME] bind", "mode", ", unix = \"/run/app.sock\""),
    ("[frontend.NAME] bind", "user", ", unix = \"/run/app.sock\""),
    ("[frontend.NAME] bind", "group", ", unix = \"/run/app.sock\""),
    ("[frontend.NAME] unique_id", "template", ", header = \"X-Request-Id\""),
    ("[frontend.NAME] monitor_uri", "fail_if", ", uri = \"/alive\""),
    ("[frontend.NAME] per_source", "size", ", connections = 50"),
    ("[frontend.NAME] per_source", "ipv6_prefix", ", connections = 50"),
    (
        "[users.NAME]",
        "group",
        "\nuser.anna = \"$5$rounds=1000$saltstring$pvA.QSqfiGjH0GbrsjU8SGQUuKMnBHpqW/Nnnrwy9y1\"",
    ),
    ("[frontend.NAME] capture.request_headers", "length", ", name = \"Host\""),
    ("[frontend.NAME] capture.cookie", "length", ", name = \"SESSION\""),
    ("[backend.NAME] server.NAME", "minconn", ", maxconn = 100"),
    ("[backend.NAME] check", "disable_on_404", ", http = {}"),
    ("[backend.NAME] check.smtp", "domain", ", greeting = \"EHLO\""),
    ("[backend.NAME] check.sequence", "send", " }, { expect = \"+PONG\""),
    ("[backend.NAME] check.sequence", "send_hex", " }, { expect = \"+PONG\""),
    ("log", "format", ", syslog = \"127.0.0.1\""),
    ("log", "facility", ", syslog = \"127.0.0.1\""),
    ("log", "level", ", syslog = \"127.0.0.1\""),
    ("log", "min_level", ", syslog = \"127.0.0.1\""),
    ("log", "length", ", syslog = \"127.0.0.1\""),
    ("log", "tag", ", syslog = \"127.0.0.1\""),
    ("log", "sample", ", syslog = \"127.0.0.1\""),
];

/// In which the names of the examples exist.
const AROUND: &[(&str, &str)] = &[
    ("cluster", "[cluster]\nnode.lb1 = \"192.0.2.11\"\nnode.lb2 = \"192.0.2.12\"\n"),
    (
        "users.staff",
        "[users.staff]\nuser.anna = \"$5$rounds=1000$saltstring$pvA.QSqfiGjH0GbrsjU8SGQUuKMnBHpqW/Nnnrwy9y1\"\n",
    ),
    ("vip.web", "[vip.web]\nvrid = 51\naddresses = [\"192.0.2.10\"]\n"),
    ("backend.app", "[backend.app]\nservers = [\"192.0.2.21:80\"]\n"),
    ("frontend.web", "[frontend.web]\nbind = \"*:80\"\ndefault_backend = \"app\"\n"),
];

/// The cells of a row; a bar in a cell is written `\|`.
fn cells(row: &str) -> Vec<String> {
    let row = row.trim().trim_start_matches('|').trim_end_matches('|').replace("\\|", "\u{0}");
    row.split('|').map(|cell| cell.trim().replace('\u{0}', "|")).collect()
}

/// Every key of a section of its own is told with its values, an example that is taken, and HAProxy's name for it;
/// `[defaults]` and `[listen.NAME]` refer to those.
#[test]
fn every_key_of_the_reference_has_an_example_that_is_taken() {
    let reference = reference();
    let refer = ["[defaults]", "[defaults] timeout", "[listen.NAME]"];
    let folder = tempfile::tempdir().unwrap();
    let (users, page) = (folder.path().join("users"), folder.path().join("503.html"));
    fs::write(&users, "").unwrap();
    fs::write(&page, "<p>sorry</p>").unwrap();
    let (mut tried, mut wrong) = (BTreeSet::new(), Vec::new());
    for (heading, file) in TABLES.iter().copied().filter(|(heading, _)| !refer.contains(heading)) {
        let mut lines = reference.lines().skip_while(|line| line.trim_start_matches('#').trim() != heading);
        lines.next();
        for row in lines.take_while(|line| !line.starts_with('#')).filter(|line| line.starts_with("| `")) {
            let cells = cells(row);
            let [key, values, _, example, what, haproxy] = &cells[..] else { panic!("{heading}: {row}") };
            let key = key.trim_matches('`');
            assert!(!values.is_empty() && !what.is_empty() && !haproxy.is_empty(), "{heading}: {row}");
            let example = example.trim_matches('`');
            assert!(example.starts_with(key), "{heading}: {row}");
            let is_there = file.contains(&format!(" {key} = "));
            if is_there || !tried.insert((heading, key.to_owned())) {
                continue;
            }
            let with = COMPANIONS.iter().find(|(of, name, _)| (*of, *name) == (heading, key));
            let text = format!("{example}{}", with.map_or("", |(.., with)| with));
            let mut text = format!("{}\n", file.replace("zzzzzzzz = 1", &text));
            for (section, around) in AROUND {
                if !text.contains(&format!("[{section}]")) {
                    text.push_str(around);
                }
            }
            for (path, file) in [("/etc/lbctl/users", &users), ("503.html", &page)] {
                text = text.replace(path, &file.display().to_string());
            }
            let Err(report) = config::parse(&text, "lb.toml") else { continue };
            // The example is the second line. What the section needs besides is told there too if it is inline.
            let shown = report.to_string();
            let mut faults = shown.lines().filter(|line| line.starts_with("lb.toml:2:"));
            if faults.any(|line| !line.contains(": warning: ") && !line.contains(" has no `")) {
                wrong.push(format!("{heading}, {key}: {report}{text}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(tried.len() > 150, "{} examples found", tried.len());
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
            "statistics",
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
                "preempt" => PAIR.to_owned(),
                "bind" => format!("{PAIR}{LISTEN}"),
                _ => format!("{PAIR}{LISTEN}bind = \"*:80\"\n"),
            };
            let file = format!("{section}{key} = {value}\n");
            config::parse(&file, "lb.toml").unwrap_or_else(|report| panic!("{report}{file}"));
        }
    }
    assert!(tried >= 30, "{tried} settings found");
}
