//! Conditions by the hundred, of samples, converters and ways of comparing that HAProxy knows: whatever `import` says
//! nothing about holds for the same requests in both.

use std::{collections::BTreeSet, fmt::Write, fs, process::Command};

use crate::{both::Both, get};

/// In one file; what differs is found in any of them, so one is as good as the next.
const CONDITIONS: usize = 300;

const FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/converted");

/// Texts, each with what it is in: a header, a parameter, a cookie, the path.
const TEXTS: [&str; 12] = [
    "path",
    "url",
    "query",
    "urlp(a)",
    "req.cook(a)",
    "req.hdr(x)",
    "req.fhdr(x)",
    "hdr(x,-1)",
    "req.hdr(host)",
    "method",
    "var(txn.x)",
    "urlp(b)",
];

const NUMBERS: [&str; 5] =
    ["req.hdr_val(x)", "urlp_val(a)", "req.cook_val(a)", "path,length", "urlp(a),crc32"];

const ADDRESSES: [&str; 7] = [
    "req.hdr_ip(x,-1)",
    "req.hdr_ip(x)",
    "urlp(a)",
    "req.cook(a)",
    "req.hdr_ip(x,-1),ipmask(8)",
    "src",
    "src,ipmask(8,64)",
];

/// Of a text another text; those that stand twice come more often.
const CONVERTERS: [&str; 26] = [
    "",
    "",
    "",
    "",
    "",
    "",
    ",lower",
    ",upper",
    ",field(1,:)",
    ",field(2,.)",
    ",field(-1,/)",
    ",word(1,-)",
    ",word(2,-)",
    ",word(-1,/)",
    ",bytes(1,2)",
    ",regsub(a,b,g)",
    ",url_dec",
    ",hex",
    ",base64",
    ",b64dec",
    ",map_str(FILES/generated.map)",
    ",map_str(FILES/generated.map,a)",
    ",map_beg(FILES/generated.map)",
    ",map_int(FILES/numbers.map)",
    ",map_int(FILES/numbers.map,a)",
    ",map_end(FILES/generated.map,none)",
];

const PATTERNS: [&str; 14] =
    ["a", "A", "1", "/a", "a/b", "b", "a.b", "a-b", "10.1.2.3", "GET", "www.example.com", "10", "0", "a=1"];

const EXPRESSIONS: [&str; 8] = ["^a", "b$", "^$", "^[0-9]+$", "a.b", "^.?$", "^/a(/|$)", "[^a]"];

/// Values of a header, a parameter and a cookie.
const VALUES: [&str; 40] = [
    "a",
    "A",
    "b",
    "1",
    "0",
    "00",
    "-1",
    "+1",
    "12",
    "5x",
    "x5",
    "true",
    "",
    "a,b",
    "b, a",
    "a:b",
    "a.b",
    "a-b",
    "a-",
    "-a",
    "a/b",
    "/a",
    "%41",
    "a+b",
    "a%3bb",
    "\"1\"",
    "\"a\"",
    "10.1.2.3",
    "10.1.2.3:80",
    "010.1.2.3",
    "10.1.2.3.4",
    "1.2.3.4, 10.1.2.3",
    "::1",
    "::ffff:10.1.2.3",
    "[::1]:80",
    "unknown",
    "99999999999",
    "YQ==",
    "GET",
    "www.example.com",
];

/// Seeded; the same numbers on every machine.
struct Choices(u64);

