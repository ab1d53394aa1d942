//! A real keepalived as the peer: lb1 runs lbctl, lb2 keepalived. Versions 2 and 3, both roles, both directions.
//!
//! What is done to each way of speaking, and where:
//!
//! | | while ours is Active | while ours is a Backup |
//! |---|---|---|
//! | orderly stop of who is Active | [`ours_active_first`] | [`ours_active_first`] |
//! | `kill -9` of keepalived | [`ours_active_first`] | [`partitions_heal_and_keepalived_is_killed`] |
//! | `kill -9` of ours | [`keepalived_active_first`] | |
//! | the cable of who is Active | [`partitions_heal_and_keepalived_is_killed`] | [`keepalived_active_first`] |
//! | partition and heal | [`partitions_heal_and_keepalived_is_killed`] | the same |
//!
//! After each there is one owner, and a client that knew the one before is led to it.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::{net::IpAddr, time::Duration};

use lb_tests::{
    attempts::{in_time, within},
    capture::Capture,
    keepalived::{self, Speaks},
    order,
    scene::Scene,
    wait,
};
use lb_vrrp::Moment;
use lbctl::lab::{How, Options, Spawned, VIP, VIP_IPV6};
use nix::sys::signal::Signal;

#[path = "interop/changed_over.rs"]
mod changed_over;
#[path = "interop/imported.rs"]
mod imported;
#[path = "interop/strangers.rs"]
mod strangers;

/// What differs between the versions.
struct Wire {
    keepalived: Speaks,
    /// Three intervals and a Skew_Time of at most one.
    down_interval: Duration,
}

const SPEAKS_V2: Speaks = Speaks { version: 2, interval: 1000, ipv6: false, unicast: false, password: None };
const SPEAKS_V3: Speaks = Speaks { version: 3, interval: 100, ..SPEAKS_V2 };
const V2: Wire = Wire { keepalived: SPEAKS_V2, down_interval: Duration::from_secs(4) };
/// One with fewer than 8 characters.
const V2_PASSWORD: Wire = Wire { keepalived: Speaks { password: Some("secret"), ..SPEAKS_V2 }, ..V2 };
const V3: Wire = Wire { keepalived: SPEAKS_V3, down_interval: Duration::from_millis(400) };
const V3_IPV6: Wire = Wire { keepalived: Speaks { ipv6: true, ..SPEAKS_V3 }, ..V3 };
/// Over both families as well.
const V3_UNICAST: Wire = Wire { keepalived: Speaks { ipv6: true, unicast: true, ..SPEAKS_V3 }, ..V3 };
/// Nothing that has no time of its own takes longer on a machine under load.
const LONG: Duration = Duration::from_secs(30);

fn mixed(wire: &Wire) -> Options {
    let Speaks { version, interval, ipv6, unicast, password } = wire.keepalived;
    let password = password.map_or_else(String::new, |password| format!("password = \"{password}\""));
    let ipv6 = if ipv6 { format!(", \"{}\", \"{VIP_IPV6}\"", keepalived::LINK_LOCAL) } else { String::new() };
    let transport = if unicast {
        "transport = \"unicast\"\nunicast_addresses = { lb1 = [\"198.51.100.11\", \"2001:db8:f::11\"], \
         lb2 = [\"198.51.100.12\", \"2001:db8:f::12\"] }"
    } else {
        ""
    };
    let file = format!(
        r#"
[global]
stall_timeout = "10s" # a busy machine is no reason to give the addresses away here

[cluster]
node.lb1 = {{ address = "198.51.100.11", priority = 200 }}
node.lb2 = {{ address = "198.51.100.12", priority = {priority}, foreign = "keepalived" }}

[vip.web]
vrid      = 51
version   = {version}
interface = "eth0"
addresses = ["198.51.100.10"{ipv6}]
advertisement_interval = "{interval}ms"
{transport}
{password}

[listen.web]
bind    = {{ vip = "web", port = 80 }}
check   = {{ interval = "200ms", timeout = "200ms", fall = 2 }}
hold    = "500ms"
servers = ["198.51.100.141:80", "198.51.100.142:80"]
"#,
        priority = keepalived::PRIORITY,
    );
    Options::default().configuration(&file).without_daemon("lb2")
}

