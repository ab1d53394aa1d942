//! What an operator types on machines that have the package, by the book's own words: installed, looked at, upgraded, taken back, saved,
//! lost, made again and removed. A command stands here as it stands there (`house/commands.rs` looks).

use std::{fs, path::Path, process::Command};

use lb_tests::{
    machine::{self, Machine, PATIENCE},
    order::other,
    package::said,
    program,
    scene::take_slot,
    wait, world,
};
use lbctl::lab::{CONFIGURATION, VIP};

use super::{
    NEXT, THIS, excused, packages,
    pair::{Clients, Pair},
    text, versions_are,
};

/// Types a command of the book as root; what it said.
#[track_caller]
fn typed(node: &Machine, command: &str) -> String {
    // apt asks whether it shall go on.
    let answer = if command.starts_with("apt") { "yes |" } else { "" };
    node.said(&format!("cd /root; export DEBIAN_FRONTEND=noninteractive PAGER=cat; {answer} {command} 2>&1"))
}

/// What is in `/etc/lbctl`: owners, modes and sums.
fn kept(node: &Machine) -> String {
    node.said("cd /etc/lbctl && find . -exec stat -c '%n %U:%G %a' {} + | sort && find . -type f -exec sha256sum {} + | sort")
}

fn file(secret: bool) -> String {
    let key = if secret { "[cluster]\nsecret_file = \"/etc/lbctl/secret\"\n" } else { "[cluster]\n" };
    CONFIGURATION.replacen("[cluster]\n", key, 1)
}

