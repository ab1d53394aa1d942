//! What a client's kernel makes of our announcements: its neighbour table, while it sends nothing itself.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::{net::IpAddr, time::Duration};

use lb_tests::{
    capture::{Capture, dissect},
    order::other,
    scene::{Scene, with_ipv6},
    wait,
};
use lb_vrrp::is_link_local;
use lbctl::lab::{How, Options, VIP, VIP_IPV6};

const LONG: Duration = Duration::from_secs(30);

/// Of no interface in the lab.
const NOBODY: &str = "02:00:00:00:00:99";

/// The hardware address of a node's front interface.
fn hardware_address(scene: &Scene, node: &str) -> String {
    let link = scene.shell(node, "ip -o link show eth0");
    link.split_whitespace().skip_while(|word| *word != "link/ether").nth(1).unwrap().to_owned()
}

/// Where the client sends what is for `address`; empty if its table has no hardware address for it.
fn entry(scene: &Scene, address: IpAddr) -> String {
    let entry = scene.shell("client", &format!("ip neigh show to {address} dev eth0"));
    entry.split_whitespace().skip_while(|word| *word != "lladdr").nth(1).unwrap_or_default().to_owned()
}

fn point_to(scene: &Scene, address: IpAddr, hardware_address: &str) {
    scene.shell(
        "client",
        &format!("ip neigh replace {address} lladdr {hardware_address} dev eth0 nud reachable"),
    );
    assert_eq!(entry(scene, address), hardware_address);
}

fn wait_until_pointed_to(scene: &Scene, address: IpAddr, node: &str) {
    let expected = hardware_address(scene, node);
    wait::until(&format!("the client sends to {node}"), LONG, || {
        (entry(scene, address) == expected).then_some(())
    });
}

/// An entry that was confirmed just now follows the address as one that is old does.
#[test]
fn v_60_a_client_follows_the_gratuitous_arp_of_the_new_holder() {
    let scene = Scene::ready(&Options::default());
    let holder = scene.holder();
    point_to(&scene, VIP.into(), &hardware_address(&scene, &holder));
    scene.fail(&holder, How::Stop).unwrap();
    wait_until_pointed_to(&scene, VIP.into(), other(&holder));
    scene.heal(&holder).unwrap();

    let holder = scene.holder();
    scene.shell("client", &format!("ip neigh del {VIP} dev eth0"));
    scene.fail(&holder, How::Stop).unwrap();
    scene.wait_until_held_by(other(&holder), LONG).unwrap();
    assert_eq!(entry(&scene, VIP.into()), "", "who does not know the address does not learn it");
}

#[test]
fn v_61_a_client_follows_the_neighbour_advertisement_of_the_new_holder() {
    let scene = Scene::ready(&Options::default().configuration(&with_ipv6()));
    let holder = scene.holder();
    let link_local = link_local(&scene, &holder);
    for address in [VIP_IPV6.into(), link_local] {
        point_to(&scene, address, &hardware_address(&scene, &holder));
    }
    scene.fail(&holder, How::Stop).unwrap();
    for address in [VIP_IPV6.into(), link_local] {
        wait_until_pointed_to(&scene, address, other(&holder));
    }
    let answer = scene.shell("client", &format!("curl -sf --max-time 10 http://[{VIP_IPV6}]/"));
    assert!(!answer.is_empty(), "and it is served there");
}

/// The one that was made for the vip, as the holder has it.
fn link_local(scene: &Scene, holder: &str) -> IpAddr {
    let status = scene.status_of(holder);
    let addresses = status["groups"][0]["vips"][0]["installed"].as_array().unwrap().clone();
    let addresses = addresses.iter().map(|text| text.as_str().unwrap().parse().unwrap());
    addresses.into_iter().find(|address| is_link_local(*address)).unwrap()
}

/// Asks for the hardware address of the virtual one until some questions and answers were on the wire, and returns who
/// answered.
fn who_answers(scene: &Scene) -> Vec<String> {
    let capture = Capture::start(scene, "client", "arp");
    let ask =
        format!("ip neigh flush to {VIP} dev eth0; curl -so /dev/null --max-time 1 http://{VIP}/ || true");
    wait::until("twenty questions and answers", LONG, || {
        scene.shell("client", &ask);
        (capture.packets() >= 20).then_some(())
    });
    let answers = format!("arp.opcode == 2 and arp.src.proto_ipv4 == {VIP}");
    dissect(&capture.stop(), &[], &answers, &["arp.src.hw_mac"]).into_iter().flatten().collect()
}

#[test]
fn v_64_only_the_holder_answers_for_the_address() {
    let scene = Scene::ready(&Options::default());
    for _ in 0..2 {
        let holder = scene.holder();
        let answers = who_answers(&scene);
        let expected = hardware_address(&scene, &holder);
        assert!(answers.len() >= 5 && answers.iter().all(|one| *one == expected), "{holder}: {answers:?}");
        scene.fail(&holder, How::Stop).unwrap();
        scene.wait_until_held_by(other(&holder), LONG).unwrap();
        scene.heal(&holder).unwrap();
    }
    let holder = scene.holder();
    scene.fail(other(&holder), How::Stop).unwrap();
    scene.fail(&holder, How::Stop).unwrap();
    assert_eq!(who_answers(&scene), [] as [String; 0], "nobody holds it");
}

/// A client that was told wrong, by whomever: what makes the holder announce puts it right.
#[test]
fn v_66_a_client_that_points_to_nobody_is_put_right_when_the_peer_reappears() {
    let scene = Scene::ready(&Options::default());
    let holder = scene.holder();
    scene.fail(other(&holder), How::Kill).unwrap();
    point_to(&scene, VIP.into(), NOBODY);
    scene.heal(other(&holder)).unwrap();
    wait_until_pointed_to(&scene, VIP.into(), &holder);
}
