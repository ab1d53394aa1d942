//! Literal samples from literal states, and the tables of the book beside what is written. What the installed HAProxy writes,
//! and promtool says, is in `tests/tests/metrics.rs`.

use std::collections::BTreeSet;

use lb_proxy::metrics::Event;

use super::{Names, Process, metrics};
use crate::{
    control::{
        Certificate, ChainEnd, Histogram, Log, LogProblem, Notifier, Router, ServerState, Speaker, Status,
        Table, Tracker, Transport,
    },
    output::status::tests::healthy,
    statistics::tests::{backend, frontend, server, status, time},
};

/// Every metric has a sample in it.
fn whole() -> Status {
    let mut web = frontend("web");
    web.counters = Event::ALL.iter().map(|event| (event.name().to_owned(), 1)).collect();
    let certificate = |file: &str| Certificate {
        file: file.to_owned(),
        names: vec!["www.example.com".to_owned()],
        not_before: time("2026-09-01T00:00:00Z"),
        not_after: time("2026-12-01T00:00:00Z"),
        sha256: String::new(),
        stapled_until: None,
        chain_fault: None,
        chain_end: None,
    };
    web.certificates = vec![certificate("site.pem")];
    let mut app = backend("app", vec![server("web1"), server("web2")]);
    app.certificates = vec![certificate("lb.pem")];
    app.servers[1].state = ServerState::Maintenance;
    app.statistics.totals = Some(histogram());
    let mut found = status(vec![web], vec![app]);
    let pair = healthy();
    let apart = |name: &str, address: [u8; 4]| {
        let mut one = frontend(name);
        one.binds[0].address = Some((address, 8404).into());
        one
    };
    found.frontends.extend([apart("own", [192, 0, 2, 11]), apart("vip", [192, 0, 2, 10])]);
    found.peers = pair.peers;
    found.groups = pair.groups;
    found.file.loaded = Some(time("2026-09-21T13:00:01.5Z"));
    found.groups[0].counters = [
        ("advertisements_sent", 100),
        ("priority_zero_sent", 2),
        ("became_active", 3),
        ("reject_ttl", 7),
        ("late", 1),
    ]
    .map(|(name, count)| (name.to_owned(), count))
    .into();
    let [mut ipv4, mut ipv6] = ["ipv4", "ipv6"].map(router);
    ipv4.counters =
        [("advertisements_sent", 60), ("priority_zero_sent", 1), ("announcements", 4), ("reject_ttl", 7)]
            .map(|(name, count)| (name.to_owned(), count))
            .into();
    ipv6.counters = [("advertisements_sent".to_owned(), 40), ("priority_zero_sent".to_owned(), 1)].into();
    ipv6.foreign = Some("fe80::77".to_owned());
    found.groups[0].vips[0].routers = vec![ipv4, ipv6];
    found.notifiers = vec![Notifier {
        name: "pager".to_owned(),
        means: "command /usr/local/bin/page".to_owned(),
        waiting: 2,
        told_total: 7,
        failed_total: 3,
        lost_total: 1,
        problem: None,
    }];
    found.speaker = Some(Speaker { restarts_total: 2, last_restart: None, unreadable_total: 3 });
    found.trackers = vec![Tracker {
        name: "gateway".to_owned(),
        subject: "address 192.0.2.1".to_owned(),
        failure: "degradation".to_owned(),
        groups: vec!["default".to_owned()],
        passes: Some(false),
        since: Some(time("2026-09-21T13:00:01.5Z")),
        reason: Some("192.0.2.1 does not answer within 1s".to_owned()),
        failures_total: 3,
        unknown_total: 1,
    }];
    found.delays = vec![histogram()];
    found.counters = [("hello_ttl".to_owned(), 4)].into();
    let table = |name: &str| Table { name: name.to_owned(), entries: 5, size: 100, evictions_total: 6 };
    found.tables = vec![table("backend app, stick"), table("frontend web, per_source")];
    found.logs = vec![Log {
        target: "file /var/log/lbctl/access.log".to_owned(),
        written_total: 10,
        lost_total: 2,
        problem: Some(LogProblem { what: "the disk is full".to_owned(), since: found.at }),
    }];
    found
}

fn router(family: &str) -> Router {
    Router {
        family: family.to_owned(),
        transport: Transport::Multicast,
        state: "Active".to_owned(),
        trouble: None,
        foreign: None,
        counters: Default::default(),
    }
}

fn histogram() -> Histogram {
    Histogram { counts: vec![3, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], microseconds: 61_250_000 }
}

