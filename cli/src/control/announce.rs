//! `POST /v1/announce`: tell the network where the addresses are.

use std::net::IpAddr;

use lb_vrrp::io::Announced;
use serde::{Deserialize, Serialize};

/// Body of `POST /v1/announce`; an empty body is the default.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AnnounceRequest {}

/// Answer of `POST /v1/announce`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct AnnounceReport {
    /// Who has announced.
    pub node: String,
    /// Address by address.
    pub announced: Vec<Announcement>,
}

/// One address.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Announcement {
    /// Its group.
    pub group: String,
    /// Its vip.
    pub vip: String,
    /// The address.
    pub address: IpAddr,
    /// Where it was announced.
    pub interface: String,
    /// At which hardware address it is, as in `02:00:5e:10:00:01`.
    pub hardware_address: String,
    /// Why it was not sent; `None` if it was.
    #[serde(default)]
    pub error: Option<String>,
}

impl From<Announced> for Announcement {
    fn from(announced: Announced) -> Self {
        let Announced { group, vip, address, interface, mac, error } = announced;
        let hardware_address = mac.map(|byte| format!("{byte:02x}")).join(":");
        Self { group, vip, address, interface, hardware_address, error }
    }
}
