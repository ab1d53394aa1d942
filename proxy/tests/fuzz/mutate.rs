//! The corpus of a target, and a seeded mutator over it.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    time::{Duration, Instant},
};

/// Inputs of an ordinary run, beside the corpus.
const ROUNDS: u64 = 3_000;

/// What HTTP is made of.
const WORDS: [&[u8]; 49] = [
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b"\0",
    b"\x7f",
    b"\xff",
    b"0\r\n\r\n",
    b"\r\n\r\n",
    b"5\r\nhello\r\n",
    b"GET ",
    b"POST ",
    b"HEAD ",
    b"OPTIONS * ",
    b"CONNECT a:1 ",
    b"http://a:80",
    b"//",
    b"..",
    b"%2f",
    b"?",
    b"#",
    b" HTTP/1.1",
    b" HTTP/1.0",
    b"HTTP/1.1 200 OK",
    b"HTTP/1.1 204 x",
    b"HTTP/1.1 101 x",
    b"Host: a\r\n",
    b"Host: b\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: 18446744073709551615\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Connection: close\r\n",
    b"Connection: upgrade, host\r\n",
    b"Upgrade: websocket\r\nSec-WebSocket-Key: x\r\n",
    b"Expect: 100-continue\r\n",
    b"TE: trailers\r\n",
    b"X: y\r\n",
    b"X-Rule: z\r\n",
    b"Cookie: SRV=one; a=b\r\n",
    b"SRV=one~",
    b"Accept-Encoding: gzip\r\n",
    b"Accept-Encoding: deflate;q=0.5, *;q=0\r\n",
    b"ffffffffffffffff\r\n",
];

/// splitmix64
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// 0..bound
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap()
    }
}

/// The inputs of a target, by file name.
pub(crate) fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let mut inputs: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap()))
        .collect();
    inputs.sort();
    assert!(inputs.len() >= 5, "the corpus is not where it should be: {}", folder.display());
    inputs
}

/// One to six changes of one of the inputs.
pub(crate) fn mutated(corpus: &[(String, Vec<u8>)], random: &mut Random) -> Vec<u8> {
    let mut bytes = corpus[random.below(corpus.len())].1.clone();
    for _ in 0..=random.below(6) {
        let at = random.below(bytes.len() + 1);
        let end = (at + random.below(16)).min(bytes.len());
        match random.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 => drop(bytes.drain(at..end)),
            2 => bytes.insert(at, u8::try_from(random.below(256)).unwrap()),
            3 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            4 => {
                let other = &corpus[random.below(corpus.len())].1;
                let cut = random.below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[cut..]);
            }
            _ => {
                let word = WORDS[random.below(WORDS.len())];
                bytes.splice(at..at, word.iter().copied());
            }
        }
    }
    bytes.truncate(40_000);
    bytes
}

/// How long a run lasts, and from which seed.
pub(crate) fn plan() -> (u64, Option<Duration>) {
    let number = |name| std::env::var(name).ok().map(|text: String| text.parse::<u64>().unwrap());
    (number("FUZZ_SEED").unwrap_or(1), number("FUZZ_SECONDS").map(Duration::from_secs))
}

/// Replays the corpus, then mutates it. A panic is told with the input that made it.
pub(crate) fn search(name: &str, target: impl Fn(&[u8])) {
    let corpus = corpus(name);
    let try_one = |what: &str, bytes: &[u8]| {
        if catch_unwind(AssertUnwindSafe(|| target(bytes))).is_err() {
            panic!("{name}, {what}: b\"{}\"", bytes.escape_ascii());
        }
    };
    for (file, bytes) in &corpus {
        try_one(file, bytes);
    }
    let (seed, limit) = plan();
    let (mut random, start, mut rounds) = (Random(seed), Instant::now(), 0);
    while limit.map_or(rounds < ROUNDS, |limit| start.elapsed() < limit) {
        let bytes = mutated(&corpus, &mut random);
        try_one(&format!("seed {seed}, round {rounds}"), &bytes);
        rounds += 1;
    }
    println!("{name}: {} of the corpus and {rounds} mutated, none wrong", corpus.len());
}
