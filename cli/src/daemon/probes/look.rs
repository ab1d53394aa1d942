//! One look at something.

use std::{io, path::PathBuf, time::Duration};

use nix::{ifaddrs::getifaddrs, net::if_::InterfaceFlags};
use tokio::time::timeout;

use super::{Outcome, echo::Echo};
use crate::{
    config::model::{Presence, Subject},
    privileges::Launcher,
};

/// How often an interface is looked at.
const INTERFACE: Duration = Duration::from_millis(100);

/// A file system that takes longer does not answer.
const FILE: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug)]
pub(super) enum Looker {
    Interface(String),
    Address(Echo),
    File {
        path: PathBuf,
        fails_while: Presence,
        interval: Duration,
    },
    /// A node that runs something else has none, and is none of ours.
    Nothing,
}

impl Looker {
    pub(super) fn new(subject: &Subject, node: usize, launcher: Launcher) -> Self {
        match subject {
            Subject::Interface { by_node, .. } => match by_node.get(node) {
                Some(Some(name)) => Self::Interface(name.clone()),
                Some(None) | None => Self::Nothing,
            },
            Subject::Address { by_node, pace } => match by_node.get(node) {
                Some(Some(target)) => Self::Address(Echo::new(target.clone(), *pace, launcher)),
                Some(None) | None => Self::Nothing,
            },
            Subject::File { path, fails_while, interval } => {
                Self::File { path: path.clone(), fails_while: *fails_while, interval: *interval }
            }
        }
    }

    pub(super) fn interval(&self) -> Duration {
        match self {
            Self::Interface(_) => INTERFACE,
            Self::Address(echo) => echo.interval(),
            Self::File { interval, .. } => *interval,
            Self::Nothing => Duration::from_secs(3600),
        }
    }

    pub(super) async fn look(&mut self) -> Outcome {
        match self {
            Self::Interface(name) => interface(name),
            Self::Address(echo) => echo.ask().await,
            Self::File { path, fails_while, .. } => {
                let (path, fails_while) = (path.clone(), *fails_while);
                // A file system of others may hang.
                let look = tokio::task::spawn_blocking(move || file(&path.metadata().map(drop), fails_while));
                match timeout(FILE, look).await {
                    Ok(Ok(outcome)) => outcome,
                    Ok(Err(error)) => Outcome::Unknown(error.to_string()),
                    Err(_) => {
                        Outcome::Unknown(format!("its file system does not answer for {} s", FILE.as_secs()))
                    }
                }
            }
            Self::Nothing => Outcome::Passed,
        }
    }
}

fn interface(name: &str) -> Outcome {
    let list = match getifaddrs() {
        Ok(list) => list,
        Err(error) => return Outcome::Unknown(format!("the kernel does not list its interfaces: {error}")),
    };
    let flags = list.filter(|entry| entry.interface_name == name).map(|entry| entry.flags).next();
    state(name, flags)
}

/// IFF_RUNNING is the operational state of RFC 2863, as netdevice(7) has it.
fn state(name: &str, flags: Option<InterfaceFlags>) -> Outcome {
    let what = match flags {
        None => "is not there",
        Some(flags) if !flags.contains(InterfaceFlags::IFF_UP) => "is down",
        Some(flags) if !flags.contains(InterfaceFlags::IFF_LOWER_UP) => "has no carrier",
        Some(flags) if !flags.contains(InterfaceFlags::IFF_RUNNING) => "is not operational",
        Some(_) => return Outcome::Passed,
    };
    Outcome::Failed(format!("interface {name} {what}"))
}

fn file(found: &io::Result<()>, fails_while: Presence) -> Outcome {
    let is = match found {
        Ok(()) => Presence::Present,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Presence::Absent,
        Err(error) => return Outcome::Unknown(error.to_string()),
    };
    match (is == fails_while, is) {
        (false, _) => Outcome::Passed,
        (true, Presence::Present) => Outcome::Failed("its file is there".to_owned()),
        (true, Presence::Absent) => Outcome::Failed("its file is not there".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_has_to_be_up_with_a_carrier_and_operational() {
        let [up, carrier, running] =
            [InterfaceFlags::IFF_UP, InterfaceFlags::IFF_LOWER_UP, InterfaceFlags::IFF_RUNNING];
        let failed = |what: &str| Outcome::Failed(format!("interface eth1 {what}"));
        assert_eq!(state("eth1", None), failed("is not there"));
        assert_eq!(state("eth1", Some(InterfaceFlags::empty())), failed("is down"));
        assert_eq!(state("eth1", Some(up)), failed("has no carrier"));
        assert_eq!(state("eth1", Some(up | carrier)), failed("is not operational"));
        assert_eq!(state("eth1", Some(up | carrier | running)), Outcome::Passed);
        assert_eq!(interface("nosuch0"), Outcome::Failed("interface nosuch0 is not there".to_owned()));
    }

    #[test]
    fn a_file_counts_by_being_there_and_one_that_can_not_be_looked_at_not_at_all() {
        let missing = || Err(io::ErrorKind::NotFound.into());
        assert_eq!(file(&Ok(()), Presence::Present), Outcome::Failed("its file is there".to_owned()));
        assert_eq!(file(&missing(), Presence::Present), Outcome::Passed);
        assert_eq!(file(&Ok(()), Presence::Absent), Outcome::Passed);
        assert_eq!(file(&missing(), Presence::Absent), Outcome::Failed("its file is not there".to_owned()));
        let refused = Err(io::Error::from(io::ErrorKind::PermissionDenied));
        for fails_while in [Presence::Present, Presence::Absent] {
            assert_eq!(file(&refused, fails_while), Outcome::Unknown("permission denied".to_owned()));
        }
    }
}
