//! The speaker runs before others and is ended after them, and what keeps the daemon busy does not make it late.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream, UdpSocket},
    process::Stdio,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use nix::{sys::signal::Signal, unistd::Pid};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

use super::{
    ADDED_2, Bridge, Node, REMOVED_1, Recorder, VIP, forged, in_namespace,
    privileges::{Jailed, as_root},
    started, wait_for,
};

/// SCHED_RR in sched(7), as `/proc/PID/stat` has it.
const ROUND_ROBIN: &str = "2";

/// The second gives the first by a limit.
const WITHOUT: &str = "-sys_nice,-sys_resource";

const WINDOW: Duration = Duration::from_secs(2);

fn policy(of: Pid) -> String {
    let stat = std::fs::read_to_string(format!("/proc/{of}/stat")).unwrap();
    let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').map(str::to_owned).collect();
    // The 41st, of which two are before the last parenthesis.
    fields[38].clone()
}

/// Advertisements of lb1 that the bridge sees in [`WINDOW`], and how many that should be.
fn advertisements() -> (u32, u32) {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(112))).unwrap();
    let bridge = nix::net::if_::if_nametoindex("br0").unwrap();
    socket
        .join_multicast_v4_n(&Ipv4Addr::new(224, 0, 0, 18), &InterfaceIndexOrAddress::Index(bridge))
        .unwrap();
    socket.set_read_timeout(Some(WINDOW)).unwrap();
    let (begun, mut heard, mut packet) = (Instant::now(), 0, [0; 200]);
    while begun.elapsed() < WINDOW {
        let is_one = (&socket).read(&mut packet).is_ok_and(|_| packet[12..16] == [198, 51, 100, 11]);
        heard += u32::from(is_one);
    }
    (heard, u32::try_from(begun.elapsed().as_millis() / 10).unwrap())
}

#[test]
fn while_the_daemon_is_flooded_advertisements_of_10_ms_keep_their_time() {
    in_namespace("realtime::while_the_daemon_is_flooded_advertisements_of_10_ms_keep_their_time", || {
        let bridge = Bridge::new("advertisement_interval = \"10ms\"\n");
        let (lb1, lb2) = started(&bridge);
        let record = Recorder::start(&lb1, Some(&lb2));
        let over = AtomicBool::new(false);
        let (heard, expected) = thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        let Ok(mut stream) = TcpStream::connect((VIP, 80)) else { continue };
                        let _ = stream.set_read_timeout(Some(Duration::from_millis(100)));
                        let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
                        let _ = stream.read(&mut [0; 100]);
                    }
                });
            }
            // To the loop itself: hellos that are none, and who wants to see the status.
            scope.spawn(|| {
                let socket = UdpSocket::bind("198.51.100.1:0").unwrap();
                while !over.load(Ordering::Relaxed) {
                    let _ = socket.send_to(&[b'{'; 1_000], "198.51.100.11:3112");
                }
            });
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let _ = lb1.status();
                }
            });
            let counted = advertisements();
            over.store(true, Ordering::Relaxed);
            counted
        });
        for moved in [REMOVED_1, ADDED_2] {
            assert_eq!(record.count(&moved), 0, "{moved:?}");
        }
        assert_eq!([lb1.state(), lb2.state()], ["Active", "Backup"]);
        // Without a right to that it has what others have.
        if policy(lb1.speaker()) == ROUND_ROBIN {
            assert!(10 * heard >= 8 * expected, "{heard} of {expected}");
        }
        assert!(heard <= expected + 2, "{heard} of {expected}: nothing is sent twice to make up for it");
    });
}