impl Choices {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % end
    }

    fn of<'t>(&mut self, list: &[&'t str]) -> &'t str {
        list[self.below(list.len())]
    }

    fn condition(&mut self) -> String {
        let number = |choices: &mut Self| {
            let operator = choices.of(&["eq", "gt", "ge", "lt", "le"]);
            format!("{operator} {}", choices.of(&["0", "1", "5", "12"]))
        };
        match self.below(10) {
            0 | 1 => {
                let sample = self.of(&NUMBERS);
                match self.below(4) {
                    0 => format!("{sample} -m {}", self.of(&["found", "bool"])),
                    _ => format!("{sample} -m int {}", number(self)),
                }
            }
            2 => {
                let sample = self.of(&ADDRESSES);
                match self.below(4) {
                    0 => format!("{sample} -m found"),
                    _ => format!(
                        "{sample} -m ip {}",
                        self.of(&[
                            "10.0.0.0/8",
                            "10.1.2.3",
                            "::/0",
                            "::1",
                            "::ffff:10.0.0.0/104",
                            "127.0.0.1"
                        ])
                    ),
                }
            }
            _ => {
                let text = self.of(&TEXTS);
                let sample = format!(
                    "{text}{}{}",
                    self.of(&CONVERTERS),
                    if self.below(4) == 0 { self.of(&CONVERTERS) } else { "" }
                );
                let fold = self.of(&["", "", "-i "]);
                match self.below(12) {
                    0 | 1 => format!("{sample} -m found"),
                    2 => format!("{sample} -m bool"),
                    3 => format!("{sample} -m int {}", number(self)),
                    4 => format!("{sample} -m len {}", number(self)),
                    5 => format!("{sample} -m reg {fold}{}", self.of(&EXPRESSIONS)),
                    6 => format!("{sample} -m dir {fold}{}", self.of(&PATTERNS)),
                    7 => format!("{sample} -m dom {fold}{}", self.of(&PATTERNS)),
                    _ => {
                        let by = self.of(&["str", "beg", "end", "sub"]);
                        format!("{sample} -m {by} {fold}{}", self.of(&PATTERNS))
                    }
                }
            }
        }
    }

    fn request(&mut self) -> String {
        let value = self.of(&VALUES);
        let target = match self.below(12) {
            0 => format!("/?a={value}&b"),
            1 => "/?a".to_owned(),
            2 => "/?".to_owned(),
            3 => format!("/a/b?b=1&a={value}"),
            4 => format!("/{}", value.replace([' ', '"'], "")),
            5 => "/a-b".to_owned(),
            6 => format!("/?a={}&a={value}", self.of(&VALUES)),
            7 => format!("/?a&a={}&b&a={value}&b=2", self.of(&VALUES)),
            _ => "/".to_owned(),
        };
        // What is decoded here, and not there, is told once for a file.
        let target: String =
            target.chars().filter(|c| c.is_ascii_alphanumeric() || "/?&=:.-,".contains(*c)).collect();
        let mut fields = Vec::new();
        if self.below(2) == 0 {
            fields.push(format!("X: {}", self.of(&VALUES)));
        }
        if self.below(6) == 0 {
            fields.push(format!("X: {}", self.of(&VALUES)));
        }
        if self.below(2) == 0 {
            let of_cookie = |value: &str| value.replace([',', ';', '"', '%', '+'], "");
            fields.push(match self.below(7) {
                0 => self
                    .of(&["Cookie: b=1; a=", "Cookie: a=", "Cookie: a=; b=1", "Cookie: b=1;a="])
                    .to_owned(),
                1 => "Cookie: a".to_owned(),
                2 => format!("Cookie: a={}; a={}", of_cookie(self.of(&VALUES)), of_cookie(self.of(&VALUES))),
                _ => format!("Cookie: a={}", of_cookie(self.of(&VALUES))),
            });
        }
        // HAProxy overlooks an empty one at the end of a line, and what is beside it is another case.
        if self.below(6) == 0 && !fields.iter().any(|field| field.ends_with("a=")) {
            fields.push(format!("Cookie: a={}", self.of(&["a", "b", "A.b", "10.1.2.3", "0012", "/a"])));
        }
        get(&target, &fields.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

/// The lines that `import` has said something about.
fn told(notes: &str) -> BTreeSet<usize> {
    let lines =
        notes.lines().filter(|line| line.contains("not converted: ") || line.contains("not the same: "));
    lines.filter_map(|line| line.split(':').nth(1)?.parse().ok()).collect()
}

/// Those that HAProxy takes: not every kind of value is compared in every way.
fn known(mut conditions: Vec<String>) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let source = folder.path().join("conditions.cfg");
    loop {
        let lines = conditions.iter().map(|condition| format!(" http-request deny if {{ {condition} }}\n"));
        let lines = lines.collect::<String>().replace("FILES", FILES);
        fs::write(&source, format!("frontend web\n mode http\n{lines}")).expect("written");
        let mut check = Command::new("haproxy");
        check.args(["-c", "-f"]).arg(&source).env("PATH", "/usr/sbin:/usr/bin:/bin");
        let said = check.output().expect("the package haproxy is missing").stderr;
        let said = String::from_utf8(said).expect("text");
        // It tells some of its errors at a time.
        let before = conditions.len();
        let mut line = 2;
        conditions.retain(|_| {
            line += 1;
            !said.contains(&format!("conditions.cfg:{line}] : error"))
        });
        if conditions.len() == before {
            return conditions;
        }
    }
}

fn compare(seed: u64) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let source = folder.path().join("generated.cfg");
    let mut choices = Choices(seed);
    let mut text = "defaults\n mode http\n timeout connect 5s\n timeout client 10s\n timeout server 10s\n timeout http-request 5s\nfrontend web\n bind \"$WEB\"\n http-request set-var(txn.x) req.hdr(x)\n".to_owned();
    let before = text.lines().count();
    let conditions = known((0..CONDITIONS).map(|_| choices.condition()).collect());
    for (number, condition) in conditions.iter().enumerate() {
        let condition = condition.replace("FILES", FILES);
        writeln!(
            text,
            " http-request set-var-fmt(txn.held) \"%[var(txn.held)] {number}\" if {{ {condition} }}"
        )
        .expect("a text");
    }
    text.push_str(
        " http-request return status 200 content-type text/plain lf-string \"held:%[var(txn.held)]\"\n",
    );
    fs::write(&source, text).expect("written");
    let both = Both::with(&[], &source);
    let told = told(&both.notes);
    let compared = (0..conditions.len()).filter(|number| !told.contains(&(before + number + 1))).count();
    assert!(compared > CONDITIONS / 2, "{compared} of {CONDITIONS} are compared: {}", both.notes);
    let mut differ = Vec::new();
    let mut seen = BTreeSet::new();
    for _ in 0..60 {
        let request = choices.request();
        let answers = both.ask("WEB", &request);
        // Some conditions end HAProxy 2.6 with a signal, and there is nothing to compare with.
        if answers[0].is_empty() {
            break;
        }
        let held = answers.each_ref().map(|answer| {
            let list = answer.split_once("held:");
            let (_, list) = list.unwrap_or_else(|| panic!("seed {seed}: {request:?}: {answers:?}"));
            list.split_ascii_whitespace()
                .filter_map(|number| number.parse().ok())
                .collect::<BTreeSet<usize>>()
        });
        let [theirs, ours] = &held;
        for number in
            theirs.symmetric_difference(ours).filter(|number| !told.contains(&(before + **number + 1)))
        {
            if seen.insert(*number) {
                let who = if theirs.contains(number) { "HAProxy" } else { "lbctl" };
                differ.push(format!("{{ {} }}: holds in {who} alone: {request:?}", conditions[*number]));
            }
        }
    }
    differ
}

#[test]
fn conditions_hold_for_the_same_requests() {
    // Others: GENERATED=100..200
    let seeds = std::env::var("GENERATED").ok().and_then(|seeds| {
        let (first, last) = seeds.split_once("..")?;
        Some(first.parse().ok()?..last.parse().ok()?)
    });
    let differ: Vec<_> = seeds.unwrap_or(1..4).flat_map(compare).collect();
    assert!(differ.is_empty(), "{} differ:\n{}", differ.len(), differ.join("\n"));
}
