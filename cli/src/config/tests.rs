//! What a file means: the model that comes out of it.

mod secret;

use std::{net::IpAddr, time::Duration};

use lb_proxy::config::{BackendId, Balance, CheckKind, Mode};
use lb_vrrp::{ChecksumForm, Interface, PeerKind, Preempt, Version, VirtualAddress};

use super::{model::Config, parse};

const SECOND: Duration = Duration::from_secs(1);

const NODES: &str = "[cluster]\nnode.lb1 = \"192.0.2.11\"\nnode.lb2 = \"192.0.2.12\"\n";
const VIP: &str = "[vip.web]\nvrid = 51\naddresses = [\"192.0.2.10\"]\n";
const LISTEN: &str = "[listen.web]\nbind = \"*:80\"\nservers = [\"192.0.2.21:80\"]\n";

#[track_caller]
fn config(parts: &[&str]) -> Config {
    parse(&parts.concat(), "lb.toml").unwrap_or_else(|report| panic!("{report}"))
}

/// Priorities of a group by node.
fn priorities(config: &Config, group: &str) -> Vec<u8> {
    let group = config.groups.iter().find(|known| known.name == group).unwrap();
    group.by_node.iter().map(|node| node.priority.get()).collect()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn the_shortest_pair_has_the_documented_defaults() {
    let config = config(&[
        NODES,
        VIP,
        "[listen.web]\nbind = { vip = \"web\", port = 80 }\nservers = [\"192.0.2.21:80\", \"192.0.2.22:80\"]\n",
    ]);
    assert_eq!(config.cluster.nodes[0].name, "lb1");
    assert_eq!(config.cluster.nodes[1].address, ip("192.0.2.12"));
    assert_eq!(config.global.drain_timeout, 5 * SECOND);
    assert_eq!(config.proxy.maxconn, 20_000);
    assert_eq!(config.proxy.threads, std::thread::available_parallelism().unwrap());
    assert_eq!(config.groups.len(), 1);
    let group = &config.groups[0];
    assert_eq!(group.name, "default");
    assert_eq!(priorities(&config, "default"), [254, 253]);
    assert_eq!(group.by_node.iter().map(|node| node.first).collect::<Vec<_>>(), [true, false]);
    let node = &group.by_node[1];
    assert_eq!(
        (node.preempt, node.peer, node.garp_refresh),
        (Preempt::Degraded, PeerKind::Lbctl, 60 * SECOND)
    );
    assert_eq!(node.peers, [ip("192.0.2.11")]);
    let member = &node.members[0];
    assert_eq!(member.interface, Interface::Holding(ip("192.0.2.12")));
    assert_eq!((member.vip.as_str(), member.vrid.get(), member.version), ("web", 51, Version::V3));
    assert_eq!(member.interval.get(), Duration::from_millis(100));
    assert_eq!(member.addresses, [VirtualAddress { address: ip("192.0.2.10"), prefix: 32 }]);
    assert_eq!(member.checksum, ChecksumForm::Rfc9568);

    let frontend = &config.proxy.frontends[0];
    assert_eq!((frontend.name.as_str(), frontend.mode, frontend.forwardfor), ("web", Mode::Http, false));
    assert_eq!((frontend.maxconn, frontend.default_backend), (20_000, Some(BackendId(0))));
    assert_eq!(frontend.binds.len(), 1);
    assert_eq!(frontend.binds[0].label, "web:80");
    assert_eq!(frontend.binds[0].address, "192.0.2.10:80".parse().unwrap());
    let timeout = &frontend.timeout;
    assert_eq!(
        (timeout.client, timeout.http_request, timeout.http_keep_alive),
        (50 * SECOND, 10 * SECOND, 15 * SECOND)
    );

    let backend = &config.proxy.backends[0];
    assert_eq!(
        (backend.balance.clone(), backend.retries, backend.redispatch),
        (Balance::RoundRobin, 3, true)
    );
    let timeout = &backend.timeout;
    assert_eq!((timeout.connect, timeout.server, timeout.queue), (5 * SECOND, 50 * SECOND, 5 * SECOND));
    let check = backend.check.as_ref().unwrap();
    assert!(matches!(check.kind, CheckKind::Tcp));
    assert_eq!((check.pace.interval, check.timeout, check.rise, check.fall), (2 * SECOND, 2 * SECOND, 2, 3));
    let servers: Vec<_> =
        backend.servers.iter().map(|server| (server.name.as_str(), server.weight, server.maxconn)).collect();
    assert_eq!(servers, [("192.0.2.21:80", 1, None), ("192.0.2.22:80", 1, None)]);
}

#[test]
fn names_keep_the_order_of_the_file_not_of_the_alphabet() {
    let config = config(&[
        "[cluster]\nnode.zeta = \"192.0.2.11\"\nnode.alpha = \"192.0.2.12\"\n",
        "[listen.z]\nbind = \"*:80\"\nserver.z = \"192.0.2.21:80\"\nserver.a = \"192.0.2.22:80\"\n",
        "[listen.a]\nbind = \"*:81\"\nservers = [\"192.0.2.23:80\"]\n",
    ]);
    assert_eq!(
        config.cluster.nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>(),
        ["zeta", "alpha"]
    );
    assert_eq!(config.cluster.nodes[0].priority.get(), 254);
    let frontends: Vec<_> = config.proxy.frontends.iter().map(|frontend| frontend.name.as_str()).collect();
    assert_eq!(frontends, ["z", "a"]);
    let servers: Vec<_> =
        config.proxy.backends[0].servers.iter().map(|server| server.name.as_str()).collect();
    assert_eq!(servers, ["z", "a"]);
}

#[test]
fn vips_without_a_group_are_members_of_one_machine() {
    let mail = "[vip.mail]\nvrid = 52\naddresses = [\"192.0.2.13\"]\n";
    let config = config(&[NODES, VIP, mail, LISTEN]);
    assert_eq!(config.groups.len(), 1);
    for node in &config.groups[0].by_node {
        assert_eq!(
            node.members.iter().map(|member| member.vip.as_str()).collect::<Vec<_>>(),
            ["web", "mail"]
        );
    }
}

#[test]
fn prefer_gives_each_group_its_own_first_node() {
    let one = "[vip.one]\nvrid = 51\naddresses = [\"192.0.2.10\"]\ngroup = \"one\"\nprefer = \"lb1\"\n";
    let two = "[vip.two]\nvrid = 52\naddresses = [\"192.0.2.13\"]\ngroup = \"two\"\nprefer = \"lb2\"\n";
    let config = config(&[NODES, one, two, LISTEN]);
    assert_eq!(priorities(&config, "one"), [254, 253]);
    assert_eq!(priorities(&config, "two"), [253, 254]);
    // The tie between degraded nodes is the file's, whoever is preferred.
    assert_eq!(config.groups[1].by_node.iter().map(|node| node.first).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn prefer_deals_out_given_priorities_and_keeps_the_rest_in_order() {
    let nodes = "[cluster]\nnode.a = { address = \"192.0.2.11\", priority = 100 }\n\
                 node.b = { address = \"192.0.2.12\", priority = 200 }\n\
                 node.c = { address = \"192.0.2.13\", priority = 150 }\n";
    let vip = |prefer| format!("[vip.web]\nvrid = 51\naddresses = [\"192.0.2.10\"]\nprefer = {prefer}\n");
    let by_one = config(&[nodes, &vip("\"c\""), LISTEN]);
    assert_eq!(priorities(&by_one, "default"), [100, 150, 200]);
    let by_list = config(&[nodes, &vip("[\"a\", \"c\", \"b\"]"), LISTEN]);
    assert_eq!(priorities(&by_list, "default"), [200, 100, 150]);
    let plain = config(&[nodes, VIP, LISTEN]);
    assert_eq!(priorities(&plain, "default"), [100, 200, 150]);
}

#[test]
fn interfaces_differ_by_node_where_the_file_says_so() {
    let vip = "[vip.web]\nvrid = 51\naddresses = [\"192.0.2.10\"]\ninterface = { lb2 = \"enp3s0\", lb1 = \"ens18\" }\n";
    let config = config(&[NODES, vip, LISTEN]);
    let interface = |node: usize| config.groups[0].by_node[node].members[0].interface.clone();
    assert_eq!(interface(0), Interface::Named("ens18".into()));
    assert_eq!(interface(1), Interface::Named("enp3s0".into()));
}

#[test]
fn towards_keepalived_sums_have_the_form_of_rfc5798_and_the_addresses_are_announced_each_second() {
    let nodes = "[cluster]\nnode.lb1 = \"192.0.2.11\"\nnode.old = { address = \"192.0.2.12\", foreign = \"keepalived\" }\n";
    let config = config(&[nodes, VIP, LISTEN]);
    let node = &config.groups[0].by_node[0];
    assert_eq!(node.peer, PeerKind::Keepalived);
    assert_eq!(node.members[0].checksum, ChecksumForm::Rfc5798);
    assert_eq!(node.garp_refresh, SECOND);
    let explicit = format!("{VIP}checksum = \"rfc9568\"\ngarp_refresh = \"30s\"\n");
    let node = self::config(&[nodes, &explicit, LISTEN]).groups[0].by_node[0].clone();
    assert_eq!(node.members[0].checksum, ChecksumForm::Rfc9568);
    assert_eq!(node.garp_refresh, 30 * SECOND);
}

#[test]
fn version_2_counts_in_seconds() {
    let config = config(&[NODES, VIP, "version = 2\n", LISTEN]);
    assert_eq!(config.groups[0].by_node[0].members[0].interval.get(), SECOND);
}

#[test]
fn preempt_always_waits_5_seconds_unless_told() {
    let preempt = |keys: &str| config(&[NODES, VIP, keys, LISTEN]).groups[0].by_node[0].preempt;
    assert_eq!(preempt("preempt = \"always\"\n"), Preempt::Always { delay: 5 * SECOND });
    assert_eq!(
        preempt("preempt = \"always\"\npreempt_delay = \"0s\"\n"),
        Preempt::Always { delay: Duration::ZERO }
    );
    assert_eq!(preempt("preempt = \"never\"\n"), Preempt::Never);
}

/// Frontends and backends (with their hold) of the only group.
fn reach(sections: &str) -> (Vec<String>, Vec<(String, Duration)>) {
    let mut config = config(&[NODES, VIP, sections]);
    let group = config.groups.remove(0);
    (group.frontends, group.backends.into_iter().map(|backend| (backend.name, backend.hold)).collect())
}

#[test]
fn backends_behind_the_groups_addresses_count_for_its_readiness() {
    let (frontends, backends) = reach(
        "[frontend.by_vip]\nbind = { vip = \"web\", port = 80 }\ndefault_backend = \"a\"\n\
         [frontend.by_address]\nbind = [\"127.0.0.1:1\", \"192.0.2.10:81\"]\ndefault_backend = \"b\"\n\
         [frontend.by_wildcard]\nbind = \"*:82\"\ndefault_backend = \"a\"\n\
         [frontend.elsewhere]\nbind = [\"192.0.2.99:80\", \"[::]:80\"]\ndefault_backend = \"c\"\n\
         [backend.a]\nservers = [\"192.0.2.21:80\"]\n\
         [backend.b]\nservers = [\"192.0.2.22:80\"]\n\
         [backend.c]\nservers = [\"192.0.2.23:80\"]\n",
    );
    assert_eq!(frontends, ["by_vip", "by_address", "by_wildcard"]);
    assert_eq!(backends, [("a".into(), 6 * SECOND), ("b".into(), 6 * SECOND)]);
}

#[test]
fn backends_without_checks_or_left_out_do_not_count() {
    let (_, backends) = reach(
        "[listen.a]\nbind = \"*:80\"\nreadiness = false\nservers = [\"192.0.2.21:80\"]\n\
         [listen.b]\nbind = \"*:81\"\ncheck = false\nservers = [\"192.0.2.21:80\"]\n",
    );
    assert_eq!(backends, []);
}

#[test]
fn the_hold_is_twice_the_interval_plus_the_timeout_and_at_least_3_seconds() {
    let (_, backends) = reach(
        "[listen.a]\nbind = \"*:80\"\ncheck = { interval = \"5s\", timeout = \"1s\" }\nservers = [\"192.0.2.21:80\"]\n\
         [listen.b]\nbind = \"*:81\"\ncheck = { interval = \"200ms\" }\nservers = [\"192.0.2.21:80\"]\n\
         [listen.c]\nbind = \"*:82\"\nhold = \"500ms\"\nservers = [\"192.0.2.21:80\"]\n",
    );
    let expected = [("a", 11 * SECOND), ("b", 3 * SECOND), ("c", Duration::from_millis(500))];
    assert_eq!(backends, expected.map(|(name, hold)| (name.to_owned(), hold)));
}

#[test]
fn a_vip_with_two_addresses_is_bound_on_both() {
    let vip = "[vip.web]\nvrid = 51\naddresses = [\"192.0.2.10\", \"192.0.2.13/24\"]\n";
    let config = config(&[
        NODES,
        vip,
        "[listen.web]\nbind = { vip = \"web\", port = 80 }\nservers = [\"192.0.2.21:80\"]\n",
    ]);
    let binds: Vec<_> = config.proxy.frontends[0].binds.iter().map(|bind| bind.address.to_string()).collect();
    assert_eq!(binds, ["192.0.2.10:80", "192.0.2.13:80"]);
}

#[test]
fn defaults_reach_every_section_key_by_key() {
    let config = config(&["[global]\nmaxconn = 100\n\
         [defaults]\nmode = \"tcp\"\nretries = 1\nredispatch = false\nmaxconn = 50\nbalance = \"leastconn\"\n\
         timeout = { connect = \"1s\", client = \"2s\", server = \"3s\" }\n\
         check = { http = { path = \"/health\" }, interval = \"4s\", fall = 9 }\n\
         [listen.a]\nbind = \"*:80\"\nservers = [\"192.0.2.21:80\"]\n\
         [listen.b]\nbind = \"*:81\"\nmode = \"http\"\nmaxconn = 60\nbalance = \"roundrobin\"\nretries = 0\nredispatch = true\n\
         timeout = { server = \"30s\", queue = \"7s\" }\ncheck = { tcp = true, rise = 4 }\nservers = [\"192.0.2.21:80\"]\n\
         [listen.c]\nbind = \"*:82\"\ncheck = false\nservers = [\"192.0.2.21:80\"]\n"]);
    let [a, b, c] = config.proxy.backends.as_slice() else { panic!("three") };
    assert_eq!(
        (a.mode, a.retries, a.redispatch, a.balance.clone()),
        (Mode::Tcp, 1, false, Balance::LeastConn)
    );
    assert_eq!((a.timeout.connect, a.timeout.server, a.timeout.queue), (SECOND, 3 * SECOND, SECOND));
    let check = a.check.as_ref().unwrap();
    assert!(
        matches!(&check.kind, CheckKind::Http(http) if http.method == "GET" && http.path == "/health" && http.host.is_none())
    );
    assert_eq!((check.pace.interval, check.timeout, check.rise, check.fall), (4 * SECOND, 4 * SECOND, 2, 9));

    assert_eq!(
        (b.mode, b.retries, b.redispatch, b.balance.clone()),
        (Mode::Http, 0, true, Balance::RoundRobin)
    );
    assert_eq!((b.timeout.connect, b.timeout.server, b.timeout.queue), (SECOND, 30 * SECOND, 7 * SECOND));
    let check = b.check.as_ref().unwrap();
    assert!(matches!(check.kind, CheckKind::Tcp));
    assert_eq!((check.pace.interval, check.rise, check.fall), (4 * SECOND, 4, 9));

    assert!(c.check.is_none());
    let maxconn: Vec<_> = config.proxy.frontends.iter().map(|frontend| frontend.maxconn).collect();
    assert_eq!(maxconn, [50, 60, 50]);
    assert_eq!(config.proxy.frontends[0].timeout.client, 2 * SECOND);
}

/// As HAProxy does for `contimeout` (D12).
#[test]
fn the_time_to_connect_presets_those_of_queue_and_tarpit() {
    let times = |defaults: &str, listen: &str| {
        let defaults = format!("[defaults]\ntimeout = {{ {defaults} }}\n");
        let config = config(&[&defaults, LISTEN, &format!("timeout = {{ {listen} }}\n")]);
        let (frontend, backend) = (&config.proxy.frontends[0].timeout, &config.proxy.backends[0].timeout);
        [backend.connect, backend.queue, frontend.tarpit].map(|time| time.as_secs())
    };
    assert_eq!(times("", ""), [5, 5, 5]);
    assert_eq!(times("connect = \"7s\"", ""), [7, 7, 7]);
    assert_eq!(times("connect = \"7s\"", "connect = \"9s\""), [9, 9, 9]);
    assert_eq!(times("connect = \"7s\", tarpit = \"1s\"", "queue = \"2s\""), [7, 2, 1]);
    assert_eq!(times("connect = \"7s\", queue = \"3s\"", "tarpit = \"4s\", connect = \"8s\""), [8, 3, 4]);
}

#[test]
fn both_forms_of_servers_mix_in_the_order_of_the_file() {
    let config = config(&[
        "[listen.a]\nbind = \"*:80\"\nserver.one = \"192.0.2.21:80\"\nservers = [\"192.0.2.22:80\", \"[2001:db8::23]:80\"]\n\
         server.two = { address = \"192.0.2.24:80\", weight = 0, maxconn = 7 }\n",
    ]);
    let servers: Vec<_> = config.proxy.backends[0]
        .servers
        .iter()
        .map(|server| (server.name.as_str(), server.weight, server.maxconn))
        .collect();
    let expected =
        [("one", 1, None), ("192.0.2.22:80", 1, None), ("[2001:db8::23]:80", 1, None), ("two", 0, Some(7))];
    assert_eq!(servers, expected);
}

#[test]
fn a_frontend_may_use_the_backend_half_of_a_listen() {
    let config = config(&[LISTEN, "[frontend.other]\nbind = \"*:81\"\ndefault_backend = \"web\"\n"]);
    assert_eq!(config.proxy.frontends[1].default_backend, Some(BackendId(0)));
}

#[test]
fn headlines_are_one_line_for_each_warning() {
    let unused = "[backend.unused]\nservers = [\"192.0.2.21:80\"]\n";
    let headlines: Vec<_> = config(&[LISTEN, unused]).warnings.headlines().collect();
    assert_eq!(headlines, ["lb.toml:4:10: no frontend uses the backend `unused`"]);
}

#[test]
fn the_hash_is_sha_256_of_the_text() {
    // `printf '[listen.web]\nbind = "*:80"\nservers = ["192.0.2.21:80"]\n' | sha256sum`
    assert_eq!(config(&[LISTEN]).hash, "77e0717357e9705ef305f9ea3fcffcc6957905219ccfe29b1662e3a006ed9b59");
}

#[test]
fn a_report_shows_200_errors_and_counts_the_rest() {
    let keys: String = (0..1_000).map(|number| format!("key{number} = 1\n")).collect();
    let report = parse(&format!("{LISTEN}{keys}"), "lb.toml").unwrap_err();
    assert_eq!((report.errors(), report.iter().count()), (1_000, 200));
    assert!(report.to_string().ends_with("lb.toml: and 800 more like these\n"));
    assert_eq!(report.summary(), "1000 errors");
}

#[test]
fn a_report_counts_columns_in_characters_and_cuts_long_lines() {
    let long = format!("[listen.web]\n\"ü\" = [{}, bad]\n", "1, ".repeat(200).trim_end_matches(", "));
    let report = parse(&long, "lb.toml").unwrap_err().to_string();
    for line in report.lines() {
        assert!(line.chars().count() < 170, "{line}");
    }
}

#[test]
fn a_source_by_node_is_that_of_each_node_and_nobodys_before_the_node_is_known() {
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/good/source.toml")).unwrap();
    let config = parse(&text, "source.toml").unwrap();
    let sources = |node: Option<usize>| {
        let proxy = config.proxy_of(node);
        let backend =
            |name: &str| proxy.backends.iter().find(|backend| backend.name == name).unwrap().clone();
        let (own, by_node) = (backend("own"), backend("by_node"));
        [
            own.source(0),
            by_node.source(0),
            by_node.source(1),
            by_node.source(5),
            by_node.source(6),
            backend("default").source(0),
        ]
        .map(ToString::to_string)
    };
    assert_eq!(
        sources(Some(0)),
        [
            "192.0.2.11",
            "198.51.100.7:5000-5000",
            "192.0.2.11:1024-65535 on ens18",
            "any",
            "198.51.100.11",
            "ens18"
        ]
    );
    assert_eq!(
        sources(Some(1)),
        [
            "192.0.2.12",
            "198.51.100.7:5000-5000",
            "192.0.2.12:1024-65535 on enp3s0",
            "any",
            "198.51.100.12:10000-20000",
            "enp3s0"
        ]
    );
    assert_eq!(sources(None), ["any", "198.51.100.7:5000-5000", "any", "any", "any", "any"]);
}

#[test]
fn name_of_a_server_is_the_same_however_it_is_written() {
    let config = config(&[
        "[listen.web]\nbind = \"*:80\"\nserver.a = \"App.Internal:80\"\nserver.b = \"app.internal:81\"\n",
    ]);
    let hosts: Vec<_> =
        config.proxy.backends[0].servers.iter().filter_map(|server| server.address.host()).collect();
    assert_eq!(hosts, ["app.internal", "app.internal"]);
}
