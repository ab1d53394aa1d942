//! `lbctl check --here`: what does not fit this machine. The loopback interface is there on every machine, so a node
//! with a loopback address finds itself.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

#[path = "daemon/nameserver.rs"]
mod nameserver;

use std::{
    net::{Ipv4Addr, TcpListener},
    process::{Command, Output, Stdio},
};

use nameserver::nameserver;

fn check(arguments: &[&str], file: &str) -> Output {
    run(Command::new(env!("CARGO_BIN_EXE_lbctl")).arg("check").args(arguments), file)
}

/// With an empty /run, as on a machine where no lbctl runs.
fn check_alone(file: &str) -> Output {
    let script = "mount -t tmpfs none /run && exec \"$0\" check --here \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, env!("CARGO_BIN_EXE_lbctl")]);
    run(&mut command, file)
}

fn run(command: &mut Command, file: &str) -> Output {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("lb.toml");
    std::fs::write(&path, file).unwrap();
    command.arg("lb.toml").current_dir(scratch.path()).stdin(Stdio::null()).output().unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// A pair whose first node is any machine.
fn pair(interface: &str, port: u16) -> String {
    format!(
        "[cluster]\nnode.lb1 = \"127.0.0.1\"\nnode.lb2 = \"192.0.2.12\"\n\
         [vip.web]\n{interface}vrid = 51\naddresses = [\"192.0.2.10\"]\n\
         [listen.web]\nbind = [{{ vip = \"web\", port = {port} }}]\nservers = [\"192.0.2.21:80\"]\n"
    )
}

/// A port that is free at this moment.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn an_address_outside_the_interfaces_networks_is_a_warning() {
    let output = check(&["--here"], &pair("", free_port()));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(
        stderr(&output).contains(
            "lb.toml: on this machine: warning: 192.0.2.10 of [vip.web] is in none of the networks of lo; \
             the router in front must know the way\n"
        ),
        "{}",
        stderr(&output)
    );
}

#[test]
fn an_interface_that_does_not_exist_is_an_error() {
    let output = check(&["--here"], &pair("interface = \"nowhere0\"\n", free_port()));
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    assert!(
        stderr(&output).contains(
            "lb.toml: on this machine: [vip.web] is on interface nowhere0, which does not exist here\n"
        ),
        "{}",
        stderr(&output)
    );
    assert!(stderr(&output).ends_with("1 error. Nothing was changed.\n"));
}

#[test]
fn by_unicast_the_address_to_send_from_has_to_be_on_the_interface() {
    let unicast =
        |more: &str| pair(&format!("interface = \"lo\"\ntransport = \"unicast\"\n{more}"), free_port());
    let addresses = "unicast_addresses = { lb1 = \"192.0.2.77\", lb2 = \"192.0.2.12\" }\n";
    let output = check(&["--here"], &unicast(addresses));
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    assert!(
        stderr(&output).contains(
            "on this machine: interface lo of [vip.web] does not have 192.0.2.77, from which this node is to advertise by \
             unicast; write the right address into unicast_addresses, or another `interface`\n"
        ),
        "{output:?}"
    );
    // That of [cluster].
    let output = check(&["--here"], &unicast(""));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(!stderr(&output).contains("unicast"), "{output:?}");
}

#[test]
fn by_unicast_the_address_of_another_node_is_not_one_of_this_machine() {
    let file = pair("interface = \"lo\"\ntransport = \"unicast\"\n", free_port());
    let script = "ip link set lo up && ip address add 192.0.2.12/32 dev lo && exec \"$0\" check --here --node lb1 \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--net", "sh", "-c", script, env!("CARGO_BIN_EXE_lbctl")]);
    let output = run(&mut command, &file);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    let error = "on this machine: 192.0.2.12, where [vip.web] reaches another node by unicast, is an address of this machine (interface \
                 lo): what that node sends is dropped here; remove it, or write that node's own one into unicast_addresses\n";
    assert!(stderr(&output).contains(error), "{output:?}");
    assert!(!stderr(&check(&["--here"], &file)).contains("is dropped here"));
}

