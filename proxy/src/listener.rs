//! Listening sockets: bound by the control side, one per worker (SO_REUSEPORT), handed over to the workers.

mod accept;
pub(crate) mod binding;
pub(crate) mod inherited;
mod leaving;
pub(crate) mod newcomers;
pub(crate) mod pause;
mod readiness;
mod refuse;
mod unix;

pub(crate) use accept::{AcceptLoops, Assignment, ListenerId, Watched};
pub(crate) use readiness::watch;
pub(crate) use refuse::{note as note_refused, note_crowded};

use std::{io, net::SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

use crate::config::TcpKeepalive;

/// Handshakes done and not yet accepted, per worker; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// An address can't be listened on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BindError {
    /// Somebody else has it.
    #[error("port {port} of {ip} is taken by another process; `ss -ltnp 'sport = :{port}'` names it: stop it or choose another port", port = address.port(), ip = address.ip())]
    Taken { address: SocketAddr },
    /// A port below 1024 without the right.
    #[error("port {port} needs the capability CAP_NET_BIND_SERVICE (or root)", port = address.port())]
    NoRight { address: SocketAddr },
    /// Anything else.
    #[error("can't listen on {address}: {source}")]
    Other { address: SocketAddr, source: io::Error },
}

/// Binds `count` sockets that share `address` (port 0: one free port for all of them).
///
/// A first socket is bound without SO_REUSEPORT and thrown away: with it, a process of the same user that sets it too
/// would silently share our clients. But for an address that a listener of ours has which is about to go
/// (`is_ours`).
pub(crate) fn bind(
    address: SocketAddr,
    count: usize,
    keepalive: Option<&TcpKeepalive>,
    is_ours: bool,
) -> Result<Vec<Socket>, BindError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::Taken { address },
        io::ErrorKind::PermissionDenied => BindError::NoRight { address },
        _ => BindError::Other { address, source },
    };
    let probe = socket(address, is_ours).map_err(failed)?;
    let actual = probe.local_addr().map_err(failed)?.as_socket().unwrap_or(address);
    drop(probe);
    beside(actual, count, keepalive).map_err(failed)
}

/// Binds `count` sockets more to an address that this process has, or is about to have.
fn beside(address: SocketAddr, count: usize, keepalive: Option<&TcpKeepalive>) -> io::Result<Vec<Socket>> {
    (0..count)
        .map(|_| {
            let socket = socket(address, true)?;
            // Accepted sockets inherit it, too.
            if let Some(keepalive) = keepalive {
                keepalive.set(&socket)?;
            }
            socket.listen(BACKLOG)?;
            Ok(socket)
        })
        .collect()
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    // A standby is bound as well, to addresses that it does not hold yet.
    if address.is_ipv4() {
        socket.set_freebind_v4(true)?;
    } else {
        socket.set_freebind_v6(true)?;
        // `[::]:80` and `*:80` may stand side by side.
        socket.set_only_v6(true)?;
    }
    // Accepted sockets inherit it, which saves a system call for each.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    #[test]
    fn all_sockets_of_an_address_share_one_port() {
        let sockets = bind(ANY_PORT, 3, None, false).unwrap();
        let ports: Vec<_> =
            sockets.iter().map(|socket| socket.local_addr().unwrap().as_socket().unwrap().port()).collect();
        assert_ne!(ports[0], 0);
        assert_eq!(ports, [ports[0]; 3]);
    }

    #[test]
    fn accepted_connections_have_the_keep_alive_of_their_listener() {
        use std::time::Duration;
        let keepalive = TcpKeepalive {
            idle: Some(Duration::from_secs(300)),
            interval: Some(Duration::from_secs(30)),
            count: Some(4),
        };
        let accepted = |keepalive| {
            let listener: TcpListener = bind(ANY_PORT, 1, keepalive, false).unwrap().remove(0).into();
            let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            listener.set_nonblocking(false).unwrap();
            Socket::from(listener.accept().unwrap().0)
        };
        let kept = accepted(Some(&keepalive));
        assert!(kept.keepalive().unwrap());
        assert_eq!(kept.tcp_keepalive_time().unwrap(), Duration::from_secs(300));
        assert_eq!(kept.tcp_keepalive_interval().unwrap(), Duration::from_secs(30));
        assert_eq!(kept.tcp_keepalive_retries().unwrap(), 4);
        assert!(!accepted(None).keepalive().unwrap());
    }

    #[test]
    fn port_taken_by_a_plain_listener_is_named() {
        let taken = TcpListener::bind(ANY_PORT).unwrap();
        let address = taken.local_addr().unwrap();
        let error = bind(address, 2, None, false).unwrap_err().to_string();
        let port = address.port();
        assert_eq!(
            error,
            format!(
                "port {port} of 127.0.0.1 is taken by another process; \
                 `ss -ltnp 'sport = :{port}'` names it: stop it or choose another port"
            )
        );
    }

    #[test]
    fn port_taken_by_a_listener_that_shares_it_is_refused_as_well() {
        let taken = socket(ANY_PORT, true).unwrap();
        taken.listen(1).unwrap();
        let address = taken.local_addr().unwrap().as_socket().unwrap();
        assert!(matches!(bind(address, 2, None, false), Err(BindError::Taken { .. })));
    }

    #[test]
    fn address_that_this_machine_does_not_hold_is_bound() {
        let sockets = bind("198.51.100.77:0".parse().unwrap(), 1, None, false).unwrap();
        assert_eq!(
            sockets[0].local_addr().unwrap().as_socket().unwrap().ip(),
            Ipv4Addr::new(198, 51, 100, 77)
        );
        bind("[2001:db8::77]:0".parse().unwrap(), 1, None, false).unwrap();
    }
}
