//! The configuration against changed files: every good and bad file of the golden tests is the corpus; and the importer
//! against changed files of HAProxy's and Keepalived's.
//!
//! `FUZZ_SECONDS=1800 FUZZ_SEED=7 cargo test -p lbctl --test fuzz -- --nocapture` searches on.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::{
    fs,
    panic::catch_unwind,
    path::Path,
    time::{Duration, Instant},
};

#[path = "fuzz/file.rs"]
mod file;

#[path = "fuzz/haproxy.rs"]
mod haproxy;

#[path = "fuzz/import.rs"]
mod import;

#[path = "fuzz/keepalived.rs"]
mod keepalived;

/// Files of an ordinary run.
const ROUNDS: u64 = 1_000;

/// What files are made of.
const WORDS: [&str; 40] = [
    "\n",
    " = ",
    "\"",
    "'",
    "\"\"\"",
    "[",
    "]",
    "{",
    "}",
    ",",
    ".",
    "#",
    "\\u0000",
    "\u{0}",
    "ü",
    "\r",
    "true",
    "0",
    "-1",
    "65536",
    "1e9",
    "99999999999999999999",
    "\"5s\"",
    "\"192.0.2.1:80\"",
    "\"*:80\"",
    "\"{client.ip}\"",
    "\"{\"",
    "[backend.app]\n",
    "[listen.web]\n",
    "[map.x]\n",
    "[vip.web]\n",
    "[[frontend.web.rules]]\n",
    "rules",
    "servers",
    "bind",
    "when",
    "set_header",
    "timeout",
    "check",
    "mode = \"tcp\"\n",
];

/// splitmix64
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound.max(1) as u64).unwrap()
    }
}

/// The texts of the files in a folder of the golden tests.
fn corpus(name: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name);
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = paths.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    files.sort();
    assert!(files.len() > 5, "the files are not there");
    // One of them is no UTF-8 on purpose; another has a thousand faults and takes long.
    files.iter().filter_map(|path| fs::read_to_string(path).ok()).filter(|text| text.len() < 8_000).collect()
}

/// The nearest place at or before `at` where a character begins.
fn boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// One to four changes, mostly of a good file.
fn mutated([good, bad]: &[Vec<String>; 2], random: &mut Random) -> String {
    let base = if random.below(5) > 0 { good } else { bad };
    let mut text = base[random.below(base.len())].clone();
    for _ in 0..=random.below(4) {
        let start = boundary(&text, random.below(text.len() + 1));
        let end = boundary(&text, start + random.below(24)).max(start);
        match random.below(5) {
            0 => text.replace_range(start..end, ""),
            1 => {
                let piece = text[start..end].to_owned();
                text.insert_str(start, &piece);
            }
            2 => {
                let other = &bad[random.below(bad.len())];
                let line = other.lines().nth(random.below(other.lines().count())).unwrap_or_default();
                text.insert_str(start, &format!("\n{line}\n"));
            }
            _ => text.insert_str(start, WORDS[random.below(WORDS.len())]),
        }
    }
    text
}

#[test]
fn changed_files_are_taken_or_refused_with_a_report_and_never_make_it_panic() {
    let number = |name| std::env::var(name).ok().map(|text: String| text.parse::<u64>().unwrap());
    let (seed, limit) = (number("FUZZ_SEED").unwrap_or(1), number("FUZZ_SECONDS").map(Duration::from_secs));
    let (corpus, mut random, start) = (["good", "bad"].map(corpus), Random(seed), Instant::now());
    let (mut rounds, mut taken) = (0, 0);
    while limit.map_or(rounds < ROUNDS, |limit| start.elapsed() < limit) {
        let text = mutated(&corpus, &mut random);
        match catch_unwind(|| file::check(&text)) {
            Ok(fine) => taken += u64::from(fine),
            Err(_) => panic!("seed {seed}, round {rounds}:\n{text}"),
        }
        rounds += 1;
    }
    println!("{rounds} files, {taken} taken, none wrong");
    assert!(taken > rounds / 100, "{taken} of {rounds} taken: the search sees only refusals");
}
