//! The tables of the book, and files in which one of their keys is set.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

/// A heading of the reference, and a file with an unknown key in the table it describes: the error lists the known
/// ones.
pub(super) const TABLES: &[(&str, &str)] = &[
    ("[cluster]", "[cluster]\nzzzzzzzz = 1"),
    ("[cluster] node.NAME", "[cluster]\nnode.lb1 = { zzzzzzzz = 1 }\nnode.lb2 = \"192.0.2.12\""),
    ("[vip.NAME]", "[vip.web]\nzzzzzzzz = 1"),
    ("[track.NAME]", "[track.gateway]\nzzzzzzzz = 1"),
    ("[notify.NAME]", "[notify.pager]\nzzzzzzzz = 1"),
    ("[global]", "[global]\nzzzzzzzz = 1"),
    ("log", "[global]\nlog = { zzzzzzzz = 1 }"),
    ("log", "[frontend.web]\nlog = { zzzzzzzz = 1 }"),
    ("[map.NAME]", "[map.hosts]\nzzzzzzzz = 1"),
    ("[users.NAME]", "[users.staff]\nzzzzzzzz = 1"),
    ("[defaults]", "[defaults]\nzzzzzzzz = 1"),
    ("[defaults] timeout", "[defaults]\ntimeout = { zzzzzzzz = 1 }"),
    ("[frontend.NAME]", "[frontend.web]\nzzzzzzzz = 1"),
    ("[frontend.NAME] bind", "[frontend.web]\nbind = { zzzzzzzz = 1 }"),
    ("[frontend.NAME] bind.tls", "[frontend.web]\nbind = { address = \"*:443\", tls = { zzzzzzzz = 1 } }"),
    (
        "[frontend.NAME] bind.tls.certificate",
        "[frontend.web]\nbind = { address = \"*:443\", tls = [{ zzzzzzzz = 1 }] }",
    ),
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
    ("[frontend.NAME] error_page.STATUS", "[frontend.web]\nerror_page = { 503 = { zzzzzzzz = 1 } }"),
    ("[frontend.NAME] monitor_uri", "[frontend.web]\nmonitor_uri = { zzzzzzzz = 1 }"),
    (
        "[frontend.NAME] monitor_uri.fail_if",
        "[frontend.web]\nmonitor_uri = { uri = \"/alive\", fail_if = { zzzzzzzz = 1 } }",
    ),
    ("[frontend.NAME] timeout", "[frontend.web]\ntimeout = { zzzzzzzz = 1 }"),
    ("[backend.NAME]", "[backend.app]\nzzzzzzzz = 1"),
    (
        "[backend.NAME] server.NAME",
        "[backend.app]\nserver.web1 = { zzzzzzzz = 1 }\nserver.web2 = \"192.0.2.22:80\"",
    ),
    ("[backend.NAME] tls", "[backend.app]\ntls = { zzzzzzzz = 1 }"),
    (
        "[backend.NAME] tls",
        "[backend.app]\nserver.a = { address = \"192.0.2.1:1\", check_tls = { zzzzzzzz = 1 } }",
    ),
    ("[backend.NAME] send_proxy", "[backend.app]\nsend_proxy = { zzzzzzzz = 1 }"),
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
    (
        "[backend.NAME] check.sequence",
        "[backend.app]\ncheck.sequence = [{ zzzzzzzz = 1 }, { expect = \"+PONG\" }]",
    ),
    ("[backend.NAME] agent_check", "[backend.app]\nagent_check = { zzzzzzzz = 1 }"),
    ("[backend.NAME] observe", "[backend.app]\nobserve = { zzzzzzzz = 1 }"),
    ("[backend.NAME] check", "[listen.web]\ncheck = { zzzzzzzz = 1 }"),
    ("[backend.NAME] pool", "[backend.app]\npool = { zzzzzzzz = 1 }"),
    ("[frontend.NAME] forwarded", "[frontend.web]\nforwarded = { zzzzzzzz = 1 }"),
    ("[frontend.NAME] hsts", "[frontend.web]\nhsts = { zzzzzzzz = 1 }"),
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

/// What else an example needs: keys of the same table, beside those that the book says must be given.
const COMPANIONS: &[(&str, &str, &[&str])] = &[
    ("[cluster]", "sign_advertisements", &["secret_file = \"/etc/lbctl/secret\""]),
    ("[frontend.NAME] forwarded", "by_port", &["by = true"]),
    ("[frontend.NAME] forwarded", "for_port", &["for = true"]),
    ("[frontend.NAME] bind.tls", "crl_file", &["ca_file = \"clients.pem\""]),
    ("[vip.NAME]", "preempt_delay", &["preempt = \"always\""]),
    ("[vip.NAME]", "unicast_addresses", &["transport = \"unicast\""]),
    ("[vip.NAME]", "password", &["version = 2"]),
    ("[vip.NAME]", "minimum_ttl", &["transport = \"unicast\""]),
    ("[track.NAME]", "down_delay", &["interface = \"eth1\""]),
    ("[track.NAME]", "up_delay", &["interface = \"eth1\""]),
    ("[track.NAME]", "interval", &["address = \"192.0.2.1\""]),
    ("[track.NAME]", "timeout", &["address = \"192.0.2.1\""]),
    ("[track.NAME]", "probe", &["address = \"192.0.2.1\""]),
    ("[track.NAME]", "rise", &["address = \"192.0.2.1\""]),
    ("[track.NAME]", "fall", &["address = \"192.0.2.1\""]),
    ("[track.NAME]", "fails_while", &["file = \"/run/maintenance\""]),
    ("[notify.NAME]", "timeout", &[COMMAND]),
    ("[notify.NAME]", "events", &[COMMAND]),
    ("[notify.NAME]", "to", &[COMMAND]),
    ("[notify.NAME]", "names", &[COMMAND]),
    ("[notify.NAME]", "headers_file", &[URL]),
    ("[notify.NAME]", "ca_file", &[URL]),
    ("[notify.NAME]", "smtp", &[SENDER, RECIPIENTS]),
    ("[notify.NAME]", "security", &[SMTP, SENDER, RECIPIENTS]),
    ("[notify.NAME]", "sender", &[SMTP, RECIPIENTS]),
    ("[notify.NAME]", "recipients", &[SMTP, SENDER]),
    ("[notify.NAME]", "user", &[SMTP, SENDER, RECIPIENTS, "password_file = \"/etc/lbctl/mail-password\""]),
    ("[notify.NAME]", "password_file", &[SMTP, SENDER, RECIPIENTS, "user = \"lbctl\""]),
    ("[notify.NAME]", "mail_interval", &[SMTP, SENDER, RECIPIENTS]),
    ("[frontend.NAME] bind", "http2_websocket", &["http2 = true"]),
    ("[frontend.NAME] bind", "vip", &["port = 80"]),
    ("[frontend.NAME] bind", "port", &["vip = \"web\""]),
    ("[frontend.NAME] bind", "mode", &["unix = \"/run/app.sock\""]),
    ("[frontend.NAME] bind", "user", &["unix = \"/run/app.sock\""]),
    ("[frontend.NAME] bind", "group", &["unix = \"/run/app.sock\""]),
    ("[frontend.NAME]", "log_format", &[LOG]),
    ("[frontend.NAME]", "log_asap", &[LOG]),
    ("[frontend.NAME]", "capture", &[LOG]),
    ("[frontend.NAME]", "dontlog_normal", &[LOG]),
    ("[frontend.NAME]", "log_separate_errors", &[LOG]),
    ("[frontend.NAME] capture", "request_headers", &["cookie = \"SESSION\""]),
    ("[frontend.NAME] capture", "response_headers", &["cookie = \"SESSION\""]),
    ("[frontend.NAME] capture", "cookie", &["request_headers = [\"Host\"]"]),
    ("[backend.NAME]", "hash_type", &["balance = \"source\""]),
    ("[backend.NAME] server.NAME", "minconn", &["maxconn = 100"]),
    ("[backend.NAME] tls", "key", &["certificate = \"client.pem\""]),
    ("[backend.NAME] check", "disable_on_404", &["http = {}"]),
];

const COMMAND: &str = "command = [\"/usr/local/bin/page\"]";
const URL: &str = "url = \"https://hooks.example.com/lb\"";
const SMTP: &str = "smtp = \"mail.example.com\"";
const SENDER: &str = "sender = \"lbctl@example.com\"";
const RECIPIENTS: &str = "recipients = [\"ops@example.com\"]";
const LOG: &str = "log = { syslog = \"127.0.0.1\" }";

/// In which the names of the examples exist.
const AROUND: &[(&str, &str)] = &[
    ("cluster", "[cluster]\nnode.lb1 = \"192.0.2.11\"\nnode.lb2 = \"192.0.2.12\"\n"),
    ("global", "[global]\nlog = { syslog = \"127.0.0.1\" }\n"),
    (
        "users.staff",
        "[users.staff]\nuser.anna = \"$5$rounds=1000$saltstring$pvA.QSqfiGjH0GbrsjU8SGQUuKMnBHpqW/Nnnrwy9y1\"\n",
    ),
    ("vip.web", "[vip.web]\nvrid = 51\naddresses = [\"192.0.2.10\"]\n"),
    ("backend.app", "[backend.app]\nservers = [\"192.0.2.21:80\"]\n"),
    ("frontend.web", "[frontend.web]\nbind = \"*:80\"\ndefault_backend = \"app\"\n"),
];

/// What a section needs around a table of its own.
const NEEDS: &[(&str, &str)] = &[
    ("frontend.web", "bind = \"*:80\""),
    ("frontend.web", "default_backend = \"app\""),
    ("frontend.web", LOG),
    ("listen.web", "bind = \"*:80\""),
    ("listen.web", "servers = [\"192.0.2.21:80\"]"),
    ("backend.app", "servers = [\"192.0.2.21:80\"]"),
];

/// Files that examples name.
const FILES: &[(&str, &str)] = &[
    ("/etc/lbctl/users", "bob:$5$rounds=1000$saltstring$pvA.QSqfiGjH0GbrsjU8SGQUuKMnBHpqW/Nnnrwy9y1\n"),
    ("/etc/lbctl/secret", "correct horse battery staple\n"),
    ("/etc/lbctl/headers", "Authorization: Bearer 4b1d\n"),
    ("/etc/lbctl/mail-password", "4b1d\n"),
    ("/etc/lbctl/hook-url", "https://hooks.example.com/lb\n"),
    ("503.html", "<p>sorry</p>"),
    ("site.pem", include_str!("../good/site.pem")),
    ("site.key", include_str!("../good/site.key")),
    ("clients.pem", include_str!("../good/clients.pem")),
    ("ca.pem", include_str!("../good/clients.pem")),
    ("ca.crl", include_str!("../good/clients.crl")),
    ("client.pem", include_str!("../good/site.pem")),
    ("client.key", include_str!("../good/site.key")),
    ("clients.crl", include_str!("../good/clients.crl")),
];

/// A row of a table: a key and what is said of it.
pub(super) struct Row {
    pub(super) key: String,
    pub(super) value: String,
    pub(super) default: String,
    /// `key = value`; empty in those of the rules, which have examples of their own.
    pub(super) example: String,
}

/// The rows under a heading, without the one for the columns' names.
pub(super) fn rows(book: &str, heading: &str) -> Vec<Row> {
    let mut lines = book
        .lines()
        .skip_while(|line| !line.starts_with("##") || line.trim_start_matches('#').trim() != heading);
    assert!(lines.next().is_some(), "the book has no heading {heading}");
    let rows = lines.take_while(|line| !line.starts_with('#')).filter(|line| line.starts_with("| `"));
    rows.map(|row| read(heading, row)).collect()
}

fn read(heading: &str, row: &str) -> Row {
    let cells = cells(row);
    let (key, value, default, example) = match &cells[..] {
        [key, value, default, example, what, haproxy] if !what.is_empty() && !haproxy.is_empty() => {
            (key, value, default, example.trim_matches('`'))
        }
        [key, value, default, what] if !what.is_empty() => (key, value, default, ""),
        _ => panic!("{heading}: {row}"),
    };
    let key = key.trim_matches('`');
    assert!(!value.is_empty() && (cells.len() == 4 || example.starts_with(key)), "{heading}: {row}");
    Row { key: key.into(), value: value.clone(), default: default.clone(), example: example.into() }
}

/// The cells of a row; a bar in a cell is written `\|`.
fn cells(row: &str) -> Vec<String> {
    let row = row.trim().trim_start_matches('|').trim_end_matches('|').replace("\\|", "\u{0}");
    row.split('|').map(|cell| cell.trim().replace('\u{0}', "|")).collect()
}

/// What else has to be set where this key is.
pub(super) fn companions(heading: &str, key: &str) -> &'static [&'static str] {
    let of = |heading: &str| COMPANIONS.iter().find(|(of, name, _)| (*of, *name) == (heading, key));
    // These have the keys of others.
    let others: &[&str] = match heading {
        "[defaults]" | "[listen.NAME]" => &["[frontend.NAME]", "[backend.NAME]"],
        "[statistics]" => &["[frontend.NAME]"],
        _ => &[],
    };
    std::iter::once(&heading).chain(others).find_map(|heading| of(heading)).map_or(&[], |(.., with)| with)
}

