//! Who reads the statistics: a browser, the plugins of Nagios, the exporter of Prometheus; with servers up and down.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use lb_tests::{
    browser::Browser,
    plain::{Plain, Running, get, unused_address, wait_until},
    program,
};

/// Answers every request; while it is down it closes every connection at once.
struct Server {
    address: SocketAddr,
    is_down: Arc<AtomicBool>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        let is_down = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&is_down);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if !flag.load(Ordering::Relaxed) {
                    thread::spawn(move || answer(&stream));
                }
            }
        });
        Self { address, is_down }
    }

    fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::Relaxed);
    }
}

fn answer(stream: &TcpStream) {
    let (mut reader, mut line) = (BufReader::new(stream), String::new());
    while reader.read_line(&mut line).is_ok_and(|length| length > 0) {
        if line == "\r\n" {
            let mut writer = stream;
            if writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").is_err() {
                return;
            }
        }
        line.clear();
    }
}

/// The article's farm: two checked servers, and the statistics on the port of the application.
struct Farm {
    lb: Plain,
    frontend: SocketAddr,
    servers: [Server; 2],
}

impl Farm {
    fn start() -> Self {
        let servers = [Server::start(), Server::start()];
        let frontend = unused_address(8000);
        let lb = Plain::start(&format!(
            "[listen.web_proxy]\nbind = \"{frontend}\"\nstatistics = {{ uri = \"/haproxy-stats\" }}\n\
             check = {{ http = {{ method = \"HEAD\", path = \"/check.txt\" }}, interval = \"100ms\", rise = 2, fall = 3 }}\n\
             server.web1 = \"{}\"\nserver.web2 = \"{}\"\n",
            servers[0].address, servers[1].address
        ));
        let farm = Self { lb, frontend, servers };
        farm.wait_for("web1 up");
        farm.wait_for("web2 up");
        farm
    }

    fn wait_for(&self, screen: &str) {
        self.lb.wait_for_screen(screen);
        // What is shown at the URI is a second old at most.
        let word = if screen.ends_with("DOWN") { "DOWN" } else { "UP" };
        let server = screen.split(' ').next().unwrap_or_default();
        wait_until(
            screen,
            || self.csv(),
            || {
                let csv = self.csv();
                let line = csv.lines().find(|line| line.starts_with(&format!("web_proxy,{server},")));
                line.is_some_and(|line| line.split(',').nth(17) == Some(word))
            },
        );
    }

    fn url(&self) -> String {
        format!("http://{}/haproxy-stats", self.frontend)
    }

    fn csv(&self) -> String {
        get(self.frontend, "/haproxy-stats;csv")
    }
}