/// Keepalived says what it is in its log: how often it has become that.
fn entered(scene: &Scene, state: &str) -> usize {
    let log = scene.log("lb2", "keepalived").unwrap_or_default();
    log.matches(&format!("Entering {state} STATE")).count()
}

fn wait_for_state(scene: &Scene, state: &str, times: usize) {
    wait::until(&format!("keepalived enters {state}"), LONG, || {
        (entered(scene, state) >= times).then_some(())
    });
}

/// `kill -9` of all of keepalived. Both of its processes are stopped first: the one that speaks would resign in order if it saw the end of
/// the other one, and that one would start it anew.
fn kill(scene: &Scene, keepalived: &Spawned<'_>) -> Moment {
    let at = lbctl::lab::now();
    scene.shell(
        "lb2",
        "set -- $(cat /run/keepalived-lb2.pid /run/vrrp-lb2.pid); [ $# -eq 2 ] && kill -STOP $@ && kill -9 $@",
    );
    assert_eq!(keepalived.wait().unwrap().signal, Some(Signal::SIGKILL as i32));
    at
}

/// What clients use.
fn addresses(wire: &Wire) -> Vec<IpAddr> {
    let ipv6 = wire.keepalived.ipv6.then_some(IpAddr::V6(VIP_IPV6));
    [IpAddr::V4(VIP)].into_iter().chain(ipv6).collect()
}

/// Where the client's kernel sends what is for an address.
fn led_to(scene: &Scene, address: IpAddr) -> String {
    let entry = scene.shell("client", &format!("ip neighbour show to {address} dev eth0"));
    entry.split_whitespace().skip_while(|word| *word != "lladdr").nth(1).unwrap_or_default().to_owned()
}

/// A request; keepalived's node has no proxy, so that its kernel answers for the address is what is asked of it.
fn ask(scene: &Scene, address: IpAddr) -> bool {
    let host = if address.is_ipv6() { format!("[{address}]") } else { address.to_string() };
    let answer =
        scene.exec("client", ["curl", "-sf", "--max-time", "5", &format!("http://{host}/")]).unwrap();
    answer.success() || answer.ended.code == Some(7)
}

/// The client has a neighbour for each address: whoever it is.
#[track_caller]
fn warm(wire: &Wire, scene: &Scene) {
    for address in addresses(wire) {
        wait::until(&format!("the client knows a neighbour for {address}"), LONG, || {
            ask(scene, address);
            (!led_to(scene, address).is_empty()).then_some(())
        });
    }
}

/// The client's neighbours are led to `node` while it asks nobody, so by announcements alone, and somebody answers there.
#[track_caller]
fn is_led_to(wire: &Wire, scene: &Scene, node: &str) {
    let link = scene.shell(node, "ip -brief link show eth0");
    let hardware = link.split_whitespace().nth(2).expect("a hardware address");
    for address in addresses(wire) {
        wait::until(&format!("the client is led to {node} for {address}"), LONG, || {
            (led_to(scene, address) == hardware).then_some(())
        });
        wait::until(&format!("{address} answers"), LONG, || ask(scene, address).then_some(()));
    }
}

/// Waits until the address that `old` had before `from` events were in the record is at the other node. `Err` if that was
/// later than Down_Interval after `at`.
fn moves_in_time(
    wire: &Wire,
    scene: &Scene,
    old: &str,
    from: usize,
    at: Moment,
) -> Result<order::Move, String> {
    let heir = order::other(old);
    scene.wait_until_held_by(heir, LONG).unwrap();
    if wire.keepalived.ipv6 {
        wait::until(&format!("{heir} alone has the IPv6 address as well"), LONG, || {
            (scene.has_vip_ipv6(heir) && !scene.has_vip_ipv6(old)).then_some(())
        });
    }
    is_led_to(wire, scene, heir);
    let moved = order::first_move(scene, old, from);
    let took = moved.added.saturating_since(at);
    println!("version {}: {heir} has the address {took:?} after {old} lost it", wire.keepalived.version);
    within(wire.down_interval, took, &format!("{old} to {heir}")).map(|()| moved)
}

