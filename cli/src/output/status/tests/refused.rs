//! Requests that nobody could serve, each reason in a line of its own.

use super::*;
use crate::control::{Refused, Why};

#[test]
fn reasons_for_503_are_told_apart() {
    let mut status = healthy();
    status.groups.clear();
    let refused = |why, count, last: &str, reason: &str| Refused {
        why,
        count,
        since: time("2026-09-21T14:10:00Z"),
        last: time(last),
        reason: reason.to_owned(),
    };
    let no_backend = "no rule has chosen a backend, and the frontend has no default_backend";
    status.frontends[0].refused = vec![refused(Why::NoBackend, 4, "2026-09-21T14:13:18Z", no_backend)];
    let down = "no usable server: web1: L7STS 404 on HEAD /check.txt, 5 of 5 failed, down";
    let full = "no slot of a full server became free within 5 s (timeout.queue): web1 has 10 of 10";
    let refusing =
        "no server could be connected to, at last web1 at 192.0.2.21:80: Connection refused (os error 111)";
    status.backends[0].refused = vec![
        refused(Why::NoServer, 1_234, "2026-09-21T14:13:20Z", down),
        refused(Why::Full, 12, "2026-09-21T14:01:20Z", full),
        refused(Why::NotConnected, 1, "2026-09-21T14:10:00Z", refusing),
    ];
    assert_screen(
        &status,
        "
lb1 · lbctl 0.3.0, up 3 d 4 h · file 8f31c2, same on lb2 · no problems

FRONTEND  BIND    MODE  CONNECTIONS  REQUESTS/S  5xx/MIN
web       web:80  http  212 / 2000   1,804       0
BACKEND  SERVER  STATE  FOR  CONNECTIONS  LAST CHECK
app      web1    up     3 d  101          L7OK 200 in 1 ms
         web2    up     3 d  111          L7OK 200 in 1 ms
REFUSED  COUNT  LAST      WHY
web      4      2 s ago   no rule has chosen a backend, and the frontend has no
                          default_backend
app      1,234  0 s ago   no usable server: web1: L7STS 404 on HEAD /check.txt,
                          5 of 5 failed, down
app      12     12 m ago  no slot of a full server became free within 5 s
                          (timeout.queue): web1 has 10 of 10
app      1      3 m ago   no server could be connected to, at last web1 at
                          192.0.2.21:80: Connection refused (os error 111)
",
    );
}
