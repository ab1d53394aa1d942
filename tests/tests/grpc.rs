//! gRPC from end to end: Debian's python3-grpcio on both sides of the program. And nginx, which takes HTTP/2 without TLS, as a server.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::{fs, net::SocketAddr, path::Path, process::Command};

use lb_tests::{
    certificate,
    plain::{PATIENCE, Plain, Running, unused_address, wait_until},
    program, wait,
    wrk::Wrk,
};
use serde_json::Value;

/// Debian's own, which alone has the library.
fn python(script: &str) -> Command {
    let mut command = Command::new("/usr/bin/python3");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/grpc").join(script));
    command
}

/// A server of gRPC and its port; with this certificate over TLS. What it says is in the file `server` of `folder`.
fn server(folder: &Path, certificate: Option<&str>) -> (Running, u16) {
    let mut command = python("server.py");
    if let Some(certificate) = certificate {
        command.arg(certificate).arg(folder.join("site.key"));
    }
    let said = folder.join("server");
    let running = Running::start(&mut command, &said);
    let port = wait::until("the server's port", PATIENCE, || {
        fs::read_to_string(&said).unwrap().lines().next()?.parse().ok()
    });
    (running, port)
}

#[track_caller]
fn assert_all_served(lb: &Plain, client: &mut Command) {
    let output = client.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said, "all served\n", "{}\n{}", String::from_utf8_lossy(&output.stderr), lb.log());
}

#[test]
fn calls_of_every_kind_go_through_without_tls() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, port) = server(folder.path(), None);
    let front = unused_address(8080);
    let lb = Plain::start(&format!(
        "[listen.grpc]\nbind = {{ address = \"{front}\", http2 = true }}\n\
         server.one = {{ address = \"127.0.0.1:{port}\", http2 = true }}\n"
    ));
    assert_all_served(&lb, python("client.py").arg(front.to_string()));
    // The call whose deadline was over ended at the server as well.
    wait::until("the server knows", PATIENCE, || {
        fs::read_to_string(folder.path().join("server")).unwrap().contains("given up").then_some(())
    });
}

#[test]
fn calls_of_every_kind_go_through_with_tls_on_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = certificate::self_signed(folder.path());
    let (_server, port) = server(folder.path(), Some(&certificate));
    let front = unused_address(8443);
    let lb = Plain::start(&format!(
        "[listen.grpc]\nbind = {{ address = \"{front}\", tls = \"{certificate}\" }}\n\
         tls = {{ ca_file = \"{certificate}\", sni = \"a.example\", alpn = [\"h2\", \"http/1.1\"] }}\n\
         server.one = \"127.0.0.1:{port}\"\n"
    ));
    assert_all_served(&lb, python("client.py").arg(front.to_string()).arg(&certificate));
}

/// nginx, which takes HTTP/2 without TLS, and its address. It ends each connection after 100 requests, with GOAWAY.
fn nginx(folder: &Path) -> (Running, SocketAddr) {
    let address = unused_address(8000);
    let at = |name: &str| folder.join(name).display().to_string();
    let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {};", at(name)))
        .concat();
    let file = at("nginx.conf");
    let text = format!(
        "daemon off; master_process off; pid {}; error_log stderr; events {{ worker_connections 512; }}\n\
         http {{ access_log off; {paths} server {{ listen {address} http2; keepalive_requests 100;\n\
         location / {{ return 200 \"$server_protocol\"; }} }} }}\n",
        at("pid")
    );
    fs::write(&file, text).unwrap();
    let mut command = Command::new(program::find("nginx"));
    (Running::start(command.args(["-e", "stderr", "-c", &file]), &folder.join("nginx")), address)
}

#[test]
fn nginx_serves_all_requests_however_often_it_ends_connections() {
    let folder = tempfile::tempdir().unwrap();
    let (_nginx, back) = nginx(folder.path());
    let front = unused_address(8080);
    let lb = Plain::start(&format!(
        "[listen.web]\nbind = {{ address = \"{front}\", http2 = true }}\n\
         check = {{ http = {{ method = \"GET\", path = \"/\" }}, interval = \"100ms\" }}\n\
         server.one = {{ address = \"{back}\", http2 = true }}\n"
    ));
    lb.wait_for_screen("L7OK 200");
    for arguments in [&["-c4", "-m20"][..], &["-c8", "--h1"]] {
        let mut load = Command::new(program::find("h2load"));
        let output = load.arg("-n3000").args(arguments).arg(format!("http://{front}/")).output().unwrap();
        let report = String::from_utf8_lossy(&output.stdout);
        assert!(report.contains("3000 succeeded, 0 failed, 0 errored, 0 timeout"), "{report}\n{}", lb.log());
        assert!(report.contains("status codes: 3000 2xx,"), "{report}");
    }
}

/// Clients of HTTP/1.1, which keep their connections and which don't, and calls of every kind meanwhile.
#[test]
fn no_request_to_servers_of_http_2_is_lost_through_upgrades() {
    const UPGRADES: usize = 4;
    let folder = tempfile::tempdir().unwrap();
    let (_nginx, back) = nginx(folder.path());
    let (_server, port) = server(folder.path(), None);
    let (web, calls) = (unused_address(8080), unused_address(8081));
    let lb = Plain::start(&format!(
        "[global]\nthreads = 2\n[defaults]\nhttp2 = true\n\
         [listen.web]\nbind = \"{web}\"\nserver.one = \"{back}\"\n\
         [listen.calls]\nbind = {{ address = \"{calls}\", http2 = true }}\nserver.one = \"127.0.0.1:{port}\"\n"
    ));
    let served = |backend: usize| {
        let status: Value = serde_json::from_slice(&lb.status(&["--json"]).stdout).unwrap();
        status["backends"][backend]["servers"][0]["requests_total"].as_u64().unwrap()
    };
    lb.wait_for_screen("L4OK");
    let kept = Wrk::start(folder.path(), "kept", web, 20, &[]);
    let closing = Wrk::start(folder.path(), "closing", web, 20, &["Connection: close"]);
    for upgrade in 0..UPGRADES {
        let out = folder.path().join(format!("client{upgrade}"));
        let said = || fs::read_to_string(&out).unwrap();
        let before = [served(0), served(1)];
        let _client = Running::start(python("client.py").arg(calls.to_string()), &out);
        wait_until(
            "all are served",
            || lb.log(),
            || served(0) > before[0] + 200 && served(1) > before[1] + 2,
        );
        let output = lb.upgrade();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        wait_until(
            "all calls are served",
            || format!("{}\n{}", said(), lb.log()),
            || said() == "all served\n",
        );
    }
    let answered = [kept.stop(), closing.stop()];
    assert!(answered.iter().all(|requests| *requests > 1000), "{answered:?}");
    let ended = || lb.log().matches("another process serves cut=0").count();
    wait_until("the processes before have ended", || lb.log(), || ended() == UPGRADES);
}
