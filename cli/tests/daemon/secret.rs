//! Two nodes and the secret of their cluster: what they believe of each other, and a file that is none.

use std::{fs, net::IpAddr, os::unix::fs::PermissionsExt, time::Duration};

use crate::harness::{Daemon, file, unused_address, web_server};

const SECRET: &str = "correct horse battery staple\n";

/// Node `name` of the two at these addresses.
fn node(name: &str, addresses: [IpAddr; 2], secret: &str) -> Daemon {
    let server = web_server(Duration::ZERO);
    let frontend = unused_address();
    let [first, second] = addresses;
    // Each has its secret in its own folder.
    let text = format!(
        "[cluster]\nsecret_file = \"secret\"\nnode.lb1 = \"{first}\"\nnode.lb2 = \"{second}\"\n{}",
        file("http", frontend, server)
    );
    let node = Daemon::spawn_with(&text, frontend, None, |command| {
        let path = command.get_args().nth(1).map(std::path::PathBuf::from).expect("the file");
        write(&path.with_file_name("secret"), secret, 0o600);
        command.args(["--node", name]);
    });
    node.wait_until("it serves", |node| crate::harness::get(node.frontend).as_deref() == Some("hello"));
    node
}

fn write(path: &std::path::Path, secret: &str, mode: u32) {
    fs::write(path, secret).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("changed");
}

impl Daemon {
    fn set_secret(&self, secret: &str, mode: u32) {
        write(&self.folder.path().join("secret"), secret, mode);
    }

    /// What it says of the other node's hellos, if that is a problem.
    fn disbelief(&self) -> Option<String> {
        let status = self.status_json()?;
        let problems = status["problems"].as_array()?;
        let texts = problems.iter().filter_map(|problem| problem["what"].as_str());
        texts.map(str::to_owned).find(|what| what.starts_with("hellos of "))
    }

    fn counted(&self, name: &str) -> u64 {
        self.status_json().and_then(|status| status["counters"][name].as_u64()).unwrap_or(0)
    }

    fn hears_peer(&self) -> bool {
        self.status_json().is_some_and(|status| status["peers"][0]["silent"] == false)
    }
}

#[test]
fn nodes_believe_each_other_by_their_secret_and_a_file_that_is_none_changes_nothing() {
    let addresses = [unused_address().ip(), unused_address().ip()];
    let lb1 = node("lb1", addresses, SECRET);
    let lb2 = node("lb2", addresses, SECRET);
    for one in [&lb1, &lb2] {
        one.wait_until("the other node is believed", |one| {
            one.hears_peer() && one.counted("hello_received") > 0
        });
    }

    for (secret, mode, why) in [
        (SECRET, 0o644, "has the mode 0644, so everybody on this machine may know it"),
        ("", 0o600, "is empty"),
    ] {
        lb2.set_secret(secret, mode);
        let reload = lb2.verb(&["reload"]);
        assert_eq!(reload.status.code(), Some(78), "{}", lb2.log());
        let report = String::from_utf8_lossy(&reload.stderr).into_owned();
        assert!(report.contains("lb.toml:2:15: \"") && report.contains(why), "{report}");
        lb2.assert_untouched();
        assert!(lb2.hears_peer(), "{}", lb2.log());
    }

    lb2.set_secret("wrong horse battery staple\n", 0o600);
    let reload = lb2.verb(&["reload"]);
    assert_eq!(reload.status.code(), Some(0), "{}", lb2.log());
    let report = String::from_utf8_lossy(&reload.stdout).into_owned();
    assert!(report.contains("cluster changed (the contents of a file)"), "{report}");
    for (one, other) in [(&lb1, "lb2"), (&lb2, "lb1")] {
        let what = format!("hellos of {other} are signed with another secret");
        one.wait_until(&what, |one| one.disbelief().as_deref() == Some(&*what));
        assert!(one.counted("hello_signature") > 0);
        one.assert_untouched();
        one.wait_until("it is in the log", |one| one.log().contains("signed with another secret than ours"));
    }

    lb2.set_secret(SECRET, 0o640);
    assert_eq!(lb2.verb(&["reload"]).status.code(), Some(0), "{}", lb2.log());
    for one in [&lb1, &lb2] {
        one.wait_until("the other node is believed again", |one| {
            one.hears_peer() && one.disbelief().is_none()
        });
    }
}
