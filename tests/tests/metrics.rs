//! Metrics of the running program: promtool reads them, Prometheus scrapes them, HAProxy's exporter has the same names.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use lb_tests::{
    plain::{PATIENCE, Plain, Running, get, unused_address, wait_until, web_server},
    program,
    scene::Scene,
    wait,
};
use lbctl::lab::{CONFIGURATION, Options};

/// lbctl before a server, with its metrics on a listener of their own.
struct Scraped {
    _lb: Plain,
    metrics: SocketAddr,
    web: SocketAddr,
    _server: Running,
}

impl Scraped {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (address, server) = web_server(folder.path(), "web1");
        let (metrics, web) = (unused_address(8404), unused_address(8000));
        let lb = Plain::start(&format!(
            "[statistics]\nbind = \"{metrics}\"\npublic = true\n[listen.web]\nbind = \"{web}\"\nstick = {{ by = \"source\" }}\n\
             check = {{ interval = \"100ms\" }}\nserver.s1 = \"{address}\"\n"
        ));
        let scraped = Self { _lb: lb, metrics, web, _server: server };
        scraped.becomes("/metrics", "lbctl_server_up{backend=\"web\",server=\"s1\"}", "1");
        scraped
    }

    fn becomes(&self, target: &str, sample: &str, value: &str) {
        let text = || get(self.metrics, target);
        wait_until(&format!("{sample} {value}"), text, || {
            let text = get(self.metrics, target);
            text.lines().any(|line| line.strip_prefix(sample).is_some_and(|found| found.trim() == value))
        });
    }
}

/// The content alone, which HAProxy sends in chunks.
fn fetch(address: SocketAddr, target: &str) -> String {
    let mut command = Command::new(program::find("curl"));
    let output = command.args(["-s", &format!("http://{address}{target}")]).output().expect("started");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn content(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, content)| content)
}

/// What `promtool` with these arguments says of `input`; empty if all is well.
fn promtool(arguments: &[&str], input: &str) -> String {
    let mut command = Command::new(program::find("promtool"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("started");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("read");
    let output = child.wait_with_output().expect("ended");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    said.into_owned()
}

fn book(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(path)
}

#[test]
fn promtool_has_nothing_to_say_of_them() {
    let scraped = Scraped::start();
    for _ in 0..3 {
        let _ = get(scraped.web, "/");
    }
    scraped.becomes("/metrics", "lbctl_frontend_responses_total{frontend=\"web\",code=\"2xx\"}", "3");
    for target in ["/metrics", "/metrics?names=haproxy"] {
        let answer = get(scraped.metrics, target);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(
            answer.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"),
            "{answer}"
        );
        assert_eq!(promtool(&["check", "metrics"], content(&answer)), "", "{target}");
    }
    // What is measured, and what the kernel says, is there.
    let text = get(scraped.metrics, "/metrics");
    let value = |sample: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(sample));
        line.unwrap_or_else(|| panic!("{sample} in {text}")).trim().parse().expect("a number")
    };
    assert!(
        (value("lbctl_backend_request_duration_seconds_bucket{backend=\"web\",le=\"+Inf\"}") - 3.0).abs()
            < 0.1
    );
    assert!(value("lbctl_backend_request_duration_seconds_sum{backend=\"web\"}") > 0.0);
    assert!(value("lbctl_worker_loop_delay_seconds_count{worker=\"0\"}") > 0.0);
    assert!(value("process_cpu_seconds_total") > 0.0);
    assert!(value("process_resident_memory_bytes") > 1e6);
    assert!(value("process_open_fds") > 5.0);
}

/// Series without their values, by metric.
fn series(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, _) = line.rsplit_once(' ').expect("a value");
        let name = series.split('{').next().unwrap_or_default();
        // Each has its own version.
        if name != "haproxy_process_build_info" {
            found.entry(name.to_owned()).or_default().insert(series.to_owned());
        } else {
            found.entry(name.to_owned()).or_default();
        }
    }
    found
}

