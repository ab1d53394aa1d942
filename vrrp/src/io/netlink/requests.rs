//! What we ask of the kernel, on a thread of its own, one request after another.

use std::{future::Future, io, net::IpAddr, thread, time::Duration};

use futures_util::{FutureExt, TryStreamExt};
use netlink_packet_route::{
    AddressFamily,
    address::{AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, CacheInfo},
};
use rtnetlink::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{KernelAddress, OUR_TAG, Place, events::Link};
use crate::{Family, Moment, VirtualAddress};

/// rtnetlink waits for an acknowledgement without limit.
const LIMIT: Duration = Duration::from_millis(50);

/// Rounds of the runtime in which what is there gets from the socket to the one who waits, and some more.
pub(in crate::io) const LOOKS: usize = 8;

/// A dump of thousands of addresses takes longer.
const DUMP_LIMIT: Duration = Duration::from_secs(1);

/// How long an address stays without a refresh. The kernel counts whole seconds and is accurate to 0.35 s.
pub(super) const LEASE_SECONDS: u32 = 2;

/// An address is added or refreshed only this soon after the driver has compared the clock; later than that this
/// process was stopped, another node may have the address, and a lease would bring it back.
const STALE: Duration = Duration::from_millis(50);

/// Of the thread; the whole of it stays in memory.
const STACK: usize = 256 * 1024;

/// A request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::io) enum Request {
    /// Install with a lease.
    Add { place: Place, asked: Moment },
    /// Begin the lease again.
    Refresh { place: Place, asked: Moment },
    /// Remove. An address that is not there counts as removed.
    Remove { place: Place },
    /// Read everything.
    Dump,
}

/// Its answer.
#[derive(Debug)]
pub(in crate::io) enum Answer {
    Added { place: Place, result: Result<(), String> },
    Refreshed { place: Place, result: Result<(), String> },
    Removed { place: Place, removal: Removal },
    Dumped(Result<Dump, String>),
}

/// How a removal ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::io) enum Removal {
    /// The kernel had it and removed it.
    Done,
    /// The kernel did not have it.
    Absent,
    Failed(String),
}

/// All links and addresses.
#[derive(Debug, Default)]
pub(in crate::io) struct Dump {
    pub(in crate::io) links: Vec<Link>,
    pub(in crate::io) addresses: Vec<KernelAddress>,
}

/// The way to the thread; it ends when this is dropped and what was asked is done.
#[derive(Debug)]
pub(in crate::io) struct Requests {
    queue: UnboundedSender<Request>,
    answers: UnboundedReceiver<Answer>,
}

impl Requests {
    pub(in crate::io) fn start() -> io::Result<Self> {
        let (queue, requests) = unbounded_channel();
        let (answer, answers) = unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new()
            .name("netlink".to_owned())
            .stack_size(STACK)
            .spawn(move || runtime.block_on(serve(requests, &answer)))?;
        Ok(Self { queue, answers })
    }

    pub(in crate::io) fn ask(&self, request: Request) {
        // The thread lives as long as the queue; if its socket could not be opened, `answer` ends.
        let _ = self.queue.send(request);
    }

    /// The next answer; `None` if the thread could not open its socket.
    pub(in crate::io) async fn answer(&mut self) -> Option<Answer> {
        self.answers.recv().await
    }
}

