//! One look at something.

use std::{io, path::PathBuf, time::Duration};

use nix::{ifaddrs::getifaddrs, net::if_::InterfaceFlags};
use tokio::time::timeout;

use super::{Means, Outcome, echo::Echo, neighbour::Neighbour};
use crate::{
    config::model::{Pace, Presence, Question, Subject},
    config::text::write_duration,
    runner::{Ended, How, Order, Runner},
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
    Neighbour(Neighbour),
    File {
        path: PathBuf,
        fails_while: Presence,
        interval: Duration,
    },
    Command {
        order: Order,
        interval: Duration,
        runner: Runner,
    },
    /// A node that runs something else has none, and is none of ours.
    Nothing,
}

impl Looker {
    pub(super) fn new(subject: &Subject, node: usize, means: &Means) -> Self {
        match subject {
            Subject::Interface { by_node, .. } => match by_node.get(node) {
                Some(Some(name)) => Self::Interface(name.clone()),
                Some(None) | None => Self::Nothing,
            },
            Subject::Address { by, by_node, pace } => match by_node.get(node) {
                Some(Some(target)) if *by == Question::Arp => {
                    Self::Neighbour(Neighbour::new(target.clone(), *pace, means.launcher.clone()))
                }
                Some(Some(target)) => Self::Address(Echo::new(target.clone(), *pace, means.launcher.clone())),
                Some(None) | None => Self::Nothing,
            },
            Subject::Command { command, pace: Pace { interval, timeout, .. } } => Self::Command {
                order: Order { command: command.clone(), input: String::new(), limit: *timeout },
                interval: *interval,
                runner: means.runner.clone(),
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
            Self::Neighbour(neighbour) => neighbour.interval(),
            Self::File { interval, .. } | Self::Command { interval, .. } => *interval,
            Self::Nothing => Duration::from_secs(3600),
        }
    }

    pub(super) async fn look(&mut self) -> Outcome {
        match self {
            Self::Interface(name) => interface(name),
            Self::Address(echo) => echo.ask().await,
            Self::Neighbour(neighbour) => neighbour.ask().await,
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
            Self::Command { order, runner, .. } => match runner.run(order.clone()).await {
                Ok(ended) => command(&ended, order.limit),
                Err(not_run) => Outcome::Unknown(not_run.why),
            },
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

/// What it says of itself is told.
fn command(ended: &Ended, limit: Duration) -> Outcome {
    let what = match ended.how {
        How::Exit(0) => return Outcome::Passed,
        How::Exit(code) => format!("its command ended with {code}"),
        How::Signal(signal) => format!("its command was ended by signal {signal}"),
        How::TimedOut => format!("its command ran for {}, and was ended", write_duration(limit)),
    };
    Outcome::Failed(match ended.output.as_str() {
        "" => what,
        said => format!("{what}: {said}"),
    })
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

    #[test]
    fn a_command_passes_with_0_and_else_says_why() {
        let of =
            |how, said: &str| command(&Ended { how, output: said.to_owned() }, Duration::from_millis(1500));
        let failed = |why: &str| Outcome::Failed(why.to_owned());
        assert_eq!(of(How::Exit(0), "all is well"), Outcome::Passed);
        assert_eq!(
            of(How::Exit(2), "CRITICAL - no route"),
            failed("its command ended with 2: CRITICAL - no route")
        );
        assert_eq!(of(How::Signal(11), ""), failed("its command was ended by signal 11"));
        assert_eq!(of(How::TimedOut, ""), failed("its command ran for 1500ms, and was ended"));
    }
}
