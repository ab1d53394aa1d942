//! `vrrp_instance`: what it says, with its places.

use std::{net::IpAddr, time::Duration};

use super::{
    hooks::{self, Hook},
    script::Script,
    source::{Place, Sources},
    tree::{Statement, Word},
    words::{self, INSTANCE},
};
use crate::config::text;

/// A virtual router of one node.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) name: String,
    pub(super) place: Place,
    /// `state MASTER` or `state BACKUP`
    pub(super) is_master: Option<bool>,
    pub(super) interface: Option<(String, Place)>,
    pub(super) vrid: u8,
    /// 1 to 255.
    pub(super) priority: (u8, Place),
    /// 2 or 3.
    pub(super) version: Option<u8>,
    pub(super) interval: Option<(Duration, Place)>,
    pub(super) nopreempt: Option<Place>,
    pub(super) preempt_delay: Option<(Duration, Place)>,
    pub(super) garp_refresh: Option<(Duration, Place)>,
    pub(super) addresses: Vec<Address>,
    /// The own address that advertisements come from.
    pub(super) source: Option<(IpAddr, Place)>,
    pub(super) peers: Vec<Peer>,
    pub(super) password: Option<(String, Place)>,
    pub(super) tracks: Vec<Tracked>,
    pub(super) hooks: Vec<Hook>,
    /// People are mailed when it moves.
    pub(super) is_mailed: bool,
}

/// An address that moves.
#[derive(Clone, Debug)]
pub(super) struct Address {
    pub(super) address: IpAddr,
    /// Where it is not that of the instance.
    pub(super) device: Option<String>,
    /// It is not in the advertisements.
    pub(super) is_excluded: bool,
    pub(super) place: Place,
}

/// One of `unicast_peer`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    pub(super) address: IpAddr,
    pub(super) minimum_ttl: Option<(u8, Place)>,
}

/// What is tracked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Interface,
    Script,
    Process,
}

/// A line of `track_*`.
#[derive(Clone, Debug)]
pub(super) struct Tracked {
    pub(super) kind: Kind,
    pub(super) name: String,
    /// What it adds to the priority, or takes from it; `None` where the line has none.
    pub(super) weight: Option<i32>,
    pub(super) place: Place,
}

impl Tracked {
    /// Whether the script is what is tracked.
    pub(super) fn is_by(&self, script: &Script) -> bool {
        self.kind == script.kind && self.name == script.name
    }
}

/// What counts in Keepalived if the file has none.
const PRIORITY: u8 = 100;

impl Instance {
    /// `None` for one that can't be a vip, which is told.
    pub(super) fn read(statement: &Statement, sources: &Sources) -> Option<Self> {
        let place = statement.place();
        let Some(name) = statement.argument() else {
            sources.lost(place, "a `vrrp_instance` has a name");
            return None;
        };
        let mut instance = Self {
            name: name.text.clone(),
            place,
            is_master: None,
            interface: None,
            vrid: 0,
            priority: (PRIORITY, place),
            version: None,
            interval: None,
            nopreempt: None,
            preempt_delay: None,
            garp_refresh: None,
            addresses: Vec::new(),
            source: None,
            peers: Vec::new(),
            password: None,
            tracks: Vec::new(),
            hooks: Vec::new(),
            is_mailed: false,
        };
        let mut is_told = false;
        for inner in statement.inner() {
            match inner.keyword() {
                "no_virtual_ipaddress" => is_told = true,
                "virtual_router_id" => match number(inner, 1..=255, sources) {
                    Some(vrid) => {
                        instance.vrid = vrid;
                        continue;
                    }
                    None => {
                        is_told = true;
                        continue;
                    }
                },
                _ => {}
            }
            instance.statement(inner, sources);
        }
        if instance.vrid == 0 || instance.addresses.is_empty() {
            if !is_told {
                let what = if instance.vrid == 0 { "virtual_router_id" } else { "virtual_ipaddress" };
                sources.lost(place, format!("it has no `{what}`, so there is no vip to make of it"));
            }
            return None;
        }
        Some(instance)
    }

