//! One attempt to connect, with all that comes before the first byte of a client: whose it is, TLS, the beginning of HTTP/2.

use std::{cell::Cell, io, pin::pin, rc::Rc, sync::Arc};

use tokio::net::TcpStream;

use super::Search;
use crate::{
    config::{Address, Alpn, SendProxy},
    error::{Error, Kind, Side},
    health::probe::in_words,
    http2::Trunk,
    metrics::TlsCounters,
    proxy_protocol::introduction,
    stream,
    tls::{Connector, HandshakeError, PeerName, TlsStream},
    upstream::{Lease, ServerStream, dial, dial::is_local, idle::Link, stream::Secured},
    wheel::Deadline,
};

/// What is awaited, for whoever has to tell that it did not come.
#[derive(Clone, Copy, Debug, Default)]
enum Awaited {
    #[default]
    Connection,
    Handshake,
    FirstFrame,
}

impl Awaited {
    fn words(self) -> Option<&'static str> {
        match self {
            Self::Connection => None,
            Self::Handshake => Some("the TLS handshake was not over"),
            Self::FirstFrame => Some("no first frame of HTTP/2 that allows a request had come"),
        }
    }
}

fn address_of(lease: &Lease) -> io::Result<Address> {
    lease.address().ok_or_else(|| io::Error::other("the name of the server does not resolve"))
}

impl Search {
    pub(super) async fn attempt(&self, lease: &Lease, deadline: &Deadline) -> Result<ServerStream, Error> {
        let (source, keepalive) =
            (self.config().source(lease.server), self.config().options.tcp_keepalive.as_ref());
        let awaited = Cell::default();
        let connect = pin!(async {
            if self.shares(lease.server) {
                return Box::pin(self.share(lease, &awaited)).await;
            }
            let address = address_of(lease)?;
            let stream = dial(&address, source, keepalive).await?;
            let config = &self.config().servers[lease.server];
            let is_bare = config.send_proxy.is_none() && !config.http2;
            if is_bare && self.connector(lease.server).is_none() {
                return Ok(ServerStream::Plain(stream));
            }
            // Seldom, and no connection should carry the room for it.
            Box::pin(self.prepare(stream, lease.server, address, &awaited)).await
        });
        match deadline.limit(self.config().timeout.connect, connect).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) if is_local(&error) => {
                Err(Error::with_source(Side::Upstream, Kind::NoResources, error))
            }
            Ok(Err(error)) => Err(Error::with_source(Side::Upstream, Kind::ConnectFailed, error)),
            Err(_) => match awaited.get().words() {
                Some(words) => {
                    if matches!(awaited.get(), Awaited::Handshake) {
                        lease.counters().tls.failures.increment();
                    }
                    let within = in_words(self.config().timeout.connect);
                    let what = format!("{words} within {within} (timeout.connect)");
                    Err(Error::with_source(Side::Upstream, Kind::ConnectTimeout, io::Error::other(what)))
                }
                None => Err(Error::new(Side::Upstream, Kind::ConnectTimeout)),
            },
        }
    }

    /// A place on a connection that requests share, which is made if there is none: once, however many want it.
    async fn share(&self, lease: &Lease, awaited: &Cell<Awaited>) -> io::Result<ServerStream> {
        let server = lease.server;
        let idle = self.worker.idle_upstreams();
        let may_share = idle.may_share(self.backend, server);
        let _gate = if may_share { Some(idle.gate(self.backend, server).await) } else { None };
        if let Some(Link { stream, .. }) = self.take_lane(server) {
            return Ok(stream);
        }
        // Behind the gate, and in this order: a server may have moved while others were waited for.
        let moves = idle.moves(self.backend, server);
        let address = address_of(lease)?;
        let keepalive = self.config().options.tcp_keepalive.as_ref();
        let socket = dial(&address, self.config().source(server), keepalive).await?;
        let stream = self.prepare(socket, server, address, awaited).await?;
        idle.share(self.backend, server, moves, stream.lane());
        Ok(stream)
    }

    /// What comes before the first byte of a client: whose it is, TLS, and the beginning of HTTP/2.
    async fn prepare(
        &self,
        socket: TcpStream,
        server: usize,
        address: Address,
        awaited: &Cell<Awaited>,
    ) -> io::Result<ServerStream> {
        if let Some(how) = &self.config().servers[server].send_proxy {
            self.send_header(how, &socket).await?;
        }
        let name = self.name_at(server).cloned();
        let (mut stream, speaks_http2) = match self.connector(server) {
            Some(connector) => {
                awaited.set(Awaited::Handshake);
                let counters = &self.counters().of(Some(server)).tls;
                let outcome = self.secure(socket, connector, name.clone(), &address, counters).await;
                outcome.inspect_err(|_| counters.failures.increment())?
            }
            None => (ServerStream::Plain(socket), self.config().servers[server].http2),
        };
        if speaks_http2 {
            awaited.set(Awaited::FirstFrame);
            let lane = Trunk::start(stream, name, self.config().timeout.server, &self.worker);
            lane.trunk().begun().await?;
            stream = ServerStream::Http2(lane);
        }
        Ok(stream)
    }

    /// Behind a handshake; and was HTTP/2 agreed on?
    async fn secure(
        &self,
        socket: TcpStream,
        connector: &Arc<Connector>,
        name: Option<Rc<PeerName>>,
        address: &Address,
        counters: &TlsCounters,
    ) -> io::Result<(ServerStream, bool)> {
        let buffers = self.worker.record_buffers();
        let stream = match &name {
            Some(name) => TlsStream::to_server(socket, connector, name, buffers),
            None => TlsStream::to_server(socket, connector, &connector.name(address.ip()), buffers),
        };
        let words = |error: HandshakeError| io::Error::other(error.of_server());
        let stream = stream.map_err(words)?;
        let session = stream.shake_hands().await.map_err(words)?;
        counters.handshakes.increment();
        counters.resumptions.add(session.is_resumed.into());
        Ok((ServerStream::Tls(Box::new(Secured { stream, name })), session.alpn == Some(Alpn::H2)))
    }

    /// Tells a server whose connection it is, before anything else.
    async fn send_header(&self, how: &SendProxy, stream: &TcpStream) -> io::Result<()> {
        let Some(client) = &self.introduction else { return Ok(()) };
        let header = introduction::encode(how, client);
        stream::write_all(stream, &header).await
    }
}
