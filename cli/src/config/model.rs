//! The typed configuration: one value, the same on every node, in which wrong states can't be said.

use std::{
    net::IpAddr,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Duration,
};

use lb_proxy::config::{Address, EventFormat, LogDestination, LogTarget, Owner, ServerAddress, Source};
use lb_vrrp::{Authentication, GroupConfig, PeerKind, Priority, Secret, Step};

pub use self::notify::{Hidden, Login, Mail, Means, Notify, Remote, Security, Wants, Webhook};
pub use self::track::{Pace, Presence, Question, Subject, Target, Track};
use super::diagnostic::Diagnostics;

mod notify;
mod track;

/// The whole file.
#[derive(Clone, Debug)]
pub struct Config {
    /// SHA-256 over the bytes of the file, lower-case hexadecimal; status shows its first six digits.
    pub hash: String,
    /// What the operator should know although the file works: `check` prints it, `run` logs it.
    pub warnings: Diagnostics,
    /// Who is in the cluster; empty for a node without `[cluster]` (proxy only).
    pub cluster: Cluster,
    /// One per `group` of `[vip.*]` tables.
    pub groups: Vec<Group>,
    /// What is looked at beside servers, in the order of the file.
    pub tracks: Vec<Track>,
    /// Who is told of what happens, in the order of the file.
    pub notifies: Vec<Notify>,
    /// Process-wide settings.
    pub global: Global,
    /// The data plane. The same on every node but for `sources`: [`Self::proxy_of`].
    pub proxy: lb_proxy::Config,
    /// Where connections to servers come from, as far as that differs by node.
    pub sources: Vec<SourceByNode>,
    /// Where its frontends and its backends stand in the file, from 1; both halves of a `[listen.*]` at one place.
    pub positions: Positions,
    /// The files that were read with it: pages, users, contents. Not the maps, which `proxy` has.
    pub files: Vec<PathBuf>,
}

/// In the order of [`lb_proxy::Config`].
#[derive(Clone, Debug, Default)]
pub struct Positions {
    /// Of frontends.
    pub frontends: Vec<u32>,
    /// Of backends.
    pub backends: Vec<u32>,
}

/// A `source` that differs by node.
#[derive(Clone, Debug)]
pub struct SourceByNode {
    /// Index of the backend.
    pub backend: usize,
    /// Index of the server that has it for itself; `None` if it is the backend's.
    pub server: Option<usize>,
    /// In the order of `Cluster::nodes`.
    pub by_node: Vec<Source>,
}

/// `[cluster]`.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// Signs what its nodes say to each other.
    pub secret: Option<SecretFile>,
    /// How far it is with signed advertisements; only with a secret.
    pub sign_advertisements: Option<Step>,
    /// In the order of the file.
    pub nodes: Vec<Node>,
}

/// `secret_file`.
#[derive(Clone, Debug)]
pub struct SecretFile {
    /// As the file names it.
    pub file: String,
    /// What stands there.
    pub secret: Secret,
}

/// One node.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its key in the file.
    pub name: String,
    /// Its own address.
    pub address: IpAddr,
    /// What it runs.
    pub kind: PeerKind,
    /// As the file has it, before a group's `prefer`; [`default_priority`] unless it is given.
    pub priority: Priority,
}

/// `[vip.*]` tables with one fate.
#[derive(Clone, Debug)]
pub struct Group {
    /// `default` unless the file names one.
    pub name: String,
    /// By node, in the order of `Cluster::nodes`: what its speaker is told.
    pub by_node: Vec<GroupConfig>,
    /// Names of the frontends with a listener on one of its addresses.
    pub frontends: Vec<String>,
    /// Those that count for this group's readiness, with their hold.
    pub backends: Vec<GroupBackend>,
}

/// A backend that counts for a group's readiness.
#[derive(Clone, Debug)]
pub struct GroupBackend {
    /// Its name.
    pub name: String,
    /// Bad news on an Active and good news on a Backup count after this long: twice the check interval plus the check
    /// timeout, at least 3 s, unless the file says otherwise.
    pub hold: Duration,
}

