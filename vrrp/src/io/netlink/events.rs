//! What the kernel says unasked: changes of links and addresses.

use std::{io, pin::Pin};

use futures_util::{FutureExt, Stream, StreamExt};
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    link::{AfSpecInet6, AfSpecUnspec, LinkAttribute, LinkFlags, LinkMessage},
};
use rtnetlink::{MulticastGroup, new_multicast_connection};
use tokio::task::JoinHandle;

use super::KernelAddress;

/// Changes that are taken in one go: more than a burst of one operator's command has.
const BATCH: usize = 256;

/// One change.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::io) enum Event {
    Link(Link),
    LinkGone {
        index: u32,
    },
    Address(KernelAddress),
    AddressGone(KernelAddress),
    /// The kernel dropped changes, or the socket ended: dump and compare.
    Lost,
}

/// An interface.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::io) struct Link {
    pub(in crate::io) index: u32,
    pub(in crate::io) name: String,
    /// Six octets on Ethernet; zeros where there are none.
    pub(in crate::io) mac: [u8; 6],
    /// IFF_UP: by the operator.
    pub(in crate::io) up: bool,
    /// IFF_LOWER_UP: the cable.
    pub(in crate::io) carrier: bool,
    /// Whether it forwards IPv6, as of the last change of the link.
    pub(in crate::io) forwards_ipv6: bool,
}

/// The subscription. Its socket asks nothing: an answer could not be told from a change with the same number that
/// another socket of this process caused.
pub(in crate::io) struct Events {
    messages: Pin<Box<dyn Stream<Item = NetlinkMessage<RouteNetlinkMessage>>>>,
    connection: JoinHandle<()>,
}

impl Events {
    /// Subscribes; everything that changes from now on will be told. Needs no capability.
    pub(in crate::io) fn subscribe() -> io::Result<Self> {
        let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
        let (connection, _handle, messages) = new_multicast_connection(&groups)?;
        let connection = tokio::spawn(connection);
        Ok(Self { messages: Box::pin(messages.map(|(message, _)| message)), connection })
    }

    /// The next changes, at least one, in the order of the kernel.
    pub(in crate::io) async fn next(&mut self) -> Vec<Event> {
        let mut batch = Vec::new();
        while batch.is_empty() {
            let first = self.messages.next().await;
            batch.extend(self.read(first));
        }
        while batch.len() < BATCH {
            let Some(more) = self.messages.next().now_or_never() else { break };
            batch.extend(self.read(more));
        }
        batch
    }

    fn read(&mut self, message: Option<NetlinkMessage<RouteNetlinkMessage>>) -> Option<Event> {
        let Some(message) = message else {
            // The socket ended. A new one is subscribed before the dump that `Lost` asks for.
            if let Ok(again) = Self::subscribe() {
                *self = again;
            }
            return Some(Event::Lost);
        };
        match message.payload {
            NetlinkPayload::Overrun(_) => Some(Event::Lost),
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => {
                Link::from_message(&link).map(Event::Link)
            }
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(link)) if is_device(&link) => {
                Some(Event::LinkGone { index: link.header.index })
            }
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(address)) => {
                KernelAddress::from_message(&address).map(Event::Address)
            }
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelAddress(address)) => {
                KernelAddress::from_message(&address).map(Event::AddressGone)
            }
            _ => None,
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Link {
    /// `None` for what is not about the device itself.
    pub(super) fn from_message(message: &LinkMessage) -> Option<Self> {
        if !is_device(message) {
            return None;
        }
        let mut link = Self {
            index: message.header.index,
            name: String::new(),
            mac: [0; 6],
            up: message.header.flags.contains(LinkFlags::Up),
            carrier: message.header.flags.contains(LinkFlags::LowerUp),
            forwards_ipv6: false,
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::Address(mac) => {
                    link.mac = mac.as_slice().try_into().unwrap_or_default();
                }
                LinkAttribute::AfSpecUnspec(families) => link.forwards_ipv6 = forwards_ipv6(families),
                _ => {}
            }
        }
        (!link.name.is_empty()).then_some(link)
    }
}

fn forwards_ipv6(families: &[AfSpecUnspec]) -> bool {
    let ipv6 = families.iter().filter_map(|family| match family {
        AfSpecUnspec::Inet6(attributes) => Some(attributes),
        _ => None,
    });
    ipv6.flatten()
        .any(|attribute| matches!(attribute, AfSpecInet6::DevConf(settings) if settings.forwarding > 0))
}

/// A bridge tells in the same way of a port that it gained or lost; the device itself stays.
fn is_device(message: &LinkMessage) -> bool {
    message.header.interface_family != AddressFamily::Bridge
}
