//! What can be done to a node.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::topology::{Member, Network, Role};

/// A way to harm a node.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// SIGKILL the daemon (or the web server): no goodbye
    Kill,
    /// SIGTERM the daemon: an orderly stop
    Stop,
    /// Pull the cable of the front network (of a web server: the back network)
    Cable,
    /// SIGSTOP the daemon and its speaker, as a paused virtual machine would be
    Freeze,
    /// Stop one of the daemon's worker threads
    Worker,
    /// Pull the cable of the back network: this node alone loses the servers
    Backends,
}

impl How {
    /// All ways.
    pub const ALL: [Self; 6] =
        [Self::Kill, Self::Stop, Self::Cable, Self::Freeze, Self::Worker, Self::Backends];

    /// Which cable it pulls on `member`, if it pulls one.
    pub(crate) fn cable(self, member: &Member) -> Option<Network> {
        match (self, member.role) {
            (Self::Cable, Role::Balancer | Role::Client) => Some(Network::Front),
            (Self::Cable, Role::Server) | (Self::Backends, _) => Some(Network::Back),
            (Self::Kill | Self::Stop | Self::Freeze | Self::Worker, _) => None,
        }
    }

    /// Can it be done to `member`?
    pub(crate) fn fits(self, member: &Member) -> bool {
        match member.role {
            Role::Balancer => true,
            Role::Server => matches!(self, Self::Kill | Self::Stop | Self::Cable | Self::Freeze),
            Role::Client => matches!(self, Self::Cable),
        }
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::Cable => "cable",
            Self::Freeze => "freeze",
            Self::Worker => "worker",
            Self::Backends => "backends",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::topology::member;

    #[test]
    fn cable_of_a_web_server_is_its_only_one() {
        assert_eq!(How::Cable.cable(member("web1").unwrap()), Some(Network::Back));
        assert_eq!(How::Cable.cable(member("lb1").unwrap()), Some(Network::Front));
        assert_eq!(How::Backends.cable(member("lb1").unwrap()), Some(Network::Back));
    }

    #[test]
    fn client_has_nothing_to_kill() {
        assert!(!How::Kill.fits(member("client").unwrap()));
        assert!(!How::Worker.fits(member("web1").unwrap()));
        assert!(How::ALL.iter().all(|how| how.fits(member("lb2").unwrap())));
    }
}