/// `[global]`.
#[derive(Clone, Debug)]
pub struct Global {
    /// How long a planned stop lets short exchanges finish; 5 s by default.
    pub drain_timeout: Duration,
    /// How long a worker or the daemon may not answer until it counts as stalled; 1 s by default.
    pub stall_timeout: Duration,
    /// As the file has it; `None` means all cores. What the data plane runs with is `proxy.threads`.
    pub threads: Option<NonZeroUsize>,
    /// Whose the processes are once they run, if root starts them; `None`: they stay root's.
    pub user: Option<Owner>,
    /// Their group; `None`: that of `user`.
    pub group: Option<Owner>,
    /// Who runs commands of the file, if root or the packaged unit starts lbctl; `None`: `lbctl-commands` if it can read the file, else `user`, and nobody
    /// where that is root.
    pub command_user: Option<Owner>,
    /// How the program's own log looks; the same is in every target of the data plane.
    pub log_event_format: EventFormat,
}

impl Default for Global {
    fn default() -> Self {
        Self {
            drain_timeout: Duration::from_secs(5),
            stall_timeout: Duration::from_secs(1),
            threads: None,
            user: None,
            group: None,
            command_user: None,
            log_event_format: EventFormat::Text,
        }
    }
}

impl Cluster {
    /// What stands in `secret_file`.
    pub fn secret(&self) -> Option<Secret> {
        self.secret.as_ref().map(|file| file.secret.clone())
    }

    /// What its advertisements are signed by.
    pub fn authentication(&self) -> Option<Authentication> {
        Some(Authentication { secret: self.secret()?, step: self.sign_advertisements? })
    }
}

impl Config {
    /// Wherever something is logged, of the whole file.
    pub fn log_targets(&self) -> impl Iterator<Item = &LogTarget> {
        let of_frontends = self.proxy.frontends.iter().flat_map(|frontend| &frontend.log.targets);
        let of_backends = self.proxy.backends.iter().flat_map(|backend| &backend.log);
        self.proxy.log.iter().chain(of_frontends).chain(of_backends)
    }

    /// Those of them that are files.
    pub fn log_files(&self) -> impl Iterator<Item = &Path> {
        self.log_targets().filter_map(|log| match &log.to {
            LogDestination::File(path) => Some(path.as_path()),
            LogDestination::Udp(_)
            | LogDestination::UdpName { .. }
            | LogDestination::Unix(_)
            | LogDestination::Stdout
            | LogDestination::Stderr => None,
        })
    }

    /// Does it name commands that are run?
    pub fn names_commands(&self) -> bool {
        let mut tracks = self.tracks.iter();
        let mut notifies = self.notifies.iter();
        tracks.any(|track| matches!(track.subject, Subject::Command { .. }))
            || notifies.any(|notify| matches!(notify.means, Means::Command(_)))
    }

    /// Is a server at a name of the abstract namespace (unix(7))?
    pub fn names_abstract_sockets(&self) -> bool {
        let servers = self.proxy.backends.iter().flat_map(|backend| &backend.servers);
        let mut sockets = servers.filter_map(|server| match &server.address {
            ServerAddress::Fixed(Address::Unix(socket)) => Some(socket),
            ServerAddress::Fixed(Address::Ip(_)) | ServerAddress::Named { .. } => None,
        });
        sockets.any(|socket| socket.path().is_none())
    }

    /// What the data plane of a node runs with. While a node is not known (`None`), the system chooses where connections to
    /// servers come from that differ by node.
    pub fn proxy_of(&self, node: Option<usize>) -> lb_proxy::Config {
        let mut proxy = self.proxy.clone();
        for differing in &self.sources {
            let source = node.and_then(|node| differing.by_node.get(node)).cloned().unwrap_or_default();
            let Some(backend) = proxy.backends.get_mut(differing.backend) else { continue };
            match differing.server.and_then(|server| backend.servers.get_mut(server)) {
                Some(server) => server.source = Some(source),
                None => backend.source = source,
            }
        }
        proxy
    }

    /// Index of the node called `name`.
    pub fn node_named(&self, name: &str) -> Option<usize> {
        self.cluster.nodes.iter().position(|node| node.name == name)
    }
}

/// The default priorities by order of the nodes: 254, 253, ...
pub fn default_priority(index: usize) -> Option<Priority> {
    u8::try_from(index)
        .ok()
        .and_then(|index| Priority::MAX.checked_sub(index))
        .and_then(|value| Priority::new(value).ok())
}
