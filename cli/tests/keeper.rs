//! The robust mutexes between two real processes: this one and `lbctl speaker`, which takes its mutex before it waits for
//! its configuration.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::{
    os::{fd::OwnedFd, unix::net::UnixDatagram},
    process::{Child, Command, Stdio},
    sync::{Arc, mpsc},
    time::Duration,
};

use lbctl::{
    keeper::{Alive, End, Page, Side, watch},
    speaker::protocol::ToSpeaker,
};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

const LIMIT: Duration = Duration::from_secs(30);

/// A speaker that has its mutex, and the socket to it.
fn speaker(page: &Page) -> (Child, UnixDatagram) {
    let (ours, theirs): (OwnedFd, OwnedFd) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_lbctl"))
        .args(["speaker", "--runtime-dir", "/nonexistent"])
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::from(page.file().try_clone().unwrap()))
        .spawn()
        .unwrap();
    let ours = UnixDatagram::from(ours);
    ours.set_read_timeout(Some(LIMIT)).unwrap();
    (child, ours)
}

fn ended(page: &Arc<Page>, side: Side) -> mpsc::Receiver<End> {
    let (sender, receiver) = mpsc::channel();
    watch(Arc::clone(page), side, move |end| sender.send(end).unwrap()).unwrap();
    receiver
}

