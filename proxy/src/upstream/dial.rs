//! Makes a connection to a server, for a request as for a check or an agent.

use std::{
    hash::{BuildHasher, RandomState},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::RangeInclusive,
    sync::atomic::{AtomicU64, Ordering},
};

use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};

use crate::{
    config::{Address, Source, TcpKeepalive, UnixAddress},
    stream,
};

/// Ports of a source that are tried for one connection.
const TRIED: u16 = 64;

/// Connects to `address` from `source`; `keepalive` is what TCP is told.
///
/// # Errors
/// The system's, or in words what it does not say.
pub(crate) async fn dial(
    address: &Address,
    source: &Source,
    keepalive: Option<&TcpKeepalive>,
) -> io::Result<TcpStream> {
    let address = match address {
        Address::Ip(address) => *address,
        Address::Unix(address) => return dial_unix(address),
    };
    if source.is_any() {
        return socket(address, source, keepalive)?.connect(address).await;
    }
    let own = match (source.address, address) {
        (Some(own), address) if own.is_ipv4() != address.is_ipv4() => return Err(other_family(own, address)),
        (Some(own), _) => own,
        (None, SocketAddr::V4(_)) => Ipv4Addr::UNSPECIFIED.into(),
        (None, SocketAddr::V6(_)) => Ipv6Addr::UNSPECIFIED.into(),
    };
    match &source.ports {
        Some(ports) => dial_from_ports(address, own, ports, source, keepalive).await,
        None => {
            let socket = socket(address, source, keepalive)?;
            if source.address.is_some() {
                // The port is chosen with both ends known, so that each server can have all of them.
                setsockopt(&socket, IpBindAddressNoPort, &true)?;
                socket.bind(SocketAddr::new(own, 0)).map_err(|error| unbound(own, error))?;
            }
            socket.connect(address).await.map_err(|error| match error.kind() {
                io::ErrorKind::AddrNotAvailable => no_port(source),
                _ => error,
            })
        }
    }
}

/// Ports are drawn at random: in a row they would all be in use where connections last.
async fn dial_from_ports(
    address: SocketAddr,
    own: IpAddr,
    ports: &RangeInclusive<u16>,
    source: &Source,
    keepalive: Option<&TcpKeepalive>,
) -> io::Result<TcpStream> {
    let count = ports.end() - ports.start();
    let first = random();
    for attempt in 0..=count.min(TRIED - 1) {
        // All of a few, in a row; of many any.
        let draw = if count < TRIED { first.wrapping_add(attempt.into()) } else { random() };
        let step = u16::try_from(draw % (u64::from(count) + 1)).unwrap_or(0);
        let socket = socket(address, source, keepalive)?;
        // The same port for several servers, and again after a connection that has just ended.
        socket.set_reuseaddr(true)?;
        let bound = socket.bind(SocketAddr::new(own, ports.start() + step));
        let connected = match bound {
            Ok(()) => socket.connect(address).await,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => continue,
            Err(error) => return Err(unbound(own, error)),
        };
        match connected.as_ref().map_err(io::Error::kind) {
            Err(io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable) => {}
            Ok(_) | Err(_) => return connected,
        }
    }
    Err(no_port(source))
}

fn no_port(source: &Source) -> io::Error {
    let what = format!("no port of {source} is free for another connection");
    io::Error::new(io::ErrorKind::ResourceBusy, what)
}

/// Did the attempt fail here, so that it says nothing of the server? As [`is_exhausted`], or its source is no address of this
/// machine.
pub(crate) fn is_local(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable || is_exhausted(error)
}

/// Had this machine no port, descriptor or memory left for the connection?
pub(crate) fn is_exhausted(error: &io::Error) -> bool {
    let of_system = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::EADDRNOTAVAIL];
    error.kind() == io::ErrorKind::ResourceBusy
        || error.raw_os_error().is_some_and(|code| of_system.contains(&code))
}