    fn statement(&mut self, statement: &Statement, sources: &Sources) {
        let place = statement.place();
        let argument = statement.argument();
        match (statement.keyword(), argument) {
            ("state", Some(word)) => match word.text.as_str() {
                "MASTER" => self.is_master = Some(true),
                "BACKUP" => self.is_master = Some(false),
                _ => sources.lost(place, "`state` is MASTER or BACKUP"),
            },
            ("interface", Some(word)) => match text::interface(&word.text) {
                Ok(()) => self.interface = Some((word.text.clone(), word.place)),
                Err(why) => sources.lost(word.place, format!("it {why}")),
            },
            ("priority", Some(_)) => {
                if let Some(priority) = number(statement, 1..=255, sources) {
                    self.priority = (priority, place);
                }
            }
            ("version", Some(_)) => {
                self.version = number(statement, 2..=3, sources).or(self.version);
            }
            ("advert_int", Some(_)) => self.interval = seconds(statement, sources).map(|time| (time, place)),
            ("nopreempt", None) => self.nopreempt = Some(place),
            ("preempt", None) => self.nopreempt = None,
            ("preempt_delay", Some(_)) => {
                self.preempt_delay = seconds(statement, sources).map(|time| (time, place));
            }
            ("garp_master_refresh", Some(_)) => {
                self.garp_refresh = seconds(statement, sources).map(|time| (time, place));
            }
            ("unicast_src_ip" | "mcast_src_ip", Some(word)) => match word.text.parse() {
                Ok(address) => self.source = Some((address, place)),
                Err(_) => sources.lost(word.place, "this is no address"),
            },
            ("unicast_peer", _) => self.read_peers(statement, sources),
            ("authentication", _) => self.read_password(statement, sources),
            ("virtual_ipaddress", _) => self.read_addresses(statement, false, sources),
            ("virtual_ipaddress_excluded", _) => self.read_addresses(statement, true, sources),
            ("track_interface", _) => self.tracks.extend(tracked(statement, Kind::Interface, sources)),
            ("track_script", _) => self.tracks.extend(tracked(statement, Kind::Script, sources)),
            ("track_process", _) => self.tracks.extend(tracked(statement, Kind::Process, sources)),
            ("notify" | "notify_master" | "notify_backup" | "notify_fault" | "notify_stop", Some(_)) => {
                self.hooks.extend(Hook::read(statement, None, sources));
            }
            ("smtp_alert", word) => self.is_mailed |= hooks::is_on(word.map(|word| word.text.as_str())),
            _ => words::tell(statement, INSTANCE, "a `vrrp_instance`", sources),
        }
    }

    fn read_peers(&mut self, statement: &Statement, sources: &Sources) {
        for line in entries(statement) {
            let Some((first, rest)) = line.split_first() else { continue };
            let Ok(address) = first.text.parse() else {
                sources.lost(first.place, "this is no address of a peer");
                continue;
            };
            let mut minimum_ttl = None;
            for pair in rest.chunks(2) {
                match pair {
                    [key, value] if key.text == "min_ttl" => {
                        minimum_ttl =
                            value.text.parse().ok().filter(|ttl| *ttl > 0).map(|ttl| (ttl, value.place));
                    }
                    [key, ..] => {
                        sources.advise(
                            key.place,
                            format!("`{}` is left out: a TTL can only be too small", key.text.escape_debug()),
                        );
                    }
                    [] => {}
                }
            }
            self.peers.push(Peer { address, minimum_ttl });
        }
    }

    fn read_password(&mut self, statement: &Statement, sources: &Sources) {
        let of = |name: &str| {
            statement.inner().iter().find(|inner| inner.keyword() == name).and_then(|inner| inner.argument())
        };
        if let Some(password) = of("auth_pass") {
            sources.hide(password.place);
        }
        for inner in statement.inner() {
            if !matches!(inner.keyword(), "auth_type" | "auth_pass") {
                sources.lost(inner.words[0].place, "`authentication` has `auth_type` and `auth_pass`");
            }
        }
        match of("auth_type").map(|word| (word.text.as_str(), word.place)) {
            Some(("AH", place)) => sources.lost(
                place,
                "there is no AH; `secret_file` and `sign_advertisements` of [cluster] sign advertisements (docs/configuration.md)",
            ),
            Some(("PASS", _)) | None => {
                self.password = of("auth_pass").map(|word| (word.text.clone(), statement.place()));
            }
            Some((_, place)) => sources.lost(place, "`auth_type` is PASS or AH"),
        }
    }