/// `Err` if `node` does not hold the address alone, or somebody has claimed it since. Keepalived has no priority over what else runs, and on a busy
/// machine says nothing for three intervals now and then.
fn stays(scene: &Scene, node: &str, from: usize) -> Result<(), String> {
    let (holders, claims) = (scene.holders().unwrap(), order::claims(scene, from));
    if holders == [node] && claims == 0 {
        return Ok(());
    }
    Err(format!("{node} had it, and now {holders:?} do, after {claims} claims"))
}

/// Ours was there first: keepalived waits as a Backup, and nothing moves when it is killed; it takes over when ours goes, and gives back
/// when it goes itself.
fn ours_active_first(wire: &Wire) -> Result<(), String> {
    let scene = Scene::new(&mixed(wire));
    scene.wait_until_held_by("lb1", LONG).unwrap();
    let keepalived = keepalived::start(&scene, wire.keepalived);
    wait_for_state(&scene, "BACKUP", 1);
    scene.wait_until_ready("lb1").unwrap();
    scene.wait_for_answer();
    let steady = scene.record().unwrap().len();
    watch_advertisements(wire, &scene, "lb1", 5);
    if wire.keepalived.ipv6 {
        watch_ipv6_advertisements(wire, &scene, 5);
        assert!(!scene.has_vip_ipv6("lb2"), "keepalived accepts what ours sends over IPv6");
    }
    // Keepalived accepts what ours sends.
    stays(&scene, "lb1", steady)?;

    warm(wire, &scene);
    kill(&scene, &keepalived);
    watch_advertisements(wire, &scene, "lb1", 5);
    stays(&scene, "lb1", steady)?;
    is_led_to(wire, &scene, "lb1");
    let entered = entered(&scene, "BACKUP");
    let keepalived = keepalived::start(&scene, wire.keepalived);
    wait_for_state(&scene, "BACKUP", entered + 1);
    let steady = scene.record().unwrap().len();

    // An orderly stop: a priority of 0 lets keepalived take over in its Skew_Time.
    warm(wire, &scene);
    let stopped = scene.fail("lb1", How::Stop).unwrap();
    let moved = moves_in_time(wire, &scene, "lb1", steady, stopped)?;
    assert!(moved.in_order, "two owners");

    // Ours comes back as a Backup and does not preempt.
    let active = scene.record().unwrap().len();
    scene.heal("lb1").unwrap();
    watch_advertisements(wire, &scene, "lb2", 5);
    stays(&scene, "lb2", active)?;

    // Keepalived stops: its priority of 0 lets ours take over.
    warm(wire, &scene);
    let active = scene.record().unwrap().len();
    let stopped = keepalived.signal(Signal::SIGTERM).unwrap();
    moves_in_time(wire, &scene, "lb2", active, stopped)?;
    scene.wait_for_answer();
    Ok(())
}

/// Keepalived was there first: ours waits, takes over when its cable is pulled, and gives away when its daemon is killed.
fn keepalived_active_first(wire: &Wire) -> Result<(), String> {
    let scene = Scene::new(&mixed(wire).without_daemons());
    let _keepalived = keepalived::start(&scene, wire.keepalived);
    scene.wait_until_held_by("lb2", LONG).unwrap();
    let before = scene.record().unwrap().len();
    scene.start("lb1").unwrap();
    watch_advertisements(wire, &scene, "lb2", 5);
    // Ours accepts what keepalived sends, and does not preempt.
    stays(&scene, "lb2", before)?;
    if wire.keepalived.version == 3 {
        // RFC 5798's form, of which ours knows that it is one, says so once, and counts.
        // What tcpdump has seen the speaker may not have told the daemon yet.
        wait::until("five checksums in RFC 5798's form are counted", LONG, || {
            let counted = &scene.status_of("lb1")["groups"][0]["counters"]["checksum_rfc5798_received"];
            (counted.as_u64() >= Some(5)).then_some(())
        });
        let said = scene.log("lb1", "lbctl").unwrap();
        assert_eq!(said.matches("198.51.100.12 sends checksums in RFC 5798's form").count(), 1, "{said}");
    }

    warm(wire, &scene);
    let pulled = scene.fail("lb2", How::Cable).unwrap();
    moves_in_time(wire, &scene, "lb2", before, pulled)?;
    scene.wait_for_answer();
    scene.heal("lb2").unwrap();
    scene.wait_until_held_by("lb1", LONG).unwrap();
    watch_advertisements(wire, &scene, "lb1", 5);

    warm(wire, &scene);
    let healed = scene.record().unwrap().len();
    let killed = scene.fail("lb1", How::Kill).unwrap();
    let moved = moves_in_time(wire, &scene, "lb1", healed, killed)?;
    assert!(moved.in_order, "two owners");
    Ok(())
}