/// 10,000 a second for 2 s, wrong in two ways: the kernel's filter, the counters and the log are what they are to keep busy.
#[test]
fn while_forged_packets_flood_the_speaker_advertisements_of_10_ms_keep_their_time() {
    in_namespace(
        "realtime::while_forged_packets_flood_the_speaker_advertisements_of_10_ms_keep_their_time",
        || {
            const TICK: Duration = Duration::from_millis(10);
            let bridge = Bridge::new("advertisement_interval = \"10ms\"\n");
            let (lb1, lb2) = started(&bridge);
            let record = Recorder::start(&lb1, Some(&lb2));
            let ((heard, expected), sent) = thread::scope(|scope| {
                let flood = scope.spawn(|| {
                    let wrong = forged::message(255, 1, 1, &[198, 51, 100, 10]);
                    let mut broken = wrong.clone();
                    broken[7] ^= 1;
                    let sockets = [forged::raw_socket(254), forged::raw_socket(255)];
                    for socket in &sockets {
                        // Not to the one who counts.
                        socket.set_multicast_loop_v4(false).unwrap();
                    }
                    let (begun, mut sent) = (Instant::now(), 0);
                    while begun.elapsed() < WINDOW {
                        let due = begun.elapsed().as_micros() / 100;
                        while sent < due {
                            forged::send(&sockets[0], &wrong);
                            forged::send(&sockets[1], &broken);
                            sent += 2;
                        }
                        thread::sleep(TICK);
                    }
                    sent
                });
                (advertisements(), flood.join().unwrap())
            });
            assert!(sent > 10_000, "{sent}");
            for moved in [REMOVED_1, ADDED_2] {
                assert_eq!(record.count(&moved), 0, "{moved:?}");
            }
            assert_eq!([lb1.state(), lb2.state()], ["Active", "Backup"]);
            for node in [&lb1, &lb2] {
                wait_for("they are counted and told", || {
                    let counted = node.counter("reject_ttl").min(node.counter("reject_checksum"));
                    (counted > 0 && node.log().contains("a flood of wrong packets")).then_some(())
                });
            }
            if policy(lb1.speaker()) == ROUND_ROBIN {
                assert!(10 * heard >= 8 * expected, "{heard} of {expected}");
            }
            assert!(heard <= expected + 2, "{heard} of {expected}: nothing is sent twice to make up for it");
        },
    );
}

#[test]
fn without_a_right_to_real_time_it_says_so_once_and_speaks() {
    in_namespace("realtime::without_a_right_to_real_time_it_says_so_once_and_speaks", || {
        let bridge = Bridge::new("");
        let mut lb1 = Node::new(&bridge, 1, true);
        let without = ["setpriv", "--bounding-set", WITHOUT, "--inh-caps", WITHOUT];
        let log = std::fs::File::options().create(true).append(true).open(lb1.folder().join("log")).unwrap();
        let mut command = lb1.command(&without, &[]);
        lb1.adopt(command.stdout(Stdio::null()).stderr(log).spawn().unwrap());
        wait_for("it holds the address", || lb1.has_vip().then_some(()));
        let said = || lb1.log().matches("no real-time priority").count();
        if policy(lb1.speaker()) == ROUND_ROBIN {
            // The limit of real-time priorities of this machine gives it to anybody.
            return;
        }
        assert_eq!(said(), 1, "{}", lb1.log());
        let old = lb1.speaker();
        lb1.signal(old, Signal::SIGKILL);
        wait_for("another speaker", || {
            lb1.speaker_now().filter(|now| *now != old && lb1.state() == "Active")
        });
        assert_eq!(lb1.log().matches(" INFO no real-time priority").count(), 1, "{}", lb1.log());
    });
}

/// The higher it is the earlier.
pub(crate) fn score(process: Pid) -> i32 {
    let text = std::fs::read_to_string(format!("/proc/{process}/oom_score_adj")).unwrap();
    text.trim().parse().unwrap()
}

#[test]
fn the_daemon_goes_before_its_speaker_also_before_another_one() {
    as_root("realtime::the_daemon_goes_before_its_speaker_also_before_another_one", || {
        let own = score(Pid::this());
        let mut jailed = Jailed::start();
        let scores = |daemon, speaker| (score(daemon), score(speaker));
        // Kills the speaker; the one that this daemon starts.
        let another = |jailed: &Jailed, before: Pid| {
            jailed.node.signal(before, Signal::SIGKILL);
            let speaker_now = || jailed.node.speaker_of(jailed.daemon()).filter(|now| *now != before);
            let speaker = wait_for("another speaker", speaker_now);
            wait_for("it holds the address", || jailed.node.has_vip().then_some(()));
            speaker
        };
        let first = jailed.node.speaker();
        assert_eq!(scores(jailed.daemon(), first), (own + 100, own));
        let second = another(&jailed, first);
        assert_eq!(scores(jailed.daemon(), second), (own + 100, own));
        jailed.done(&["upgrade"]);
        assert_eq!(scores(jailed.daemon(), second), (own + 100, own), "it is passed on");
        let third = another(&jailed, second);
        // The next daemon's own file is out of its reach.
        assert_eq!(scores(jailed.daemon(), third), (own + 100, own + 100));
        let daemon = jailed.daemon();
        jailed.node.signal(daemon, Signal::SIGKILL);
        jailed.node.wait();
    });
}