#[test]
fn a_port_of_another_process_is_an_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let file = format!(
        "[global]\nmaxconn = 100\n[listen.web]\nbind = \"{address}\"\nservers = [\"192.0.2.21:80\"]\n"
    );
    let output = check_alone(&file);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    let port = address.port();
    let expected = format!(
        "lb.toml: on this machine: 127.0.0.1:{port} of frontend web is taken by another process; \
         `ss -ltnp 'sport = :{port}'` names it\n1 error. Nothing was changed.\n"
    );
    assert_eq!(stderr(&output), expected);
}

#[test]
fn a_port_of_another_process_that_shares_it_is_an_error_too() {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    socket.listen(1).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let file = format!("[listen.web]\nbind = \"{address}\"\nservers = [\"192.0.2.21:80\"]\n");
    let output = check_alone(&file);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    assert!(stderr(&output).contains("is taken by another process"), "{}", stderr(&output));
}

#[test]
fn a_listener_on_an_address_of_no_interface_is_a_warning_unless_a_vip_brings_it() {
    let file =
        format!("[listen.web]\nbind = \"192.0.2.77:{}\"\nservers = [\"192.0.2.21:80\"]\n", free_port());
    let output = check(&["--here"], &file);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let warning = "warning: no interface has 192.0.2.77, where frontend web listens, and no [vip.*] brings it: nobody can";
    assert!(stderr(&output).contains(warning), "{}", stderr(&output));
    let output = check(&["--here"], &pair("", free_port()));
    assert!(!stderr(&output).contains("where frontend web listens"), "{}", stderr(&output));
}

#[test]
fn places_of_logs_that_are_not_there_and_a_drain_that_the_unit_would_cut_are_warnings() {
    let file = format!(
        "[global]\ndrain_timeout = \"30s\"\nlog = {{ syslog = \"/nowhere/log\" }}\n[listen.web]\n\
         bind = \"127.0.0.1:{}\"\nservers = [\"192.0.2.21:80\"]\n\
         log = [\"global\", {{ file = \"/nowhere/access.log\" }}, {{ file = \"/dev/null\" }}]\n",
        free_port()
    );
    let output = check(&["--here"], &file);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    for warning in [
        "the log to socket /nowhere/log would get nothing: there is no such socket; does a syslog daemon run?\n",
        "the log to file /nowhere/access.log would get nothing: there is no folder /nowhere\n",
        "a stop may take twice drain_timeout (30 s); the unit is killed after TimeoutStopSec=20, unless a drop-in says more\n",
    ] {
        assert!(stderr(&output).contains(&format!("warning: {warning}")), "{warning}{}", stderr(&output));
    }
    assert!(!stderr(&output).contains("/dev/null"), "{}", stderr(&output));
}

#[test]
fn a_limit_on_open_files_that_is_too_low_for_maxconn_is_a_warning_that_says_what_it_is_enough_for() {
    let said = |maxconn: &str| {
        let file = format!(
            "[global]\nthreads = 1\n{maxconn}[listen.web]\nbind = \"127.0.0.1:{}\"\nservers = [\"192.0.2.21:80\"]\n",
            free_port()
        );
        let mut command = Command::new("prlimit");
        command.args(["--nofile=1000:1000", env!("CARGO_BIN_EXE_lbctl"), "check", "--here"]);
        let output = run(&mut command, &file);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        stderr(&output).to_owned()
    };
    let by_default = said("");
    let warning =
        "warning: maxconn is 20000 by default, and 1000 open files (ulimit -Hn, here) are enough for ";
    assert!(by_default.contains(warning), "{by_default}");
    let chosen = said("maxconn = 600\n");
    let usable =
        chosen.split("maxconn is 600, and 1000 open files (ulimit -Hn, here) are enough for ").nth(1);
    let usable = usable.and_then(|rest| rest.split_once(" connections; the unit has LimitNOFILE= for that"));
    let usable: u32 = usable.expect(&chosen).0.parse().unwrap();
    // A worker may keep 512 idle connections to its server beside them.
    assert!((20..600).contains(&usable), "{chosen}");
    assert!(!said(&format!("maxconn = {usable}\n")).contains("open files"));
}

