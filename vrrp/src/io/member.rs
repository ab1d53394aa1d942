//! One virtual router's place on the wire: its interface, socket, announcer and lock.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::Path,
    time::Duration,
};

use super::{
    announce::Announcer,
    flood::Flood,
    lock::{LockError, RouterLock},
    netlink::interfaces::{Home, Interfaces},
    socket::AdvertisementSocket,
};
use crate::{
    Family, MemberConfig, Secret,
    advertisement::Advertisement,
    authentication::{Receiver, Sender},
};

#[derive(Debug)]
pub(super) struct MemberIo {
    pub(super) config: MemberConfig,
    /// What was heard with a right signature.
    pub(super) receiver: Receiver,
    /// What was wrong with what was received here.
    pub(super) counters: BTreeMap<&'static str, u64>,
    /// Peers by unicast whose address this machine has: its kernel drops what comes from them.
    pub(super) looped: Vec<IpAddr>,
    /// Where it is, or what it waits for.
    pub(super) station: Result<Station, String>,
    /// What the machine was last told.
    told_source: Option<IpAddr>,
    told_link: Option<Result<(), String>>,
}

/// Open on an interface.
#[derive(Debug)]
pub(super) struct Station {
    pub(super) home: Home,
    pub(super) socket: AdvertisementSocket,
    pub(super) flood: Flood,
    pub(super) announcer: Announcer,
    lock: RouterLock,
}

/// How a look at the interfaces changed a member.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// The interface that it left.
    pub(super) left: Option<u32>,
    /// It has an interface now that it had not before.
    pub(super) arrived: bool,
    /// It should be tried again: the kernel or another instance refused something.
    pub(super) retry: bool,
    /// A warning about its lock.
    pub(super) remark: Option<String>,
    /// Another instance speaks for it.
    pub(super) taken: Option<LockError>,
    /// To tell the machine.
    pub(super) source: Option<Option<IpAddr>>,
    /// To tell the machine.
    pub(super) link: Option<Result<(), String>>,
    /// Peers by unicast that have become such whose address this machine has.
    pub(super) looped: Vec<IpAddr>,
    /// Those peers are others than before.
    pub(super) looped_changed: bool,
}

impl MemberIo {
    pub(super) fn new(config: MemberConfig) -> Self {
        let station = Err("not looked at yet".to_owned());
        Self {
            config,
            receiver: Receiver::default(),
            counters: BTreeMap::new(),
            looped: Vec::new(),
            station,
            told_source: None,
            told_link: None,
        }
    }

    /// Another configuration of the same virtual router, on the same interface.
    pub(super) fn reconfigure(&mut self, config: MemberConfig) {
        self.config = config;
        if self.station.as_ref().is_ok_and(|station| station.flood.is_on()) {
            // The filter knows the peers of before. If it stays, it is until the flood is over.
            let _ = self.filter_strictly(true);
        }
    }

    /// Index of its interface, while it has one.
    pub(super) fn index(&self) -> Option<u32> {
        self.station.as_ref().ok().map(|station| station.home.index)
    }

    pub(super) fn has_address(&self, address: IpAddr) -> bool {
        self.config.addresses.iter().any(|own| own.address == address)
    }

    /// Follows its interface.
    pub(super) fn settle(
        &mut self,
        interfaces: &Interfaces,
        virtual_addresses: &BTreeSet<IpAddr>,
        locks: &Path,
        patience: Duration,
    ) -> Settled {
        let mut settled = Settled::default();
        let peers = self.config.transport.unicast().map_or(&[][..], |unicast| &unicast.peers);
        let looped: Vec<_> = peers.iter().filter(|peer| interfaces.is_here(**peer)).copied().collect();
        settled.looped = looped.iter().filter(|peer| !self.looped.contains(peer)).copied().collect();
        settled.looped_changed = self.looped != looped;
        self.looped = looped;
        let mut found = interfaces.find(&self.config.interface, self.config.family(), virtual_addresses);
        if let (Ok(home), Some(unicast)) = (&mut found, self.config.transport.unicast()) {
            home.source = interfaces.is_own(home.index, unicast.source).then_some(unicast.source);
        }
        let stays = match (&self.station, &found) {
            (Ok(station), Ok(home)) => {
                station.home.index == home.index
                    && station.home.name == home.name
                    && station.announcer.mac() == home.mac
            }
            _ => false,
        };
        match (&mut self.station, found) {
            (Ok(station), Ok(home)) if stays => station.home = home,
            (_, Ok(home)) => {
                settled.left = self.index();
                // Closed first: the lock is the same if only the name or the hardware address changed.
                self.station = Err(String::new());
                match self.open(home, locks, patience) {
                    Ok((station, remark)) => {
                        self.station = Ok(station);
                        settled.remark = remark;
                        settled.arrived = true;
                    }
                    Err(OpenError::Lock(error)) => {
                        self.station = Err(error.to_string());
                        settled.retry = true;
                        settled.taken = matches!(error, LockError::Taken { .. }).then_some(error);
                    }
                    Err(OpenError::Refused(text)) => {
                        self.station = Err(text);
                        settled.retry = true;
                    }
                }
            }
            (_, Err(waits_for)) => {
                settled.left = self.index();
                self.station = Err(waits_for);
            }
        }
        let (source, link) = match &self.station {
            Ok(station) => (station.home.source, station.home.link.clone()),
            Err(trouble) => (None, Err(trouble.clone())),
        };
        if source != self.told_source {
            self.told_source = source;
            settled.source = Some(source);
        }
        if self.told_link.as_ref() != Some(&link) {
            self.told_link = Some(link.clone());
            settled.link = Some(link);
        }
        settled
    }

