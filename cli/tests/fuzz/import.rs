//! `lbctl import` against changed files of HAProxy's. Whatever comes in, it ends with a file that our own reader takes, or
//! with one sentence about why not.

use std::{
    fs,
    panic::catch_unwind,
    path::Path,
    time::{Duration, Instant},
};

use super::{Random, haproxy::check};

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

/// The files of the golden tests, and what searches have found, as bytes: not all of it is text.
fn corpus() -> Vec<Vec<u8>> {
    let folder = |name: &str| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    };
    let mut files = folder("tests/import");
    files.retain(|path| path.extension().is_some_and(|end| end == "cfg"));
    files.extend(folder("tests/fuzz/corpus/import"));
    assert!(files.len() > 40, "the files are not there");
    files.iter().map(|path| fs::read(path).unwrap()).collect()
}

#[test]
fn what_searches_have_kept_is_converted_or_refused_with_one_sentence() {
    let corpus = corpus();
    let taken = corpus.iter().filter(|bytes| check(bytes)).count();
    assert!(taken > corpus.len() / 2, "{taken} of {}", corpus.len());
}

/// One to six changes of a file, lines of other files among them.
fn mutated(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
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
            _ => drop(bytes.splice(start..start, WORDS[random.below(WORDS.len())].bytes())),
        }
    }
    bytes
}

#[test]
fn changed_files_of_haproxy_are_converted_or_refused_with_one_sentence_and_never_make_it_panic() {
    let number = |name| std::env::var(name).ok().map(|text: String| text.parse::<u64>().unwrap());
    let (seed, limit) = (number("FUZZ_SEED").unwrap_or(1), number("FUZZ_SECONDS").map(Duration::from_secs));
    let (corpus, mut random, start) = (corpus(), Random(seed), Instant::now());
    let (mut rounds, mut taken) = (0, 0);
    while limit.map_or(rounds < ROUNDS, |limit| start.elapsed() < limit) {
        let bytes = mutated(&corpus, &mut random);
        match catch_unwind(|| check(&bytes)) {
            Ok(fine) => taken += u64::from(fine),
            Err(_) => panic!("seed {seed}, round {rounds}:\n{}", String::from_utf8_lossy(&bytes)),
        }
        rounds += 1;
    }
    println!("{rounds} files, {taken} taken, none wrong");
    assert!(taken > rounds / 4, "{taken} of {rounds} taken: the search sees only refusals");
}
