//! What docs/scaling.md says of ECMP, with FRR on two nodes and on a router, and clients behind that: by the book's own files.
//!
//! ```text
//!  users (a namespace of the router's) ── client: zebra, bgpd ──┬── lb1: lbctl, zebra, bgpd, lbctl-route ──┬── web1, web2
//!   203.0.113.130                         the router            └── lb2: the same                        ──┘
//! ```

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::{cell::RefCell, fs, path::Path, time::Duration};

use lb_tests::{program, scene::Scene, wait};
use lbctl::lab::{BALANCERS, How, Options, Spawned};
use nix::sys::signal::Signal;

const PATIENCE: Duration = Duration::from_secs(60);
const ROUTER: &str = "client";
/// The names of the book, and those of the lab. One that begins like another comes behind it.
const NAMES: [(&str, &str); 5] = [
    ("192.0.2.11", "198.51.100.11"),
    ("192.0.2.12", "198.51.100.12"),
    ("192.0.2.21", "198.51.100.141"),
    ("192.0.2.22", "198.51.100.142"),
    ("192.0.2.1", "198.51.100.100"),
];

/// A block of the section, with the lab's names: that of this language with these words in it.
fn block(language: &str, words: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/scaling.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, section) = page.split_once("\n## ECMP\n").expect("the section is there");
    let blocks = section.split("```").skip(1).step_by(2);
    let found = blocks.filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n'));
    let mut found = found.filter(|block| block.contains(words));
    let text = found.next().unwrap_or_else(|| panic!("no block of {language} has {words}")).to_owned();
    assert!(found.next().is_none(), "several blocks of {language} have {words}");
    NAMES.iter().fold(text, |text, (theirs, ours)| text.replace(theirs, ours))
}

/// A node at work: what the book has systemd start there.
struct Node<'s> {
    scene: &'s Scene,
    name: &'static str,
    lbctl: RefCell<Option<Spawned<'s>>>,
    route: RefCell<Option<Spawned<'s>>>,
    bgpd: RefCell<Option<Spawned<'s>>>,
}

impl<'s> Node<'s> {
    fn start(scene: &'s Scene, name: &'static str, address: &str) -> Self {
        scene.shell(name, "ip address add 203.0.113.10/32 dev lo");
        // The way back to those behind the router.
        scene.shell(name, "ip route add 203.0.113.128/25 via 198.51.100.100");
        scene.write_file(name, "/run/lb.toml", &block("toml", "/ready")).unwrap();
        scene.write_file(name, "/run/lbctl-route", &block("bash", "withdraw")).unwrap();
        let file = block("text", "router bgp 64512")
            .replace("router-id 198.51.100.11", &format!("router-id {address}"));
        scene.write_file(name, "/run/frr.conf", &file).unwrap();
        let node = Self {
            scene,
            name,
            lbctl: RefCell::default(),
            route: RefCell::default(),
            bgpd: RefCell::default(),
        };
        zebra(scene, name);
        node.start_bgpd();
        node.start_lbctl();
        node.start_route();
        node
    }

    fn spawn(&self, name: &str, command: &[&str]) -> Option<Spawned<'s>> {
        Some(self.scene.spawn(self.name, name, command).unwrap())
    }

    fn start_bgpd(&self) {
        *self.bgpd.borrow_mut() = Some(bgpd(self.scene, self.name));
    }

    fn start_lbctl(&self) {
        *self.lbctl.borrow_mut() = self.spawn("lbctl", &[&program::lbctl(), "run", "/run/lb.toml"]);
        wait::until("it is ready", PATIENCE, || {
            let asked = ["curl", "-sf", "--max-time", "5", "http://203.0.113.10/ready"];
            self.scene.exec(self.name, asked).unwrap().success().then_some(())
        });
    }

    fn start_route(&self) {
        // In a group of its own, whose number it says itself: setsid may fork.
        let script = "exec setsid --wait sh -c 'echo $$ >/run/route.pid; exec sh /run/lbctl-route'";
        *self.route.borrow_mut() = self.spawn("route", &["sh", "-c", script]);
    }

    /// As systemd ends a unit, with all that it has started, and runs what comes after.
    fn stop_route(&self) {
        let running = self.route.borrow_mut().take().unwrap();
        // Whatever it has begun ends with it, also a vtysh that would announce the route once more.
        self.scene.shell(self.name, "kill -s KILL -- -$(cat /run/route.pid)");
        let _ = running.wait();
        self.scene.shell(self.name, "sh /run/lbctl-route withdraw");
    }

    /// How many requests it has served.
    fn served(&self) -> u64 {
        let status = self.scene.status_of(self.name);
        let frontends = status["frontends"].as_array().unwrap();
        frontends.iter().map(|frontend| frontend["requests_total"].as_u64().unwrap()).sum()
    }
}

fn end(running: &RefCell<Option<Spawned<'_>>>, signal: Signal) {
    let running = running.borrow_mut().take().unwrap();
    running.signal(signal).unwrap();
    running.wait().unwrap();
}

