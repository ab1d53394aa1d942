//! The hello's UDP socket: unicast on port 3112 from the node's own address, TTL 255 sent, the TTL of what comes read.

use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr, UdpSocket as StdSocket},
    os::fd::{AsRawFd, OwnedFd},
};

use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt,
    sockopt::{Ipv4RecvTtl, Ipv6RecvHopLimit},
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{io::Interest, net::UdpSocket};

use super::{TTL, message::MAX_BYTES};

/// The hello's port on every node.
pub(in crate::daemon) const PORT: u16 = 3112;

/// See the module.
#[derive(Debug)]
pub(in crate::daemon) struct Endpoint {
    socket: UdpSocket,
}

/// A datagram as it came.
#[derive(Debug)]
pub(in crate::daemon) struct Datagram {
    pub(in crate::daemon) source: SocketAddr,
    pub(in crate::daemon) ttl: Option<u8>,
    pub(in crate::daemon) bytes: Vec<u8>,
}

impl Endpoint {
    /// That of the process before this one, if it is bound to the hello's port on `own`.
    pub(in crate::daemon) fn take_over(own: IpAddr, socket: OwnedFd) -> io::Result<Self> {
        let socket = StdSocket::from(socket);
        let bound = socket.local_addr()?;
        if (bound.ip(), bound.port()) != (own, PORT) {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        socket.set_nonblocking(true)?;
        Ok(Self { socket: UdpSocket::from_std(socket)? })
    }

    /// For the process after this one. What comes meanwhile waits in it.
    pub(in crate::daemon) fn let_go(self) -> io::Result<OwnedFd> {
        Ok(self.socket.into_std()?.into())
    }

    /// Binds the hello's port on `own`.
    pub(in crate::daemon) fn bind(own: IpAddr) -> io::Result<Self> {
        let address = SocketAddr::new(own, PORT);
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        if own.is_ipv4() {
            socket.set_ttl_v4(TTL.into())?;
            setsockopt(&socket, Ipv4RecvTtl, &true)?;
        } else {
            socket.set_unicast_hops_v6(TTL.into())?;
            setsockopt(&socket, Ipv6RecvHopLimit, &true)?;
        }
        socket.bind(&address.into())?;
        Ok(Self { socket: UdpSocket::from_std(socket.into())? })
    }

    /// Sends one datagram; a node that is away is no error of ours.
    pub(in crate::daemon) fn send(&self, to: IpAddr, bytes: &[u8]) -> io::Result<()> {
        match self.socket.try_send_to(bytes, SocketAddr::new(to, PORT)) {
            Ok(_) => Ok(()),
            // An ICMP answer to an earlier hello: nobody listens there.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The next datagram.
    pub(in crate::daemon) async fn receive(&self) -> io::Result<Datagram> {
        loop {
            let received = self.socket.async_io(Interest::READABLE, || receive_now(&self.socket)).await;
            match received {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                other => return other,
            }
        }
    }
}

fn receive_now(socket: &UdpSocket) -> io::Result<Datagram> {
    // One byte more than a hello has, so that a longer one is seen to be longer.
    let mut buffer = [0; MAX_BYTES + 1];
    let mut control = nix::cmsg_space!(libc::c_int);
    let mut parts = [IoSliceMut::new(&mut buffer)];
    let message = recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut parts,
        Some(&mut control),
        MsgFlags::MSG_DONTWAIT,
    )?;
    let ttl = message.cmsgs()?.find_map(|one| match one {
        ControlMessageOwned::Ipv4Ttl(ttl) | ControlMessageOwned::Ipv6HopLimit(ttl) => u8::try_from(ttl).ok(),
        _ => None,
    });
    let source = message.address.as_ref().and_then(source_of);
    let length = message.bytes;
    match source {
        Some(source) => Ok(Datagram { source, ttl, bytes: buffer[..length].to_vec() }),
        None => Err(io::Error::other("a datagram without a source")),
    }
}

fn source_of(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|address| SocketAddr::new(address.ip().into(), address.port()));
    v4.or_else(|| {
        address.as_sockaddr_in6().map(|address| SocketAddr::new(address.ip().into(), address.port()))
    })
}