    fn read_addresses(&mut self, statement: &Statement, is_excluded: bool, sources: &Sources) {
        for line in entries(statement) {
            let Some((first, rest)) = line.split_first() else { continue };
            let address = match text::virtual_address(&first.text) {
                Ok(address) => address,
                Err(why) => {
                    sources.lost(first.place, format!("it {why}"));
                    continue;
                }
            };
            let mut device = None;
            let mut words = rest.iter();
            while let Some(word) = words.next() {
                match word.text.as_str() {
                    "dev" => device = words.next().map(|word| word.text.clone()),
                    "brd" | "broadcast" | "scope" | "label" | "peer" | "preferred_lft" => {
                        let value = words.next().map_or("", |word| word.text.as_str());
                        let why = if word.text == "peer" {
                            "no route to a peer comes with an address"
                        } else {
                            "an address is a /32 or a /128 without it, which clients don't see"
                        };
                        sources.advise(
                            word.place,
                            format!("`{} {}` is left out: {why}", word.text, value.escape_debug()),
                        );
                    }
                    "home" | "-nodad" | "mngtmpaddr" | "noprefixroute" | "autojoin" | "no_track"
                    | "use_vmac" => {
                        let why = match word.text.as_str() {
                            "no_track" => "the interface of a vip counts always",
                            "use_vmac" => "nodes answer with their own hardware address",
                            _ => "an address is added without a route and without detection of duplicates",
                        };
                        sources.advise(word.place, format!("`{}` is left out: {why}", word.text));
                    }
                    other => {
                        let message = format!("`{}` is no word of an address", other.escape_debug());
                        sources.lost(word.place, message);
                    }
                }
            }
            if let Some(name) = &device
                && let Err(why) = text::interface(name)
            {
                sources.lost(first.place, format!("the interface behind `dev` {why}"));
                continue;
            }
            let address = address.address;
            if self.addresses.iter().any(|known| known.address == address) {
                sources.lost(first.place, "this address is in the list already");
                continue;
            }
            self.addresses.push(Address { address, device, is_excluded, place: first.place });
        }
    }

    /// What becomes of the name in our file has to be told apart from others by it.
    pub(super) fn families(&self) -> [bool; 2] {
        let has = |is_ipv4| self.addresses.iter().any(|one| one.address.is_ipv4() == is_ipv4);
        [has(true), has(false)]
    }
}

/// The lines of a list: each has words of its own. A list on one line has one entry, or as many as it has addresses.
fn entries(statement: &Statement) -> Vec<Vec<&Word>> {
    let first: Vec<&Word> = statement.words[1..].iter().collect();
    let lines = statement.inner().iter().map(|inner| inner.words.iter().collect::<Vec<_>>());
    let mut entries = Vec::new();
    for line in std::iter::once(first).chain(lines).filter(|line| !line.is_empty()) {
        let is_address =
            |word: &&Word| word.text.split('/').next().is_some_and(|host| host.parse::<IpAddr>().is_ok());
        if line.iter().all(is_address) {
            entries.extend(line.into_iter().map(|word| vec![word]));
        } else {
            entries.push(line);
        }
    }
    entries
}

/// The lines of `track_interface`, `track_script` or `track_process`.
pub(super) fn tracked(statement: &Statement, kind: Kind, sources: &Sources) -> Vec<Tracked> {
    let mut found: Vec<Tracked> = Vec::new();
    let lines = statement.inner().iter().map(|inner| inner.words.as_slice());
    for line in std::iter::once(&statement.words[1..]).chain(lines) {
        let mut words = line.iter();
        while let Some(word) = words.next() {
            match (word.text.as_str(), found.last_mut()) {
                ("weight", Some(last)) => {
                    let weight = words.next().and_then(|word| word.text.parse().ok());
                    match weight {
                        Some(weight) => last.weight = Some(weight),
                        None => sources.lost(word.place, "`weight` takes a number from -253 to 253"),
                    }
                }
                ("reverse" | "noreverse" | "no_reverse", Some(_)) => {
                    if word.text == "reverse" {
                        sources.lost(
                            word.place,
                            "what works is never a failure here; let the check say the opposite",
                        );
                        found.pop();
                    }
                }
                _ => found.push(Tracked { kind, name: word.text.clone(), weight: None, place: word.place }),
            }
        }
    }
    found
}

/// A whole number behind the keyword.
pub(super) fn number(
    statement: &Statement,
    range: std::ops::RangeInclusive<u8>,
    sources: &Sources,
) -> Option<u8> {
    let word = statement.argument()?;
    let number = word.text.parse().ok().filter(|number| range.contains(number));
    if number.is_none() {
        let message =
            format!("`{}` takes a number from {} to {}", statement.keyword(), range.start(), range.end());
        sources.lost(word.place, message);
    }
    number
}

/// Seconds, with a fraction or without.
pub(super) fn seconds(statement: &Statement, sources: &Sources) -> Option<Duration> {
    const MOST: f64 = 1_000_000.0;
    let word = statement.argument()?;
    let seconds = word.text.parse::<f64>().ok().filter(|seconds| (0.0..=MOST).contains(seconds));
    if seconds.is_none() {
        sources.lost(word.place, format!("`{}` takes seconds", statement.keyword()));
    }
    // Whole milliseconds are all that our file says.
    seconds.map(|seconds| {
        Duration::from_millis(Duration::from_secs_f64(seconds + 0.000_000_1).as_millis() as u64)
    })
}
