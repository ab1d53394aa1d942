//! What the book has people type that is not lbctl: each command does, or shows, what the book says of it. A command stands here
//! word for word as it stands there (`house/commands.rs` looks), and is typed with the names of the lab.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::{fs, process::Command, thread, time::Duration};

use lb_tests::{capture::Capture, certificate::self_signed, order::other, scene::Scene, wait};
use lbctl::lab::{BALANCERS, CONFIGURATION, How, Options, VIP};
use nix::sys::signal::Signal;

const PATIENCE: Duration = Duration::from_secs(60);
/// The names of the book, and those of the lab.
const NAMES: [(&str, &str); 5] = [
    ("192.0.2.10", "198.51.100.10"),
    ("192.0.2.11", "198.51.100.11"),
    ("192.0.2.12", "198.51.100.12"),
    ("192.0.2.21", "198.51.100.141"),
    ("www.example.com", "a.example"),
];

/// Types a command of the book on a node: what it said.
#[track_caller]
fn typed(scene: &Scene, node: &str, command: &str) -> String {
    let here = NAMES.iter().fold(command.to_owned(), |here, (theirs, ours)| here.replace(theirs, ours));
    scene.shell(node, &format!("PATH=$PATH:/usr/sbin:/sbin; {here}"))
}

/// What `lbctl status` of a node has as problems.
fn problems(scene: &Scene, node: &str) -> String {
    scene.status_of(node)["problems"].to_string()
}

#[track_caller]
fn wait_for_problem(scene: &Scene, node: &str, words: &str) {
    wait::until(words, PATIENCE, || problems(scene, node).contains(words).then_some(()));
}

#[track_caller]
fn wait_until_well(scene: &Scene) {
    for node in BALANCERS {
        wait::until("no problems", PATIENCE, || (problems(scene, node) == "[]").then_some(()));
    }
}