/// A partition makes two owners, as VRRP has it; healed, there is one, ours with its higher priority, and the client whose
/// neighbour table is warm reaches it. Then ours loses its cable; and keepalived dies without a word while it is Active, which leaves its
/// address on its node for ever: ours has it as well, and the client is led to that.
fn partitions_heal_and_keepalived_is_killed(wire: &Wire) -> Result<(), String> {
    let scene = Scene::new(&mixed(wire).without_daemons());
    let keepalived = keepalived::start(&scene, wire.keepalived);
    scene.wait_until_held_by("lb2", LONG).unwrap();
    scene.start("lb1").unwrap();
    scene.wait_until_ready("lb1").unwrap();
    // Keepalived is Active when the first one begins, ours when the second one does.
    for _ in 0..2 {
        cut_and_heal(wire, &scene)?;
    }

    warm(wire, &scene);
    let before = scene.record().unwrap().len();
    let pulled = scene.fail("lb1", How::Cable).unwrap();
    let moved = moves_in_time(wire, &scene, "lb1", before, pulled)?;
    assert!(moved.in_order, "two owners");
    let active = scene.record().unwrap().len();
    scene.heal("lb1").unwrap();
    scene.wait_until_ready("lb1").unwrap();
    watch_advertisements(wire, &scene, "lb2", 5);
    stays(&scene, "lb2", active)?;
    is_led_to(wire, &scene, "lb2");

    let before = scene.record().unwrap().len();
    let killed = kill(&scene, &keepalived);
    wait::until("ours has it", LONG, || scene.has_vip("lb1").then_some(()));
    is_led_to(wire, &scene, "lb1");
    scene.wait_for_answer();
    assert!(scene.has_vip("lb2"), "keepalived has said nothing, and left it there");
    let moved = order::first_move(&scene, "lb2", before);
    within(wire.down_interval, moved.added.saturating_since(killed), "ours after keepalived's death")
}

fn cut_and_heal(wire: &Wire, scene: &Scene) -> Result<(), String> {
    let hooks = ["input", "output"].map(|hook| {
        let chain = format!("nft add chain inet cut {hook} '{{ type filter hook {hook} priority 0; }}'");
        format!("{chain}; nft add rule inet cut {hook} meta l4proto 112 drop")
    });
    scene.shell("lb2", &format!("nft add table inet cut; {}", hooks.join("; ")));
    wait::until("both hold the address", LONG, || (scene.holders().unwrap() == ["lb1", "lb2"]).then_some(()));
    // Whom the client asks is open during the cut; its table is warm either way.
    warm(wire, scene);
    let read = scene.record().unwrap().len();
    scene.shell("lb2", "nft delete table inet cut");
    let healed = lbctl::lab::now();
    scene.wait_until_held_by("lb1", LONG).unwrap();
    let gone = scene.record_since(read).unwrap().into_iter().find(|event| event.node == "lb2");
    let took = gone.expect("lb2 has dropped it").at.saturating_since(healed);
    // The usual announcement each minute would be too late.
    is_led_to(wire, scene, "lb1");
    scene.wait_for_answer();
    stays(scene, "lb1", read)?;
    within(wire.down_interval, took, "keepalived gives way")
}

/// Waits until `count` more advertisements of `from` were on the wire.
fn watch_advertisements(wire: &Wire, scene: &Scene, from: &str, count: usize) {
    let (ours, theirs) = ("198.51.100.11", "198.51.100.12");
    let (source, other) = if from == "lb1" { (ours, theirs) } else { (theirs, ours) };
    let destination = if wire.keepalived.unicast { other } else { "224.0.0.18" };
    watch(scene, &format!("ip proto 112 and src {source} and dst {destination}"), count);
}

/// The same over IPv6, from anyone.
fn watch_ipv6_advertisements(wire: &Wire, scene: &Scene, count: usize) {
    let destination =
        if wire.keepalived.unicast { "(dst 2001:db8:f::11 or dst 2001:db8:f::12)" } else { "dst ff02::12" };
    watch(scene, &format!("ip6 proto 112 and {destination}"), count);
}

