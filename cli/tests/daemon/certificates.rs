//! Certificates that are renewed under a running daemon.

use std::{
    fs,
    io::{Read, Write},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::harness::{Daemon, file, unused_address, web_server};

const SITE: &str = include_str!("../good/site.pem");
const SHOP: &str = include_str!("../good/certificates/shop.pem");

/// OpenSSL's client on a connection of its own.
fn client(address: SocketAddr, arguments: &[&str]) -> Child {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &address.to_string(), "-servername", "a.example"]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("openssl")
}

/// Whose certificate a client is shown.
fn shown(daemon: &Daemon) -> String {
    // It ends with its stdin.
    let output = client(daemon.frontend, &[]).wait_with_output().expect("ran");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.lines().find(|line| line.starts_with("subject=")).unwrap_or_default().to_owned()
}

/// A request on this connection, and whether it is answered.
fn is_answered(client: &mut Child) -> bool {
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
