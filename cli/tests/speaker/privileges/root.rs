//! Started by root, with a file that names no `user`: the processes stay root's, and have as little of it as others.

use nix::sys::signal::Signal;

use super::{
    super::{alone, is_dead, wait_for},
    as_root,
    threads::{CHOWN, PORTS, Who, assert_least_privilege},
};

/// Root gives sockets in the file system to whom the file says.
const ROOT: Who = Who { user: "root", daemon: PORTS | CHOWN, given: u64::MAX };

#[test]
fn without_user_the_processes_are_roots_with_few_of_its_rights_and_it_is_said() {
    as_root(
        "privileges::root::without_user_the_processes_are_roots_with_few_of_its_rights_and_it_is_said",
        || {
            let (_bridge, lb1) = alone();
            let daemon = lb1.daemon();
            assert_least_privilege(&ROOT, daemon, lb1.speaker());
            let said = "lbctl stays root, so who gets into it can use root's sockets (systemd, a container engine) and is out of the jail: \
                    write user = \"lbctl\" into [global] (useradd --system lbctl)";
            assert_eq!(lb1.log().matches(said).count(), 1, "{}", lb1.log());
            // The next speaker has no more.
            let old = lb1.speaker();
            lb1.signal(old, Signal::SIGKILL);
            let next = wait_for("another speaker resumes", || {
                lb1.speaker_now().filter(|now| *now != old && is_dead(old) && lb1.state() == "Active")
            });
            assert_least_privilege(&ROOT, daemon, next);
            assert!(lb1.has_vip());
        },
    );
}
