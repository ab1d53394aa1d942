//! Certificates that are renewed under a running daemon.

use std::{
    fs,
    io::{Read, Write},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::harness::{Daemon, file, started_by, unused_address, web_server};

const SITE: &str = include_str!("../good/site.pem");
const SHOP: &str = include_str!("../good/certificates/shop.pem");

/// OpenSSL's client on a connection of its own.
pub(crate) fn client(address: SocketAddr, arguments: &[&str]) -> Child {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &address.to_string(), "-servername", "a.example"]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("openssl")
}

/// A daemon with this as its `site.pem`, and where it serves.
fn with_site(pem: &str) -> (SocketAddr, Daemon) {
    let frontend = unused_address();
    let text = file("http", frontend, web_server(Duration::ZERO)).replace(
        &format!("bind = \"{frontend}\""),
        &format!("bind = {{ address = \"{frontend}\", tls = \"site.pem\" }}"),
    );
    let daemon = Daemon::spawn_with(&text, frontend, None, |command| {
        let path = command.get_args().nth(1).map(std::path::PathBuf::from).expect("the file");
        fs::write(path.with_file_name("site.pem"), pem).expect("written");
    });
    (frontend, daemon)
}

fn shown(daemon: &Daemon) -> String {
    subject(daemon.frontend)
}

/// Whose certificate a client is shown.
pub(crate) fn subject(address: SocketAddr) -> String {
    // It ends with its stdin.
    let output = client(address, &[]).wait_with_output().expect("ran");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.lines().find(|line| line.starts_with("subject=")).unwrap_or_default().to_owned()
}

/// A request on this connection, and whether it is answered.
pub(crate) fn is_answered(client: &mut Child) -> bool {
    let stdin = client.stdin.as_mut().expect("piped");
    stdin.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    let stdout = client.stdout.as_mut().expect("piped");
    let mut said = Vec::new();
    while !said.ends_with(b"hello") {
        let mut byte = [0];
        if stdout.read(&mut byte).expect("read") == 0 {
            return false;
        }
        said.push(byte[0]);
    }
    true
}

fn certificates(daemon: &Daemon) -> Option<String> {
    let status = daemon.status_json()?;
    Some(status["frontends"][0]["certificates"][0]["names"].to_string())
}

fn problem(daemon: &Daemon) -> Option<String> {
    let status = daemon.status_json()?;
    let all = status["problems"].as_array()?;
    let found =
        all.iter().find(|problem| problem["what"] == "certificates of frontend web are not renewed")?;
    Some(found["look_at"].as_str()?.to_owned())
}

#[test]
fn certificate_is_renewed_when_its_file_changes_and_a_broken_one_changes_nothing() {
    let frontend = unused_address();
    let text = file("http", frontend, web_server(Duration::ZERO)).replace(
        &format!("bind = \"{frontend}\""),
        &format!(
            "bind = {{ address = \"{frontend}\", tls = \"certificates\" }}\ntimeout.http_keep_alive = \"10m\""
        ),
    );
    let daemon = Daemon::spawn_with(&text, frontend, None, |command| {
        let path = command.get_args().nth(1).map(std::path::PathBuf::from).expect("the file");
        let folder = path.with_file_name("certificates");
        fs::create_dir(&folder).expect("made");
        fs::write(folder.join("a.pem"), SITE).expect("written");
    });
    daemon.wait_until("it serves", |daemon| shown(daemon).contains("www.example.com"));
    let first = r#"["www.example.com","*.example.org"]"#;
    daemon.wait_until("status has it", |daemon| certificates(daemon).as_deref() == Some(first));
    let mut old = client(frontend, &["-quiet"]);
    assert!(is_answered(&mut old));

    // The file of the configuration is being edited: nobody has said that it is to be read.
    let file = daemon.folder.path().join("lb.toml");
    fs::write(&file, "[listen.web]\nbind = \"*:").expect("written");
    let folder = daemon.folder.path().join("certificates");
    fs::write(daemon.folder.path().join("new"), SHOP).expect("written");
    fs::rename(daemon.folder.path().join("new"), folder.join("a.pem")).expect("moved");
    daemon.wait_until("the new one is shown", |daemon| shown(daemon).contains("shop.example.com"));
    let second = r#"["shop.example.com","*.shop.example.com"]"#;
    daemon.wait_until("status has it", |daemon| certificates(daemon).as_deref() == Some(second));
    assert!(daemon.log().contains("certificates are renewed"), "{}", daemon.log());

    fs::write(folder.join("a.pem"), &SITE[..200]).expect("written");
    let is_told = |why: String| why.starts_with("certificates/a.pem is broken: ");
    daemon.wait_until("it is a problem", |daemon| problem(daemon).is_some_and(is_told));
    assert!(shown(&daemon).contains("shop.example.com"));

    fs::write(folder.join("a.pem"), SITE).expect("written");
    daemon.wait_until("it is mended", |daemon| shown(daemon).contains("www.example.com"));
    let is_first =
        |daemon: &Daemon| certificates(daemon).as_deref() == Some(first) && problem(daemon).is_none();
    daemon.wait_until("nothing is wrong", is_first);
    assert!(is_answered(&mut old), "a connection that was open is still there");
    old.kill().expect("killed");
    old.wait().expect("ended");
}

