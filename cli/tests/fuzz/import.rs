//! `lbctl import` against changed files of HAProxy's and Keepalived's. Whatever comes in, it ends with a file that our own reader takes, or
//! with one sentence about why not.

use std::{
    fs,
    panic::catch_unwind,
    path::Path,
    time::{Duration, Instant},
};

use super::{Random, haproxy, keepalived};

/// Files of an ordinary run.
const ROUNDS: u64 = 300;

/// What files are made of.
const WORDS: [&str; 81] = [
    "\n",
    " ",
    "\"",
    "'",
    "\\",
    "\\x",
    "#",
    "$",
    "\"${A-b}\"",
    "\0",
    "\u{ff}",
    "{",
    "}",
    "!",
    "||",
    "%[",
    "]",
    "(",
    ")",
    ",",
    "%%",
    "\r\n",
    "0",
    "-1",
    "99999999999999999999",
    "5s",
    "30d",
    "1k",
    "*:80",
    "192.0.2.1:80",
    "[::1]:80",
    "/x",
    "if",
    "unless",
    "no ",
    "default ",
    " from a",
    "\nglobal\n",
    "\ndefaults\n",
    "\nfrontend f\n",
    "\nbackend b\n",
    "\nlisten l\n",
    "\n.if 1\n",
    "\n.endif\n",
    "\n.else\n",
    " server s 192.0.2.9:80 check\n",
    " bind *:81\n",
    " mode tcp\n",
    " mode http\n",
    " use_backend b if { path /a }\n",
    " default_backend b\n",
    " http-request deny if { src 10.0.0.0/8 }\n",
    " http-request allow\n",
    " cookie C insert\n",
    " errorfile 503 /dev/null\n",
    "TRUE",
    "\nuserlist staff\n user a insecure-password b groups g\n",
    " http-request auth unless { http_auth(staff) }\n",
    "{ http_auth_group(staff) g }",
    " stats uri /s\n",
    " stats auth a:b\n",
    " stick-table type ip size 1k store http_req_rate(1s),conn_cur\n",
    " http-request track-sc0 src\n",
    "{ sc0_http_req_rate gt 5 }",
    " http-request return status 204\n",
    " bind /run/x mode 600\n",
    " server u unix@/run/y\n",
    " compression algo gzip\n",
    " log global\n",
    " log 127.0.0.1 local0\n",
    " no log\n",
    " source 192.0.2.9:1-2\n",
    " source ::1 interface lo",
    " http-request set-src hdr(x-forwarded-for) if { src 10.0.0.0/8 }\n",
    " http-response deny if { status 500 }\n",
    " option httplog clf\n",
    " log-format \"%ci %hr %[capture.req.hdr(0)] %[var(txn.a)]\"\n",
    " capture request header Host len 40\n",
    " capture cookie A= len 5\n",
    " http-request capture req.hdr(a) len 5\n",
    " http-request set-var(txn.a) path\n",
];

/// What stands in files of Keepalived's.
const WORDS_OF_KEEPALIVED: [&str; 60] = [
    "\n",
    " ",
    "{",
    "}",
    "{\n",
    "\n}\n",
    "\"",
    "'",
    "\\",
    "#",
    "!",
    "@lb1 ",
    "@^lb2 ",
    "$A=1\n",
    "$A",
    "${A}",
    "$A= \\\n",
    "~SEQ(N, 1, 3) ",
    "~LST({A,B},{1,2}) ",
    "0",
    "255",
    "256",
    "-1",
    "0.01",
    "99999999999",
    "ü",
    "\0",
    "\u{ff}",
    "vrrp_instance VI_1 {\n",
    "vrrp_instance 192.0.2.1 {\n virtual_router_id 9\n virtual_ipaddress { 192.0.2.9 }\n}\n",
    "state MASTER\n",
    "state BACKUP\n",
    "interface eth0\n",
    "virtual_router_id 51\n",
    "priority 255\n",
    "priority 1\n",
    "advert_int 0.001\n",
    "version 3\n",
    "nopreempt\n",
    "preempt_delay 1e5\n",
    "garp_master_refresh 1e9\n",
    "unicast_src_ip 192.0.2.11\n",
    "unicast_src_ip 203.0.113.1\n",
    "unicast_src_ip 2001:db8::11\n",
    "mcast_src_ip 127.0.0.1\n",
    "unicast_peer { 192.0.2.12 }\n",
    "unicast_peer {\n 192.0.2.12 min_ttl 0\n 2001:db8::12\n}\n",
    "virtual_ipaddress { 192.0.2.10 192.0.2.11/24 203.0.113.1 }\n",
    "virtual_ipaddress { fe80::1/64 2001:db8::10 }\n",
    "virtual_ipaddress_excluded { 2001:db8::99 dev eth7 }\n",
    "authentication { auth_type PASS auth_pass \"\" }\n",
    "track_interface { eth1 weight -5 }\n",
    "track_script { chk weight 7 reverse }\n",
    "vrrp_script chk { script \"ping 192.0.2.11\" interval 1e6 timeout 0 rise 255 }\n",
    "vrrp_script chk { script \"ping fe80::1\" }\n",
    "vrrp_script chk { script \"[ -f /x ]\" }\n",
    "vrrp_sync_group G { group { VI_1 VI_2 } track_script { chk } }\n",
    "include *.conf\n",
    "global_defs { router_id 192.0.2.1 }\n",
    "virtual_server 192.0.2.10 80 { real_server }\n",
];