#[test]
fn commands_that_are_not_there_or_anybodys_and_users_that_can_not_run_them_are_told() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = tempfile::tempdir().unwrap();
    let plain = scratch.path().join("plain");
    std::fs::write(&plain, "").unwrap();
    let tracks = format!(
        "[vip.web]\nvrid = 51\naddresses = [\"192.0.2.10\"]\n[track.a]\ncommand = [\"/no/such/program\"]\n\
         [track.b]\ncommand = [\"/bin/sh\", \"-c\", \"exit 0\"]\n[track.c]\ncommand = [{plain:?}]\n"
    );
    let file = format!(
        "[cluster]\nnode.lb1 = \"127.0.0.1\"\nnode.lb2 = \"192.0.2.12\"\n{tracks}[listen.web]\n\
         bind = \"127.0.0.1:{}\"\nservers = [\"192.0.2.21:80\"]\n",
        free_port()
    );
    let path = scratch.path().join("lb.toml");
    let check = |text: &str| {
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_lbctl"));
        command.args(["check", "--here"]).arg(&path).stdin(Stdio::null()).output().unwrap()
    };
    let output = check(&file);
    for warning in [
        "[track.a] can't run /no/such/program: No such file or directory".to_owned(),
        format!("[track.c] can't run {}: it is not executable", plain.display()),
        format!(
            "others than its owner may write {0}, and could have any command run: chmod go-w {0}",
            path.display()
        ),
    ] {
        assert!(stderr(&output).contains(&format!("warning: {warning}")), "{warning} {}", stderr(&output));
    }
    assert!(!stderr(&output).contains("track.b"), "{}", stderr(&output));
    for (user, why) in [
        (
            "\"nosuch\"",
            "[global] command_user: no user is called `nosuch` on this machine; make it with: useradd --system nosuch",
        ),
        (
            "\"nobody\"",
            "[global] command_user: only root, or who has CAP_SETUID and CAP_SETGID as in the packaged unit, could run commands as nobody",
        ),
    ] {
        let output = check(&format!("[global]\ncommand_user = {user}\n{file}"));
        let is_told = stderr(&output).contains(why);
        let may = user.contains("nobody") && nix::unistd::geteuid().is_root();
        assert_eq!(is_told, !may, "{}", stderr(&output));
    }
}

#[test]
fn a_machine_that_is_no_node_says_so() {
    let file = pair("", free_port()).replace("127.0.0.1", "192.0.2.11");
    let output = check(&["--here"], &file);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    assert!(stderr(&output).contains("has none of the nodes' addresses"), "{}", stderr(&output));
    assert!(stderr(&output).contains("say which one it is with --node"), "{}", stderr(&output));
}

#[test]
fn the_node_can_be_named_and_needs_its_address() {
    let output = check(&["--here", "--node", "lb2"], &pair("", free_port()));
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    assert!(
        stderr(&output)
            .contains("no interface has 192.0.2.12, this node's address; give [vip.web] an `interface`"),
        "{}",
        stderr(&output)
    );
    let output = check(&["--here", "--node", "lb3"], &pair("", free_port()));
    assert!(stderr(&output).contains("--node lb3: the nodes are lb1, lb2"), "{}", stderr(&output));
}

#[test]
fn missing_rights_are_named() {
    // A user namespace without a map: the process keeps no capability over the exec.
    let mut command = Command::new("unshare");
    command.args(["--user", "--net", env!("CARGO_BIN_EXE_lbctl"), "check", "--here", "--node", "lb2"]);
    let output = run(&mut command, &pair("interface = \"lo\"\n", 80));
    let report = stderr(&output);
    for right in [
        "warning: you don't have CAP_NET_ADMIN; whoever starts `lbctl run` needs it to add and remove addresses\n",
        "warning: you don't have CAP_NET_RAW; whoever starts `lbctl run` needs it to send and receive advertisements\n",
        "warning: you have no right to bind 192.0.2.10:80 of frontend web; whoever starts `lbctl run` needs \
         CAP_NET_BIND_SERVICE\n",
        "interface lo of [vip.web] has no IPv4 address; advertisements need one as their source\n",
    ] {
        assert!(report.contains(right), "{right}\n{report}");
    }
}