fn spawn_frr<'s>(scene: &'s Scene, node: &str, daemon: &str, words: &[&str]) -> Spawned<'s> {
    let path = format!("/usr/lib/frr/{daemon}");
    assert!(Path::new(&path).exists(), "{path} is missing: tests/run installs it (the package frr)");
    let command = [path.as_str(), "--vty_addr", "127.0.0.1"].into_iter().chain(words.iter().copied());
    // A daemon that was killed has left its own.
    scene.shell(node, &format!("rm -f /run/frr/{daemon}.vty"));
    let running = scene.spawn(node, daemon, command).unwrap();
    let socket = format!("test -S /run/frr/{daemon}.vty");
    wait::until(daemon, PATIENCE, || {
        scene.exec(node, ["sh", "-c", &socket]).unwrap().success().then_some(())
    });
    running
}

/// The kernel's routes. Each node has a `/run` of its own, so FRR finds its folder where it always is.
fn zebra(scene: &Scene, node: &str) {
    scene.shell(node, "mkdir /run/frr && chown frr:frr /run/frr");
    let _ = spawn_frr(scene, node, "zebra", &["--nl-bufsize", "90000000"]);
}

/// BGP, with the node's file.
fn bgpd<'s>(scene: &'s Scene, node: &str) -> Spawned<'s> {
    let running = spawn_frr(scene, node, "bgpd", &[]);
    scene.shell(node, "vtysh -f /run/frr.conf");
    running
}

fn start_router(scene: &Scene) {
    scene.shell(
        ROUTER,
        "ip netns add users && ip link add users type veth peer name eth0 netns users && ip link set users up && \
         ip address add 203.0.113.129/25 dev users && sysctl -qw net.ipv4.ip_forward=1 && \
         ip -n users address add 203.0.113.130/25 dev eth0 && ip -n users link set eth0 up && ip -n users route add default via 203.0.113.129",
    );
    scene.shell(ROUTER, "sysctl -w net.ipv4.fib_multipath_hash_policy=1");
    scene.write_file(ROUTER, "/run/frr.conf", &block("text", "router bgp 64513")).unwrap();
    zebra(scene, ROUTER);
    let _ = bgpd(scene, ROUTER);
}

/// Waits until the router's kernel has exactly these next hops.
#[track_caller]
fn wait_for_hops(scene: &Scene, addresses: &[&str], when: &str) {
    let mut last = String::new();
    let found = wait::at_most(PATIENCE, || {
        last = scene.shell(ROUTER, "ip route show 203.0.113.10");
        let hops: Vec<&str> = last.split("via ").skip(1).filter_map(|rest| rest.split(' ').next()).collect();
        (hops.len() == addresses.len() && addresses.iter().all(|one| hops.contains(one))).then_some(())
    });
    let told = || scene.shell(ROUTER, "vtysh -c 'show bgp ipv4 unicast summary'");
    assert!(found.is_some(), "{when}: {addresses:?} are not the next hops: {last}{}", told());
}

/// So many requests of users, each on a connection of its own: how many were not answered.
fn failures(scene: &Scene, requests: usize) -> usize {
    let script = format!(
        "for one in $(seq {requests}); do ip netns exec users curl -s -o /dev/null --max-time 2 -w '%{{http_code}}\\n' \
         http://203.0.113.10/; done; true"
    );
    let said = scene.shell(ROUTER, &script);
    assert_eq!(said.lines().count(), requests, "{said}");
    said.lines().filter(|code| *code != "200").count()
}

#[test]
fn a_router_sends_clients_to_every_node_that_is_ready_and_to_no_other() {
    let scene = Scene::new(&Options::default().without_daemons());
    start_router(&scene);
    let addresses = ["198.51.100.11", "198.51.100.12"];
    let [one, other] = [0, 1].map(|index| Node::start(&scene, BALANCERS[index], addresses[index]));
    wait_for_hops(&scene, &addresses, "both are ready");
    assert_eq!(failures(&scene, 60), 0);
    assert!(one.served() >= 10 && other.served() >= 10, "{} and {}", one.served(), other.served());

    let leaves_and_comes_back = |what: &str, leave: &dyn Fn(), is_alive: bool, come_back: &dyn Fn()| {
        leave();
        wait_for_hops(&scene, &addresses[1..], what);
        let before = is_alive.then(|| one.served());
        assert_eq!(failures(&scene, 30), 0, "{what}");
        assert_eq!(is_alive.then(|| one.served()), before, "{what}: nobody comes here");
        come_back();
        wait_for_hops(&scene, &addresses, &format!("{what}, and back"));
        let before = one.served();
        assert_eq!(failures(&scene, 40), 0, "{what}, and back");
        assert!(one.served() > before, "{what}, and back: it has clients again");
    };
    leaves_and_comes_back(
        "it sees no server",
        &|| {
            let _ = scene.fail("lb1", How::Backends).unwrap();
        },
        true,
        &|| {
            let _ = scene.heal("lb1").unwrap();
        },
    );
    leaves_and_comes_back("it is drained", &|| one.stop_route(), true, &|| one.start_route());
    leaves_and_comes_back("lbctl is killed", &|| end(&one.lbctl, Signal::SIGKILL), false, &|| {
        one.start_lbctl()
    });
    leaves_and_comes_back(
        "its network is gone",
        &|| {
            let _ = scene.fail("lb1", How::Cable).unwrap();
        },
        true,
        &|| {
            let _ = scene.heal("lb1").unwrap();
        },
    );
    // What it announced is in no file.
    leaves_and_comes_back("bgpd is killed", &|| end(&one.bgpd, Signal::SIGKILL), true, &|| one.start_bgpd());
}
