//! What an operator orders by systemctl, by the verbs, and by what Debian brings.

use std::fs;

use lb_tests::{
    machine::{Machine, PATIENCE},
    order::other,
    wait,
};
use lbctl::lab::CONFIGURATION;

use super::{
    pair::{Clients, Pair},
    text,
};

/// By a reload, by the script of those without systemd, and by a start that systemd does not repeat for ever.
pub(super) fn refuses_a_bad_file(node: &Machine) {
    let daemon = node.property("lbctl", "MainPID");
    let file = node.root().join("etc/lbctl/lb.toml");
    node.said("systemctl reload lbctl && /etc/init.d/lbctl reload && /etc/init.d/lbctl configtest");
    fs::write(&file, CONFIGURATION.replace("vrid ", "vird ")).unwrap();
    assert!(!node.run("systemctl reload lbctl").status.success());
    let output = node.run("/etc/init.d/lbctl restart");
    assert_eq!(output.status.code(), Some(6), "{}", text(&output));
    assert!(text(&output).contains("lb.toml:9:1: unknown key `vird`"), "{}", text(&output));
    assert!(text(&output).contains("nothing was changed"), "{}", text(&output));
    assert_eq!(node.property("lbctl", "MainPID"), daemon);
    fs::write(&file, CONFIGURATION).unwrap();
    node.said("systemctl reload lbctl && /etc/init.d/lbctl status");
    assert_eq!(node.property("lbctl", "MainPID"), daemon);
}

/// Clients are served all the time, and the log says what it was.
pub(super) fn orders_of_systemd_are_an_orderly_move(pair: &Pair, clients: &Clients) {
    let holder = pair.holder();
    let daemon = pair.node(holder).property("lbctl", "MainPID");
    for _ in 0..3 {
        pair.node(holder).said("systemctl reload lbctl");
        clients.wait_for_more();
    }
    assert_eq!((pair.holder(), pair.node(holder).property("lbctl", "MainPID")), (holder, daemon));
    for order in ["restart", "stop"] {
        let holder = pair.holder();
        let node = pair.node(holder);
        let moves = || {
            let log = node.said("journalctl -u lbctl -o cat --no-pager");
            log.lines()
                .filter(|line| line.contains("from=Active") && line.contains("leaving: stop by SIGUSR1"))
                .count()
        };
        let before = moves();
        node.said(&format!("systemctl {order} lbctl"));
        pair.wait_for_holder(other(holder));
        assert_eq!(moves(), before + 1, "{order}: given to the other node, and not lost");
        clients.wait_for_more();
        node.said("systemctl start lbctl");
        pair.wait_until_well();
        assert_eq!(pair.holder(), other(holder), "nobody takes it back");
    }
}

/// By its own verb; systemd starts it when it is asked.
pub(super) fn daemon_that_is_stopped_stays_stopped(pair: &Pair) {
    let node = pair.node(other(pair.holder()));
    node.said("lbctl stop");
    wait::until("systemd knows it", PATIENCE, || {
        (node.property("lbctl", "ActiveState") == "inactive").then_some(())
    });
    assert_eq!(node.property("lbctl", "Result"), "success");
    assert!(!node.run("pgrep lbctl").status.success());
    node.said("systemctl start lbctl");
    pair.wait_until_well();
}

pub(super) fn node_that_reboots_gives_the_address_away_and_comes_back(pair: &mut Pair) {
    let holder = pair.holder();
    pair.node_mut(holder).reboot();
    pair.wait_until_well();
    assert_eq!(pair.holder(), other(holder));
}

/// By logrotate, with the file of the package; also where lbctl does not run.
pub(super) fn logs_are_rotated(pair: &Pair, clients: &Clients) {
    let (log, rotated) = ("/var/log/lbctl/access.log", "/var/log/lbctl/access.log.1");
    let text = CONFIGURATION.replacen("[global]\n", &format!("[global]\nlog = {{ file = \"{log}\" }}\n"), 1);
    let text = text.replacen("[listen.web]\n", "[listen.web]\nlog = \"global\"\n", 1);
    for node in &pair.nodes {
        fs::write(node.root().join("etc/lbctl/lb.toml"), &text).unwrap();
        node.said("systemctl reload lbctl");
    }
    pair.wait_until_well();
    let node = pair.node(pair.holder());
    let rotate = || node.said("logrotate --force /etc/logrotate.d/lbctl 2>&1");
    let lines =
        |path: &str| node.said(&format!("grep -c GET {path} || true")).parse::<u64>().unwrap_or_default();
    clients.wait_for_more();
    wait::until("lines", PATIENCE, || (lines(log) > 0).then_some(()));
    assert_eq!(rotate(), "");
    clients.wait_for_more();
    wait::until("lines in the next file", PATIENCE, || (lines(log) > 0).then_some(()));
    // Nothing comes to the one that was moved away any more.
    let before = lines(rotated);
    clients.wait_for_more();
    assert_eq!(lines(rotated), before);
    assert_eq!(node.said(&format!("stat -c '%U %a' {log} {rotated}")), "lbctl 640\nlbctl 640");
    node.said("systemctl stop lbctl");
    assert_eq!(rotate(), "");
    // One with another control socket, as a drop-in may have it.
    node.said(
        "test -e /var/log/lbctl/access.log.2.gz && mkdir -p /run/systemd/system/lbctl.service.d && \
         printf '[Service]\\nExecStart=\\nExecStart=/usr/bin/lbctl run --control /run/lbctl/other.sock /etc/lbctl/lb.toml\\n' \
         > /run/systemd/system/lbctl.service.d/other.conf && systemctl daemon-reload && systemctl start lbctl",
    );
    let listed = node.said("/usr/lib/lbctl/control-sockets");
    assert_eq!(listed, "/run/lbctl/other.sock");
    node.said(&format!("echo a line >> {log}"));
    assert_eq!(rotate(), "");
    let open = node.said("readlink /proc/$(systemctl show -p MainPID --value lbctl)/fd/* | grep access.log");
    assert_eq!(open, log, "and not the one that was moved away");
    node.said(
        "systemctl stop lbctl; rm -r /run/systemd/system/lbctl.service.d && systemctl daemon-reload && systemctl start lbctl",
    );
    for node in &pair.nodes {
        fs::write(node.root().join("etc/lbctl/lb.toml"), CONFIGURATION).unwrap();
        node.said("systemctl reload lbctl");
    }
    pair.wait_until_well();
}
