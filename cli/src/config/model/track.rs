//! `[track.NAME]`: what is looked at beside servers, and what its failure means.

use std::{fmt, net::IpAddr, path::PathBuf, time::Duration};

/// One of them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Track {
    /// Its name.
    pub name: String,
    /// What is looked at.
    pub subject: Subject,
    /// Its failure is a fault, and not a degradation.
    pub is_fault: bool,
    /// Names of the groups that it is for.
    pub groups: Vec<String>,
    /// Of a degradation: bad news on an Active and good news on a Backup count after this long.
    pub hold: Duration,
}

/// What is looked at.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Subject {
    /// An interface that has to be up, with a carrier.
    Interface {
        /// Its name on each node, in the order of `Cluster::nodes`; `None` on one that runs something else.
        by_node: Vec<Option<String>>,
        /// It has failed once it has been down for so long.
        down_delay: Duration,
        /// It is well once it has been up for so long.
        up_delay: Duration,
    },
    /// An address that has to answer.
    Address {
        /// What it is asked by.
        by: Question,
        /// By node, as above.
        by_node: Vec<Option<Target>>,
        /// How often.
        pace: Pace,
    },
    /// A file that has to be there, or must not be.
    File {
        /// Its path.
        path: PathBuf,
        /// The tracker fails while this is so.
        fails_while: Presence,
        /// Between two looks.
        interval: Duration,
    },
    /// A command that has to end with 0.
    Command {
        /// The program's whole path, and its arguments.
        command: Vec<String>,
        /// How often; the timeout ends it.
        pace: Pace,
    },
}

/// An address to be asked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    /// The address.
    pub address: IpAddr,
    /// Where a link-local one is.
    pub interface: Option<String>,
}

/// How an address is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Question {
    /// By echo requests (RFC 792, RFC 4443).
    Icmp,
    /// By ARP (RFC 826), or by neighbour solicitations (RFC 4861): on its own network.
    Arp,
}

/// How often something is asked, and how many answers count.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pace {
    /// From one question to the next.
    pub interval: Duration,
    /// An answer that takes longer is none.
    pub timeout: Duration,
    /// Answers in a row after which it is well.
    pub rise: u32,
    /// Missing answers in a row after which it has failed.
    pub fall: u32,
}

/// Is a file there?
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Presence {
    /// It is.
    Present,
    /// It is not.
    Absent,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        match &self.interface {
            Some(interface) => write!(f, "%{interface}"),
            None => Ok(()),
        }
    }
}