#[test]
fn chain_that_lacks_its_authority_is_noted_until_that_is_there() {
    let (frontend, daemon) = with_site(include_str!("../good/lone.pem"));
    let is_noted = |daemon: &Daemon| {
        let status = daemon.verb(&["status"]);
        let said = String::from_utf8(status.stdout).expect("text");
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains("web"), "{said}");
        said.contains("site.pem of frontend web has no certificate of its authority /O=Example/CN=Example intermediate behind its own")
    };
    daemon.wait_until("it is noted", is_noted);
    assert!(daemon.log().contains("has no certificate of its authority"), "{}", daemon.log());
    fs::write(daemon.folder.path().join("site.pem"), include_str!("../good/whole.pem")).expect("written");
    daemon.wait_until("it is whole", |daemon| !is_noted(daemon));
    let said = client(frontend, &["-showcerts"]).wait_with_output().expect("ran").stdout;
    assert_eq!(String::from_utf8_lossy(&said).matches("-----BEGIN CERTIFICATE-----").count(), 2);
}

/// OpenSSL makes one that is good for so many days.
fn make(path: &Path, days: u32) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
        .args([
            "-subj",
            "/CN=a.example",
            "-addext",
            "subjectAltName=DNS:a.example",
            "-days",
            &days.to_string(),
        ])
        .arg("-out")
        .arg(path.with_extension("crt"))
        .arg("-keyout")
        .arg(path.with_extension("key"))
        .stderr(Stdio::null())
        .status()
        .expect("openssl");
    assert!(made.success());
    let read = |extension| fs::read(path.with_extension(extension)).expect("read");
    fs::write(path.with_extension("new"), [read("crt"), read("key")].concat()).expect("written");
    fs::rename(path.with_extension("new"), path).expect("moved");
}

#[test]
fn certificate_that_ends_soon_and_is_renewed_is_an_event() {
    let frontend = unused_address();
    let text = file("http", frontend, web_server(Duration::ZERO)).replace(
        &format!("bind = \"{frontend}\""),
        &format!("bind = {{ address = \"{frontend}\", tls = \"own.pem\" }}"),
    );
    let daemon = Daemon::spawn_with(&text, frontend, None, |command| {
        let path = command.get_args().nth(1).map(std::path::PathBuf::from).expect("the file");
        make(&path.with_file_name("own.pem"), 5);
    });
    let told = |daemon: &Daemon| -> Vec<String> {
        let said = String::from_utf8(daemon.verb(&["events"]).stdout).expect("text");
        let lines = said.lines().filter_map(|line| line.split_once("  certificate "));
        lines.map(|(_, line)| line.split("  ").next().unwrap_or_default().to_owned()).collect()
    };
    let first = "own.pem: valid -> expires_very_soon".to_owned();
    daemon.wait_until("its end is told of", |daemon| told(daemon) == [first.clone()]);
    make(&daemon.folder.path().join("own.pem"), 400);
    let second = "own.pem: expires_very_soon -> valid".to_owned();
    daemon.wait_until("it was renewed", |daemon| told(daemon) == [first.clone(), second.clone()]);
    assert!(daemon.verb(&["upgrade"]).status.success(), "{}", daemon.log());
    assert_eq!(told(&daemon), [first, second], "nothing is told twice");
}

