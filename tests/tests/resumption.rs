//! Sessions of TLS go on at the other node after a failover.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use lb_tests::{certificate, order::other, scene::Scene, wait};
use lbctl::lab::{CONFIGURATION, How, Options, VIP};

const LONG: Duration = Duration::from_secs(30);

/// What OpenSSL's client says of a request with these arguments; nothing if it is not answered.
fn visit(scene: &Scene, arguments: &str) -> Option<String> {
    let command = format!(
        "printf 'GET / HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n' | \
         timeout 10 openssl s_client -connect {VIP}:443 -servername a.example -ign_eof {arguments} 2>&1"
    );
    let said = scene.exec("client", ["sh", "-c", &command]).ok()?.stdout;
    said.contains("HTTP/1.1 200 OK").then_some(said)
}

#[test]
fn client_of_the_node_that_died_goes_on_with_its_session_at_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::write(at("secret"), "correct horse battery staple\n").unwrap();
    fs::set_permissions(at("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    let certificate = certificate::self_signed(folder.path());
    let with_secret =
        CONFIGURATION.replacen("[cluster]\n", &format!("[cluster]\nsecret_file = {:?}\n", at("secret")), 1);
    assert!(with_secret.contains("secret_file"));
    let text = format!(
        "{with_secret}\n[frontend.tls]\nbind = {{ vip = \"web\", port = 443, tls = {certificate:?} }}\n\
         rules = [{{ respond = {{ status = 200, body = \"hello\" }} }}]\n"
    );
    Scene::unless_starved(&Options::default().configuration(&text), |scene| {
        let holder = scene.holder();
        for version in ["tls1_2", "tls1_3"] {
            let arguments = format!("-{version} -sess_out {}", at(version));
            let said = wait::until("it serves", LONG, || visit(scene, &arguments));
            assert!(said.contains("\nNew, TLSv1."), "{said}");
        }
        scene.fail(&holder, How::Kill).unwrap();
        scene.wait_until_held_by(other(&holder), LONG).unwrap();
        for version in ["tls1_2", "tls1_3"] {
            let arguments = format!("-{version} -sess_in {}", at(version));
            let said = wait::until("it serves", LONG, || visit(scene, &arguments));
            assert!(said.contains("\nReused, TLSv1."), "{said}");
        }
        let status = scene.status_of(other(&holder));
        let frontends = status["frontends"].as_array().unwrap();
        let tls = frontends.iter().find(|frontend| frontend["name"] == "tls").unwrap();
        assert_eq!(tls["counters"]["tls_resumptions_total"], 2);
    });
}
