//! Whole connections through a running proxy. The input itself chooses the byte at which it is split and the configuration,
//! so that the tests' corpus serves here as it is: what reaches a server is what was decided, and its answer the client.
#![no_main]
#![allow(dead_code, unused_imports, reason = "shared with the tests")]

use std::sync::OnceLock;

#[path = "../../tests/fuzz/client.rs"]
mod client;
#[path = "../../tests/fuzz/exchange.rs"]
mod exchange;
#[path = "../../tests/fuzz/heads.rs"]
mod heads;
#[path = "../../tests/fuzz/mutate.rs"]
mod mutate;
#[path = "../../tests/fuzz/oracle.rs"]
mod oracle;
#[path = "../../tests/loopback/rig.rs"]
mod rig;
#[path = "../../tests/fuzz/stage.rs"]
mod stage;
#[path = "../../tests/fuzz/verdict.rs"]
mod verdict;

/// One for all inputs: starting a proxy takes longer than an exchange.
struct Theatre {
    runtime: tokio::runtime::Runtime,
    stages: Vec<stage::Stage>,
}

impl Theatre {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let stages =
            stage::KINDS.into_iter().map(|kind| runtime.block_on(stage::Stage::start(kind))).collect();
        Self { runtime, stages }
    }

    fn run(&self, input: &[u8]) {
        let sum = input.iter().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
        let (first, rest) = input.split_at(sum % (input.len() + 1));
        let stage = sum / (input.len() + 1) % self.stages.len();
        self.runtime.block_on(exchange::check(&self.stages[stage], &[first, rest]));
    }
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    static THEATRE: OnceLock<Theatre> = OnceLock::new();
    THEATRE.get_or_init(Theatre::new).run(input);
});
