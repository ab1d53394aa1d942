//! Two machines with systemd, two servers behind them, and clients.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::SystemTime,
};

use lb_tests::{
    machine::{self, Beside, Machine, PATIENCE},
    program,
    scene::STARVATION,
    wait,
};
use lbctl::lab::{BALANCERS, Report, Sample, VIP};
use serde_json::Value;

use super::{put_packages, text};

/// Both nodes, and what is beside them.
pub(super) struct Pair {
    pub(super) nodes: [Machine; 2],
    _servers: [Beside; 2],
}

impl Pair {
    pub(super) fn boot(folder: &Path) -> Self {
        machine::build_network(&["198.51.100.1/24", "198.51.100.141/24", "198.51.100.142/24"]);
        let servers =
            [("web1", "198.51.100.141:80"), ("web2", "198.51.100.142:80")].map(|(name, address)| {
                Beside::start(
                    Command::new(program::lbctl()).args(["lab", "web", "--name", name, "--listen", address]),
                )
            });
        let nodes = thread::scope(|scope| {
            [("lb1", "198.51.100.11/24"), ("lb2", "198.51.100.12/24")]
                .map(|(name, address)| scope.spawn(move || Machine::boot(folder, name, address)))
                .map(|booted| booted.join().unwrap())
        });
        for node in &nodes {
            put_packages(folder, node.root());
        }
        Self { nodes, _servers: servers }
    }

    pub(super) fn node(&self, name: &str) -> &Machine {
        &self.nodes[BALANCERS.iter().position(|node| *node == name).unwrap()]
    }

    pub(super) fn node_mut(&mut self, name: &str) -> &mut Machine {
        &mut self.nodes[BALANCERS.iter().position(|node| *node == name).unwrap()]
    }

    pub(super) fn has_address(&self, name: &str) -> bool {
        self.node(name).said("ip -o -4 address show").contains(&format!(" {VIP}/"))
    }

    /// The one that has the address; the other one has it not.
    #[track_caller]
    pub(super) fn holder(&self) -> &'static str {
        wait::until("one node has the address", PATIENCE, || {
            match BALANCERS.map(|name| self.has_address(name)) {
                [true, false] => Some(BALANCERS[0]),
                [false, true] => Some(BALANCERS[1]),
                _ => None,
            }
        })
    }

    #[track_caller]
    pub(super) fn wait_for_holder(&self, name: &str) {
        wait::until(&format!("{name} has the address"), PATIENCE, || (self.holder() == name).then_some(()));
    }

    pub(super) fn status(&self, name: &str) -> Value {
        let output = self.node(name).run("lbctl status --json");
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// How often the daemons that run have seen their nodes take the address.
    #[track_caller]
    pub(super) fn claims(&self) -> usize {
        let of = |name| {
            let status = self.status(name);
            let transitions = status["groups"][0]["transitions"].as_array().expect("it answers").clone();
            transitions.iter().filter(|transition| transition["to"] == "Active").count()
        };
        BALANCERS.into_iter().map(of).sum()
    }

    /// Lines of the nodes since then that say that a process was not run for a second or the like.
    pub(super) fn signs_of_starvation(&self, since: SystemTime) -> Vec<String> {
        let since = since.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let journals = self.nodes.iter().map(|node| {
            text(&node.run(&format!("journalctl --no-pager -o short-precise -u lbctl --since @{since}")))
        });
        let is_sign = |line: &&str| STARVATION.iter().any(|sign| line.contains(sign));
        let signs = |journal: String| journal.lines().filter(is_sign).map(str::to_owned).collect::<Vec<_>>();
        journals.flat_map(signs).collect()
    }

    /// Both serve, and could take over.
    #[track_caller]
    pub(super) fn wait_until_well(&self) {
        for name in BALANCERS {
            wait::until(&format!("{name} has no problems"), PATIENCE, || {
                (self.status(name)["problems"] == serde_json::json!([])).then_some(())
            });
        }
    }
}

/// Clients of the address.
pub(super) struct Clients {
    running: Beside,
    samples: Arc<Mutex<Vec<Sample>>>,
    reader: thread::JoinHandle<()>,
}

impl Clients {
    pub(super) fn start() -> Self {
        let mut command = Command::new(program::lbctl());
        command.args(["lab", "load", "--rate", "100", "--seconds", "600", "--patience", "10000"]);
        let mut running = Beside::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
        let (samples, output) =
            (Arc::<Mutex<Vec<Sample>>>::default(), running.process().stdout.take().unwrap());
        let collected = Arc::clone(&samples);
        let reader = thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                let batch: Vec<Sample> = serde_json::from_str(&line.unwrap()).unwrap();
                collected.lock().unwrap().extend(batch);
            }
        });
        let clients = Self { running, samples, reader };
        clients.wait_for_more();
        clients
    }

    /// Waits for a hundred further answers.
    #[track_caller]
    pub(super) fn wait_for_more(&self) {
        let answered = || Report::new(self.samples.lock().unwrap().clone()).ok();
        let before = answered();
        wait::until("clients are served", PATIENCE, || (answered() > before + 100).then_some(()));
    }

    /// Ends them; nobody was refused anything.
    #[track_caller]
    pub(super) fn end_without_failures(mut self) {
        self.wait_for_more();
        drop(self.running.process().stdin.take());
        self.running.process().wait().unwrap();
        self.reader.join().unwrap();
        let report = Report::new(self.samples.lock().unwrap().clone());
        assert_eq!(report.failures(), Default::default());
    }
}
