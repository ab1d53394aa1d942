//! A pair that signs its advertisements: one step after the other, a forger, a secret that differs.

use std::{
    fs,
    net::Ipv4Addr,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

use super::{
    ADDED_2, Bridge, Node, REMOVED_1, Recorder,
    forged::{in_the_name_of, message, raw_socket, send},
    in_namespace, started,
    unicast::{hears, is, stop},
    wait_for,
};

const LB1: [u8; 4] = [198, 51, 100, 11];
const LB2: [u8; 4] = [198, 51, 100, 12];

/// The file of both nodes, which each of them reads when it is told.
struct Cluster {
    path: PathBuf,
    text: String,
}

impl Cluster {
    fn new(bridge: &Bridge) -> Self {
        let path = bridge.folder.path().join("lb.toml");
        let cluster = Self { text: fs::read_to_string(&path).unwrap(), path };
        cluster.set_secret("correct horse battery staple");
        cluster
    }

    fn set_secret(&self, secret: &str) {
        let path = self.path.with_file_name("secret");
        fs::write(&path, secret).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn sign(&self, step: &str) {
        let keys = match step {
            "off" => "secret_file = \"secret\"\n".to_owned(),
            step => format!("secret_file = \"secret\"\nsign_advertisements = \"{step}\"\n"),
        };
        fs::write(&self.path, self.text.replacen("[cluster]\n", &format!("[cluster]\n{keys}"), 1)).unwrap();
    }
}

pub(super) fn reload(node: &Node) -> Output {
    let mut reload = Command::new(env!("CARGO_BIN_EXE_lbctl"));
    reload.args(["reload", "--control"]).arg(node.folder().join("control.sock")).output().unwrap()
}

#[track_caller]
fn refused(node: &Node, why: &str) {
    let output = reload(node);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains(why), "{said}");
}

fn problems(node: &Node) -> String {
    node.status()["problems"].to_string()
}

/// An advertisement of lb1 as it is on the wire, with its IP header.
fn recorded() -> Vec<u8> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(112))).unwrap();
    let bridge = nix::net::if_::if_nametoindex("br0").unwrap();
    let group = Ipv4Addr::new(224, 0, 0, 18);
    socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(bridge)).unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut packet = [0; 200];
    wait_for("an advertisement of lb1", || {
        let length = std::io::Read::read(&mut &socket, &mut packet).ok()?;
        (packet[12..16] == LB1).then(|| packet[..length].to_vec())
    })
}

#[test]
fn a_pair_goes_step_by_step_to_signatures_and_a_forger_moves_nothing() {
    in_namespace("signed::a_pair_goes_step_by_step_to_signatures_and_a_forger_moves_nothing", || {
        let bridge = Bridge::new("");
        let cluster = Cluster::new(&bridge);
        cluster.sign("off");
        let (mut lb1, lb2) = started(&bridge);
        let record = Recorder::start(&lb1, Some(&lb2));
        let heard = |node: &Node, signs: &str| {
            wait_for("the hello says how far the other node is", || {
                (node.status()["peers"][0]["signs"] == signs).then_some(())
            });
        };
        // Each node in turn, and each pair of steps that are in force meanwhile.
        let go = |step: &str| {
            cluster.sign(step);
            for (node, other) in [(&lb2, &lb1), (&lb1, &lb2)] {
                let output = reload(node);
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                heard(other, step);
                hears(&lb2);
                assert_eq!([lb1.state(), lb2.state()], ["Active", "Backup"], "{step}");
            }
        };
        heard(&lb1, "off");
        cluster.sign("require");
        refused(&lb2, "sign_advertisements can't skip a step");
        go("send");
        go("accept");
        assert_eq!(problems(&lb2).matches("not to be trusted").count(), 0, "{}", problems(&lb2));
        go("require");
        assert!(lb2.counter("unsigned_received") > 0, "heard until both signed");
        for name in ["reject_unsigned", "reject_signature", "reject_replayed"] {
            assert_eq!([lb1.counter(name), lb2.counter(name)], [0, 0], "{name}");
        }

        // 255 would make the Active go, 0 make the Backup take over.
        let forger = raw_socket(255);
        forger.set_header_included_v4(true).unwrap();
        for (source, node) in [(LB2, &lb1), (LB1, &lb2)] {
            for priority in [255, 0] {
                let before = node.counter("reject_unsigned");
                send(&forger, &in_the_name_of(source, &message(priority, 10, 1, &[198, 51, 100, 10])));
                wait_for("it was dropped", || (node.counter("reject_unsigned") > before).then_some(()));
            }
        }
        let packet = recorded();
        assert_eq!(packet.len(), 20 + 12 + 52);
        hears(&lb2);
        let before = lb2.counter("reject_replayed");
        send(&forger, &packet);
        wait_for("what was heard before is dropped", || {
            (lb2.counter("reject_replayed") == before + 1).then_some(())
        });
        let mut changed = packet;
        changed[22] = 0;
        send(&forger, &changed);
        wait_for("it is named", || {
            let notes = lb2.status()["notes"].to_string();
            notes.contains("in the name of 198.51.100.11, which are dropped").then_some(())
        });
        assert!(!problems(&lb2).contains("not to be trusted"), "{}", problems(&lb2));
        hears(&lb2);
        assert_eq!([lb1.state(), lb2.state()], ["Active", "Backup"]);

        cluster.set_secret("wrong horse battery staple");
        refused(&lb2, "the secret can't change unless sign_advertisements is");
        cluster.set_secret("correct horse battery staple");
        cluster.sign("send");
        refused(&lb2, "sign_advertisements can't skip a step");
        go("accept");
        // The forger has resigned in the name of lb1.
        for moved in [REMOVED_1, ADDED_2] {
            assert_eq!(record.count(&moved), 0, "{moved:?}");
        }
        go("require");
        stop(&mut lb1);
        wait_for("lb2 has the address", || lb2.has_vip().then_some(()));
        assert!(!lb1.has_vip());
    });
}