/// The names that the book says are HAProxy's alone.
fn not_here() -> BTreeSet<String> {
    let text = fs::read_to_string(book("metrics.md")).expect("read");
    let (_, rest) = text.split_once("## What HAProxy has and lbctl has not").expect("the section");
    let mut names = BTreeSet::new();
    for row in rest.lines().filter(|line| line.starts_with("| `")) {
        let cell = row.split(" | ").next().unwrap_or_default();
        let found = cell.split('`').skip(1).step_by(2);
        found.for_each(|name| assert!(names.insert(name.to_owned()), "twice: {name}"));
    }
    names
}

#[test]
fn haproxys_own_exporter_has_the_same_names_and_labels() {
    let folder = tempfile::tempdir().expect("a folder");
    let (http, tcp, exporter) = (unused_address(8000), unused_address(8000), unused_address(8404));
    let (checked, other) = (unused_address(80), unused_address(80));
    let file = folder.path().join("haproxy.cfg");
    let text = format!(
        "global\n  nbthread 1\ndefaults\n  mode http\n  timeout connect 1s\n  timeout client 1s\n  timeout server 1s\n\
         frontend statistics\n  bind {exporter}\n  http-request use-service prometheus-exporter\n\
         listen web\n  bind {http}\n  stick-table type ip size 100k\n  stick on src\n  maxconn 100\n  server s1 {checked} check inter 100ms\n  server s2 {other} check inter 100ms maxconn 7\n\
         listen mail\n  mode tcp\n  bind {tcp}\n  maxconn 50\n  server m1 {other} weight 3\n  server m2 {other} backup\n"
    );
    fs::write(&file, text).expect("written");
    let mut command = Command::new(program::find("haproxy"));
    command.args(["-db", "-f"]).arg(&file);
    let _haproxy = Running::start(&mut command, &folder.path().join("haproxy.log"));
    let (own, web, mail) = (unused_address(8404), unused_address(8000), unused_address(8000));
    let lb = Plain::start(&format!(
        "[global]\nthreads = 1\n[statistics]\nbind = \"{own}\"\npublic = true\n\
         [listen.web]\nbind = \"{web}\"\nmaxconn = 100\nstick = {{ by = \"source\" }}\ncheck = {{ interval = \"100ms\" }}\n\
         server.s1 = \"{checked}\"\nserver.s2 = {{ address = \"{other}\", maxconn = 7 }}\n\
         [listen.mail]\nmode = \"tcp\"\nmaxconn = 50\nbind = \"{mail}\"\ncheck = false\n\
         server.m1 = {{ address = \"{other}\", weight = 3 }}\nserver.m2 = {{ address = \"{other}\", backup = true }}\n"
    ));
    let both = || [fetch(exporter, "/metrics"), fetch(own, "/metrics?names=haproxy")];
    let down = ["s1", "s2"].map(|server| {
        format!("haproxy_server_status{{proxy=\"web\",server=\"{server}\",state=\"DOWN\"}} 1\n")
    });
    let checked =
        |text: &String| down.iter().all(|line| text.contains(line)) && text.contains("state=\"L4CON\"} 2\n");
    wait_until("both have checked", || both().concat(), || both().iter().all(checked));
    let [theirs, ours] = both();
    let (theirs_by_name, ours_by_name) = (series(&theirs), series(&ours));
    for (name, series) in &ours_by_name {
        assert_eq!(Some(series), theirs_by_name.get(name), "{name}");
    }
    let names = |of: &BTreeMap<String, _>| of.keys().cloned().collect::<BTreeSet<_>>();
    let missing: BTreeSet<_> = names(&theirs_by_name).difference(&names(&ours_by_name)).cloned().collect();
    assert_eq!(missing, not_here());
    drop(lb);
    // And the same types.
    let types = |text: &str| -> BTreeMap<String, String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).map(str::to_owned);
        lines.filter_map(|line| line.split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned()))).collect()
    };
    let their_types = types(&theirs);
    for (name, kind) in types(&ours) {
        assert_eq!(Some(&kind), their_types.get(&name), "{name}");
    }
    // What stands still is the same to the value.
    for name in [
        "_status{",
        "limit_sessions",
        "_weight",
        "uweight",
        "active_servers",
        "backup_servers",
        "queue_limit",
    ] {
        let lines = |text: &str| {
            let of_proxies =
                |line: &&str| !line.starts_with('#') && !line.contains("statistics") && line.contains(name);
            text.lines().filter(of_proxies).map(str::to_owned).collect::<BTreeSet<_>>()
        };
        assert_eq!(lines(&ours), lines(&theirs), "{name}");
    }
}