/// OpenSSL makes a root, `root.pem`, an authority that is good for so many days, and with its certificate one that is good for longer.
fn make_chain(path: &Path, days: u32) {
    let folder = path.parent().expect("a folder");
    let sign = |name: &str, by: &str, days: u32| {
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
        command.args(["-subj", &format!("/O=Example/CN={name}"), "-days", &days.to_string()]);
        command.args(["-out", &format!("{name}.pem"), "-keyout", &format!("{name}.key")]);
        command.args(
            ["-CA", &format!("{by}.pem"), "-CAkey", &format!("{by}.key")].iter().filter(|_| by != name),
        );
        let made = command.current_dir(folder).stderr(Stdio::null()).status().expect("openssl");
        assert!(made.success(), "{name}");
    };
    sign("root", "root", 500);
    sign("between", "root", days);
    sign("a.example", "between", 400);
    let read = |name: &str| fs::read(folder.join(name)).expect("read");
    let whole = ["a.example.pem", "between.pem", "a.example.key"].map(read).concat();
    fs::write(path.with_extension("new"), whole).expect("written");
    fs::rename(path.with_extension("new"), path).expect("moved");
}

#[test]
fn chain_that_ends_before_its_certificate_is_told_when_it_is_shown() {
    let (frontend, daemon) = with_site(SITE);
    let words = |verb: &str| {
        let said = String::from_utf8(daemon.verb(&[verb]).stdout).expect("text");
        said.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    daemon.wait_until("it serves", |daemon| shown(daemon).contains("www.example.com"));
    assert!(!words("status").contains("site.pem of frontend web"), "{}", words("status"));
    make_chain(&daemon.folder.path().join("site.pem"), 5);
    let line =
        "site.pem of frontend web has a certificate of its authority /O=Example/CN=between that expires";
    daemon.wait_until("it is a problem", |_| words("status").contains(line));
    assert_eq!(daemon.verb(&["status"]).status.code(), Some(2));
    daemon.wait_until("it is an event", |_| words("events").contains("site.pem: valid -> expires_very_soon"));
    assert!(words("events").contains(line), "{}", words("events"));
    assert!(daemon.log().contains(&format!("{line} on ")), "{}", daemon.log());
    let known = daemon.status_json().expect("status")["frontends"][0]["certificates"][0].clone();
    let [own, chain] =
        [&known["not_after"], &known["chain_end"]["not_after"]].map(|end| end.as_str().expect("a moment"));
    assert!(chain < own && known["chain_end"]["subject"] == "/O=Example/CN=between", "{known}");

    // So it is: in six days nobody takes it, and its own end is a year away.
    let in_six_days = (std::time::SystemTime::now() + Duration::from_secs(6 * 24 * 3600))
        .duration_since(std::time::UNIX_EPOCH)
        .expect("later")
        .as_secs()
        .to_string();
    let root = daemon.folder.path().join("root.pem").display().to_string();
    let verify = ["-CAfile", &root, "-verify_return_error"];
    let is_taken = |more: &[&str]| {
        client(frontend, &[&verify[..], more].concat()).wait_with_output().expect("ran").status.success()
    };
    assert!(is_taken(&[]) && !is_taken(&["-attime", &in_six_days]));

    make_chain(&daemon.folder.path().join("site.pem"), 450);
    daemon.wait_until("it was renewed", |_| words("events").contains("site.pem: expires_very_soon -> valid"));
    assert!(!words("status").contains("site.pem of frontend web"), "{}", words("status"));
}

/// Which certificate a client is shown, by its SHA-256.
fn fingerprint(daemon: &Daemon, folder: &Path) -> Option<String> {
    let said = client(daemon.frontend, &[]).wait_with_output().expect("ran").stdout;
    let file = folder.join("shown.pem");
    fs::write(&file, said).expect("written");
    let mut command = Command::new("openssl");
    command.args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]).arg(&file).stderr(Stdio::null());
    let said = String::from_utf8(command.output().expect("openssl").stdout).expect("text");
    Some(said.trim().split_once('=')?.1.replace(':', "").to_lowercase())
}

