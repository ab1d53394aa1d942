//! What a pair can be in.

use std::time::Duration;

use lb_tests::{order::other, program, scene::Scene, wait};
use lbctl::lab::{BALANCERS, CONFIGURATION, How, Options};

use super::{Scraped, States};

const LONG: Duration = Duration::from_secs(30);

/// Those that only a pair can make fire.
pub(super) const ALERTS: [&str; 13] = [
    "LbctlAddressHeldByNobody",
    "LbctlAddressHeldTwice",
    "LbctlAddressMoves",
    "LbctlAdvertisementsMissing",
    "LbctlAdvertisementsRejected",
    "LbctlClientsRefused",
    "LbctlDrained",
    "LbctlFilesDiffer",
    "LbctlForeignCluster",
    "LbctlNoStandby",
    "LbctlPeerSilent",
    "LbctlSpeakerLost",
    "LbctlTrackerFails",
];

/// Priority 100, version 3, vrid 51, for the address of the lab, and 0 for a checksum.
const BROKEN: &str = "import socket as s
wire = s.socket(s.AF_INET, s.SOCK_RAW, 112)
wire.setsockopt(s.IPPROTO_IP, s.IP_MULTICAST_TTL, 255)
wire.setsockopt(s.IPPROTO_IP, s.IP_MULTICAST_IF, s.inet_aton(\"198.51.100.100\"))
wire.sendto(bytes([0x31, 51, 100, 1, 0, 10, 0, 0, 198, 51, 100, 10]), (\"224.0.0.18\", 0))";

/// There are some.
const PROBLEMS: &str = "!lbctl_problems 0";

fn page(scene: &Scene, node: &str) -> String {
    let last = if node == BALANCERS[0] { 11 } else { 12 };
    let command = format!("curl -sf --max-time 5 http://198.51.100.{last}:8404/metrics || true");
    scene.shell("client", &command)
}

/// Both nodes' metrics, once that of `node` has all of these samples, and not those behind a `!`.
#[track_caller]
fn pages_with(scene: &Scene, node: &str, samples: &[&str]) -> [String; 2] {
    wait::until(&samples.join(" "), LONG, || {
        let found = page(scene, node);
        let has = |sample: &str| found.lines().any(|line| line == sample);
        samples
            .iter()
            .all(|sample| sample.strip_prefix('!').map_or_else(|| has(sample), |sample| !has(sample)))
            .then_some(())
    });
    BALANCERS.map(|node| page(scene, node))
}

/// Both nodes' metrics, once all that begins with `series` has grown by so much on `node` since `before`. `again` is done meanwhile.
#[track_caller]
fn pages_once_grown(
    scene: &Scene,
    before: &[String; 2],
    node: &str,
    series: &str,
    by: f64,
    again: impl Fn(),
) -> [String; 2] {
    let at = usize::from(node == BALANCERS[1]);
    let sum = |page: &str| -> f64 {
        let samples = super::samples(page).into_iter();
        samples.filter(|(name, _)| name.starts_with(series)).map(|(_, value)| value).sum()
    };
    wait::until(series, LONG, || {
        again();
        let now = BALANCERS.map(|node| page(scene, node));
        (sum(&now[at]) >= sum(&before[at]) + by).then_some(now)
    })
}

fn both(pages: &[String; 2]) -> [Scraped; 2] {
    both_since(pages, pages)
}

fn both_since(before: &[String; 2], now: &[String; 2]) -> [Scraped; 2] {
    [0, 1].map(|at| Scraped::twice(BALANCERS[at], &before[at], &now[at]))
}

/// Both are well, and each hears the other.
#[track_caller]
fn pages_once_well(scene: &Scene) -> [String; 2] {
    for node in BALANCERS {
        wait::until("no problems", LONG, || {
            let page = page(scene, node);
            page.lines().any(|line| line == "lbctl_problems 0").then_some(())
        });
    }
    BALANCERS.map(|node| page(scene, node))
}

#[test]
fn each_alert_fires_when_a_pair_is_what_it_is_for_and_no_other_does() {
    let text = format!(
        "{CONFIGURATION}\n[statistics]\nbind = \"*:8404\"\npublic = true\n[track.maintenance]\nfile = \"/run/maintenance\"\n"
    );
    Scene::unless_starved(&Options::default().configuration(&text), |scene| {
        let mut states = States::default();
        states.add(&both(&pages_once_well(scene)), &[]);
        what_is_mended_by_somebody(scene, &text, &mut states);
        what_moves(scene, &mut states);
        others_on_the_network(scene, &mut states);
        nobody_beside_it(scene, &mut states);
        another_cluster(scene, &mut states);
        let fired = states.fire();
        for name in ALERTS {
            assert!(fired.contains(name), "{name}");
        }
    });
}

fn what_is_mended_by_somebody(scene: &Scene, text: &str, states: &mut States) {
    let holder = scene.holder();
    let standby = other(&holder);
    scene.shell(standby, "touch /run/maintenance");
    let pages = pages_with(
        scene,
        standby,
        &["lbctl_tracker_up{tracker=\"maintenance\",failure=\"degradation\"} 0", PROBLEMS],
    );
    states.add(&both(&pages), &["LbctlProblem", "LbctlTrackerFails"]);
    scene.shell(standby, "rm /run/maintenance");
    pages_once_well(scene);

    scene.done(&holder, &["frontend", "web", "pause", "--json"]);
    let pages = pages_with(scene, &holder, &["lbctl_frontend_paused{frontend=\"web\"} 1", PROBLEMS]);
    states.add(&both(&pages), &["LbctlClientsRefused", "LbctlFrontendPaused", "LbctlProblem"]);
    scene.done(&holder, &["frontend", "web", "resume", "--json"]);
    pages_once_well(scene);

    scene.write_file(standby, "/run/lab.toml", &format!("{text}# one more line\n")).unwrap();
    scene.done(standby, &["reload", "--json"]);
    let differs = format!("lbctl_peer_same_file{{peer=\"{standby}\"}} 0");
    states.add(
        &both(&pages_with(scene, &holder, &[&differs, PROBLEMS])),
        &["LbctlFilesDiffer", "LbctlProblem"],
    );
    scene.write_file(standby, "/run/lab.toml", text).unwrap();
    scene.done(standby, &["reload", "--json"]);
    pages_once_well(scene);
}

fn what_moves(scene: &Scene, states: &mut States) {
    // Whoever is switched to again and again.
    let before = pages_once_well(scene);
    scene.done(&scene.holder(), &["switchover", "--json"]);
    let moves = "lbctl_vrrp_transitions_total{group=\"default\",state=\"Active\"}";
    pages_once_grown(scene, &before, &scene.holder(), moves, 1.0, || {});
    let now = pages_once_well(scene);
    states.add(&both_since(&before, &now), &["LbctlAddressMoves"]);

    let holder = scene.holder();
    scene.shell(&holder, "kill -9 $(pgrep -x lbctl-speaker)");
    pages_with(scene, &holder, &["lbctl_speaker_restarts_total 1"]);
    let after = pages_once_well(scene);
    // On a machine that was too busy it has moved with that.
    states.add_with(
        &both_since(&now, &after),
        &["LbctlSpeakerLost"],
        "LbctlWorkerLate|LbctlAddressMoves|LbctlAdvertisementsRejected",
    );
}

fn others_on_the_network(scene: &Scene, states: &mut States) {
    // A device that sends advertisements with a wrong checksum.
    let holder = scene.holder();
    let before = pages_once_well(scene);
    let rejected = "lbctl_vip_advertisements_rejected_total{";
    let now = pages_once_grown(scene, &before, &holder, rejected, 3.0, || {
        scene.shell("client", &format!("python3 -c '{BROKEN}'"));
    });
    states.add(&both_since(&before, &now), &["LbctlAdvertisementsRejected"]);

    scene.set_multicast(false).unwrap();
    let holder = scene.holder();
    let held = |of: &str| {
        format!("lbctl_vip_address_held{{group=\"default\",vip=\"web\",address=\"198.51.100.10\"}} {of}")
    };
    // That alarm comes a second later than that advertisements are missing, which it is told instead of.
    let twice = "lbctl_alarm{alarm=\"two_holders\",group=\"default\"} 1";
    pages_with(scene, &holder, &[twice]);
    let samples = [
        held("1"),
        "lbctl_vrrp_holders{group=\"default\"} 2".to_owned(),
        twice.to_owned(),
        PROBLEMS.to_owned(),
    ];
    let pages = pages_with(scene, other(&holder), &samples.each_ref().map(String::as_str));
    states.add(&both(&pages), &["LbctlAddressHeldTwice", "LbctlNoStandby", "LbctlProblem"]);
    scene.set_multicast(true).unwrap();
    pages_once_well(scene);
}

fn nobody_beside_it(scene: &Scene, states: &mut States) {
    let holder = scene.holder();
    let standby = other(&holder);
    scene.done(standby, &["drain", "--json"]);
    let pages = pages_with(scene, standby, &["lbctl_drained 1"]);
    states.add(&both(&pages), &["LbctlDrained", "LbctlNoStandby", "LbctlProblem"]);
    // What is drained takes nothing over from whom it does not hear.
    let table = "nft add table inet cut; nft add chain inet cut i '{ type filter hook input priority 0; }'; nft add rule inet cut i";
    scene.shell(standby, &format!("{table} meta l4proto 112 drop"));
    let missing = "lbctl_alarm{alarm=\"advertisements_missing\",group=\"default\"}";
    let pages = pages_with(scene, standby, &["lbctl_drained 1", &format!("{missing} 1")]);
    states.add(
        &both(&pages),
        &["LbctlAdvertisementsMissing", "LbctlDrained", "LbctlNoStandby", "LbctlProblem"],
    );
    scene.shell(standby, "nft delete table inet cut");
    pages_with(scene, standby, &[&format!("{missing} 0")]);
    scene.done(standby, &["resume", "--json"]);
    pages_once_well(scene);

    scene.fail(standby, How::Kill).unwrap();
    let silent = format!("lbctl_peer_up{{peer=\"{standby}\"}} 0");
    let [one, _] = if holder == BALANCERS[0] { BALANCERS } else { [BALANCERS[1], BALANCERS[0]] };
    let alone = |samples: &[&str]| {
        let pages = pages_with(scene, &holder, samples);
        let page = pages.into_iter().find(|page| !page.is_empty()).unwrap();
        [Scraped::once(one, &page), Scraped::dead(standby)]
    };
    states.add(
        &alone(&[&silent, PROBLEMS]),
        &["LbctlNoStandby", "LbctlPeerSilent", "LbctlProblem", "LbctlUnreachable"],
    );
    scene.done(&holder, &["drain", "--force", "--json"]);
    states.add(
        &alone(&["lbctl_drained 1", &silent]),
        &[
            "LbctlAddressHeldByNobody",
            "LbctlDrained",
            "LbctlNoStandby",
            "LbctlPeerSilent",
            "LbctlUnreachable",
        ],
    );
    scene.done(&holder, &["resume", "--json"]);
    scene.heal(standby).unwrap();
    pages_once_well(scene);
}

/// Another cluster, for another address. It is remembered for a while, so nothing comes after this.
fn another_cluster(scene: &Scene, states: &mut States) {
    let holder = scene.holder();
    let stranger = scene.write(
        "stranger.toml",
        "[cluster]\nnode.stranger = \"198.51.100.100\"\n[vip.web]\nvrid = 51\naddresses = [\"198.51.100.99\"]\n[listen.web]\n\
         bind = { vip = \"web\", port = 80 }\nservers = [\"198.51.100.141:80\"]\ncheck = false\n",
    );
    let run =
        [program::lbctl().as_str(), "run", &stranger, "--runtime-dir", "/run/stranger"].map(str::to_owned);
    let running = scene.spawn("client", "stranger", run).unwrap();
    let foreign = "lbctl_vip_foreign_cluster{group=\"default\",vip=\"web\",family=\"ipv4\"} 1";
    let pages = pages_with(scene, &holder, &[foreign, PROBLEMS]);
    drop(running);
    states.add(&both(&pages), &["LbctlForeignCluster", "LbctlProblem"]);
}