fn plugin(name: &str, arguments: &[&str]) -> Output {
    Command::new(format!("/usr/lib/nagios/plugins/{name}"))
        .args(arguments)
        .env("LC_ALL", "C")
        .output()
        .unwrap_or_else(|error| panic!("{name}: {error}; tests/run installs it"))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn the_plugins_of_nagios_read_the_csv_and_say_who_is_down() {
    let farm = Farm::start();
    let (url, csv) = (farm.url(), format!("{};csv", farm.url()));
    let by_perl = plugin("check_haproxy", &["-u", &csv]);
    assert_eq!(by_perl.status.code(), Some(0), "{}", said(&by_perl));
    assert!(said(&by_perl).starts_with("HAPROXY OK -  web_proxy (Active: 2/2) | t="), "{}", said(&by_perl));
    let other = plugin("check_haproxy_stats", &["-U", &url]);
    assert_eq!(other.status.code(), Some(0), "{}", said(&other));
    assert!(
        said(&other).starts_with("Check haproxy OK - checked 4 proxies.|web_proxy-FRONTEND="),
        "{}",
        said(&other)
    );

    farm.servers[1].set_down(true);
    farm.wait_for("web2 DOWN");
    let by_perl = plugin("check_haproxy", &["-u", &csv]);
    assert_eq!(by_perl.status.code(), Some(2), "{}", said(&by_perl));
    let down = "HAPROXY CRITICAL - Active service 'web2' is DOWN on 'web_proxy' proxy ! | t=";
    assert!(said(&by_perl).starts_with(down), "{}", said(&by_perl));
    let other = plugin("check_haproxy_stats", &["-U", &url]);
    assert_eq!(other.status.code(), Some(2), "{}", said(&other));
    assert!(
        said(&other).starts_with("Check haproxy CRITICAL - server: web_proxy:web2 is DOWN"),
        "{}",
        said(&other)
    );
    assert!(!said(&other).contains("BACKEND:"), "{}", said(&other));

    farm.servers[0].set_down(true);
    farm.wait_for("web1 DOWN");
    let other = plugin("check_haproxy_stats", &["-U", &url]);
    assert!(said(&other).contains("BACKEND: web_proxy is DOWN"), "{}", said(&other));
    let by_perl = plugin("check_haproxy", &["-u", &csv]);
    assert!(said(&by_perl).contains("'web1' is DOWN"), "{}", said(&by_perl));

    farm.servers.iter().for_each(|server| server.set_down(false));
    farm.wait_for("web1 up");
    farm.wait_for("web2 up");
    assert_eq!(plugin("check_haproxy", &["-u", &csv]).status.code(), Some(0));
    assert_eq!(plugin("check_haproxy_stats", &["-U", &url]).status.code(), Some(0));
}

#[test]
fn the_exporter_of_prometheus_reads_the_csv_and_says_who_is_down() {
    let farm = Farm::start();
    for _ in 0..10 {
        assert!(get(farm.frontend, "/").ends_with("hello"));
    }
    let exporter = unused_address(9101);
    let mut command = Command::new(program::find("prometheus-haproxy-exporter"));
    command.arg(format!("--haproxy.scrape-uri={};csv", farm.url()));
    command.arg(format!("--web.listen-address={exporter}"));
    let log = farm.lb.folder().join("exporter");
    let _running = Running::start(&mut command, &log);
    let metric = |name: &str| {
        let text = get(exporter, "/metrics");
        text.lines().find_map(|line| line.strip_prefix(&format!("{name} "))).map(str::to_owned)
    };
    let becomes = |name: &str, value: &str| {
        let context = || format!("{name}: {:?}\n{}", metric(name), get(exporter, "/metrics"));
        wait_until(&format!("{name} {value}"), context, || metric(name).as_deref() == Some(value));
    };
    becomes("haproxy_up", "1");
    let of = |what: &str, server: &str| {
        format!("haproxy_server_{what}{{backend=\"web_proxy\",server=\"{server}\"}}")
    };
    becomes(&of("up", "web1"), "1");
    becomes(&of("up", "web2"), "1");
    becomes("haproxy_backend_up{backend=\"web_proxy\"}", "1");
    becomes(&of("sessions_total", "web1"), "5");
    becomes("haproxy_server_http_responses_total{backend=\"web_proxy\",code=\"2xx\",server=\"web2\"}", "5");
    becomes(&of("weight", "web1"), "1");
    farm.servers[1].set_down(true);
    becomes(&of("up", "web2"), "0");
    becomes(&of("up", "web1"), "1");
    becomes("haproxy_backend_up{backend=\"web_proxy\"}", "1");
    // It has understood every line.
    becomes("haproxy_exporter_csv_parse_failures_total", "0");
}

/// The word for the state of a server on the page.
fn state(server: &str) -> String {
    format!(
        "[...document.querySelectorAll('tr.server')].find(row => row.cells[0].innerText.trim() == '{server}')\
         ?.querySelector('.word')?.innerText"
    )
}

#[test]
fn a_server_that_dies_turns_down_on_the_page_without_being_loaded_again() {
    let farm = Farm::start();
    for _ in 0..7 {
        assert!(get(farm.frontend, "/").ends_with("hello"));
    }
    let mut browser = Browser::start();
    browser.resize(1300, 620);
    browser.go(&farm.url());
    assert_eq!(browser.evaluate("document.querySelectorAll('tr.server').length"), 2);
    for server in ["web1", "web2"] {
        assert_eq!(browser.evaluate(&state(server)), "UP");
    }
    let colour = "getComputedStyle(document.querySelectorAll('tr.server .word')[1]).color";
    let green = browser.evaluate(colour);
    let text = browser.text();
    assert!(text.contains("L7OK 200 in") && text.contains("can read its statistics"), "{text}");
    // What a page loses when it is loaded again.
    browser.evaluate("window.stays = 'here'");

    farm.servers[1].set_down(true);
    wait_until("web2 turns DOWN", String::new, || browser.evaluate(&state("web2")) == "DOWN");
    assert_eq!(browser.evaluate("window.stays"), "here");
    assert_eq!(browser.evaluate(&state("web1")), "UP");
    assert_ne!(browser.evaluate(colour), green);
    let text = browser.text();
    assert!(text.contains("web_proxy/web2 is down"), "{text}");
    assert_eq!(browser.evaluate("document.title.includes('1 problem')"), true);
    if let Some(path) = std::env::var_os("PICTURE") {
        std::fs::write(path, browser.picture()).expect("written");
    }

    // All columns are to be seen on a large screen.
    browser.resize(1500, 700);
    let fits = "[...document.querySelectorAll('.wide')].every(wide => wide.scrollWidth <= wide.clientWidth)";
    assert_eq!(browser.evaluate(fits), true);
    // A telephone needs no scrolling to the side.
    browser.resize(390, 800);
    assert_eq!(browser.evaluate("document.documentElement.scrollWidth <= 390"), true);
    assert_eq!(browser.evaluate(&state("web2")), "DOWN");
    assert_eq!(browser.complaints(), [] as [String; 0]);

    // And the node itself.
    let shown = "getComputedStyle(document.querySelector('.stale-note')).display";
    assert_eq!(browser.evaluate(shown), "none");
    drop(farm);
    wait_until("the page says that it is old", String::new, || browser.evaluate(shown) == "block");
}

/// The definitions of the book, read by Nagios itself.
#[test]
fn nagios_takes_the_definitions_of_the_book() {
    let book =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/statistics.md")).expect("read");
    let (_, rest) = book.split_once("\n```nagios\n").expect("a block");
    let (definitions, _) = rest.split_once("\n```\n").expect("its end");
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    // On a machine of Nagios this one comes with monitoring-plugins-basic.
    let ping = "define command {\ncommand_name check-host-alive\ncommand_line $USER1$/check_ping\n}\n";
    std::fs::write(at("lbctl.cfg"), format!("{definitions}\n{ping}")).expect("written");
    let objects = ["commands", "contacts", "timeperiods", "templates"];
    let objects = objects.map(|name| format!("cfg_file=/etc/nagios4/objects/{name}.cfg\n")).concat();
    let main = format!(
        "log_file={}\n{objects}cfg_file={}\ncheck_result_path={2}\ntemp_path={2}\nobject_cache_file={3}\n\
         illegal_macro_output_chars=`\n",
        at("log"),
        at("lbctl.cfg"),
        folder.path().display(),
        at("cache")
    );
    std::fs::write(at("nagios.cfg"), main).expect("written");
    // It becomes the user nagios before it looks.
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(folder.path(), everybody).expect("changed");
    let output =
        Command::new("nagios4").arg("-v").arg(at("nagios.cfg")).output().expect("nagios4-core is installed");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    for sentence in ["Checked 2 hosts.", "Checked 3 services.", "Total Warnings: 0", "Total Errors:   0"] {
        assert!(text.contains(sentence), "{sentence}: {text}");
    }
}