/// Whether this process may change addresses: asks for a removal on an interface that can't be. Touches nothing.
pub(in crate::io) async fn probe() -> io::Result<()> {
    let (connection, handle, _messages) = rtnetlink::new_connection()?;
    let connection = tokio::spawn(connection);
    let nowhere = Place {
        index: 0,
        address: VirtualAddress { address: IpAddr::from([127, 255, 255, 254]), prefix: 32 },
    };
    let result = limited(LIMIT, handle.address().del(message(nowhere)).execute()).await;
    connection.abort();
    match result {
        Err(Failure::Kernel(error)) if error.raw_os_error() == Some(libc::EPERM) => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// What speakers have left of these addresses, for whoever asks once.
pub(in crate::io) async fn left_once(addresses: &[IpAddr]) -> io::Result<Vec<KernelAddress>> {
    once(async |handle| left(handle, addresses).await).await?
}

/// Removes an address, for whoever does it once.
pub(in crate::io) async fn remove_once(place: Place) -> io::Result<Removal> {
    once(async |handle| remove(handle, place).await).await
}

/// Removes what speakers have left of these addresses, on whatever interface; what was there.
pub(in crate::io) async fn sweep_once(addresses: &[IpAddr]) -> io::Result<Vec<VirtualAddress>> {
    once(async |handle| {
        let (mut removed, mut failed) = (Vec::new(), None);
        for known in left(handle, addresses).await? {
            match remove(handle, known.place).await {
                Removal::Done => removed.push(known.place.address),
                Removal::Absent => {}
                // The others have to go all the same.
                Removal::Failed(why) => failed = Some(why),
            }
        }
        failed.map_or(Ok(removed), |why| Err(io::Error::other(why)))
    })
    .await?
}

async fn left(handle: &Handle, addresses: &[IpAddr]) -> io::Result<Vec<KernelAddress>> {
    let mut found = dump_addresses(handle).await.map_err(io::Error::other)?;
    found.retain(|known| known.owner.is_speaker() && addresses.contains(&known.place.address.address));
    Ok(found)
}

async fn once<T>(ask: impl AsyncFnOnce(&Handle) -> T) -> io::Result<T> {
    let (connection, handle, _messages) = rtnetlink::new_connection()?;
    let connection = tokio::spawn(connection);
    let answer = tokio::time::timeout(DUMP_LIMIT, ask(&handle)).await;
    connection.abort();
    answer.map_err(|_| io::Error::other("the kernel does not answer"))
}

async fn serve(mut requests: UnboundedReceiver<Request>, answers: &UnboundedSender<Answer>) {
    let Ok((connection, handle, _messages)) = rtnetlink::new_connection() else { return };
    tokio::spawn(connection);
    while let Some(request) = requests.recv().await {
        let answer = match request {
            Request::Add { place, asked } => {
                Answer::Added { place, result: add(&handle, place, asked).await }
            }
            Request::Refresh { place, asked } => {
                Answer::Refreshed { place, result: add(&handle, place, asked).await }
            }
            Request::Remove { place } => Answer::Removed { place, removal: remove(&handle, place).await },
            Request::Dump => {
                let dump = tokio::time::timeout(DUMP_LIMIT, dump(&handle)).await;
                Answer::Dumped(dump.unwrap_or_else(|_| Err("the kernel does not answer".to_owned())))
            }
        };
        if answers.send(answer).is_err() {
            return;
        }
    }
}

async fn add(handle: &Handle, place: Place, asked: Moment) -> Result<(), String> {
    let late = Moment::now().saturating_since(asked);
    if late > STALE {
        return Err(format!("{} ms passed before the kernel could be asked", late.as_millis()));
    }
    let VirtualAddress { address, prefix } = place.address;
    let mut request = handle.address().add(place.index, address, prefix).replace();
    *request.message_mut() = leased(place, request.message_mut());
    limited(LIMIT, request.execute()).await.map_err(|failure| failure.to_string())
}

async fn remove(handle: &Handle, place: Place) -> Removal {
    match limited(LIMIT, handle.address().del(message(place)).execute()).await {
        Ok(()) => Removal::Done,
        Err(Failure::Kernel(error))
            if matches!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::ENODEV)) =>
        {
            Removal::Absent
        }
        Err(failure) => Removal::Failed(failure.to_string()),
    }
}

async fn dump(handle: &Handle) -> Result<Dump, String> {
    let mut found = Dump::default();
    let mut links = std::pin::pin!(handle.link().get().execute());
    while let Some(link) = links.try_next().await.map_err(|error| error.to_string())? {
        found.links.extend(Link::from_message(&link));
    }
    found.addresses = dump_addresses(handle).await?;
    Ok(found)
}

async fn dump_addresses(handle: &Handle) -> Result<Vec<KernelAddress>, String> {
    let mut found = Vec::new();
    let mut addresses = std::pin::pin!(handle.address().get().execute());
    while let Some(address) = addresses.try_next().await.map_err(|error| error.to_string())? {
        found.extend(KernelAddress::from_message(&address));
    }
    Ok(found)
}

/// Adds tag, lease and `noprefixroute` to what rtnetlink has built. A broadcast address on a /32 is the address itself,
/// so it goes.
///
/// Over IPv6 the election is the detection of duplicates: the kernel's own would take a second, and refuse the address for
/// ever after a moment with two owners. And without a preferred lifetime this address is nobody's source of connections.
fn leased(place: Place, built: &AddressMessage) -> AddressMessage {
    let mut message = built.clone();
    if place.address.prefix == 32 {
        message.attributes.retain(|attribute| !matches!(attribute, AddressAttribute::Broadcast(_)));
    }
    let mut lease = CacheInfo::default();
    lease.ifa_valid = LEASE_SECONDS;
    let flags = match Family::of(place.address.address) {
        Family::Ipv4 => {
            lease.ifa_preferred = LEASE_SECONDS;
            AddressFlags::Noprefixroute
        }
        Family::Ipv6 => AddressFlags::Noprefixroute | AddressFlags::Nodad,
    };
    message.attributes.push(AddressAttribute::Flags(flags));
    message.attributes.push(AddressAttribute::CacheInfo(lease));
    message.attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(OUR_TAG)));
    message
}

/// Names an address for removal.
fn message(place: Place) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = match place.address.address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.header.index = place.index;
    message.header.prefix_len = place.address.prefix;
    message.attributes.push(AddressAttribute::Local(place.address.address));
    message.attributes.push(AddressAttribute::Address(place.address.address));
    message
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Kernel(io::Error),
    #[error("the kernel does not answer within {} ms", LIMIT.as_millis())]
    Limit,
    #[error("{0}")]
    Other(rtnetlink::Error),
}