/// `template` with these keys in its table, what the section of the table needs, and the sections that values name.
pub(super) fn file(template: &str, settings: &[String], folder: &Path) -> String {
    // What tells the table of a source from one by node; in a file that is right one of its keys does.
    let template = template.replace("{ address = \"192.0.2.11\", zzzzzzzz", "{ zzzzzzzz");
    let is_inline = template.contains("{ zzzzzzzz");
    let mut text = template.replace("zzzzzzzz = 1", &settings.join(if is_inline { ", " } else { "\n" }));
    text.push('\n');
    if !template.contains("\nzzzzzzzz") {
        for (section, needs) in NEEDS.iter().filter(|(_, needs)| !template.contains(&needs[..6])) {
            text = text.replace(&format!("[{section}]\n"), &format!("[{section}]\n{needs}\n"));
        }
    }
    for (section, around) in AROUND {
        let is_there = text.contains(&format!("[{section}]"));
        let is_listen = *section == "frontend.web" && text.contains("[listen.web]");
        if !is_there && !is_listen {
            text.push_str(around);
        }
    }
    for (index, (path, content)) in FILES.iter().enumerate() {
        let real = folder.join(format!("{index}.html"));
        if text.contains(path) {
            fs::write(&real, content).unwrap();
            // Of a secret others must not know.
            fs::set_permissions(&real, fs::Permissions::from_mode(0o600)).unwrap();
            text = text.replace(path, &real.display().to_string());
        }
    }
    text
}

/// `file` with another setting in the section `[name]`, made if it isn't there.
pub(super) fn set_in(file: &str, section: &str, setting: &str) -> String {
    let header = format!("[{section}]\n");
    if file.contains(&header) {
        return file.replacen(&header, &format!("{header}{setting}\n"), 1);
    }
    format!("{file}{header}{setting}\n")
}