    /// Wanted once a second: others may ask whose its lock is.
    pub(super) fn answer_for_lock(&self) {
        if let Ok(station) = &self.station {
            station.lock.answer();
        }
    }

    /// Follows a flood of wrong packets that begins (`true`) or is over; the error in words.
    pub(super) fn filter_strictly(&self, strictly: bool) -> Result<(), String> {
        let station = self.station.as_ref().map_err(Clone::clone)?;
        station.socket.filter(&self.config, strictly).map_err(|error| error.to_string())
    }

    /// Sends to the group, or to each of the other nodes, also if one of them can't be reached; the first error in words.
    pub(super) fn transmit(
        &self,
        advertisement: &Advertisement,
        mut signing: Option<(&Secret, &mut Sender)>,
    ) -> Result<(), String> {
        let station = self.station.as_ref().map_err(Clone::clone)?;
        let source =
            station.home.source.ok_or_else(|| format!("{} has no address of its own", station.home.name))?;
        let mut sent = Ok(());
        for destination in self.config.transport.destinations(Family::of(source)) {
            let (password, form) = (self.config.password.as_ref(), self.config.checksum);
            let mut message = advertisement.encode_with(password, form, source, destination);
            if let Some((secret, sender)) = &mut signing {
                sender.sign(secret, source, destination, &mut message);
            }
            let outcome = station.socket.send(source, destination, &message);
            sent = sent.and(outcome.map_err(|error| format!("to {destination}: {error}")));
        }
        sent
    }

    /// Announces on the wire; the error in words.
    pub(super) fn announce(&mut self, address: IpAddr) -> Result<(), String> {
        let station = self.station.as_mut().map_err(|trouble| trouble.clone())?;
        station.announcer.announce(address, station.home.forwards_ipv6).map_err(|error| error.to_string())
    }

    /// What is to be said of an announcement; nothing where the interface has just gone.
    pub(super) fn announced(
        &self,
        group: &str,
        address: IpAddr,
        error: Option<String>,
    ) -> Option<super::Announced> {
        let station = self.station.as_ref().ok()?;
        Some(super::Announced {
            group: group.to_owned(),
            vip: self.config.vip.clone(),
            address,
            interface: station.home.name.clone(),
            mac: station.announcer.mac(),
            error,
        })
    }

    fn open(
        &self,
        home: Home,
        locks: &Path,
        patience: Duration,
    ) -> Result<(Station, Option<String>), OpenError> {
        let router = (self.config.vrid, self.config.family());
        let (lock, remark) =
            RouterLock::take(locks, &home.name, home.index, router, patience).map_err(OpenError::Lock)?;
        let refused = |what: &str, error: std::io::Error| {
            OpenError::Refused(format!("{what} on interface {}: {error}", home.name))
        };
        let socket = AdvertisementSocket::open(&home.name, home.index, &self.config)
            .map_err(|error| refused("the socket for advertisements", error))?;
        let announcer = Announcer::open(&home.name, home.index, home.mac)
            .map_err(|error| refused("the socket for announcements", error))?;
        Ok((Station { home, socket, flood: Flood::default(), announcer, lock }, remark))
    }
}

enum OpenError {
    Lock(LockError),
    Refused(String),
}