async fn limited(
    limit: Duration,
    request: impl Future<Output = Result<(), rtnetlink::Error>>,
) -> Result<(), Failure> {
    let mut request = std::pin::pin!(request);
    let mut answer = tokio::time::timeout(limit, &mut request).await.ok();
    // If this thread did not get a processor for so long, the answer may be there and only unread: look before giving up.
    for _ in 0..LOOKS {
        if answer.is_none() {
            tokio::task::yield_now().await;
            answer = (&mut request).now_or_never();
        }
    }
    match answer {
        Some(Ok(())) => Ok(()),
        Some(Err(rtnetlink::Error::NetlinkError(error))) => Err(Failure::Kernel(error.to_io())),
        Some(Err(error)) => Err(Failure::Other(error)),
        None => Err(Failure::Limit),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use netlink_packet_core::Emitable;
    use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressProtocol, CacheInfo};

    use super::{
        super::{KernelAddress, Owner, Place},
        leased, message,
    };
    use crate::VirtualAddress;

    fn place(prefix: u8) -> Place {
        let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100));
        Place { index: 7, address: VirtualAddress { address, prefix } }
    }

    #[test]
    fn an_address_goes_out_tagged_leased_for_2_s_and_without_a_route_of_its_own() {
        let built = leased(place(24), &message(place(24)));
        let mut lease = CacheInfo::default();
        (lease.ifa_valid, lease.ifa_preferred) = (2, 2);
        for attribute in [
            AddressAttribute::Flags(AddressFlags::Noprefixroute),
            AddressAttribute::CacheInfo(lease),
            AddressAttribute::Protocol(AddressProtocol::Other(112)),
        ] {
            assert!(built.attributes.contains(&attribute), "{attribute:?} in {built:?}");
        }
    }

    #[test]
    fn an_ipv6_address_goes_out_without_dad_and_as_nobodys_source() {
        let address = "2001:db8::100".parse().unwrap();
        let place = Place { index: 7, address: VirtualAddress { address, prefix: 128 } };
        let built = leased(place, &message(place));
        let mut lease = CacheInfo::default();
        (lease.ifa_valid, lease.ifa_preferred) = (2, 0);
        for attribute in [
            AddressAttribute::Flags(AddressFlags::Noprefixroute | AddressFlags::Nodad),
            AddressAttribute::CacheInfo(lease),
            AddressAttribute::Protocol(AddressProtocol::Other(112)),
        ] {
            assert!(built.attributes.contains(&attribute), "{attribute:?} in {built:?}");
        }
    }

    #[test]
    fn an_address_of_a_speaker_is_known_by_its_lease_where_the_kernel_keeps_no_tags() {
        let owner = |message: &_| KernelAddress::from_message(message).unwrap().owner;
        let v6 = Place {
            index: 7,
            address: VirtualAddress { address: "2001:db8::100".parse().unwrap(), prefix: 128 },
        };
        for place in [place(32), place(24), v6] {
            let built = leased(place, &message(place));
            assert_eq!(owner(&built), Owner::Ours);
            let without = |gone: fn(&AddressAttribute) -> bool| {
                let mut kept = built.clone();
                kept.attributes.retain(|one| !matches!(one, AddressAttribute::Protocol(_)) && !gone(one));
                owner(&kept)
            };
            assert_eq!(without(|_| false), Owner::Leased, "Linux before 5.18");
            assert_eq!(without(|one| matches!(one, AddressAttribute::Flags(_))), Owner::Static);
            assert_eq!(without(|one| matches!(one, AddressAttribute::CacheInfo(_))), Owner::Static);
        }
        // What networkd has of a DHCP server, and Keepalived's own.
        let mut others = leased(place(24), &message(place(24)));
        others.attributes.retain(|one| !matches!(one, AddressAttribute::Protocol(_)));
        for attribute in &mut others.attributes {
            if let AddressAttribute::CacheInfo(lease) = attribute {
                lease.ifa_valid = 3600;
            }
        }
        assert_eq!(owner(&others), Owner::Static);
        let mut others = leased(place(32), &message(place(32)));
        others.attributes.retain(|one| !matches!(one, AddressAttribute::Protocol(_)));
        others.attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(18)));
        assert_eq!(owner(&others), Owner::Protocol(18));
    }

    #[test]
    fn only_a_32_loses_its_broadcast_address() {
        let broadcast = AddressAttribute::Broadcast(Ipv4Addr::new(192, 0, 2, 255));
        for (prefix, kept) in [(32, false), (24, true)] {
            let mut built = message(place(prefix));
            built.attributes.push(broadcast.clone());
            assert_eq!(leased(place(prefix), &built).attributes.contains(&broadcast), kept, "/{prefix}");
        }
    }

    #[test]
    fn a_removal_names_interface_prefix_and_address() {
        let mut bytes = vec![0; message(place(32)).buffer_len()];
        message(place(32)).emit(&mut bytes);
        #[rustfmt::skip]
        assert_eq!(bytes, [
            2, 32, 0, 0, 7, 0, 0, 0,          // AF_INET, prefix, flags, scope, index
            8, 0, 2, 0, 192, 0, 2, 100,       // IFA_LOCAL
            8, 0, 1, 0, 192, 0, 2, 100,       // IFA_ADDRESS
        ]);
    }
}