#[test]
fn certificate_of_our_own_making_is_the_same_in_status_and_after_reload_and_upgrade() {
    let frontend = unused_address();
    let text = file("http", frontend, web_server(Duration::ZERO)).replace(
        &format!("bind = \"{frontend}\""),
        &format!("bind = {{ address = \"{frontend}\", tls = \"auto-selfsigned\" }}"),
    );
    let daemon = Daemon::spawn(&text, frontend, None);
    let folder = tempfile::tempdir().expect("a folder");
    daemon.wait_until("it serves", |daemon| fingerprint(daemon, folder.path()).is_some());
    let first = fingerprint(&daemon, folder.path()).expect("shown");
    let known = |daemon: &Daemon| {
        let status = daemon.status_json()?;
        Some(status["frontends"][0]["certificates"][0]["sha256"].as_str()?.to_owned())
    };
    assert_eq!(known(&daemon).as_ref(), Some(&first));
    let said = String::from_utf8(daemon.verb(&["status"]).stdout).expect("text");
    let words: Vec<_> = said.split_whitespace().collect();
    assert!(words.contains(&&*first) && words.contains(&"auto-selfsigned"), "{said}");
    daemon.wait_until("the log has it", |daemon| daemon.log().contains(&format!("sha256=\"{first}\"")));
    // Who has it trusts the name and the address that it is for, and nothing else.
    let shown = folder.path().join("shown.pem").display().to_string();
    for (name, is_trusted) in [
        (["-verify_hostname", "localhost"], true),
        (["-verify_ip", "127.0.0.1"], true),
        (["-verify_ip", "127.0.0.2"], false),
    ] {
        let arguments = [&["-CAfile", &shown, "-verify_return_error"][..], &name].concat();
        let output = client(frontend, &arguments).wait_with_output().expect("ran");
        assert_eq!(output.status.success(), is_trusted, "{name:?}");
    }

    let path = daemon.folder.path().join("lb.toml");
    fs::write(&path, format!("{text}retries = 1\n")).expect("written");
    let reloaded = daemon.verb(&["reload"]);
    let said = String::from_utf8(reloaded.stdout).expect("text");
    assert!(reloaded.status.success() && !said.contains("contents of a file"), "{said}");
    assert_eq!(fingerprint(&daemon, folder.path()).as_ref(), Some(&first));
    assert!(daemon.verb(&["upgrade"]).status.success(), "{}", daemon.log());
    assert_eq!(fingerprint(&daemon, folder.path()).as_ref(), Some(&first), "{}", daemon.log());
    // Nor does the next process make another one when it reads the file again.
    assert!(daemon.verb(&["reload"]).status.success());
    assert_eq!(fingerprint(&daemon, folder.path()).as_ref(), Some(&first));
    assert!(daemon.verb(&["stop", "--now"]).status.success());
}

