//! Files of Keepalived's: `keepalived/NAME.conf` with what is made of it, its arguments in its first line.

use super::*;

use lbctl::config::Config;
use lbctl::import::keepalived::tables;

/// An instance that says what it has to.
const INSTANCE: &str = "vrrp_instance VI_1 {\n interface eth0\n virtual_router_id 51\n virtual_ipaddress {\n  192.0.2.10\n }\n}\n";

/// Files with their names, arguments, and what is said.
type Case<'c> = (&'c [(&'c str, &'c str)], &'c [&'c str], &'c str);

/// The names of the files, without their ends.
fn names_of_keepalived() -> Vec<String> {
    let entries = fs::read_dir(folder().join("keepalived")).unwrap().map(|entry| entry.unwrap().file_name());
    let names =
        entries.filter_map(|name| Some(name.into_string().unwrap().strip_suffix(".conf")?.to_owned()));
    let mut names: Vec<_> = names.collect();
    names.sort();
    assert!(names.len() >= 14, "the files are not there: {names:?}");
    names
}

/// In the folder of the files, so that they are called as a user would call them.
fn converted(name: &str) -> Output {
    let file = format!("keepalived/{name}.conf");
    let source = fs::read_to_string(folder().join(&file)).unwrap();
    let first = source.lines().next().and_then(|line| line.strip_prefix("#!")).unwrap();
    let is_file = |word: &str| word.ends_with(".peer") || word.ends_with(".cfg");
    let others = first
        .split_ascii_whitespace()
        .map(|word| if is_file(word) { format!("keepalived/{word}") } else { word.to_owned() });
    let arguments: Vec<String> = std::iter::once(file).chain(others).collect();
    import(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

fn config_of(output: &Output) -> Config {
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    config::parse(text(&output.stdout), "lb.toml").unwrap_or_else(|report| panic!("{report}"))
}

/// Writes files into a folder, and imports them with arguments.
fn imported(files: &[(&str, &str)], arguments: &[&str]) -> Output {
    let scratch = tempfile::tempdir().unwrap();
    let mut words: Vec<String> = Vec::new();
    for (name, content) in files {
        let path = scratch.path().join(name);
        fs::write(&path, content).unwrap();
        words.push(path.to_str().unwrap().to_owned());
    }
    words.extend(arguments.iter().map(|word| (*word).to_owned()));
    import(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn files_of_keepalived_become_what_the_golden_ones_say_with_the_golden_notes() {
    let mut failures = Vec::new();
    for name in names_of_keepalived() {
        let output = converted(&name);
        let beside = |end: &str| folder().join(format!("keepalived/{name}.{end}"));
        failures.extend(compare(&beside("toml"), text(&output.stdout)));
        failures.extend(compare(&beside("stderr"), text(&output.stderr)));
        let again = config::effective(&config_of(&output));
        config::parse(&again, "lb.toml").unwrap_or_else(|report| panic!("{name}: {report}\n{again}"));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Keepalived itself takes those of the golden files that are said to be some of its own.
#[test]
fn the_golden_files_are_files_of_keepalived() {
    let keepalived = Command::new("/usr/sbin/keepalived")
        .args(["--version"])
        .output()
        .expect("Debian's keepalived is not installed: tests/run does that");
    assert!(keepalived.status.success());
    for name in [
        "article",
        "droplets",
        "both-active",
        "sync",
        "conditional",
        "one",
        "three",
        "ipv6",
        "mixed",
        "notify",
    ] {
        let file = format!("keepalived/{name}.conf");
        let output = Command::new("/usr/sbin/keepalived")
            .current_dir(folder())
            .args(["--config-test", "--config-id", "lb1", "--use-file", &file])
            .output()
            .unwrap();
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        // What it says of interfaces and programs that this machine has not is no matter here.
        let is_of_the_words = |line: &&str| {
            line.contains("nknown keyword") || line.contains("nmatched") || line.contains("missing '{'")
        };
        assert!(said.lines().find(is_of_the_words).is_none(), "{name}: {said}");
    }
}

#[test]
fn a_pair_of_both_programs_is_one_file_that_serves_on_the_address() {
    let config = config_of(&converted("article"));
    assert_eq!((config.cluster.nodes.len(), config.groups.len()), (2, 1));
    let priorities: Vec<u8> = config.cluster.nodes.iter().map(|node| node.priority.get()).collect();
    assert_eq!(priorities, [254, 253], "by the order of the nodes: lb1 had the higher one");
    let bind = &config.proxy.frontends[0].binds[0];
    assert_eq!(bind.address.to_string(), "192.0.2.10:80");
    assert!(config.tracks.is_empty(), "the script that looked at HAProxy is gone");
}

#[test]
fn the_file_of_a_pair_that_changes_over_keeps_what_keepalived_says() {
    let scratch = tempfile::tempdir().unwrap();
    let target = scratch.path().join("lb.toml");
    let [first, second] = ["keepalived/droplets.conf", "keepalived/droplets.peer"];
    let output = import(&[first, second, "--foreign", "lb2", "-o", target.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let config = config::load(&target).unwrap_or_else(|report| panic!("{report}"));
    let priorities: Vec<u8> = config.cluster.nodes.iter().map(|node| node.priority.get()).collect();
    assert_eq!(priorities, [200, 100]);
    let member = &config.groups[0].by_node[0].members[0];
    assert_eq!((member.version, member.interval.get().as_secs()), (lb_vrrp::Version::V2, 1));
    assert!(member.password.is_some() && member.transport.unicast().is_some());
}

#[test]
fn the_preferred_node_of_each_address_stays_it() {
    let config = config_of(&converted("both-active"));
    let preferred = |group: usize| {
        let by_node = &config.groups[group].by_node;
        if by_node[0].priority > by_node[1].priority { "lb1" } else { "lb2" }
    };
    assert_eq!([preferred(0), preferred(1)], ["lb1", "lb2"]);
}

#[test]
fn the_order_of_the_files_is_of_no_importance() {
    let files = |name: &str| fs::read_to_string(folder().join("keepalived").join(name)).unwrap();
    let (first, second) = (files("droplets.conf"), files("droplets.peer"));
    let one = imported(&[("a", &first), ("b", &second)], &[]);
    let other = imported(&[("b", &second), ("a", &first)], &[]);
    let cluster = |output: &Output| {
        let nodes = config_of(output).cluster.nodes;
        nodes.iter().map(|node| (node.name.clone(), node.address)).collect::<Vec<_>>()
    };
    assert_eq!(cluster(&one), cluster(&other));
}

#[test]
fn what_is_not_known_of_the_nodes_is_said_before_anything_serves_and_is_a_loss() {
    let output = imported(&[("k.conf", INSTANCE)], &[]);
    let (toml, notes) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(toml.matches("A PLACEHOLDER").count(), 2, "{toml}");
    assert!(toml.contains("# BEFORE IT SERVES: [cluster] has addresses that no machine has"), "{toml}");
    assert!(notes.contains("\nBEFORE IT SERVES: [cluster] has"), "{notes}");
    let nodes = ["--node", "lb1=192.0.2.11", "--node", "lb2=192.0.2.12"];
    let output = imported(&[("k.conf", INSTANCE)], &[&["--strict"], nodes.as_slice()].concat());
    assert!(!text(&output.stdout).contains("PLACEHOLDER"), "{}", text(&output.stdout));
    assert_eq!(imported(&[("k.conf", INSTANCE)], &["--strict"]).status.code(), Some(1));
}

#[test]
fn arguments_that_do_not_fit_the_files_are_a_fault_of_the_command() {
    let haproxy = "listen a\n bind *:80\n server s 192.0.2.1:80\n";
    let cases: &[Case<'_>] = &[
        (&[("a", haproxy), ("b", haproxy)], &[], "is the second file of HAProxy's"),
        (&[("a", haproxy)], &["--foreign", "lb1"], "--foreign is for files of Keepalived's"),
        (&[("a", haproxy)], &["--node", "lb1=192.0.2.11"], "--node needs --vip"),
        (&[("k", INSTANCE)], &["--vrid", "7"], "--vrid is for files of HAProxy's alone"),
        (
            &[("k", INSTANCE)],
            &["--vip", "192.0.2.9", "--node", "a=192.0.2.11"],
            "--vip is for files of HAProxy's alone",
        ),
        (
            &[("k", INSTANCE)],
            &["--foreign", "lb7"],
            "--foreign lb7: no node is called so; they are lb1 and lb2",
        ),
        (
            &[("k", INSTANCE)],
            &["--node", "a=192.0.2.11"],
            "--node is given 1 times, and the files are about 2 nodes",
        ),
        (&[("k", INSTANCE); 6], &[], "a cluster has at most 5 nodes"),
    ];
    for (files, arguments, expected) in cases {
        let output = imported(files, arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {said}");
        assert!(said.contains(expected) && output.stdout.is_empty(), "{arguments:?}: {said}");
    }
}

#[test]
fn what_is_no_file_of_keepalived_is_one_sentence_with_its_place() {
    let several = format!("@lb1 $A=1\n@lb2 $A=2\n{INSTANCE}");
    let cases: &[Case<'_>] = &[
        (&[("k", "vrrp_instance VI_1 {\n state MASTER\n")], &[], ":1:20: this `{` is never closed"),
        (&[("k", "global_defs {\n}\n}\n")], &[], ":3:1: this `}` has no `{`"),
        (&[("k", "vrrp_script a {\n script \"b\n}\n")], &[], ":2:9: this quote is never closed"),
        (&[("k", "global_defs {\n}\n")], &[], ":1:1: no `vrrp_instance` with an address is in this file"),
        (&[("k", "$A=${A}x\nvrrp_instance $A\n")], &[], ":2:1: definitions lead to each other"),
        (&[("k", &several), ("l", INSTANCE)], &[], ":1:1: this file has lines for @lb1 and @lb2"),
        (&[("k", INSTANCE)], &["--from", "haproxy"], ":1:1: this is a file of keepalived"),
        (&[("k", "listen a\n bind *:80\n")], &["--from", "keepalived"], ":1:1: no `vrrp_instance`"),
        (&[("k", "vrrp_instance \0")], &[], ":1:15: a byte 0 is in no text"),
    ];
    for (files, arguments, expected) in cases {
        let output = imported(files, arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{expected}: {said}");
        assert!(said.contains(expected) && said.ends_with("Nothing was written.\n"), "{expected}: {said}");
    }
}

/// A password stands in clear text in the file, and nowhere in what is said about it.
#[test]
fn passwords_are_not_repeated() {
    let file = INSTANCE.replace(
        " interface eth0\n",
        " interface eth0\n authentication { auth_type PASS auth_pass s3cr3t }\n",
    );
    let file = file.replace("auth_type PASS auth_pass", "auth_type AH\n auth_pass");
    let output = imported(&[("k.conf", &file)], &[]);
    assert!(text(&output.stderr).contains("there is no AH"), "{}", text(&output.stderr));
    assert!(!text(&output.stderr).contains("s3cr3t") && !text(&output.stdout).contains("s3cr3t"));
}

/// The page is written from the tables that the importer works with.
#[test]
fn the_book_has_every_word_of_keepalived_that_is_known() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/coming-from-keepalived.md");
    book_has(&path, "keepalived.conf", &tables());
}