#[test]
fn what_is_asked_of_a_machine_shows_address_cable_neighbour_and_server() {
    Scene::unless_starved(&Options::default(), |scene| {
        let holder = scene.holder();
        let standby = other(&holder);
        let has = |node: &str, command: &str| typed(scene, node, command).contains(" 198.51.100.10/32 ");
        for command in ["ip -br address", "ip addr", "ip address"] {
            assert!(has(&holder, command) && !has(standby, command), "{command}");
        }
        assert!(typed(scene, "client", "curl http://192.0.2.10/").starts_with("web"));
        assert!(typed(scene, &holder, "curl http://192.0.2.10/").starts_with("web"));
        let check = typed(scene, standby, "curl -v http://192.0.2.21/check.txt 2>&1");
        assert!(check.contains("< HTTP/1.1 200 OK") && check.contains("ok"), "{check}");

        // Whoever has the address, by the hardware address that the client knows it by.
        let hardware = |node: &str| {
            let link = scene.shell(node, "ip -o link show eth0");
            link.split("link/ether ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap().to_owned()
        };
        let knows = |node: &str| {
            let known = typed(scene, "client", "ip neighbour");
            known.lines().any(|line| line.starts_with("198.51.100.10 ") && line.contains(&hardware(node)))
        };
        assert!(knows(&holder));
        wait_until_well(scene);
        wait::until("the other node is ready", PATIENCE, || {
            (scene.verb(&holder, &["switchover"]).0 == Some(0)).then_some(())
        });
        wait::until("the client was told", PATIENCE, || knows(standby).then_some(()));

        let link = |command: &str| {
            let said = typed(scene, &holder, command);
            said.split("eth0").nth(1).unwrap().to_owned()
        };
        assert!(link("ip link").contains("state UP"), "{}", link("ip link"));
        scene.fail(&holder, How::Cable).unwrap();
        wait::until("it is seen", PATIENCE, || link("ip link").contains("NO-CARRIER").then_some(()));
        assert!(link("ip -s link").contains("carrier"), "{}", link("ip -s link"));
        scene.heal(&holder).unwrap();
    });
}

#[test]
fn addresses_that_come_and_go_are_seen_while_somebody_takes_one_away() {
    Scene::unless_starved(&Options::default(), |scene| {
        let holder = scene.holder();
        let monitor = ["sh", "-c", "exec stdbuf -oL ip monitor address"];
        let running = scene.spawn(&holder, "monitor", monitor).unwrap();
        // It listens once it says what is not lbctl's doing.
        wait::until("it listens", PATIENCE, || {
            scene
                .shell(&holder, "ip address add 192.0.2.200/32 dev lo; ip address del 192.0.2.200/32 dev lo");
            scene.log(&holder, "monitor").is_ok_and(|log| log.contains("192.0.2.200")).then_some(())
        });
        scene.shell(&holder, &format!("ip address del {VIP}/32 dev eth0"));
        wait_for_problem(scene, &holder, &format!("somebody removes {VIP} of web from eth0"));
        wait::until("it is seen and put back", PATIENCE, || {
            let log = scene.log(&holder, "monitor").unwrap();
            let mut lines = log.lines();
            let is_taken = |line: &str| line.starts_with("Deleted ") && line.contains("198.51.100.10/32");
            (lines.any(is_taken) && scene.has_vip(&holder)).then_some(())
        });
        running.signal(Signal::SIGTERM).unwrap();
    });
}

#[test]
fn who_has_a_port_and_who_has_the_connections_is_named() {
    let scene = Scene::new(&Options::default().without_daemon("lb2"));
    let socket = "import socket,time; s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.bind(('198.51.100.12',3112)); time.sleep(600)";
    let squatters = [
        scene.spawn("lb2", "port", ["python3", "-m", "http.server", "80"]).unwrap(),
        scene.spawn("lb2", "hello", ["python3", "-c", socket]).unwrap(),
    ];
    let ports = ["ss -ltnp 'sport = :80'", "ss -lunp 'sport = :3112'"];
    for command in ports {
        wait::until(command, PATIENCE, || typed(&scene, "lb2", command).contains("python3").then_some(()));
    }
    thread::scope(|scope| {
        // It returns when the node is well.
        scope.spawn(|| scene.start("lb2"));
        wait_for_problem(&scene, "lb2", "frontend web does not listen on web:80");
        wait_for_problem(&scene, "lb2", "no hello passes between the nodes");
        for squatter in &squatters {
            squatter.signal(Signal::SIGKILL).unwrap();
        }
    });
    // There was nothing to restart.
    wait_until_well(&scene);
    for command in ports {
        assert!(typed(&scene, "lb2", command).contains("\"lbctl\""), "{command}");
    }

    let holder = scene.holder();
    let idle = format!("import socket,time; s=socket.create_connection(('{VIP}',80)); time.sleep(600)");
    let client = scene.spawn("client", "idle", ["python3", "-c", &idle]).unwrap();
    for command in ["ss -tn state established", "ss -tn state established '( sport = :80 )'"] {
        wait::until(command, PATIENCE, || {
            typed(&scene, &holder, command).contains("198.51.100.100:").then_some(())
        });
    }
    let open = |line: &str| line.split("estab ").nth(1)?.split([',', ')']).next()?.parse::<u32>().ok();
    let summary = typed(&scene, &holder, "ss -s");
    assert!(open(&summary).is_some_and(|open| open > 0), "{summary}");
    client.signal(Signal::SIGKILL).unwrap();

    let most: u64 = typed(&scene, &holder, "ulimit -Hn").trim().parse().unwrap();
    let [now, hard] = ["ulimit -n", "ulimit -Hn"].map(|command| typed(&scene, &holder, command));
    assert!(now.trim().parse::<u64>().unwrap() <= most, "{now} {hard}");
    assert!(typed(&scene, &holder, "ls /proc/*/fd").contains("/proc/"));
    let processor = typed(&scene, &holder, "vmstat 1 1");
    assert!(processor.lines().nth(1).is_some_and(|names| names.contains(" st")), "{processor}");
}

/// As Debian's `/etc/nftables.conf` is, with everything closed that a load balancer is not asked by its clients.
const CLOSED: &str = "flush ruleset
table inet filter {
  chain input { type filter hook input priority 0; policy drop; iif lo accept; meta l4proto { tcp, icmp, icmpv6 } accept; }
}
";

#[test]
fn rules_of_the_firewall_let_the_nodes_hear_each_other_and_keep_others_out() {
    let scene = Scene::ready(&Options::default());
    wait_until_well(&scene);
    let file = scene.write("nftables.conf", CLOSED);
    let on_both = |command: &str| BALANCERS.map(|node| typed(&scene, node, command));
    let anew = || on_both(&format!("nft -f {file}"));
    let both_hold = || {
        wait::until("both hold it", PATIENCE, || {
            BALANCERS.iter().all(|node| scene.has_vip(node)).then_some(())
        });
    };
    let accepts = "nft insert rule inet filter input ip protocol 112 accept";
    let accepts_hello = "nft insert rule inet filter input udp dport 3112 accept";

    // Nothing passes: each believes that the other one is gone.
    anew();
    both_hold();
    for node in BALANCERS {
        wait_for_problem(&scene, node, "is silent");
    }
    on_both(accepts_hello);
    for node in BALANCERS {
        wait_for_problem(&scene, node, "they hear each other's hello but no advertisement");
        assert!(typed(&scene, node, "nft list ruleset").contains("policy drop"));
        // The other one's reach the machine, before its firewall.
        let theirs = if node == "lb1" { "198.51.100.12" } else { "198.51.100.11" };
        if nix::unistd::geteuid().is_root() {
            let seen = "timeout 30 tcpdump -Z root -c 4 -l 2>/dev/null";
            let seen = typed(&scene, node, &"tcpdump -ni eth0 'ip proto 112'".replacen("tcpdump", seen, 1));
            assert!(seen.contains(&format!("{theirs} > 224.0.0.18: VRRPv3")), "{seen}");
        } else {
            // As the root of a user namespace tcpdump wants to become another user, and there is none.
            let capture = Capture::start(&scene, node, &format!("ip proto 112 and src host {theirs}"));
            wait::until("they are seen", PATIENCE, || (capture.packets() > 0).then_some(()));
            let _ = capture.stop();
        }
    }
    on_both(accepts);
    scene.holder();
    wait_until_well(&scene);

    // From those that it names alone: with the book's own addresses, of strangers, the nodes are kept out.
    let only = [
        "nft insert rule inet filter input ip protocol 112 ip saddr != { 192.0.2.11, 192.0.2.12 } drop",
        "nft insert rule inet filter input udp dport 3112 ip saddr != { 192.0.2.11, 192.0.2.12 } drop",
    ];
    for node in BALANCERS {
        for command in only {
            typed(&scene, node, command);
        }
    }
    assert!(
        typed(&scene, "lb1", "nft list ruleset")
            .contains("ip saddr != { 198.51.100.11, 198.51.100.12 } drop")
    );
    let heard = || BALANCERS.map(|node| scene.status_of(node)["peers"][0]["heard"].to_string());
    let before = heard();
    wait::until("hellos are heard", PATIENCE, || (heard() != before).then_some(()));
    wait_until_well(&scene);
    for node in BALANCERS {
        for command in only {
            scene.shell(node, &format!("PATH=$PATH:/usr/sbin; {command}"));
        }
    }
    both_hold();
    for node in BALANCERS {
        wait_for_problem(&scene, node, "is silent");
    }

    // The rules of the other family are ones that nft takes; those of iptables are in what it saves.
    anew();
    for rule in [accepts, accepts_hello] {
        on_both(rule);
    }
    on_both("nft insert rule inet filter input ip6 nexthdr 112 accept");
    scene.holder();
    wait_until_well(&scene);
    scene.shell("lb1", "PATH=$PATH:/usr/sbin; iptables -I INPUT -p 112 -j DROP");
    assert!(typed(&scene, "lb1", "iptables-save").contains("-A INPUT -p vrrp -j DROP"));
}

#[test]
fn hashes_and_keys_that_openssl_and_others_print_are_ones_that_lbctl_takes() {
    let folder = tempfile::tempdir().unwrap();
    let run = |command: &str, input: &str| {
        let output =
            Command::new("sh").args(["-c", &format!("printf '%s\\n' {input} | {command}")]).output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let certificate = self_signed(folder.path());
    let key = fs::read_to_string(folder.path().join("site.key")).unwrap();
    let site = folder.path().join("site.pem");
    fs::write(&site, fs::read_to_string(certificate).unwrap() + &key).unwrap();
    let hashes = [
        ("anna", run("openssl passwd -6 -stdin", "first")),
        ("bert", run("mkpasswd --stdin", "second")),
        ("carl", run("htpasswd -B -n -i carl", "third").trim_start_matches("carl:").to_owned()),
    ];
    let users: String = hashes.iter().map(|(name, hash)| format!("user.{name} = \"{hash}\"\n")).collect();
    let tls = format!(
        "{CONFIGURATION}\n[users.staff]\n{users}\n[frontend.tls]\nbind = {{ vip = \"web\", port = 443, tls = \"{}\" }}\ndefault_backend = \"web\"\n\
         rules = [{{ require_auth = \"staff\" }}]\n",
        site.display()
    );
    let scene = Scene::ready(&Options::default().configuration(&tls));
    for (name, password) in [("anna", "first"), ("bert", "second"), ("carl", "third")] {
        let login = format!("curl -k -s -u {name}:{password} https://192.0.2.10/");
        wait::until(name, PATIENCE, || typed(&scene, "client", &login).starts_with("web").then_some(()));
    }
    let refused = "curl -k -s -o /dev/null -w '%{http_code}' -u anna:second https://192.0.2.10/";
    wait::until("a wrong password", PATIENCE, || (typed(&scene, "client", refused) == "401").then_some(()));
    let shown = typed(
        &scene,
        "client",
        "openssl s_client -connect 192.0.2.10:443 -servername www.example.com </dev/null 2>&1",
    );
    assert!(shown.contains("subject=CN = a.example") && shown.contains("TLSv1.3"), "{shown}");
    let stapled = "openssl s_client -connect HOST:443 -status".replace("HOST", "192.0.2.10");
    let stapled = typed(&scene, "client", &format!("{stapled} </dev/null 2>&1"));
    assert!(stapled.contains("OCSP response: no response sent"), "{stapled}");
    let named = "openssl s_client -connect HOST:443 -servername NAME".replace("HOST", "192.0.2.10");
    let named = typed(&scene, "client", &format!("{} </dev/null 2>&1", named.replace("NAME", "a.example")));
    assert!(named.contains("BEGIN CERTIFICATE"), "{named}");
    let names = "openssl x509 -in site.pem -noout -ext subjectAltName"
        .replace("site.pem", &site.display().to_string());
    let names = run(&names, "");
    assert!(names.contains("DNS:a.example"), "{names}");

    // A secret is one line of it.
    let secret = folder.path().join("secret");
    fs::write(&secret, run("openssl rand -hex 32", "")).unwrap();
    fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let file = scene.write(
        "lb.toml",
        &CONFIGURATION.replacen(
            "[cluster]\n",
            &format!("[cluster]\nsecret_file = \"{}\"\n", secret.display()),
            1,
        ),
    );
    let (code, said, errors) = scene.verb("lb1", &["check", &file]);
    assert_eq!(code, Some(0), "{said}{errors}");
}