#[test]
fn clients_that_ask_are_shown_what_the_authority_says_as_soon_as_its_file_is_there() {
    let (frontend, daemon) = with_site(include_str!("../good/stapled.pem"));
    daemon.wait_until("it serves", |daemon| shown(daemon).contains("stapled.example"));
    let said = |version: &str| {
        let output = client(frontend, &[version, "-status"]).wait_with_output().expect("ran");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(said("-tls1_3").contains("OCSP response: no response sent"));
    let ocsp = daemon.folder.path().join("site.pem.ocsp");
    fs::write(ocsp, include_bytes!("../good/stapled.pem.ocsp")).expect("written");
    let is_good = |said: String| said.contains("Cert Status: good") && said.contains("Serial Number: 8101");
    daemon.wait_until("it is stapled", |_| is_good(said("-tls1_3")));
    assert!(is_good(said("-tls1_2")));
    assert!(daemon.log().contains("responses of OCSP are renewed"), "{}", daemon.log());
    daemon.wait_until("status has it", |daemon| {
        let status = daemon.status_json().unwrap_or_default();
        status["frontends"][0]["certificates"][0]["stapled_until"].to_string().starts_with("\"2125-")
    });
}

/// OpenSSL's server with this certificate and key; it ends with the test.
struct Server(Child);

impl Server {
    fn start(address: SocketAddr, folder: &Path) -> Self {
        fs::write(folder.join("server.pem"), SITE).expect("written");
        let mut command = Command::new("openssl");
        command.args(["s_server", "-www", "-accept", &address.to_string(), "-cert", "server.pem"]);
        command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("openssl"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where the machine's list has one authority, which it has nowhere else.
const ON_A_MACHINE: &str =
    "mount -t tmpfs none /etc/ssl/certs && cp \"$0\" /etc/ssl/certs/ca-certificates.crt && exec \"$@\"";

#[test]
fn server_is_verified_by_the_authorities_of_the_machine_where_the_file_names_none() {
    let (frontend, server) = (unused_address(), unused_address());
    let folder = tempfile::tempdir().expect("a folder");
    let _server = Server::start(server, folder.path());
    let text = file("http", frontend, server) + "tls = { sni = \"www.example.com\" }\nretries = 0\n";
    let state =
        |daemon: &Daemon| daemon.status_json().unwrap_or_default()["backends"][0]["servers"][0].clone();
    for (authority, is_trusted) in [(SITE, true), (SHOP, false)] {
        fs::write(folder.path().join("ca.pem"), authority).expect("written");
        let daemon = Daemon::spawn_with(&text, frontend, None, |command| {
            let mut starter = Command::new("unshare");
            starter.args(["--map-root-user"].iter().filter(|_| !nix::unistd::geteuid().is_root()));
            starter.args(["--mount", "sh", "-c", ON_A_MACHINE]).arg(folder.path().join("ca.pem"));
            *command = started_by(starter, command);
        });
        if is_trusted {
            daemon.wait_until("the server is up", |daemon| state(daemon)["state"] == "up");
            assert!(crate::harness::get(frontend).is_some_and(|said| !said.is_empty()));
        } else {
            daemon.wait_until("it is not trusted", |daemon| {
                state(daemon)["last_check"].to_string().contains("authority")
            });
        }
    }
}

#[test]
fn authority_of_servers_is_renewed_when_its_file_changes_and_handshakes_are_counted() {
    let (frontend, server) = (unused_address(), unused_address());
    let text = file("http", frontend, server)
        + "tls = { ca_file = \"ca.pem\", certificate = \"own.pem\", sni = \"www.example.com\" }\nretries = 0\n";
    let daemon = Daemon::spawn_with(&text, frontend, None, |command| {
        let path = command.get_args().nth(1).map(std::path::PathBuf::from).expect("the file");
        fs::write(path.with_file_name("ca.pem"), SHOP).expect("written");
        fs::write(path.with_file_name("own.pem"), SHOP).expect("written");
    });
    let folder = tempfile::tempdir().expect("a folder");
    let _server = Server::start(server, folder.path());
    let backend = |daemon: &Daemon| daemon.status_json().unwrap_or_default()["backends"][0].clone();
    let last_check = |daemon: &Daemon| backend(daemon)["servers"][0]["last_check"].to_string();
    daemon.wait_until("nobody is trusted", |daemon| last_check(daemon).contains("authority"));
    let own = backend(&daemon)["certificates"][0]["names"].to_string();
    assert_eq!(own, r#"["shop.example.com","*.shop.example.com"]"#);

    let path = daemon.folder.path().join("ca.pem");
    fs::write(&path, &SITE[..100]).expect("written");
    let problem = |daemon: &Daemon| daemon.status_json().unwrap_or_default()["problems"].to_string();
    daemon.wait_until("a broken one is told of", |daemon| problem(daemon).contains("ca.pem is broken"));
    fs::write(&path, SITE).expect("written");
    daemon.wait_until("the server is up", |daemon| backend(daemon)["servers"][0]["state"] == "up");
    assert!(daemon.log().contains("files of TLS to servers are renewed"), "{}", daemon.log());
    assert!(!problem(&daemon).contains("ca.pem"), "{}", problem(&daemon));
    let handshakes = |daemon: &Daemon| {
        let tls = &backend(daemon)["servers"][0]["statistics"]["traffic"]["tls"];
        ["completed", "failed"].map(|key| tls[key].as_u64())
    };
    assert_eq!(handshakes(&daemon), [Some(0), Some(0)], "checks are not in them");
    let mut client = std::net::TcpStream::connect(frontend).expect("connected");
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("sent");
    let mut said = Vec::new();
    client.read_to_end(&mut said).expect("read");
    assert!(said.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&said));
    daemon.wait_until("it is counted", |daemon| handshakes(daemon) == [Some(1), Some(0)]);
}
