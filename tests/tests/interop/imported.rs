//! A pair of HAProxy and Keepalived that changes over, one node after the other: what `lbctl import --foreign` makes of its files
//! says the same on the wire as Keepalived does with them.

use std::process::Command;

use lb_tests::{capture, program};

use super::*;

/// The files of both nodes; only the addresses of the lab are in them.
struct Pair {
    name: &'static str,
    global: &'static str,
    /// With `STATE`, `PRIORITY`, and `OWN` and `OTHER` for the last parts of the nodes' own addresses.
    instances: &'static str,
    /// What advertisements are sent to.
    destination: &'static str,
}

const HAPROXY: &str = "defaults\n mode http\n timeout connect 5s\n timeout client 50s\n timeout server 50s\n\
    listen web\n bind 198.51.100.10:80\n server web1 198.51.100.141:80 check inter 500ms\n \
    server web2 198.51.100.142:80 check inter 500ms\n";

const PASS: Pair = Pair {
    name: "pass",
    global: "",
    instances: "vrrp_script chk { script \"/usr/bin/killall -0 haproxy\" }\n\
        vrrp_instance VI_1 {\n state STATE\n interface eth0\n virtual_router_id 77\n priority PRIORITY\n advert_int 1\n\
        authentication {\n auth_type PASS\n auth_pass s3cr3t\n }\n virtual_ipaddress {\n 198.51.100.10/24 dev eth0 label eth0:1\n \
        198.51.100.15\n }\n}\n",
    destination: "ip dst 224.0.0.18",
};

const VERSION_3: Pair = Pair {
    name: "version-3",
    global: " vrrp_version 3\n",
    instances: "vrrp_instance VI_1 {\n state STATE\n interface eth0\n virtual_router_id 51\n priority PRIORITY\n advert_int 0.25\n\
        virtual_ipaddress {\n 198.51.100.10\n }\n}\n",
    destination: "ip dst 224.0.0.18",
};

const UNICAST: Pair = Pair {
    name: "unicast",
    global: "",
    instances: "vrrp_instance VI_1 {\n version 3\n state STATE\n interface eth0\n virtual_router_id 9\n priority PRIORITY\n \
        unicast_src_ip 198.51.100.OWN\n unicast_peer {\n 198.51.100.OTHER\n }\n virtual_ipaddress {\n 198.51.100.10\n }\n}\n",
    destination: "ip dst 198.51.100.12",
};

const IPV6: Pair = Pair {
    name: "ipv6",
    global: " vrrp_version 3\n",
    instances: "vrrp_instance VI_4 {\n state STATE\n interface eth0\n virtual_router_id 51\n priority PRIORITY\n advert_int 0.5\n\
        virtual_ipaddress {\n 198.51.100.10\n }\n}\n\
        vrrp_instance VI_6 {\n state STATE\n interface eth0\n virtual_router_id 51\n priority PRIORITY\n advert_int 0.5\n\
        virtual_ipaddress {\n fe80::10\n 2001:db8:f::10\n }\n}\n",
    destination: "ip6 dst ff02::12",
};

impl Pair {
    fn file(&self, node: &str) -> String {
        let [state, priority, own, other] = match node {
            "lb1" => ["MASTER", "150", "11", "12"],
            _ => ["BACKUP", "100", "12", "11"],
        };
        let instances = self.instances.replace("STATE", state).replace("PRIORITY", priority);
        let instances = instances.replace("OWN", own).replace("OTHER", other);
        format!("global_defs {{\n router_id {node}\n{}}}\n{instances}", self.global)
    }

    /// What `lbctl import` makes of all three files.
    fn imported(&self) -> String {
        let folder = tempfile::tempdir().unwrap();
        let files =
            [("haproxy.cfg", HAPROXY), ("lb1.conf", &self.file("lb1")), ("lb2.conf", &self.file("lb2"))];
        let mut command = Command::new(program::lbctl());
        command.arg("import");
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
            command.arg(folder.path().join(name));
        }
        command.args(["--foreign", "lb2", "--node", "lb1=198.51.100.11", "--node", "lb2=198.51.100.12"]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The fields of an advertisement of lb1 with its own priority, once there is one.
    fn advertisement(&self, scene: &Scene) -> Vec<String> {
        let found = wait::until(&format!("{}: lb1 advertises", self.name), LONG, || {
            let capture = Capture::start(scene, "lb2", &format!("{} and proto 112", self.destination));
            wait::until("advertisements", LONG, || (capture.packets() >= 3).then_some(()));
            let fields = [
                "ip.src",
                "ip.dst",
                "ip.ttl",
                "ip.dsfield",
                "ipv6.src",
                "ipv6.dst",
                "ipv6.hlim",
                "ipv6.tclass",
                "vrrp.version",
                "vrrp.type",
                "vrrp.virt_rtr_id",
                "vrrp.prio",
                "vrrp.addr_count",
                "vrrp.auth_type",
                "vrrp.auth_string",
                "vrrp.adver_int",
                "vrrp.short_adver_int",
                "vrrp.checksum",
                "vrrp.ip_addr",
                "vrrp.ipv6_addr",
            ];
            capture::dissect(&capture.stop(), &[], "vrrp.prio == 150", &fields).pop()
        });
        assert_eq!(found.len(), 20, "{found:?}");
        found
    }
}

/// Keepalived on lb1 says something, lbctl in its place says the same, and Keepalived on lb2 stays the Backup of both.
fn says_the_same(pair: &Pair) {
    let options = Options::default().configuration(&pair.imported()).without_daemons();
    Scene::unless_starved_from_the_start(&options, |scene| changes_over(pair, scene));
}

fn changes_over(pair: &Pair, scene: &Scene) {
    let before = keepalived::run(scene, "lb1", &pair.file("lb1"));
    scene.wait_until_held_by("lb1", LONG).unwrap();
    let theirs = pair.advertisement(scene);
    before.signal(Signal::SIGTERM).unwrap();
    before.wait().unwrap();

    scene.start("lb1").unwrap();
    scene.wait_until_held_by("lb1", LONG).unwrap();
    let ours = pair.advertisement(scene);
    assert_eq!(ours, theirs, "{}\n{}", pair.name, pair.imported());

    let _peer = keepalived::run(scene, "lb2", &pair.file("lb2"));
    wait_for_state(scene, "BACKUP", 1);
    scene.wait_until_ready("lb1").unwrap();
    let steady = scene.record().unwrap().len();
    scene.wait_for_answer();
    let (seen, lb2) = (pair.advertisement(scene), scene.holders().unwrap());
    assert_eq!((seen, lb2), (theirs, vec!["lb1".to_owned()]), "{}", pair.name);
    assert_eq!(order::claims(scene, steady), 0, "keepalived accepts what ours sends");
}

#[test]
fn imported_files_with_a_password_say_what_keepalived_said() {
    says_the_same(&PASS);
}

#[test]
fn imported_files_of_version_3_say_what_keepalived_said() {
    says_the_same(&VERSION_3);
}

#[test]
fn imported_files_by_unicast_say_what_keepalived_said() {
    says_the_same(&UNICAST);
}

#[test]
fn imported_files_over_ipv6_say_what_keepalived_said() {
    says_the_same(&IPV6);
}
