//! The first line: how long it has run, and with which file.

use super::*;

#[test]
fn file_that_was_loaded_since_the_start_says_when() {
    let mut status = healthy();
    status.file.loaded = Some(status.started);
    assert!(
        render(&status, Paint::Never)
            .starts_with("lb1 · lbctl 0.3.0, up 3 d 4 h · file 8f31c2, same on lb2 ·")
    );
    status.file.loaded = Some(time("2026-09-21T14:10:10Z"));
    let screen = render(&status, Paint::Never);
    assert_eq!(
        screen.lines().next().expect("a header"),
        "lb1 · lbctl 0.3.0, up 3 d 4 h · file 8f31c2, loaded 3 m 10 s ago, same on lb2"
    );
}

#[test]
fn process_that_took_the_place_of_another_has_run_as_long_as_that_one_has() {
    let mut status = healthy();
    status.upgraded = Some(time("2026-09-21T14:10:10Z"));
    // It has read the file then.
    status.file.loaded = status.upgraded;
    let screen = render(&status, Paint::Never);
    assert_eq!(
        screen.lines().next().expect("a header"),
        "lb1 · lbctl 0.3.0, up 3 d 4 h, upgraded 3 m 10 s ago · file 8f31c2, same on lb2"
    );
}

#[test]
fn node_with_another_version_is_named_while_it_is_heard() {
    let mut status = healthy();
    status.peers[0].version = Some("0.4.0".to_owned());
    let screen = render(&status, Paint::Never);
    let lines: Vec<_> = screen.lines().take(2).collect();
    assert_eq!(
        lines,
        ["lb1 · lbctl 0.3.0, 0.4.0 on lb2, up 3 d 4 h · file 8f31c2, same on lb2", "  no problems"]
    );
    status.peers[0].silent = true;
    assert!(render(&status, Paint::Never).starts_with("lb1 · lbctl 0.3.0, up 3 d 4 h · file"));
}
