//! The whole story of `lbctl lab demo`, as a newcomer sees it. It takes as long as the story does: half a minute.

use std::process::Command;

#[test]
fn demo_survives_every_fault_and_says_what_the_clients_saw() {
    // Nothing but the binary and the kernel: no `ip`, no shell, no curl can be found.
    let mut demo = Command::new(env!("CARGO_BIN_EXE_lbctl"));
    let output = demo.args(["lab", "demo"]).env("PATH", "/nonexistent").output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{told}\n{complaints}");
    let lines: Vec<&str> = told.lines().collect();
    assert!(lines[0].contains("400 requests/s by 20 clients · web1 and web2 in turn · 0 failed"), "{told}");
    let titles = ["kill -9 lb", "cable lb", "stop lb", "freeze lb", "worker lb", "backends lb"];
    for (line, title) in lines[1..].iter().zip(titles) {
        assert!(line.starts_with(title), "{told}");
        for part in ["holds it after", "failed", "gap", "longest wait", "address gone after"] {
            assert!(line.contains(part), "`{part}` is missing in: {line}");
        }
    }
    assert!(lines[7].starts_with("kill -9 web1") && lines[7].contains("keeps it"), "{told}");
    assert!(lines[8].contains("in 7 faults; every fault is healed"), "{told}");
}
