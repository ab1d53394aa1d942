//! Byte strings against the codec and a running proxy: a committed corpus, replayed and mutated with a seed.
//!
//! The ordinary run is short and always the same. `FUZZ_SECONDS=1800 FUZZ_SEED=7 cargo test --release -p lb-proxy --test
//! fuzz -- --nocapture` searches on; what it finds becomes a file of the corpus (`fuzz/corpus/TARGET/`).
#![allow(clippy::unwrap_used, reason = "tests")]

#[allow(dead_code, reason = "shared with the loopback tests")]
#[path = "loopback/rig.rs"]
mod rig;

#[allow(dead_code, reason = "shared with the tests of HTTP/2")]
#[path = "http2/frames.rs"]
mod frames;

#[path = "fuzz/chunked.rs"]
mod chunked;
#[path = "fuzz/client.rs"]
mod client;
#[path = "fuzz/client_hello.rs"]
mod client_hello;
#[path = "fuzz/exchange.rs"]
mod exchange;
#[path = "fuzz/heads.rs"]
mod heads;
#[path = "fuzz/hpack.rs"]
mod hpack;
#[path = "fuzz/http2.rs"]
mod http2;
#[path = "fuzz/mutate.rs"]
mod mutate;
#[path = "fuzz/oracle.rs"]
mod oracle;
#[path = "fuzz/proxy_header.rs"]
mod proxy_header;
#[path = "fuzz/stage.rs"]
mod stage;
#[path = "fuzz/verdict.rs"]
mod verdict;
