//! What rustls keeps of a connection behind its handshake: the secrets that other keys follow from, and on our side of a
//! server's connection what a later one goes on with.

use rustls::{
    ConnectionTrafficSecrets, Error, ProtocolVersion, SupportedCipherSuite, client::ClientConnectionData,
    kernel::KernelConnection, server::ServerConnectionData,
};

/// See the module.
pub(super) enum Kernel {
    /// The other side is a client.
    OfClient(KernelConnection<ServerConnectionData>),
    /// The other side is a server.
    OfServer(KernelConnection<ClientConnectionData>),
}

impl Kernel {
    pub(super) fn version(&self) -> ProtocolVersion {
        match self {
            Self::OfClient(kernel) => kernel.protocol_version(),
            Self::OfServer(kernel) => kernel.protocol_version(),
        }
    }

    pub(super) fn is_tls13(&self) -> bool {
        self.version() == ProtocolVersion::TLSv1_3
    }

    pub(super) fn suite(&self) -> SupportedCipherSuite {
        match self {
            Self::OfClient(kernel) => kernel.negotiated_cipher_suite(),
            Self::OfServer(kernel) => kernel.negotiated_cipher_suite(),
        }
    }

    /// What the next keys follow from, for what we read.
    pub(super) fn update_read(&mut self) -> Result<(u64, ConnectionTrafficSecrets), Error> {
        match self {
            Self::OfClient(kernel) => kernel.update_rx_secret(),
            Self::OfServer(kernel) => kernel.update_rx_secret(),
        }
    }

    /// The same for what we write.
    pub(super) fn update_write(&mut self) -> Result<(u64, ConnectionTrafficSecrets), Error> {
        match self {
            Self::OfClient(kernel) => kernel.update_tx_secret(),
            Self::OfServer(kernel) => kernel.update_tx_secret(),
        }
    }

    /// A ticket that came after the handshake (RFC 8446 §4.6.1), without the header of its message. Clients send none.
    pub(super) fn keep_ticket(&mut self, ticket: &[u8]) -> Result<(), Error> {
        match self {
            Self::OfClient(_) => Err(Error::General("a client has sent a ticket".into())),
            Self::OfServer(kernel) => kernel.handle_new_session_ticket(ticket),
        }
    }
}
