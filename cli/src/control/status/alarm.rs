//! What is wrong with the pair and has a name.

use serde::{Deserialize, Serialize};

use crate::control::Timestamp;

/// An alarm that is on.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Alarm {
    /// Its name.
    pub name: AlarmName,
    /// The group of addresses that it is about, if it is not the whole node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Since when it is on.
    pub since: Timestamp,
    /// In a clause.
    pub why: String,
}

/// The names of alarms.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AlarmName {
    /// Two nodes hold the addresses.
    TwoHolders,
    /// A node says hello and that it holds the addresses, and none of its advertisements comes.
    AdvertisementsMissing,
    /// Another cluster uses the vrid.
    ForeignCluster,
    /// The addresses are held, and nobody could take them over.
    NoStandby,
    /// Another node has another file.
    FilesDiffer,
    /// Something that a newer daemon knows.
    #[serde(other)]
    Other,
}

impl AlarmName {
    /// Those that this program knows.
    pub const ALL: [Self; 5] = [
        Self::TwoHolders,
        Self::AdvertisementsMissing,
        Self::ForeignCluster,
        Self::NoStandby,
        Self::FilesDiffer,
    ];

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::TwoHolders => "two_holders",
            Self::AdvertisementsMissing => "advertisements_missing",
            Self::ForeignCluster => "foreign_cluster",
            Self::NoStandby => "no_standby",
            Self::FilesDiffer => "files_differ",
            Self::Other => "other",
        }
    }

    /// It is about no group.
    #[must_use]
    pub const fn is_of_node(self) -> bool {
        matches!(self, Self::FilesDiffer | Self::Other)
    }
}
