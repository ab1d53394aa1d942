//! A nameserver of a few lines.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

/// One that knows the same address for every name, or none at all (NXDOMAIN); as long as the test runs.
pub(crate) fn nameserver(known: Option<Ipv4Addr>) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let address = socket.local_addr().expect("bound");
    std::thread::spawn(move || {
        let mut question = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut question) {
            let mut answer = question[..length].to_vec();
            answer[2] |= 0x80;
            match known {
                // RFC 1035 §4.1: one answer, of the name in the question, A, IN, for 60 s.
                Some(address) => {
                    answer[7] = 1;
                    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
                    answer.extend(address.octets());
                }
                None => answer[3] = 3,
            }
            let _ = socket.send_to(&answer, client);
        }
    });
    address
}