#[test]
fn prometheus_scrapes_them_and_says_that_the_target_is_up() {
    let scraped = Scraped::start();
    let folder = tempfile::tempdir().expect("a folder");
    let prometheus = unused_address(9090);
    let file = folder.path().join("prometheus.yml");
    let text = format!(
        "global:\n  scrape_interval: 1s\nrule_files: [{}]\nscrape_configs:\n  - job_name: lbctl\n    static_configs: [{{ targets: ['{}'] }}]\n\
         \x20 - job_name: haproxy\n    params: {{ names: [haproxy] }}\n    static_configs: [{{ targets: ['{}'] }}]\n",
        book("prometheus/alerts.yml").display(),
        scraped.metrics,
        scraped.metrics
    );
    fs::write(&file, text).expect("written");
    let mut command = Command::new(program::find("prometheus"));
    command.arg(format!("--config.file={}", file.display()));
    command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
    command.arg(format!("--web.listen-address={prometheus}"));
    let log = folder.path().join("log");
    let _prometheus = Running::start(&mut command, &log);
    let context = || fs::read_to_string(&log).unwrap_or_default();
    for (query, expected) in [
        ("up{job=\"lbctl\"}", "\"1\"]"),
        ("up{job=\"haproxy\"}", "\"1\"]"),
        ("lbctl_server_up{server=\"s1\"}", "\"1\"]"),
        ("haproxy_server_status{server=\"s1\",state=\"UP\"}", "\"1\"]"),
    ] {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let target = format!("/api/v1/query?query={encoded}");
        wait_until(query, context, || get(prometheus, &target).contains(expected));
    }
}

#[test]
fn the_rules_of_the_book_fire_when_they_should() {
    let folder = book("prometheus");
    let at = |name: &str| folder.join(name).display().to_string();
    let said = promtool(&["check", "rules", &at("alerts.yml")], "");
    assert!(said.contains("SUCCESS"), "{said}");
    let said = promtool(&["test", "rules", &at("alerts.test.yml")], "");
    assert!(said.contains("SUCCESS"), "{said}");
    // Each of them is tested.
    let [rules, tests] =
        ["alerts.yml", "alerts.test.yml"].map(|name| fs::read_to_string(at(name)).expect("read"));
    let names = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let untested: Vec<_> = names.filter(|name| !tests.contains(&format!("alertname: {name}\n"))).collect();
    assert_eq!(untested, [""; 0]);
}

fn dashboard() -> serde_json::Value {
    let text = fs::read_to_string(book("grafana/lbctl.json")).expect("read");
    serde_json::from_str(&text).expect("JSON")
}

fn panels(dashboard: &serde_json::Value) -> impl Iterator<Item = &serde_json::Value> {
    dashboard["panels"].as_array().expect("panels").iter()
}