fn write(node: &Machine, path: &str, text: &str) {
    let path = node.root().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn the_book_keeps_a_pair_from_its_installation_to_its_removal() {
    let prepare = |folder: &Path| {
        machine::prepare(folder);
        packages(folder, false);
        take_slot()
    };
    let test = "book::the_book_keeps_a_pair_from_its_installation_to_its_removal";
    let Some(folder) = world::enter(test, prepare) else { return };
    let mut pair = Pair::boot(&folder);
    let secret = said(Command::new("openssl").args(["rand", "-hex", "32"]));
    for node in &pair.nodes {
        node.said("cd /root && cp this.deb lbctl_0.1.0-1_amd64.deb && cp next.deb lbctl_0.2.0-1_amd64.deb");
        install(node, &secret);
    }
    pair.wait_until_well();
    what_systemd_shows(&pair);
    what_the_machine_shows(&pair);
    a_drop_in_is_edited(pair.node(other(pair.holder())));
    port_that_another_program_has(&pair);
    excused(&mut pair, |pair| {
        let clients = Clients::start();
        upgraded_and_taken_back(pair, &clients);
        lost_and_made_again(pair, &clients);
        clients.end_without_failures();
    });
    removed(&pair);
    // Alone, on the machine that has nothing of it left.
    let node = pair.node(other(pair.holder()));
    typed(pair.node(pair.holder()), "systemctl stop lbctl");
    without_a_package(node);
}

fn install(node: &Machine, secret: &str) {
    typed(node, "apt install ./lbctl_0.1.0-1_amd64.deb");
    typed(node, "cp /etc/lbctl/lb.toml.example /etc/lbctl/lb.toml");
    node.said("lbctl check");
    write(node, "etc/lbctl/lb.toml", &file(true));
    write(node, "etc/lbctl/secret", secret);
    // As root has made it: the user of the daemon can't read it, and root can.
    node.said("chmod 0600 /etc/lbctl/secret && lbctl check");
    let as_user = "runuser -u lbctl -- lbctl check";
    let refused = node.run(as_user);
    assert!(!refused.status.success() && text(&refused).contains("/etc/lbctl/secret"), "{}", text(&refused));
    typed(node, "chown root:lbctl /etc/lbctl/secret && chmod 0640 /etc/lbctl/secret");
    typed(node, "chgrp lbctl /etc/lbctl/secret && chmod 640 /etc/lbctl/secret");
    typed(node, as_user);
    node.said("lbctl check --here");
    typed(node, "systemctl enable --now lbctl");
}

fn what_systemd_shows(pair: &Pair) {
    let holder = pair.holder();
    let (node, standby) = (pair.node(holder), pair.node(other(holder)));
    let shows = |node: &Machine, words: &str| {
        wait::until(words, PATIENCE, || typed(node, "systemctl status lbctl").contains(words).then_some(()));
    };
    shows(node, "Status: \"holds web");
    shows(standby, "Status: \"could take web over");
    for command in ["journalctl -u lbctl", "journalctl -u lbctl -n 50", "journalctl -u lbctl --since -1h"] {
        assert!(typed(node, command).contains("lbctl runs version="), "{command}");
    }
    assert!(typed(node, "journalctl -u lbctl | grep transition").contains("to=Active"));
    typed(node, "journalctl -k");
    let exposure = typed(node, "systemd-analyze security lbctl");
    assert!(exposure.lines().last().unwrap().contains(": 2.4 "), "{exposure}");
    let command = "top -H -p \"$(systemctl show -P MainPID lbctl)\"".replacen("top", "top -b -n 1 -w 200", 1);
    assert!(typed(node, &command).contains("lbctl-worker-0"));
    let pid = node.property("lbctl", "MainPID");
    typed(node, "systemctl reload lbctl");
    assert_eq!((node.property("lbctl", "MainPID"), pair.holder()), (pid, holder));
}

fn what_the_machine_shows(pair: &Pair) {
    let node = pair.node(pair.holder());
    for command in ["df /run", "df -h /var/log", "df -i /var/log"] {
        assert!(typed(node, command).lines().nth(1).is_some_and(|line| line.contains('%')), "{command}");
    }
    // Who is in the group may look, and change nothing; others may not even look.
    let may = |user: &str, verb: &str| {
        let output = node.run(&format!("runuser -u {user} -- lbctl {verb}"));
        (output.status.code(), text(&output))
    };
    node.said("useradd --system YOU && useradd --system nagios && groupadd -f www-data");
    assert!(
        may("YOU", "status").1.contains("no right to /run/lbctl/control.sock"),
        "{}",
        may("YOU", "status").1
    );
    typed(node, "usermod -aG lbctl YOU");
    typed(node, "usermod -aG lbctl nagios");
    assert_eq!(may("YOU", "status").0, Some(0));
    assert!(may("nagios", "nagios").1.starts_with("LBCTL OK"), "{}", may("nagios", "nagios").1);
    assert_eq!(may("YOU", "reload").0, Some(1));
    typed(node, "usermod -aG www-data lbctl");
    assert!(node.said("id -nG lbctl").contains("www-data"));
}

/// The drop-in of the book, by an editor that writes it.
fn a_drop_in_is_edited(node: &Machine) {
    let page =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md")).unwrap();
    let drop_in = page.split("```ini\n").nth(1).unwrap().split("```").next().unwrap();
    write(node, "root/drop-in", drop_in);
    node.said("mkdir -p /srv/logs && groupadd -f www-data");
    // It wants a terminal.
    let edit = "systemctl edit lbctl";
    typed(node, &format!("SYSTEMD_EDITOR='cp /root/drop-in' script -qec '{edit}' /dev/null"));
    typed(node, "systemctl restart lbctl");
    assert_eq!(node.property("lbctl", "TimeoutStopUSec"), "1min 30s");
    let groups = node.said("id -G www-data; grep Groups: /proc/$(systemctl show -P MainPID lbctl)/status");
    let (group, of_the_daemon) = groups.split_once('\n').unwrap();
    assert!(of_the_daemon.split_whitespace().any(|one| one == group), "{groups}");
}

fn port_that_another_program_has(pair: &Pair) {
    pair.wait_until_well();
    let name = other(pair.holder());
    let node = pair.node(name);
    let unit = "[Service]\nExecStart=/usr/bin/lbctl lab web --name nginx --listen 0.0.0.0:80\n[Install]\nWantedBy=multi-user.target\n";
    write(node, "etc/systemd/system/nginx.service", unit);
    typed(node, "systemctl stop lbctl");
    node.said("systemctl daemon-reload && systemctl enable --now nginx 2>&1");
    let takes = || typed(node, "ss -ltnp 'sport = :80'");
    wait::until("the port is taken", PATIENCE, || takes().contains("0.0.0.0:80").then_some(()));
    typed(node, "systemctl start lbctl");
    wait::until("it is said", PATIENCE, || {
        pair.status(name)["problems"].to_string().contains("does not listen on web:80").then_some(())
    });
    typed(node, "systemctl disable --now nginx");
    pair.wait_until_well();
    assert!(takes().contains(&format!("{VIP}:80")), "{}", takes());
}

/// "One node after the other, at any time of day": and the same way back, on one node with a file that the older program does not know.
fn upgraded_and_taken_back(pair: &Pair, clients: &Clients) {
    let (holder, backup) = (pair.holder(), other(pair.holder()));
    let before = pair.nodes.each_ref().map(kept);
    for name in [backup, holder] {
        let said = typed(pair.node(name), "apt install ./lbctl_0.2.0-1_amd64.deb");
        assert!(said.contains(&format!("lbctl {NEXT} after {THIS}")), "{said}");
        clients.wait_for_more();
        pair.wait_until_well();
    }
    versions_are(pair, [(holder, NEXT), (backup, NEXT)]);
    assert_eq!(pair.holder(), holder);

    let back = "apt install --allow-downgrades ./lbctl_0.1.0-1_amd64.deb";
    let said = typed(pair.node(backup), back);
    assert!(said.contains(&format!("lbctl {THIS} after {NEXT}")), "{said}");
    clients.wait_for_more();
    pair.wait_until_well();
    versions_are(pair, [(holder, NEXT), (backup, THIS)]);

    let node = pair.node(holder);
    write(node, "etc/lbctl/lb.toml", &file(true).replacen("threads ", "news_of_the_next = 1\nthreads ", 1));
    let said = typed(node, back);
    assert!(said.contains("unknown key `news_of_the_next`"), "{said}");
    assert_eq!(pair.status(holder)["version"], NEXT, "it goes on");
    let check = node.run("lbctl check");
    assert!(check.status.code() == Some(78) && text(&check).contains("news_of_the_next"), "{}", text(&check));
    write(node, "etc/lbctl/lb.toml", &file(true));
    clients.wait_for_more();
    node.said("lbctl drain");
    assert_eq!(pair.holder(), backup);
    typed(node, "systemctl restart lbctl");
    pair.wait_until_well();
    versions_are(pair, [(holder, THIS), (backup, THIS)]);
    assert_eq!(pair.nodes.each_ref().map(kept), before, "what is in /etc/lbctl is as it was");
    clients.wait_for_more();
}

fn lost_and_made_again(pair: &Pair, clients: &Clients) {
    let holder = pair.holder();
    let node = pair.node(other(holder));
    write(node, "etc/systemd/system/lbctl.service.d/override.conf", "[Service]\nTimeoutStopSec=90\n");
    let before = kept(node);
    typed(node, "tar -C / -czpf lbctl.tar.gz etc/lbctl etc/systemd/system/lbctl.service.d");
    typed(node, "apt purge lbctl");
    node.said("rm -r /etc/systemd/system/lbctl.service.d && test ! -e /etc/lbctl && ! getent passwd lbctl");
    clients.wait_for_more();
    // Another machine may give the user another number: owners are names.
    node.said("useradd --system another");
    typed(node, "apt install ./lbctl_0.1.0-1_amd64.deb");
    typed(node, "tar -C / -xzpf lbctl.tar.gz");
    assert_eq!(kept(node), before);
    node.said("lbctl check --here");
    typed(node, "systemctl enable --now lbctl");
    pair.wait_until_well();
    assert_eq!(node.property("lbctl", "TimeoutStopUSec"), "1min 30s");
    // What is good counts once it has lasted.
    wait::until("it could take over", PATIENCE, || {
        let status = text(&node.run("lbctl status"));
        (status.contains(&format!("same on {holder}")) && status.contains("could take over now"))
            .then_some(())
    });
    assert_eq!(pair.holder(), holder, "it takes nothing away");
}

/// Removed: the address goes to the other node, and the file stays. Purged: nothing is left.
fn removed(pair: &Pair) {
    let holder = pair.holder();
    let node = pair.node(holder);
    typed(node, "apt remove lbctl");
    assert_eq!(pair.holder(), other(holder));
    node.said("test -e /etc/lbctl/lb.toml && ! test -e /usr/bin/lbctl");
    typed(node, "apt purge lbctl");
    node.said("! ls -d /etc/lbctl /var/log/lbctl && ! getent passwd lbctl");
}

/// The program is one file, beside the unit and a user.
fn without_a_package(node: &Machine) {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cli/package");
    let into = |from: &Path, to: &str| {
        fs::copy(from, node.root().join(to)).unwrap();
    };
    into(Path::new(&program::lbctl()), "usr/bin/lbctl");
    into(&package.join("lbctl.service"), "etc/systemd/system/lbctl.service");
    into(&package.join("lbctl.logrotate"), "etc/logrotate.d/lbctl");
    node.said("mkdir -p /usr/lib/lbctl /root/man");
    into(&package.join("control-sockets"), "usr/lib/lbctl/control-sockets");
    write(node, "etc/lbctl/lb.toml", &file(false));
    typed(node, "useradd --system --no-create-home lbctl");
    node.said(
        "lbctl man /root/man && test -e /root/man/lbctl-upgrade.1 && lbctl completions bash | grep -q lbctl",
    );
    node.said("systemctl daemon-reload");
    typed(node, "systemctl enable --now lbctl");
    wait::until("it holds the address", PATIENCE, || {
        node.said("ip -o -4 address show").contains(&format!(" {VIP}/")).then_some(())
    });
    typed(node, "systemctl stop lbctl");
}
