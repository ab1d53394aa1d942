//! Whole connections through a running proxy, split at a byte that the input itself chooses, so that the tests' corpus
//! serves here as it is: what reaches a server is what was decided.
#![no_main]
#![allow(dead_code, unused_imports, reason = "shared with the tests")]

use std::sync::OnceLock;

use lb_proxy::{Proxy, config::Mode};

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

/// One for all inputs: starting it takes longer than an exchange.
struct Stage {
    runtime: tokio::runtime::Runtime,
    proxy: Proxy,
    log: exchange::Log,
    _server: rig::Scripted,
}

impl Stage {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let log = exchange::Log::default();
        let (proxy, server) = runtime.block_on(async {
            let server = exchange::server(log.clone()).await;
            let proxy = Proxy::start(rig::config(Mode::Http, &[server.address])).expect("starts");
            (proxy, server)
        });
        Self { runtime, proxy, log, _server: server }
    }

    fn run(&self, input: &[u8]) {
        let sum = input.iter().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
        let (first, rest) = input.split_at(sum % (input.len() + 1));
        self.runtime.block_on(exchange::check(&self.proxy, &self.log, &[first, rest]));
    }
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    STAGE.get_or_init(Stage::new).run(input);
});