fn watch(scene: &Scene, filter: &str, count: usize) {
    // What is for a node alone passes nobody else.
    let capture = Capture::start(scene, "lb1", filter);
    wait::until(&format!("{count} advertisements with {filter}"), LONG, || {
        (capture.packets() >= count).then_some(())
    });
    drop(capture.stop());
}

#[test]
fn version_2_keepalived_is_our_backup_then_takes_over_and_gives_back() {
    in_time(|| ours_active_first(&V2));
}

#[test]
fn version_3_keepalived_is_our_backup_then_takes_over_and_gives_back() {
    in_time(|| ours_active_first(&V3));
}

#[test]
fn over_both_families_keepalived_is_our_backup_then_takes_over_and_gives_back() {
    in_time(|| ours_active_first(&V3_IPV6));
}

#[test]
fn over_both_families_keepalived_is_active_then_ours_takes_over_and_gives_back() {
    in_time(|| keepalived_active_first(&V3_IPV6));
}

#[test]
fn version_2_with_a_password_keepalived_is_our_backup_then_takes_over_and_gives_back() {
    in_time(|| ours_active_first(&V2_PASSWORD));
}

#[test]
fn version_2_with_a_password_keepalived_is_active_then_ours_takes_over_and_gives_back() {
    in_time(|| keepalived_active_first(&V2_PASSWORD));
}

#[test]
fn by_unicast_keepalived_is_our_backup_then_takes_over_and_gives_back() {
    in_time(|| ours_active_first(&V3_UNICAST));
}

#[test]
fn by_unicast_keepalived_is_active_then_ours_takes_over_and_gives_back() {
    in_time(|| keepalived_active_first(&V3_UNICAST));
}

#[test]
fn version_2_keepalived_is_active_then_ours_takes_over_and_gives_back() {
    in_time(|| keepalived_active_first(&V2));
}

#[test]
fn version_3_keepalived_is_active_then_ours_takes_over_and_gives_back() {
    in_time(|| keepalived_active_first(&V3));
}

#[test]
fn version_2_one_owner_is_left_of_a_partition_and_of_keepalived_s_death() {
    in_time(|| partitions_heal_and_keepalived_is_killed(&V2));
}

#[test]
fn version_2_with_a_password_one_owner_is_left_of_a_partition_and_of_keepalived_s_death() {
    in_time(|| partitions_heal_and_keepalived_is_killed(&V2_PASSWORD));
}

#[test]
fn version_3_one_owner_is_left_of_a_partition_and_of_keepalived_s_death() {
    in_time(|| partitions_heal_and_keepalived_is_killed(&V3));
}

#[test]
fn over_both_families_one_owner_is_left_of_a_partition_and_of_keepalived_s_death() {
    in_time(|| partitions_heal_and_keepalived_is_killed(&V3_IPV6));
}

#[test]
fn by_unicast_one_owner_is_left_of_a_partition_and_of_keepalived_s_death() {
    in_time(|| partitions_heal_and_keepalived_is_killed(&V3_UNICAST));
}

/// Towards keepalived, which knows no levels, a node that degrades resigns once and comes back as a Backup.
#[test]
fn degraded_node_resigns_towards_keepalived() {
    in_time(|| {
        let scene = Scene::new(&mixed(&V3));
        scene.wait_until_held_by("lb1", LONG).unwrap();
        let _keepalived = keepalived::start(&scene, SPEAKS_V3);
        wait_for_state(&scene, "BACKUP", 1);
        scene.wait_until_ready("lb1").unwrap();
        let before = scene.record().unwrap().len();

        scene.fail("lb1", How::Backends).unwrap();
        scene.wait_until_held_by("lb2", LONG).unwrap();

        assert!(order::first_move(&scene, "lb1", before).in_order, "two owners");
        let given = scene.record().unwrap().len();
        scene.heal("lb1").unwrap();
        // It resigned once, and is a Backup again.
        stays(&scene, "lb2", given)?;
        match order::claims(&scene, before) {
            1 => Ok(()),
            claims => Err(format!("{claims} claims")),
        }
    });
}
