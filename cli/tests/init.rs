//! `lbctl init`: a first file that `check` takes as it is.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

const PAIR: [&str; 10] = [
    "--node",
    "lb1=192.0.2.11",
    "--node",
    "lb2=192.0.2.12",
    "--vip",
    "192.0.2.10",
    "--server",
    "192.0.2.21:80",
    "--server",
    "192.0.2.22:80",
];

fn init(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lbctl")).arg("init").args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn the_first_file_is_the_shortest_pair_with_comments() {
    let output = init(&PAIR);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    // The user is there where a package has made it.
    let is_of_user = |line: &&str| ["[global]", "user = \"lbctl\""].contains(line);
    let lines = text(&output.stdout).lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let lines: Vec<_> = lines.filter(|line| !is_of_user(line)).collect();
    assert_eq!(
        lines,
        [
            "[cluster]",
            "node.lb1 = \"192.0.2.11\"",
            "node.lb2 = \"192.0.2.12\"",
            "[vip.web]",
            "vrid      = 51",
            "addresses = [\"192.0.2.10\"]",
            "[listen.web]",
            "bind    = { vip = \"web\", port = 80 }",
            "servers = [\"192.0.2.21:80\", \"192.0.2.22:80\"]",
        ]
    );
}

#[test]
fn check_takes_the_first_file_without_a_warning() {
    let more = ["--vip", "192.0.2.13/24", "--port", "443", "--vrid", "7", "--mode", "tcp"];
    for arguments in [PAIR.to_vec(), [PAIR.as_slice(), more.as_slice()].concat()] {
        let file = init(&arguments).stdout;
        let mut check = Command::new(env!("CARGO_BIN_EXE_lbctl"))
            .args(["check", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        check.stdin.take().unwrap().write_all(&file).unwrap();
        let output = check.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!(text(&output.stderr), "");
        assert_eq!(text(&output.stdout), "stdin: fine: 2 nodes, 1 vip, 1 frontend, 1 backend, 2 servers\n");
    }
}

#[test]
fn wrong_arguments_are_usage_errors_that_say_what_to_write() {
    let cases: [(&[&str], &str); 8] = [
        (&["--node", "lb1"], "write NAME=ADDRESS, as in lb1=192.0.2.11"),
        (
            &["--node", "lb1=lb1.example.com"],
            "lb1.example.com is a name; write the address, as in \"192.0.2.11\"",
        ),
        (&["--node", "a b=192.0.2.14"], "the name `a b` has the character ` `"),
        (&["--node", "lb1=192.0.2.14"], "--node lb1 is given twice; each node has a name of its own"),
        (&["--node", "lb3=192.0.2.10"], "192.0.2.10 is the own address of node `lb3`"),
        (&["--server", "192.0.2.23"], "it has no port; write \"192.0.2.23:80\""),
        (&["--server", "192.0.2.21:80"], "server 192.0.2.21:80 is in the list already"),
        (&["--vrid", "256"], "256 is not in 1..=255"),
    ];
    for (wrong, message) in cases {
        let output = init(&[PAIR.as_slice(), wrong].concat());
        assert_eq!(output.status.code(), Some(64), "{wrong:?}: {output:?}");
        assert_eq!(text(&output.stdout), "", "{wrong:?}");
        assert!(text(&output.stderr).contains(message), "{wrong:?}: {}", text(&output.stderr));
    }
    assert_eq!(init(&[]).status.code(), Some(64));
}
