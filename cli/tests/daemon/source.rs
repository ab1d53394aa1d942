//! Where connections to servers come from, on a node that learns late which one it is.

use std::{os::unix::net::UnixStream, process::Command};

use crate::harness::{Daemon, get_on, unused_address};

/// In a network namespace of its own, whose only interface is loopback.
fn start_alone(text: &str) -> Daemon {
    Daemon::spawn_with(text, unused_address(), None, |command| {
        let mut alone = Command::new("unshare");
        alone
            .args([
                "--user",
                "--map-root-user",
                "--net",
                "sh",
                "-c",
                "ip link set lo up && exec \"$@\"",
                "sh",
            ])
            .arg(command.get_program())
            .args(command.get_args());
        *command = alone;
    })
}

fn add_address(daemon: &Daemon, address: &str) {
    let entered = Command::new("nsenter")
        .args(["--preserve-credentials", "--user", "--net", "--target", &daemon.child.id().to_string()])
        .args(["ip", "address", "add", address, "dev", "lo"])
        .output()
        .expect("nsenter");
    assert!(entered.status.success(), "{entered:?}");
}

#[test]
fn node_that_finds_itself_later_uses_its_own_source_from_then_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let front = folder.path().join("front.sock");
    // The server is another frontend of the same process. It says who has come.
    let text = format!(
        "[cluster]\nnode.lb1 = \"192.0.2.11\"\nnode.lb2 = \"192.0.2.12\"\n\
         [frontend.front]\nbind = \"unix:{}\"\ndefault_backend = \"app\"\n\
         [backend.app]\ncheck = false\nsource = {{ lb1 = \"192.0.2.11\", lb2 = \"192.0.2.12\" }}\n\
         server.a = \"127.0.0.1:8000\"\n\
         [frontend.app]\nbind = \"127.0.0.1:8000\"\nrules = [{{ respond = {{ body = \"{{client.ip}} at {{node.name}}\" }} }}]\n",
        front.display()
    );
    let daemon = start_alone(&text);
    let ask = || get_on(UnixStream::connect(&front).expect("connected")).unwrap_or_default();
    let phase = || daemon.status_json().map(|status| status["phase"].clone()).unwrap_or_default();
    assert!(phase()["waiting"].is_object(), "{}", phase());
    assert!(ask().starts_with("127.0.0.1 at "), "{}: the system's choice\n{}", ask(), daemon.log());
    add_address(&daemon, "192.0.2.12/32");
    daemon.wait_until("it has found itself", |_| phase() == "running");
    daemon.wait_until("it uses its source", |_| ask() == "192.0.2.12 at lb2");
}