/// A program whose files are converted.
struct Program {
    /// Where its files are, and how their names end.
    folder: &'static str,
    end: &'static str,
    /// Where what searches have found is.
    found: &'static str,
    words: &'static [&'static str],
    check: fn(&[u8]) -> bool,
}

const HAPROXY: Program =
    Program { folder: "import", end: "cfg", found: "import", words: &WORDS, check: haproxy::check };
const KEEPALIVED: Program = Program {
    folder: "import/keepalived",
    end: "conf",
    found: "import-keepalived",
    words: &WORDS_OF_KEEPALIVED,
    check: keepalived::check,
};

/// The files of the golden tests, and what searches have found, as bytes: not all of it is text.
fn corpus(program: &Program) -> Vec<Vec<u8>> {
    let folder = |name: &str| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    };
    let mut files = folder(&format!("tests/{}", program.folder));
    files.retain(|path| path.extension().is_some_and(|end| end == program.end));
    files.extend(folder(&format!("tests/fuzz/corpus/{}", program.found)));
    assert!(files.len() >= 14, "the files are not there");
    files.iter().map(|path| fs::read(path).unwrap()).collect()
}

#[test]
fn what_searches_have_kept_is_converted_or_refused_with_one_sentence() {
    for program in [HAPROXY, KEEPALIVED] {
        let corpus = corpus(&program);
        let taken = corpus.iter().filter(|bytes| (program.check)(bytes)).count();
        assert!(taken > corpus.len() / 2, "{}: {taken} of {}", program.folder, corpus.len());
    }
}

/// One to six changes of a file, lines of other files among them.
fn mutated(corpus: &[Vec<u8>], words: &[&str], random: &mut Random) -> Vec<u8> {
    let mut bytes = corpus[random.below(corpus.len())].clone();
    for _ in 0..=random.below(6) {
        let start = random.below(bytes.len() + 1);
        let end = (start + random.below(24)).min(bytes.len());
        match random.below(6) {
            0 => drop(bytes.drain(start..end)),
            1 => {
                let piece = bytes[start..end].to_vec();
                bytes.splice(start..start, piece);
            }
            2 | 3 => {
                let other = &corpus[random.below(corpus.len())];
                let lines: Vec<_> = other.split_inclusive(|byte| *byte == b'\n').collect();
                let begin = bytes[..start].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                bytes.splice(begin..begin, lines[random.below(lines.len())].to_vec());
            }
            4 if start < bytes.len() => bytes[start] = u8::try_from(random.below(256)).unwrap(),
            _ => drop(bytes.splice(start..start, words[random.below(words.len())].bytes())),
        }
    }
    bytes
}

fn search(program: &Program) {
    let number = |name| std::env::var(name).ok().map(|text: String| text.parse::<u64>().unwrap());
    let (seed, limit) = (number("FUZZ_SEED").unwrap_or(1), number("FUZZ_SECONDS").map(Duration::from_secs));
    let (corpus, mut random, start) = (corpus(program), Random(seed), Instant::now());
    let (mut rounds, mut taken) = (0, 0);
    while limit.map_or(rounds < ROUNDS, |limit| start.elapsed() < limit) {
        let bytes = mutated(&corpus, program.words, &mut random);
        match catch_unwind(|| (program.check)(&bytes)) {
            Ok(fine) => taken += u64::from(fine),
            Err(_) => panic!("seed {seed}, round {rounds}:\n{}", String::from_utf8_lossy(&bytes)),
        }
        rounds += 1;
    }
    println!("{rounds} files, {taken} taken, none wrong");
    assert!(taken > rounds / 8, "{taken} of {rounds} taken: the search sees only refusals");
}

#[test]
fn changed_files_of_haproxy_are_converted_or_refused_with_one_sentence_and_never_make_it_panic() {
    search(&HAPROXY);
}

#[test]
fn changed_files_of_keepalived_are_converted_or_refused_with_one_sentence_and_never_make_it_panic() {
    search(&KEEPALIVED);
}