fn socket(address: SocketAddr, source: &Source, keepalive: Option<&TcpKeepalive>) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Heads and last pieces leave at once instead of waiting for an acknowledgement.
    socket.set_nodelay(true)?;
    if let Some(keepalive) = keepalive {
        keepalive.set(&socket)?;
    }
    if let Some(interface) = &source.interface {
        SockRef::from(&socket).bind_device(Some(interface.as_bytes())).map_err(|error| {
            match error.raw_os_error() {
                Some(libc::ENODEV) => {
                    io::Error::other(format!("its source is {interface}, and there is no such interface"))
                }
                _ => io::Error::other(format!("its source is {interface}: {error}")),
            }
        })?;
    }
    Ok(socket)
}

fn other_family(own: IpAddr, address: SocketAddr) -> io::Error {
    io::Error::other(format!("its source {own} can't reach {}: one is IPv4, one IPv6", address.ip()))
}

fn unbound(own: IpAddr, error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::AddrNotAvailable => {
            io::Error::new(error.kind(), format!("its source {own} is no address of this machine"))
        }
        io::ErrorKind::PermissionDenied => io::Error::other(format!(
            "no right to ports below 1024 of its source {own} (CAP_NET_BIND_SERVICE)"
        )),
        _ => error,
    }
}

fn random() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    RandomState::new().hash_one(NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The kernel decides at once, unlike with TCP.
fn dial_unix(address: &UnixAddress) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    socket.connect(&address.to_socket()?).map_err(|error| match error.kind() {
        // unix(7) has no event that could be waited for.
        io::ErrorKind::WouldBlock => io::Error::other("the queue of the socket is full"),
        _ => error,
    })?;
    stream::from_socket(socket)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn socket_whose_queue_is_full_is_told_apart_from_one_where_nobody_listens() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.sock");
        let address = Address::Unix(UnixAddress::new(path.to_str().unwrap()).unwrap());
        let any = Source::default();
        let why = async || dial(&address, &any, None).await.map(|_| ()).map_err(|error| error.to_string());
        assert!(why().await.unwrap_err().starts_with("No such file or directory"));
        let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        listener.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
        assert!(why().await.unwrap_err().starts_with("Connection refused"));
        // One may wait.
        listener.listen(0).unwrap();
        let _waiting = dial(&address, &any, None).await.unwrap();
        assert_eq!(why().await.unwrap_err(), "the queue of the socket is full");
    }

    #[tokio::test]
    async fn connection_is_kept_alive_as_its_backend_says() {
        use std::time::Duration;
        let ([server, _], _) = listeners().await;
        let keepalive = TcpKeepalive {
            idle: Some(Duration::from_secs(300)),
            interval: Some(Duration::from_secs(30)),
            count: Some(4),
        };
        for source in [Source::default(), from("127.0.7.9")] {
            let stream = dial(&at(&server), &source, Some(&keepalive)).await.unwrap();
            let socket = SockRef::from(&stream);
            assert!(socket.keepalive().unwrap());
            assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(300));
            assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(30));
            assert_eq!(socket.tcp_keepalive_retries().unwrap(), 4);
            let without = dial(&at(&server), &source, None).await.unwrap();
            assert!(!SockRef::from(&without).keepalive().unwrap());
        }
    }

    fn from(address: &str) -> Source {
        Source { address: Some(address.parse().unwrap()), ..Source::default() }
    }

    /// Two listeners on one port of 127.0.7.1 and 127.0.7.2, and one of IPv6.
    async fn listeners() -> ([TcpListener; 2], TcpListener) {
        loop {
            let first = TcpListener::bind("127.0.7.1:0").await.unwrap();
            let port = first.local_addr().unwrap().port();
            if let Ok(second) = TcpListener::bind(("127.0.7.2", port)).await {
                return ([first, second], TcpListener::bind("[::1]:0").await.unwrap());
            }
        }
    }

    fn at(listener: &TcpListener) -> Address {
        listener.local_addr().unwrap().into()
    }

    #[tokio::test]
    async fn server_sees_the_source() {
        let ([v4, _], v6) = listeners().await;
        let stream = dial(&at(&v4), &from("127.0.7.9"), None).await.unwrap();
        let (_, seen) = v4.accept().await.unwrap();
        assert_eq!(seen, stream.local_addr().unwrap());
        assert_eq!(seen.ip(), IpAddr::from([127, 0, 7, 9]));
        dial(&at(&v6), &from("::1"), None).await.unwrap();
        let (_, seen) = v6.accept().await.unwrap();
        assert!(seen.is_ipv6());
    }

    #[tokio::test]
    async fn each_server_has_all_ports_of_a_source() {
        let ([first, second], _) = listeners().await;
        // Ports that nobody else uses: those of an address that only this test has.
        let source = Source { ports: Some(20_000..=20_001), ..from("127.0.7.3") };
        let mut open = Vec::new();
        for server in [&first, &second] {
            let mut ports = Vec::new();
            for _ in 0..2 {
                open.push(dial(&at(server), &source, None).await.unwrap());
                ports.push(server.accept().await.unwrap().1.port());
            }
            ports.sort_unstable();
            assert_eq!(ports, [20_000, 20_001]);
            let error = dial(&at(server), &source, None).await.unwrap_err().to_string();
            assert_eq!(error, "no port of 127.0.7.3:20000-20001 is free for another connection");
        }
    }

    #[tokio::test]
    async fn many_ports_are_drawn_without_an_address_as_well() {
        let ([server, _], _) = listeners().await;
        let source = Source { ports: Some(20_000..=29_999), ..Source::default() };
        for _ in 0..20 {
            dial(&at(&server), &source, None).await.unwrap();
            assert!((20_000..=29_999).contains(&server.accept().await.unwrap().1.port()));
        }
    }

    #[tokio::test]
    async fn source_that_can_not_be_is_told_in_words() {
        let ([v4, _], v6) = listeners().await;
        let why = async |listener: &TcpListener, source: Source| {
            dial(&at(listener), &source, None).await.unwrap_err().to_string()
        };
        assert_eq!(
            why(&v4, from("198.51.100.7")).await,
            "its source 198.51.100.7 is no address of this machine"
        );
        let ports = Source { ports: Some(20_000..=30_000), ..from("198.51.100.7") };
        assert_eq!(why(&v4, ports).await, "its source 198.51.100.7 is no address of this machine");
        assert_eq!(
            why(&v6, from("127.0.7.9")).await,
            "its source 127.0.7.9 can't reach ::1: one is IPv4, one IPv6"
        );
        let interface = Source { interface: Some("nowhere0".to_owned()), ..Source::default() };
        let error = why(&v4, interface).await;
        assert!(error.starts_with("its source is nowhere0"), "{error}");
    }

    #[tokio::test]
    async fn interface_is_the_way_out() {
        let ([server, _], _) = listeners().await;
        let source = Source { interface: Some("lo".to_owned()), ..Source::default() };
        let stream = dial(&at(&server), &source, None).await.unwrap();
        assert_eq!(SockRef::from(&stream).device().unwrap().as_deref(), Some(&b"lo"[..]));
    }

    #[test]
    fn sources_are_named_as_the_file_has_them() {
        let ports = Some(1..=2);
        let on = |interface: &str| Some(interface.to_owned());
        for (source, expected) in [
            (Source::default(), "any"),
            (from("192.0.2.1"), "192.0.2.1"),
            (Source { ports: ports.clone(), ..from("2001:db8::1") }, "[2001:db8::1]:1-2"),
            (Source { ports, interface: on("eth1"), ..from("192.0.2.1") }, "192.0.2.1:1-2 on eth1"),
            (Source { interface: on("eth1"), ..Source::default() }, "eth1"),
        ] {
            assert_eq!(source.to_string(), expected);
        }
    }
}
