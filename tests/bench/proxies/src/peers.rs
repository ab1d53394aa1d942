//! Who is measured.

use std::{fmt, fs, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::{
    process::{Running, wait_until},
    roots::{Debian, Root},
    setup::{self, Setup},
};

/// Which program, of which Debian.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Peer {
    /// No proxy between: what client, origin and kernel can do
    #[value(skip)]
    Direct,
    /// The program under test
    Lbctl,
    /// HAProxy of Debian 12
    Haproxy12,
    /// nginx of Debian 12
    Nginx12,
    /// HAProxy of Debian 13
    Haproxy13,
    /// nginx of Debian 13
    Nginx13,
    /// HAProxy of Debian 12 with `option splice-auto`, where bytes are moved
    #[value(skip)]
    Haproxy12Splice,
    /// The same of Debian 13
    #[value(skip)]
    Haproxy13Splice,
}

impl Peer {
    pub(crate) const ALL: [Self; 5] =
        [Self::Lbctl, Self::Haproxy12, Self::Nginx12, Self::Haproxy13, Self::Nginx13];

    pub(crate) fn debian(self) -> Option<Debian> {
        match self {
            Self::Direct | Self::Lbctl => None,
            Self::Haproxy12 | Self::Nginx12 | Self::Haproxy12Splice => Some(Debian::Bookworm),
            Self::Haproxy13 | Self::Nginx13 | Self::Haproxy13Splice => Some(Debian::Trixie),
        }
    }

    pub(crate) fn is_haproxy(self) -> bool {
        matches!(self, Self::Haproxy12 | Self::Haproxy13) || self.splices()
    }

    /// With `option splice-auto`, which is off by default.
    pub(crate) fn splices(self) -> bool {
        matches!(self, Self::Haproxy12Splice | Self::Haproxy13Splice)
    }

    /// The same program that splices, where there is such a thing.
    pub(crate) fn splicing(self) -> Option<Self> {
        match self {
            Self::Haproxy12 => Some(Self::Haproxy12Splice),
            Self::Haproxy13 => Some(Self::Haproxy13Splice),
            _ => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct => "no proxy",
            Self::Lbctl => "lbctl",
            Self::Haproxy12 => "HAProxy, Debian 12",
            Self::Nginx12 => "nginx, Debian 12",
            Self::Haproxy13 => "HAProxy, Debian 13",
            Self::Nginx13 => "nginx, Debian 13",
            Self::Haproxy12Splice => "HAProxy splicing, Debian 12",
            Self::Haproxy13Splice => "HAProxy splicing, Debian 13",
        })
    }
}

/// Programs to start them with.
#[derive(Debug)]
pub(crate) struct Programs {
    lbctl: std::path::PathBuf,
    bookworm: Option<Root>,
    trixie: Option<Root>,
}

impl Programs {
    /// Finds, and makes where they are missing, the programs of these peers.
    pub(crate) fn prepare(peers: &[Peer], lbctl: &Path, cache: &Path) -> anyhow::Result<Self> {
        let lbctl = lbctl.canonicalize().with_context(|| {
            format!("{}: cargo build --release -p lbctl, or --lbctl PATH", lbctl.display())
        })?;
        let root = |debian| {
            let is_wanted = peers.iter().any(|peer| peer.debian() == Some(debian));
            is_wanted.then(|| Root::of(debian, cache)).transpose()
        };
        Ok(Self { lbctl, bookworm: root(Debian::Bookworm)?, trixie: root(Debian::Trixie)? })
    }

    fn root(&self, peer: Peer) -> anyhow::Result<&Root> {
        let root = match peer.debian() {
            Some(Debian::Bookworm) => self.bookworm.as_ref(),
            Some(Debian::Trixie) => self.trixie.as_ref(),
            None => None,
        };
        root.with_context(|| format!("{peer} was not prepared"))
    }

    /// What a peer says of its version.
    pub(crate) fn version(&self, peer: Peer) -> anyhow::Result<String> {
        let mut command = match peer {
            Peer::Direct => return Ok(String::new()),
            Peer::Lbctl => Command::new(&self.lbctl),
            Peer::Nginx12 | Peer::Nginx13 => self.root(peer)?.command("nginx"),
            _ => self.root(peer)?.command("haproxy"),
        };
        let flag = if peer == Peer::Lbctl { "--version" } else { "-v" };
        let output = command.arg(flag).output().with_context(|| format!("{peer} does not start"))?;
        // nginx says it on stderr.
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let word = text.split([' ', '/', '\n']).find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        Ok(format!("{} {}", peer.to_string().split(',').next().unwrap_or_default(), word.unwrap_or("?")))
    }

    /// Starts a peer and waits until it answers on its port.
    pub(crate) fn start(
        &self,
        peer: Peer,
        setup: &Setup,
        folder: &Path,
        on: &[usize],
    ) -> anyhow::Result<Running> {
        let folder = folder.join(format!("{peer:?}-{}", setup.port));
        fs::create_dir_all(&folder)?;
        let folder = folder.as_path();
        let file = folder.join("configuration");
        let (text, mut command) = match peer {
            Peer::Direct => bail!("no proxy is no program"),
            Peer::Lbctl => {
                let mut command = Command::new(&self.lbctl);
                command.arg("run").arg("--runtime-dir").arg(folder.join("run"));
                (setup::lbctl(setup), command)
            }
            Peer::Nginx12 | Peer::Nginx13 => {
                let root = self.root(peer)?;
                let mut command = root.command("nginx");
                command.args(["-e", "stderr", "-c"]);
                (setup::nginx(setup, folder, root.stream_module().as_deref())?, command)
            }
            _ => {
                let mut command = self.root(peer)?.command("haproxy");
                command.args(["-db", "-f"]);
                (setup::haproxy(setup, peer.splices()), command)
            }
        };
        fs::write(&file, text)?;
        let log = folder.join("log");
        let mut running = Running::start(command.arg(&file), on, &log, false)?;
        let is_there = wait_until(Duration::from_secs(20), || {
            running.has_ended() || std::net::TcpStream::connect(("127.0.0.1", setup.port)).is_ok()
        });
        if !is_there || running.has_ended() {
            let said = fs::read_to_string(&log).unwrap_or_default();
            bail!("{peer} does not listen; it says: {}", said.trim());
        }
        Ok(running)
    }
}