#[test]
fn user_and_group_that_are_not_there_are_named_with_what_makes_them() {
    for (key, said) in [
        (
            "user",
            "[global] user: no user is called `no-such` on this machine; make it with: useradd --system no-such\n",
        ),
        (
            "group",
            "[global] group: no group is called `no-such` on this machine; make it with: groupadd --system no-such\n",
        ),
    ] {
        let file = format!("{}[global]\n{key} = \"no-such\"\n", pair("", free_port()));
        let output = check(&["--here"], &file);
        assert!(stderr(&output).contains(said), "{}", stderr(&output));
        assert_eq!(output.status.code(), Some(78));
        assert_eq!(check(&[], &file).status.code(), Some(0), "another machine may have it");
    }
}

#[test]
fn without_here_the_machine_does_not_matter() {
    let output = check(&[], &pair("interface = \"nowhere0\"\n", 80));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(stderr(&output), "");
}

#[test]
fn node_without_here_is_a_usage_error() {
    let output = check(&["--node", "lb1"], &pair("", 80));
    assert_eq!(output.status.code(), Some(64), "{output:?}");
}

#[test]
fn a_map_that_is_missing_or_has_a_wrong_line_is_an_error_with_its_line() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("lb.toml");
    let text = format!(
        "[listen.web]\nbind = \"127.0.0.1:{}\"\nservers = [\"192.0.2.21:80\"]\n\
         [map.hosts]\nfile = \"hosts.map\"\n[map.networks]\nfile = \"networks.map\"\nmatch = \"network\"\n",
        free_port()
    );
    std::fs::write(&file, text).unwrap();
    std::fs::write(scratch.path().join("networks.map"), "# ours\n192.0.2.0/24 lab\n10.0.0.0/33 x\n").unwrap();
    let lbctl = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_lbctl"))
            .args(arguments)
            .arg(&file)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };
    let missing = format!(
        "{}:5:8: map `hosts`: {}: does not exist",
        file.display(),
        scratch.path().join("hosts.map").display()
    );
    let wrong = format!(
        "{}:7:8: map `networks`: {}:3: `10.0.0.0/33` is no network; write it as in 192.0.2.0/24 or 2001:db8::/32",
        file.display(),
        scratch.path().join("networks.map").display()
    );
    let found = lbctl(&["check"]);
    assert_eq!(found.status.code(), Some(78), "{found:?}");
    for message in [&missing, &wrong] {
        assert!(stderr(&found).contains(message.as_str()), "{message}\nis not in\n{}", stderr(&found));
    }
    assert!(stderr(&found).ends_with("\n2 errors. Nothing was changed.\n"), "{found:?}");
    let run = scratch.path().join("run");
    let run = lbctl(&["run", "--runtime-dir", run.to_str().unwrap()]);
    assert_eq!(run.status.code(), Some(78), "{run:?}");
    let said = format!("{}{}", stderr(&run), String::from_utf8_lossy(&run.stdout));
    assert!(said.contains(&format!("{missing}; {wrong}")), "{said}");
}

#[test]
fn a_server_name_that_does_not_resolve_is_a_warning_and_only_where_names_are_looked_up() {
    let address = nameserver(None);
    let file = format!(
        "[global]\nnameservers = [\"{address}\"]\n[listen.web]\nbind = \"127.0.0.1:{}\"\n\
         server.a = \"app.lbctl.invalid:80\"\nserver.b = \"127.0.0.1:80\"\n",
        free_port()
    );
    let output = check(&["--here"], &file);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let expected = format!(
        "lb.toml:5:12: on this machine: warning: app.lbctl.invalid does not resolve here: no such name \
         (NXDOMAIN from {address}); its servers would be down until it does. Correct the name, or have /etc/hosts \
         or a nameserver (`nameservers` of [global]) know it\n"
    );
    assert!(stderr(&output).contains(&expected), "{}", stderr(&output));
    // Pure without --here: nobody is asked.
    let output = check(&[], &file);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
}