const PROCESS: Process = Process {
    cpu_seconds: Some(1.25),
    resident_bytes: Some(6_668_288),
    virtual_bytes: Some(20_000_000),
    open_fds: Some(17),
    max_fds: Some(1_024),
};

fn own() -> String {
    metrics(&whole(), &PROCESS, Names::Own)
}

/// Name and type of each metric.
fn types(text: &str) -> BTreeSet<(String, String)> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let types = lines.filter_map(|line| line.split_once(' '));
    types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
}

#[test]
fn the_query_says_whose_names_they_are() {
    for (query, expected) in [
        ("", Names::Own),
        ("?names=haproxy", Names::Haproxy),
        ("?a=b&names=haproxy&c", Names::Haproxy),
        ("?names=lbctl", Names::Own),
        ("?xnames=haproxy", Names::Own),
    ] {
        assert_eq!(Names::parse(query.as_bytes()), Ok(expected), "{query}");
    }
    let wrong = |query: &[u8]| Names::parse(query).expect_err("nobody has them");
    assert_eq!(wrong(b"?names=foo"), "names is `haproxy` or `lbctl` (which is the default), found `foo`");
    assert!(wrong(b"?names=").ends_with("found ``"));
    assert!(wrong(b"?names=haproxy&names=\x1b").ends_with("found `?`"));
}

#[test]
fn samples_are_in_prometheus_text_format() {
    let text = own();
    for lines in [
        "# HELP process_cpu_seconds_total Time of all threads of the daemon on processors.\n# TYPE process_cpu_seconds_total \
         counter\nprocess_cpu_seconds_total 1.25\n",
        "# TYPE lbctl_build_info gauge\nlbctl_build_info{version=\"0.3.0\",node=\"lb1\"} 1\n",
        "\nlbctl_uptime_seconds 3600\n",
        "\nlbctl_phase{state=\"running\"} 1\nlbctl_phase{state=\"waiting\"} 0\nlbctl_phase{state=\"stopping\"} 0\n",
        "\nlbctl_config_loaded_timestamp_seconds 1789995601.5\n",
        "\nlbctl_frontend_requests_total{frontend=\"web\"} 71\n",
        "# TYPE lbctl_frontend_vip_info gauge\n\
         lbctl_frontend_vip_info{frontend=\"web\",group=\"default\",vip=\"web\"} 1\n\
         lbctl_frontend_vip_info{frontend=\"vip\",group=\"default\",vip=\"web\"} 1\n",
        "\nlbctl_frontend_responses_total{frontend=\"web\",code=\"other\"} 1\n\
         lbctl_frontend_responses_total{frontend=\"web\",code=\"1xx\"} 2\n",
        "# HELP lbctl_frontend_tarpitted_total Requests that a rule let wait before it refused them (`tarpit`).\n",
        "\nlbctl_server_check_duration_seconds{backend=\"app\",server=\"web1\"} 0.0019\n",
        "\nlbctl_server_state{backend=\"app\",server=\"web2\",state=\"maintenance\"} 1\n",
        "\nlbctl_server_state{backend=\"app\",server=\"web2\",state=\"up\"} 0\n",
        "# TYPE lbctl_server_response_seconds summary\n\
         lbctl_server_response_seconds_sum{backend=\"app\",server=\"web1\"} 1.1\n\
         lbctl_server_response_seconds_count{backend=\"app\",server=\"web1\"} 38\n",
        "\nlbctl_vrrp_state{group=\"default\",state=\"Active\"} 1\n",
        "\nlbctl_vrrp_advertisements_sent_total{group=\"default\",kind=\"ordinary\"} 98\n\
         lbctl_vrrp_advertisements_sent_total{group=\"default\",kind=\"resignation\"} 2\n",
        "\nlbctl_vrrp_advertisements_rejected_total{group=\"default\",reason=\"ttl\"} 7\n",
        "\nlbctl_vrrp_transitions_total{group=\"default\",state=\"Active\"} 3\n",
        "\nlbctl_vrrp_events_total{group=\"default\",event=\"late\"} 1\n",
        "\nlbctl_vip_info{group=\"default\",vip=\"web\",vrid=\"51\",interface=\"eth1\"} 1\n",
        "\nlbctl_vip_state{group=\"default\",vip=\"web\",family=\"ipv6\",state=\"Active\"} 1\n",
        "\nlbctl_vip_foreign_cluster{group=\"default\",vip=\"web\",family=\"ipv4\"} 0\n\
         lbctl_vip_foreign_cluster{group=\"default\",vip=\"web\",family=\"ipv6\"} 1\n",
        "\nlbctl_vip_advertisements_sent_total{group=\"default\",vip=\"web\",family=\"ipv4\",kind=\"ordinary\"} 59\n\
         lbctl_vip_advertisements_sent_total{group=\"default\",vip=\"web\",family=\"ipv4\",kind=\"resignation\"} 1\n",
        "\nlbctl_vip_advertisements_rejected_total{group=\"default\",vip=\"web\",family=\"ipv4\",reason=\"ttl\"} 7\n",
        "\nlbctl_vip_advertisements_rejected_total{group=\"default\",vip=\"web\",family=\"ipv6\",reason=\"ttl\"} 0\n",
        "\nlbctl_vip_announcements_total{group=\"default\",vip=\"web\",family=\"ipv4\"} 4\n",
        "\nlbctl_vip_held{group=\"default\",vip=\"web\"} 1\n",
        "\nlbctl_vip_address_held{group=\"default\",vip=\"web\",address=\"192.0.2.10\"} 1\n",
        "\nlbctl_notify_up{notify=\"pager\"} 1\n",
        "\nlbctl_notify_waiting{notify=\"pager\"} 2\n",
        "\nlbctl_notify_told_total{notify=\"pager\"} 7\n",
        "\nlbctl_notify_failures_total{notify=\"pager\"} 3\n",
        "\nlbctl_notify_lost_total{notify=\"pager\"} 1\n",
        "\nlbctl_tracker_up{tracker=\"gateway\",failure=\"degradation\"} 0\n",
        "\nlbctl_tracker_last_change_timestamp_seconds{tracker=\"gateway\",failure=\"degradation\"} 1789995601.5\n",
        "\nlbctl_tracker_failures_total{tracker=\"gateway\",failure=\"degradation\"} 3\n",
        "\nlbctl_tracker_unknown_total{tracker=\"gateway\",failure=\"degradation\"} 1\n",
        "\nlbctl_peer_same_file{peer=\"lb2\"} 1\n",
        "\nlbctl_log_up{target=\"file /var/log/lbctl/access.log\"} 0\n",
    ] {
        assert!(text.contains(lines), "{lines} in\n{text}");
    }
}

