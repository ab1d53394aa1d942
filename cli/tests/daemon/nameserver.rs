//! A nameserver of a few lines.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{Arc, Mutex},
};

/// What it says to everybody.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Says {
    /// This address is that of every name, for so many seconds.
    Address(Ipv4Addr, u32),
    /// NXDOMAIN.
    NoSuchName,
    /// Not a word: it is gone.
    #[allow(dead_code, reason = "shared with tests that need no such one")]
    Nothing,
}

/// One that knows the same address for every name, or none at all (NXDOMAIN); as long as the test runs.
pub(crate) fn nameserver(known: Option<Ipv4Addr>) -> SocketAddr {
    let says = known.map_or(Says::NoSuchName, |address| Says::Address(address, 60));
    nameserver_that(&Arc::new(Mutex::new(says)))
}

/// One that says what `says` has at that moment; as long as the test runs.
pub(crate) fn nameserver_that(says: &Arc<Mutex<Says>>) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let address = socket.local_addr().expect("bound");
    let says = Arc::clone(says);
    std::thread::spawn(move || {
        let mut question = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut question) {
            let mut answer = question[..length].to_vec();
            answer[2] |= 0x80;
            match *says.lock().expect("no panic") {
                // RFC 1035 §4.1: one answer, of the name in the question, A, IN.
                Says::Address(address, ttl) => {
                    answer[7] = 1;
                    answer.extend([0xc0, 12, 0, 1, 0, 1]);
                    answer.extend(ttl.to_be_bytes());
                    answer.extend([0, 4]);
                    answer.extend(address.octets());
                }
                Says::NoSuchName => answer[3] = 3,
                Says::Nothing => continue,
            }
            let _ = socket.send_to(&answer, client);
        }
    });
    address
}