#[test]
fn a_server_name_that_leads_back_to_a_listener_of_ours_is_a_warning() {
    let (address, port) = (nameserver(Some(Ipv4Addr::LOCALHOST)), free_port());
    let file = format!(
        "[global]\nnameservers = [\"{address}\"]\n[listen.web]\nbind = \"*:{port}\"\n\
         server.a = \"app.lbctl.invalid:{port}\"\nserver.b = \"app.lbctl.invalid:9\"\n"
    );
    let output = check(&["--here"], &file);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let expected = format!(
        "lb.toml:5:12: on this machine: warning: app.lbctl.invalid, 127.0.0.1:{port}, is where frontend `web` listens, which \
         leads back here"
    );
    assert!(stderr(&output).contains(&expected), "{}", stderr(&output));
    assert_eq!(stderr(&output).matches("leads back").count(), 1, "{}", stderr(&output));
}

#[test]
fn a_folder_of_a_socket_that_everybody_may_change_is_a_warning() {
    use std::{fs, os::unix::fs::PermissionsExt as _};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let file = format!("[listen.web]\nbind = \"unix:{}\"\nservers = [\"127.0.0.1:80\"]\n", path.display());
    let expected = format!(
        "lb.toml: on this machine: warning: everybody may put another socket in the place of unix:{} of frontend web: \
         take the right to write in {} from others (chmod o-w), or set the sticky bit (chmod +t)\n",
        path.display(),
        folder.path().display()
    );
    for (mode, is_warned) in [(0o755, false), (0o777, true), (0o1777, false)] {
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
        let output = check(&["--here"], &file);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!(stderr(&output).contains(&expected), is_warned, "{mode:o}: {}", stderr(&output));
    }
}

#[test]
fn a_source_that_is_not_on_this_machine_is_a_warning_for_the_node_that_has_it() {
    let file = format!(
        "[cluster]\nnode.lb1 = \"127.0.0.1\"\nnode.lb2 = \"192.0.2.12\"\n\
         [listen.web]\nbind = \"127.0.0.1:{}\"\nsource = {{ lb1 = \"127.0.0.9\", lb2 = \"192.0.2.99\" }}\n\
         server.a = \"192.0.2.21:80\"\n\
         server.b = {{ address = \"192.0.2.22:80\", source = {{ interface = \"nowhere0\" }} }}\n",
        free_port()
    );
    let interface = "lb.toml: on this machine: warning: the source of server web/b is on interface nowhere0, which does not \
                     exist here; it would be down\n";
    let address = "lb.toml: on this machine: warning: the source of backend web is 192.0.2.99, which is no address of this \
                   machine; its servers would be down\n";
    let output = check(&["--here"], &file);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(stderr(&output).contains(interface), "{}", stderr(&output));
    assert!(!stderr(&output).contains("192.0.2.99"), "{}", stderr(&output));
    let output = check(&["--here", "--node", "lb2"], &file);
    assert!(stderr(&output).contains(address) && stderr(&output).contains(interface), "{}", stderr(&output));
    assert_eq!(stderr(&check(&[], &file)), "");
}

#[test]
fn folder_in_which_the_daemon_may_not_make_its_log_is_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o555)).unwrap();
    // Root may do what the daemon may not.
    let is_root = nix::unistd::geteuid().is_root();
    let user = if is_root { "[global]\nuser = \"nobody\"\n" } else { "" };
    let file = format!(
        "{user}[listen.web]\nbind = \"127.0.0.1:{}\"\nservers = [\"192.0.2.21:80\"]\nlog = {{ file = {:?} }}\n",
        free_port(),
        folder.path().join("access.log")
    );
    let output = check(&["--here"], &file);
    let (log, folder) = (folder.path().join("access.log").display().to_string(), folder.path().display());
    let said = stderr(&output);
    let warning = said
        .lines()
        .find(|line| line.contains(&format!("warning: the log to file {log} would get nothing: user ")));
    assert!(
        warning.is_some_and(|line| line.ends_with(&format!(" may not make files in {folder}"))),
        "{said}"
    );
}
