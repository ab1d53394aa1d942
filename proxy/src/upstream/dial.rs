//! Makes a connection to a server, for a request as for a check or an agent.

use std::io;

use socket2::{Domain, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};

use crate::{
    config::{Address, TcpKeepalive, UnixAddress},
    stream,
};

/// Connects; `keepalive` is what TCP is told.
///
/// # Errors
/// The system's, or in words what it does not say.
pub(crate) async fn dial(address: &Address, keepalive: Option<&TcpKeepalive>) -> io::Result<TcpStream> {
    let address = match address {
        Address::Ip(address) => *address,
        Address::Unix(address) => return dial_unix(address),
    };
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Heads and last pieces leave at once instead of waiting for an acknowledgement.
    socket.set_nodelay(true)?;
    if let Some(keepalive) = keepalive {
        keepalive.set(&socket)?;
    }
    socket.connect(address).await
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
    use super::*;

    #[tokio::test]
    async fn socket_whose_queue_is_full_is_told_apart_from_one_where_nobody_listens() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.sock");
        let address = Address::Unix(UnixAddress::new(path.to_str().unwrap()).unwrap());
        let why = async || dial(&address, None).await.map(|_| ()).map_err(|error| error.to_string());
        assert!(why().await.unwrap_err().starts_with("No such file or directory"));
        let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        listener.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
        assert!(why().await.unwrap_err().starts_with("Connection refused"));
        // One may wait.
        listener.listen(0).unwrap();
        let _waiting = dial(&address, None).await.unwrap();
        assert_eq!(why().await.unwrap_err(), "the queue of the socket is full");
    }
}