/// What Grafana does not say when it loads the file, and what it would show nothing of.
#[test]
fn each_panel_of_the_dashboard_is_whole_and_in_a_place_of_its_own() {
    let dashboard = dashboard();
    let variables: Vec<_> = dashboard["templating"]["list"].as_array().expect("a list").iter().collect();
    let names: Vec<_> = variables.iter().map(|variable| variable["name"].as_str().expect("a name")).collect();
    assert_eq!(names, ["datasource", "job", "instance"]);
    assert_eq!(variables[0]["type"], "datasource");
    assert_eq!(variables[0]["query"], "prometheus");
    let source = serde_json::json!({ "type": "prometheus", "uid": "${datasource}" });
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels(&dashboard) {
        let title = panel["title"].as_str().unwrap_or_default();
        assert!(!title.is_empty(), "{panel}");
        assert!(ids.insert(panel["id"].as_u64().expect("a number")), "{title}: its id is another one's");
        let [x, y, width, height] =
            ["x", "y", "w", "h"].map(|name| panel["gridPos"][name].as_u64().expect("a number"));
        assert!(width > 0 && height > 0 && x + width <= 24, "{title}: not on the grid");
        for cell in (x..x + width).flat_map(|x| (y..y + height).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{title}: another panel is at {cell:?}");
        }
        if panel["type"] == "row" {
            continue;
        }
        assert_eq!(panel["datasource"], source, "{title}");
        let unit = panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap_or_default();
        assert!(!unit.is_empty(), "{title}: no unit");
        let targets = panel["targets"].as_array().expect("targets");
        let references: BTreeSet<_> = targets.iter().map(|target| target["refId"].as_str()).collect();
        assert!(!targets.is_empty() && references.len() == targets.len(), "{title}: {references:?}");
        for target in targets {
            assert!(target["legendFormat"].as_str().is_some_and(|legend| !legend.is_empty()), "{title}");
            let query = target["expr"].as_str().expect("a query");
            assert!(query.contains("job=\"$job\"") && query.contains("instance=~\"$instance\""), "{query}");
        }
    }
}

/// A pair with clients, and Prometheus beside it: no query of the dashboard is without an answer. Variables have a value in Grafana
/// alone.
#[test]
fn each_query_of_the_dashboard_has_an_answer_where_a_pair_serves() {
    let text = format!("{CONFIGURATION}\n[statistics]\nbind = \"*:8404\"\npublic = true\n");
    let scene = Scene::ready(&Options::default().configuration(&text));
    let _load = scene.clients();
    let file = scene.write(
        "prometheus.yml",
        "global:\n  scrape_interval: 500ms\nscrape_configs:\n  - job_name: lbctl\n    static_configs: [{ targets: ['198.51.100.11:8404', '198.51.100.12:8404'] }]\n",
    );
    let data = scene.folder().join("data");
    let prometheus = scene.spawn(
        "client",
        "prometheus",
        [
            program::find("prometheus").display().to_string(),
            format!("--config.file={file}"),
            format!("--storage.tsdb.path={}", data.display()),
            "--web.listen-address=127.0.0.1:9090".to_owned(),
        ],
    );
    let _running = prometheus.expect("started");
    let dashboard = dashboard();
    let queries: Vec<_> = panels(&dashboard)
        .filter_map(|panel| panel["targets"].as_array())
        .flatten()
        .map(|target| target["expr"].as_str().expect("a query"))
        .collect();
    assert!(queries.len() > 30, "{queries:?}");
    for query in queries {
        let plain =
            query.replace("$__rate_interval", "10s").replace("$job", "lbctl").replace("$instance", ".*");
        // What is shown only if there is some: how much there is, is an answer as well.
        let plain = plain.strip_suffix(" > 0").unwrap_or(&plain);
        let ask = format!("curl -sG http://127.0.0.1:9090/api/v1/query --data-urlencode 'query={plain}'");
        wait::until(query, PATIENCE, || {
            let answer = scene.exec("client", ["sh", "-c", &ask]).ok()?;
            let answer: serde_json::Value = serde_json::from_str(&answer.stdout).ok()?;
            assert_eq!(answer["error"], serde_json::Value::Null, "{query}");
            let series = answer["data"]["result"].as_array()?;
            (!series.is_empty()).then_some(())
        });
    }
}