#[test]
fn buckets_of_a_histogram_add_up() {
    let text = own();
    let lines: Vec<_> = text.lines().filter(|line| line.starts_with("lbctl_backend_request")).collect();
    let bucket = |bound: &str, count: u32| {
        format!("lbctl_backend_request_duration_seconds_bucket{{backend=\"app\",le=\"{bound}\"}} {count}")
    };
    assert_eq!(lines[..3], [bucket("0.001", 3), bucket("0.002", 3), bucket("0.005", 5)]);
    assert_eq!(lines[14..16], [bucket("60", 5), bucket("+Inf", 6)]);
    assert_eq!(
        lines[16..],
        [
            "lbctl_backend_request_duration_seconds_sum{backend=\"app\"} 61.25",
            "lbctl_backend_request_duration_seconds_count{backend=\"app\"} 6"
        ]
    );
}

#[test]
fn names_are_escaped() {
    let status = status(vec![frontend("a\"b\\c\nd")], Vec::new());
    for names in [Names::Own, Names::Haproxy] {
        let text = metrics(&status, &PROCESS, names);
        assert!(text.contains("=\"a\\\"b\\\\c\\nd\""), "{text}");
        assert!(text.lines().all(|line| line.starts_with("# ") || line.contains(' ')), "{text}");
    }
}

#[test]
fn certificate_whose_chain_is_over_first_expires_with_that() {
    let mut status = whole();
    let end = |of: &str| Some(ChainEnd { subject: "/CN=R".to_owned(), not_after: time(of) });
    status.frontends[0].certificates[0].chain_end = end("2026-10-01T00:00:00Z");
    status.backends[0].certificates[0].chain_end = end("2027-10-01T00:00:00Z");
    let text = metrics(&status, &PROCESS, Names::Own);
    for line in [
        "lbctl_frontend_certificate_expires_timestamp_seconds{frontend=\"web\",file=\"site.pem\"} 1790812800",
        "lbctl_backend_certificate_expires_timestamp_seconds{backend=\"app\",file=\"lb.pem\"} 1796083200",
    ] {
        assert!(text.lines().any(|known| known == line), "{line}\n{text}");
    }
}