/// Waits until another process holds the mutex: its thread of that name sleeps in the kernel.
fn wait_until_held(child: &Child) {
    let until = std::time::Instant::now() + LIMIT;
    loop {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", child.id())).into_iter().flatten().flatten();
        let waits = tasks.into_iter().any(|task| {
            let read = |name| std::fs::read_to_string(task.path().join(name)).unwrap_or_default();
            read("comm") == "alive\n" && read("stat").contains(") S ")
        });
        // The runtime's descriptors come after the mutex.
        let runtime = std::fs::read_dir(format!("/proc/{}/fd", child.id())).into_iter().flatten().flatten();
        let polls = runtime.into_iter().any(|fd| {
            std::fs::read_link(fd.path()).is_ok_and(|link| link.to_string_lossy().contains("eventpoll"))
        });
        if waits && polls {
            return;
        }
        assert!(std::time::Instant::now() < until, "the speaker does not start");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_killed_process_is_known_to_have_died() {
    let page = Arc::new(Page::create().unwrap());
    let (mut child, _socket) = speaker(&page);
    wait_until_held(&child);
    let end = ended(&page, Side::Speaker);
    assert!(end.recv_timeout(Duration::from_millis(200)).is_err(), "it lives");
    child.kill().unwrap();
    assert_eq!(end.recv_timeout(LIMIT), Ok(End::Died));
    child.wait().unwrap();
}

#[test]
fn the_mutex_of_a_dead_process_serves_its_successor() {
    let page = Arc::new(Page::create().unwrap());
    for _ in 0..3 {
        let (mut child, _socket) = speaker(&page);
        wait_until_held(&child);
        let end = ended(&page, Side::Speaker);
        child.kill().unwrap();
        assert_eq!(end.recv_timeout(LIMIT), Ok(End::Died));
        child.wait().unwrap();
    }
}

#[test]
fn a_process_that_ends_by_itself_lets_go() {
    let page = Arc::new(Page::create().unwrap());
    let (mut child, socket) = speaker(&page);
    wait_until_held(&child);
    let end = ended(&page, Side::Speaker);
    // The daemon's end before any configuration.
    drop(socket);
    assert_eq!(end.recv_timeout(LIMIT), Ok(End::Clean));
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn the_speaker_ignores_what_a_terminal_or_a_service_manager_sends_to_all() {
    let page = Arc::new(Page::create().unwrap());
    let (mut child, socket) = speaker(&page);
    wait_until_held(&child);
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    for signal in ["SIGTERM", "SIGINT", "SIGHUP"] {
        nix::sys::signal::kill(pid, signal.parse::<nix::sys::signal::Signal>().unwrap()).unwrap();
    }
    assert_eq!(nix::unistd::getsid(Some(pid)).unwrap(), pid, "a session of its own");
    let end = ended(&page, Side::Speaker);
    assert!(end.recv_timeout(Duration::from_millis(200)).is_err(), "it lives");
    let shutdown = serde_json::to_vec(&ToSpeaker::Shutdown { reason: "enough".to_owned() }).unwrap();
    socket.send(&shutdown).unwrap();
    assert_eq!(end.recv_timeout(LIMIT), Ok(End::Clean));
    child.wait().unwrap();
}

#[test]
fn a_thread_that_drops_its_hold_ends_cleanly() {
    let page = Arc::new(Page::create().unwrap());
    let alive = Alive::hold(Arc::clone(&page), Side::Daemon).unwrap();
    let end = ended(&page, Side::Daemon);
    assert!(end.recv_timeout(Duration::from_millis(50)).is_err(), "it is held");
    drop(alive);
    assert_eq!(end.recv_timeout(LIMIT), Ok(End::Clean));
}

#[test]
fn what_one_process_writes_into_the_page_the_other_reads() {
    let page = Page::create().unwrap();
    let other = Page::open(page.file().try_clone().unwrap()).unwrap();
    assert_eq!((other.advertised(0), other.speakers()), (None, 0));
    let now = lb_vrrp::Moment::from_nanos(7_000_000_001);
    page.beat(now);
    page.set_advertised(3, Some(now));
    assert_eq!(page.count_speaker(), 0);
    assert_eq!((other.last_beat(), other.advertised(3), other.speakers()), (now, Some(now), 1));
    page.set_advertised(3, None);
    page.set_advertised(lbctl::keeper::GROUPS, Some(now));
    assert_eq!(other.advertised(3), None);
    assert_eq!(other.advertised(lbctl::keeper::GROUPS), None);
}

#[test]
fn of_a_new_speaker_and_the_guard_of_addresses_one_alone_has_them() {
    let page = Page::create().unwrap();
    let other = Page::open(page.file().try_clone().unwrap()).unwrap();
    let at = lb_vrrp::Moment::from_nanos;
    page.set_advertised(3, Some(at(7)));
    assert_eq!(other.open_advertisement(3), Some(at(7)));
    assert!(!other.withdraw(3, at(6)), "it has advertised since");
    assert!(other.withdraw(3, at(7)) && other.withdraw(3, at(7)));
    assert!(!page.is_left(3), "too late");
    assert_eq!(page.advertised(3), Some(at(7)), "for its successor");
    page.set_advertised(3, Some(at(8)));
    assert!(page.is_left(3));
    // One that goes on and then stands still or dies is no less overdue than the one before it.
    assert!(other.withdraw(3, at(8)) && !page.is_left(3));
    // Whoever is not Active has nothing that could be taken away.
    assert!(page.is_left(4) && !other.withdraw(4, at(0)));
    assert!(page.is_left(lbctl::keeper::GROUPS) && !other.withdraw(lbctl::keeper::GROUPS, at(7)));
}

#[test]
fn a_page_whose_speaker_writes_to_another_one_says_nothing_also_of_what_was_being_withdrawn() {
    let (page, next) = (Page::create().unwrap(), Page::create().unwrap());
    let at = lb_vrrp::Moment::from_nanos;
    for group in [3, 4] {
        page.set_advertised(group, Some(at(7)));
    }
    assert!(page.withdraw(3, at(7)));
    next.go_on(&page);
    page.hand_on();
    for group in [3, 4] {
        assert_eq!(page.open_advertisement(group), None);
        assert!(!page.withdraw(group, at(7)), "its speaker may have them again by now");
        assert_eq!((page.advertised(group), next.open_advertisement(group)), (Some(at(7)), Some(at(7))));
    }
    assert_eq!(page.advertised(5), None);
    // It comes back; or dies on the way, and the next one goes by what is known here.
    next.set_advertised(4, Some(at(9)));
    page.go_on(&next);
    assert_eq!(page.open_advertisement(4), Some(at(9)));
    page.hand_on();
    page.leave_open();
    assert_eq!((page.open_advertisement(4), page.open_advertisement(5)), (Some(at(9)), None));
}

#[test]
fn a_file_that_is_no_page_is_refused() {
    let short = nix::sys::memfd::memfd_create("short", nix::sys::memfd::MFdFlags::MFD_CLOEXEC).unwrap();
    assert!(Page::open(short).is_err());
    let zeros = nix::sys::memfd::memfd_create("zeros", nix::sys::memfd::MFdFlags::MFD_CLOEXEC).unwrap();
    nix::unistd::ftruncate(&zeros, 1 << 16).unwrap();
    assert!(Page::open(zeros).is_err());
}

#[test]
fn nobody_makes_the_page_shorter_under_the_others() {
    let page = Page::create().unwrap();
    let length = nix::sys::stat::fstat(page.file()).unwrap().st_size;
    for other in [0, length - 1, length + 4096] {
        assert_eq!(nix::unistd::ftruncate(page.file(), other), Err(nix::errno::Errno::EPERM), "{other}");
    }
    // What looks like one, and could be made shorter later.
    let mut content = vec![0; usize::try_from(length).unwrap()];
    assert_eq!(nix::sys::uio::pread(page.file(), &mut content, 0), Ok(content.len()));
    let open = nix::sys::memfd::memfd_create("open", nix::sys::memfd::MFdFlags::MFD_CLOEXEC).unwrap();
    assert_eq!(nix::sys::uio::pwrite(&open, &content, 0), Ok(content.len()));
    assert!(Page::open(open).is_err());
}