/// What anybody can send in the name of both from before they start: they know each other by their hellos.
#[test]
fn a_pair_that_starts_is_held_down_by_nobody() {
    in_namespace("signed::a_pair_that_starts_is_held_down_by_nobody", || {
        let bridge = Bridge::new("");
        let cluster = Cluster::new(&bridge);
        cluster.sign("require");
        let (mut lb1, mut lb2) = (Node::new(&bridge, 1, true), Node::new(&bridge, 2, true));
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let sending = thread::spawn(move || {
            let forger = raw_socket(255);
            forger.set_header_included_v4(true).unwrap();
            let message = message(200, 10, 1, &[198, 51, 100, 10]);
            while !is_over.load(Ordering::Relaxed) {
                [LB1, LB2].iter().for_each(|source| send(&forger, &in_the_name_of(*source, &message)));
                thread::sleep(Duration::from_millis(20));
            }
        });
        lb1.start();
        lb2.start();
        // Waiting for the other one alone would take a minute.
        wait_for("one of them is Active", || (lb1.has_vip() || lb2.has_vip()).then_some(()));
        wait_for("both drop what is not signed", || {
            [&lb1, &lb2].iter().all(|node| node.counter("reject_unsigned") > 0).then_some(())
        });
        over.store(true, Ordering::Relaxed);
        sending.join().unwrap();
    });
}

/// A reload that the other node would not understand: the hello says so.
#[test]
fn a_node_that_is_ahead_of_the_other_is_refused() {
    in_namespace("signed::a_node_that_is_ahead_of_the_other_is_refused", || {
        let bridge = Bridge::new("");
        let cluster = Cluster::new(&bridge);
        cluster.sign("off");
        let (lb1, lb2) = started(&bridge);
        wait_for("the nodes know each other", || (lb2.status()["peers"][0]["signs"] == "off").then_some(()));
        for step in ["send", "accept"] {
            cluster.sign(step);
            assert!(reload(&lb2).status.success());
        }
        cluster.sign("require");
        refused(
            &lb2,
            "lb1 does not sign its advertisements yet, and they would be dropped; take it to \"send\" first",
        );
        hears(&lb2);
        assert_eq!([lb1.state(), lb2.state()], ["Active", "Backup"]);
    });
}

#[test]
fn a_node_with_another_secret_waits_and_takes_over_when_the_other_one_is_gone() {
    in_namespace(
        "signed::a_node_with_another_secret_waits_and_takes_over_when_the_other_one_is_gone",
        || {
            let bridge = Bridge::new("");
            let cluster = Cluster::new(&bridge);
            cluster.sign("require");
            let (mut lb1, mut lb2) = (Node::new(&bridge, 1, true), Node::new(&bridge, 2, true));
            lb1.start();
            is(&lb1, "Active");
            cluster.set_secret("wrong horse battery staple");
            lb2.start();
            wait_for("lb2 has dropped more than an Active_Down_Interval of advertisements", || {
                (lb2.counter("reject_signature") >= 6).then_some(())
            });
            assert_eq!([lb1.state(), lb2.state()], ["Active", "Backup"]);
            assert!(lb1.has_vip() && !lb2.has_vip());
            wait_for("both name it", || {
                (problems(&lb2).contains("198.51.100.11 is not to be trusted")
                    && problems(&lb1).contains("hellos of lb2 are signed with another secret"))
                .then_some(())
            });
            stop(&mut lb1);
            wait_for("lb2 has the address", || lb2.has_vip().then_some(()));
            assert!(!lb1.has_vip());
        },
    );
}