#[test]
fn what_is_not_known_is_left_out() {
    let mut status = whole();
    for frontend in &mut status.frontends {
        frontend.mode = "tcp".to_owned();
    }
    status.backends[0].servers[0].last_check = None;
    status.backends[0].servers.truncate(1);
    status.groups[0].holders.clear();
    status.groups[0].nodes[0].state = None;
    status.groups[0].nodes[1].state = None;
    let text = metrics(&status, &Process::default(), Names::Own);
    for name in [
        "process_cpu_seconds_total",
        "process_open_fds",
        "lbctl_frontend_responses_total",
        "lbctl_server_check_passed",
        "lbctl_server_check_info",
        "lbctl_vrrp_holders",
    ] {
        assert!(!text.contains(name), "{name}");
    }
    assert!(text.contains("\nlbctl_vrrp_state{group=\"default\",state=\"Active\"} 0\n"), "{text}");
}

/// The names of the exporter, and its labels; the whole list is compared with the installed HAProxy's elsewhere.
#[test]
fn haproxys_names_have_haproxys_labels_and_units() {
    let text = metrics(&whole(), &PROCESS, Names::Haproxy);
    for lines in [
        "\nhaproxy_process_max_fds 1024\n",
        "\nhaproxy_frontend_status{proxy=\"web\",state=\"DOWN\"} 0\nhaproxy_frontend_status{proxy=\"web\",state=\"UP\"} 1\n",
        "\nhaproxy_frontend_http_responses_total{proxy=\"web\",code=\"2xx\"} 30\n",
        "\nhaproxy_frontend_requests_denied_total{proxy=\"web\"} 3\n",
        "\nhaproxy_server_status{proxy=\"app\",server=\"web1\",state=\"UP\"} 1\n",
        "\nhaproxy_server_status{proxy=\"app\",server=\"web2\",state=\"MAINT\"} 1\n",
        "\nhaproxy_server_response_time_average_seconds{proxy=\"app\",server=\"web1\"} 0.03\n",
        "\nhaproxy_server_max_total_time_seconds{proxy=\"app\",server=\"web1\"} 1.04\n",
        "\nhaproxy_server_queue_limit{proxy=\"app\",server=\"web1\"} NaN\n",
        "\nhaproxy_server_check_status{proxy=\"app\",server=\"web1\",state=\"L7OK\"} 1\n",
        "\nhaproxy_server_check_code{proxy=\"app\",server=\"web1\"} 200\n",
        "\nhaproxy_backend_agg_server_status{proxy=\"app\",state=\"MAINT\"} 1\n",
        "\nhaproxy_backend_agg_check_status{proxy=\"app\",state=\"L7OK\"} 1\n",
        "\nhaproxy_sticktable_used{name=\"app\",type=\"ip\"} 5\n",
    ] {
        assert!(text.contains(lines), "{lines} in\n{text}");
    }
    assert!(!text.contains("per_source"), "{text}");
}

/// Rows `| name | type |` of the tables in the book.
fn book() -> BTreeSet<(String, String)> {
    let rows = include_str!("../../../docs/metrics.md").lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let (name, kind) = (cells.next()?.trim_end_matches('`'), cells.next()?);
        let is_kind = ["counter", "gauge", "histogram", "summary"].contains(&kind);
        is_kind.then(|| (name.to_owned(), kind.to_owned()))
    });
    rows.collect()
}

#[test]
fn the_book_has_all_metrics_and_no_other() {
    let found = types(&own());
    if let Some(path) = std::env::var_os("METRICS") {
        std::fs::write(path, own()).expect("written");
    }
    assert_eq!(book(), found);
}

/// Of `text`, everything that begins like a metric of this program.
fn mentioned(text: &str) -> BTreeSet<String> {
    let is_part = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let words = text.split(|character| !is_part(character));
    let own = words.filter(|word| word.starts_with("lbctl_") || word.starts_with("process_"));
    own.map(str::to_owned).collect()
}

#[test]
fn dashboard_and_alerts_use_metrics_that_exist() {
    let mut known = BTreeSet::new();
    for (name, kind) in types(&own()) {
        match kind.as_str() {
            "histogram" => known.extend(["_bucket", "_sum", "_count"].map(|suffix| name.clone() + suffix)),
            "summary" => known.extend(["_sum", "_count"].map(|suffix| name.clone() + suffix)),
            _ => known.extend([name]),
        }
    }
    for (file, text) in [
        ("lbctl.json", include_str!("../../../docs/grafana/lbctl.json")),
        ("alerts.yml", include_str!("../../../docs/prometheus/alerts.yml")),
        ("alerts.test.yml", include_str!("../../../docs/prometheus/alerts.test.yml")),
    ] {
        let used = mentioned(text);
        assert!(used.len() >= 10, "{file}: {used:?}");
        let unknown: Vec<_> = used.difference(&known).collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
    }
}
