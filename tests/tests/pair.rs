//! The pair as it stands: real servers in turn, one instance for each virtual router, interfaces that come later.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::time::Duration;

use lb_tests::{nginx, program, scene::Scene, wait};
use lbctl::lab::{CONFIGURATION, LoadOptions, Options, VIP};

#[test]
fn two_real_nginx_serve_in_turn_through_the_address() {
    let scene = Scene::new(&Options::default().without_web_servers());
    let _servers = [nginx::start(&scene, "web1"), nginx::start(&scene, "web2")];
    scene.wait_until_all_ready().unwrap();
    scene.holder();
    wait::until("both servers are up", Duration::from_secs(30), || {
        let answers = [scene.wait_for_answer(), scene.wait_for_answer()];
        (answers.contains(&"web1".to_owned()) && answers.contains(&"web2".to_owned())).then_some(())
    });

    let load = scene.load(&LoadOptions { connections: 1, rate: 200, ..LoadOptions::default() }).unwrap();
    let report = wait::until("100 requests", Duration::from_secs(30), || {
        Some(load.report()).filter(|report| report.total() >= 100)
    });
    assert_eq!(report.failures(), Default::default());
    let counts = report.per_server();
    let (first, second) = (counts["web1"], counts["web2"]);
    assert!(first.abs_diff(second) <= 1, "one connection is served in turn: {counts:?}");
}

#[test]
fn second_instance_on_a_node_is_refused_and_touches_nothing() {
    let scene = Scene::ready(&Options::default());
    let holder = scene.holder();
    let read = scene.record_of_vip().unwrap().len();
    let lbctl = program::lbctl();
    let refused = |words: &[&str]| {
        let command = [lbctl.as_str(), "run", "/run/lab.toml"].into_iter().chain(words.iter().copied());
        let output = scene.exec(&holder, command).unwrap();
        assert_eq!(output.ended.code, Some(1), "{output:?}");
        output.stderr
    };

    let by_its_socket = refused(&[]);
    // One whose control socket is elsewhere finds the virtual router taken.
    let by_its_vrid = refused(&["--control", "/run/other.sock"]);

    assert!(by_its_socket.contains("another lbctl runs here: it holds "), "{by_its_socket}");
    assert!(by_its_vrid.contains("another lbctl speaks for vrid "), "{by_its_vrid}");
    assert_eq!(scene.record_of_vip().unwrap().len(), read, "no address was touched");
    assert!(scene.has_vip(&holder));
    scene.wait_until_all_ready().unwrap();
}

/// How often it is tried to look before a lease of 2 s is over.
const ATTEMPTS: usize = 10;

#[test]
fn addresses_are_released_when_no_speaker_holds_them_and_only_ours() {
    let scene = Scene::new(&Options::default().without_daemons());
    let lbctl = program::lbctl();
    let others = scene.write("others.toml", &CONFIGURATION.replace("198.51.100.10", "198.51.100.99"));
    let release = format!("{lbctl} release --runtime-dir /run/lbctl");
    scene.shell("lb1", &format!("mkdir -p /run/lbctl && ip address add {VIP}/32 dev eth0"));
    assert_eq!(scene.shell("lb1", &format!("{release} /run/lab.toml")), "", "nobody has tagged it");
    assert!(scene.has_vip("lb1"));
    scene.shell("lb1", &format!("ip address del {VIP}/32 dev eth0"));

    for attempt in 1..=ATTEMPTS {
        let daemon = scene.spawn("lb1", "daemon", [lbctl.as_str(), "run", "/run/lab.toml"]).unwrap();
        wait::until("the node holds the address", Duration::from_secs(30), || {
            (scene.holders().unwrap() == ["lb1"]).then_some(())
        });
        assert_eq!(scene.shell("lb1", &format!("{release} /run/lab.toml")), "", "a speaker holds it");
        // Neither has the time to see the other one's end.
        let both =
            "$(for p in $(pgrep lbctl); do [ /proc/$p/ns/net -ef /proc/self/ns/net ] && echo $p; done)";
        let said = scene.shell(
            "lb1",
            &format!(
                "both=\"{both}\"; kill -STOP $both; kill -9 $both; {release} {others}; \
                 ip -o -4 address show; {release} /run/lab.toml"
            ),
        );
        daemon.wait().unwrap();
        if said.contains(&format!(" {VIP}/")) {
            assert!(said.contains(&format!("\nremoved {VIP} from interface ")), "{said}");
            assert!(!scene.has_vip("lb1"));
            return;
        }
        eprintln!("attempt {attempt}: too late for the lease");
    }
    panic!("the lease was over each time");
}

#[test]
fn interface_that_appears_later_is_used_when_it_is_there() {
    let scene = Scene::new(&Options::default().without_daemons());
    let file = scene.write("lb.toml", &CONFIGURATION.replace("vrid ", "interface = \"eth0\"\nvrid "));
    scene.shell("lb1", "ip link set eth0 down && ip link set eth0 name away0");
    let lbctl = program::lbctl();
    let daemon = scene.spawn("lb1", "late", [lbctl.as_str(), "run", "--node", "lb1", &file]).unwrap();
    let status = |text: &str| {
        let output = scene.exec("lb1", [lbctl.as_str(), "status"]).ok()?;
        output.stdout.contains(text).then_some(output.stdout)
    };
    wait::until("status names the missing interface", Duration::from_secs(30), || status("eth0"));
    assert!(scene.holders().unwrap().is_empty());

    scene.shell("lb1", "ip link set away0 name eth0 && ip link set eth0 up");
    wait::until("the node holds the address", Duration::from_secs(30), || {
        (scene.holders().unwrap() == ["lb1"]).then_some(())
    });
    wait::until("an answer", Duration::from_secs(30), || {
        let url = format!("http://{VIP}/");
        scene.exec("client", ["curl", "-sf", "--max-time", "1", &url]).ok()?.success().then_some(())
    });
    daemon.signal(nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(daemon.wait().unwrap().code, Some(0));
    assert!(!scene.has_vip("lb1"));
}
