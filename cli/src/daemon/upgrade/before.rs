//! The other half: this process takes the place of one that runs.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufReader},
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use anyhow::Context;
use lb_proxy::{Handover, Known, Listener, tls::SelfSigned};
use lb_vrrp::{GroupConfig, group::check_reconfigure};
use nix::unistd::dup2_stdin;
use serde::Deserialize;
use serde_json::Value;

use super::{
    channel::Channel,
    earlier::Earlier,
    words::{FromNext, PROTOCOL, ToNext, says_all},
};
use crate::{
    config::model::Group,
    control::{Ordered, Speaker, Timestamp},
    daemon::{
        group::KnownGroup,
        hello::KnownSession,
        journal::KnownJournal,
        losses::Row,
        notify::Cursors,
        speaker_link::{Ends, Expected},
    },
    service,
};

/// For the other one to pass on what it has, and to let this one go on.
const LIMIT: Duration = Duration::from_secs(15);

/// The process whose place this one takes. Clones are the same.
#[derive(Clone, Debug)]
pub(in crate::daemon) struct Before(Channel);

/// What it passes on.
#[derive(Debug)]
pub(in crate::daemon) struct Estate {
    pub(in crate::daemon) handover: Handover,
    /// What its speaker runs.
    groups: Vec<Value>,
    /// Its control socket and the lock of that.
    pub(in crate::daemon) control: [OwnedFd; 2],
    /// Processes before it, whose connections still end.
    pub(in crate::daemon) earlier: Earlier,
    /// To the process that runs commands, if there is one.
    pub(in crate::daemon) runner: Option<OwnedFd>,
    /// Certificates that are in no file.
    pub(in crate::daemon) self_signed: Vec<SelfSigned>,
}

impl Estate {
    /// Puts the groups, and the virtual routers of each, into the order of those that run, which speaker and page know by their places. A
    /// reload leaves them there, wherever the file has them by now.
    pub(in crate::daemon) fn order(&self, groups: &mut [Group]) {
        order(groups, &self.groups);
    }

    /// Why its speaker can't go on with these, in a sentence that says what to do; `None` if it runs them.
    pub(in crate::daemon) fn obstacle(&self, groups: &[GroupConfig]) -> Option<String> {
        unlike(groups, &self.groups)
    }
}

fn order(groups: &mut [Group], known: &[Value]) {
    let running: Vec<GroupConfig> =
        known.iter().filter_map(|known| GroupConfig::deserialize(known).ok()).collect();
    for group in &mut *groups {
        let Some(running) = running.iter().find(|running| running.name == group.name) else { continue };
        group.by_node.iter_mut().for_each(|own| own.order_as(running));
    }
    let names: Vec<_> = known.iter().map(|known| known.get("name").and_then(Value::as_str)).collect();
    // One that does not run is an obstacle, wherever it is.
    groups.sort_by_key(|own| names.iter().position(|name| *name == Some(&own.name)).unwrap_or(names.len()));
}

/// Are these what runs, as far as the program of before knows them? A speaker of another program is replaced, and begins with all.
/// If not, the way to them is the one that a reload says.
fn unlike(groups: &[GroupConfig], known: &[Value]) -> Option<String> {
    let is_run = |(own, known): (&GroupConfig, &Value)| {
        serde_json::to_value(own).is_ok_and(|own| says_all(&own, known))
    };
    if groups.len() == known.len() && groups.iter().zip(known).all(is_run) {
        return None;
    }
    let running: Vec<GroupConfig> =
        known.iter().filter_map(|known| GroupConfig::deserialize(known).ok()).collect();
    let before = |own: &GroupConfig| running.iter().find(|running| running.name == own.name);
    let refused = groups.iter().find_map(|own| check_reconfigure(before(own)?, own).err());
    let are_others = groups.len() != known.len() || groups.iter().any(|own| before(own).is_none());
    let restart = service::restart();
    Some(match refused {
        Some(why) => format!("{why}. That needs a restart: {restart}"),
        None if are_others => {
            format!("groups of [vip.*] can't come or go while lbctl runs. That needs a restart: {restart}")
        }
        None => "what the file says of [cluster] and [vip] is not what runs; first: lbctl reload".to_owned(),
    })
}

/// What the control interface has counted, by name.
type Counted = BTreeMap<String, u64>;

/// What this process goes on with.
#[derive(Debug, Default)]
pub(in crate::daemon) struct Charge {
    /// The process number of its speaker, and this process's end of the link.
    pub(in crate::daemon) speaker: Option<(u32, Expected)>,
    pub(in crate::daemon) groups: Vec<KnownGroup>,
    /// Since when the first of a row of processes runs; programs of before did not say.
    pub(in crate::daemon) up: Option<Timestamp>,
    /// By whom the node is kept out of the election.
    pub(in crate::daemon) drained: Option<Ordered>,
    /// The hello's socket.
    pub(in crate::daemon) hello: Option<OwnedFd>,
    /// What is known of the other nodes.
    pub(in crate::daemon) session: Option<KnownSession>,
    /// What has happened.
    pub(in crate::daemon) journal: KnownJournal,
    /// Who has been told how much of it.
    pub(in crate::daemon) notified: Cursors,
    /// Speakers that were lost.
    pub(in crate::daemon) losses: Speaker,
    /// Those of them that came one after the other.
    pub(in crate::daemon) row_of_losses: Row,
}

impl Before {
    /// On stdin, which is nothing afterwards.
    pub(in crate::daemon) fn find() -> anyhow::Result<Self> {
        let taken = || -> io::Result<Self> {
            let socket = io::stdin().as_fd().try_clone_to_owned()?;
            let channel = Channel::new(socket)?;
            dup2_stdin(File::options().read(true).write(true).open("/dev/null")?)?;
            Ok(Self(channel))
        };
        taken().context("--take-over is for `lbctl upgrade`; it can't be used by hand")
    }

    /// This process ends because of that.
    pub(in crate::daemon) fn refuse(&self, why: &str, is_file: bool) {
        // If that can't be heard, the end of this process is.
        let _ = self.0.send(&FromNext::Refused { why: why.to_owned(), is_file }, &[]);
    }

    /// Everything that it has. Asked for once nothing that this process needs of its own is wrong: who has not read all that
    /// it was sent can't say why it ends.
    pub(in crate::daemon) fn estate(&self) -> anyhow::Result<Estate> {
        self.0.send(
            &FromNext::Hello { version: env!("CARGO_PKG_VERSION").to_owned(), protocol: PROTOCOL },
            &[],
        )?;
        let (mut listeners, mut known): (Vec<Listener>, _) = (Vec::new(), None);
        let (mut earlier, mut runner, mut self_signed) = (Vec::new(), None, Vec::new());
        loop {
            let (message, descriptors) = self.0.receive_now(LIMIT).context("nothing is passed on")?;
            match (message, known.take()) {
                (ToNext::Before, found) => {
                    known = found;
                    for socket in descriptors {
                        earlier.push(Channel::new(socket)?);
                    }
                }
                (ToNext::Listener { place }, _) => {
                    match listeners.iter_mut().find(|listener| listener.place == place) {
                        Some(listener) => listener.sockets.extend(descriptors),
                        None => listeners.push(Listener { place, sockets: descriptors }),
                    }
                }
                (ToNext::SelfSigned(made), _) => self_signed.push(made),
                (ToNext::Known { groups }, _) => {
                    let mut descriptors = descriptors.into_iter();
                    let file = descriptors.next().context("what is known does not come")?;
                    runner = descriptors.next();
                    let read: Known = serde_json::from_reader(BufReader::new(File::from(file)))
                        .context("what is known can't be read")?;
                    known = Some((read, groups));
                }
                (ToNext::Control, Some((known, groups))) => {
                    let control = descriptors.try_into().ok().context("the control socket does not come")?;
                    let handover = Handover { listeners, known };
                    let earlier = Earlier::new(earlier);
                    return Ok(Estate { handover, groups, control, earlier, runner, self_signed });
                }
                (other, _) => anyhow::bail!("this makes no sense now: {other:?}"),
            }
        }
    }

    /// Says that this process accepts connections, by a file with this hash; returns once the speaker is its own.
    pub(in crate::daemon) fn ready(
        &self,
        file: &str,
        has_speaker: bool,
    ) -> anyhow::Result<(Charge, Counted)> {
        let ready = FromNext::Ready { file: file.to_owned() };
        let expected = if has_speaker {
            let (expected, Ends { socket, page }) = Expected::new()?;
            self.0.send(&ready, &[socket.as_fd(), page.as_fd()])?;
            Some(expected)
        } else {
            self.0.send(&ready, &[])?;
            None
        };
        let (message, descriptors) =
            self.0.receive_now(LIMIT).context("the process before does not let go")?;
        match message {
            ToNext::Go {
                speaker,
                groups,
                up,
                drained,
                session,
                counters,
                journal,
                notified,
                losses,
                row_of_losses,
            } => {
                let charge = Charge {
                    speaker: speaker.zip(expected),
                    groups,
                    up,
                    drained,
                    hello: descriptors.into_iter().next(),
                    session,
                    journal,
                    notified,
                    losses: *losses,
                    row_of_losses: *row_of_losses,
                };
                Ok((charge, counters))
            }
            other => anyhow::bail!("this makes no sense now: {other:?}"),
        }
    }

    /// This process is in charge.
    pub(in crate::daemon) fn taken(&self) -> io::Result<()> {
        self.0.send(&FromNext::Taken, &[])
    }

    /// Its connections still end.
    pub(in crate::daemon) fn join(self, earlier: &mut Earlier) {
        earlier.add(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const PAIR: &str = "[cluster]\nnode.lb1 = \"192.0.2.11\"\nnode.lb2 = \"192.0.2.12\"\n[vip.web]\nvrid = 51\n\
                        addresses = [\"192.0.2.100\"]\n[frontend.web]\nbind = { vip = \"web\", port = 80 }\nrules = [{ deny = 403 }]\n";

    fn groups(file: &str) -> Vec<GroupConfig> {
        let config = config::parse(file, "lb.toml").expect("a good file");
        config.groups.iter().map(|group| group.by_node[0].clone()).collect()
    }

    #[test]
    fn groups_and_vips_that_changed_places_in_the_file_are_those_that_run() {
        let vip = |name: &str, group: &str, last: u8| {
            format!("[vip.{name}]\ngroup = \"{group}\"\nvrid = {last}\naddresses = [\"192.0.2.{last}\"]\n")
        };
        let (web, mail, dns) = (vip("web", "web", 100), vip("mail", "mail", 101), vip("dns", "dns", 102));
        let file = |vips: &[&str]| {
            let nodes = "[cluster]\nnode.lb1 = \"192.0.2.11\"\nnode.lb2 = \"192.0.2.12\"\n";
            config::parse(&format!("{nodes}{}", vips.concat()), "lb.toml").expect("a good file")
        };
        let own = |config: &config::Config| -> Vec<GroupConfig> {
            config.groups.iter().map(|group| group.by_node[0].clone()).collect()
        };
        let running = own(&file(&[&web, &mail, &dns]));
        let known: Vec<_> = running.iter().map(|group| serde_json::to_value(group).expect("JSON")).collect();
        let mut swapped = file(&[&dns, &web, &mail]);
        assert!(unlike(&own(&swapped), &known).is_some(), "place by place they are others");
        order(&mut swapped.groups, &known);
        assert_eq!(own(&swapped), running);
        assert_eq!(unlike(&own(&swapped), &known), None);
        let together = |names: [&str; 2]| {
            let last = |name| if name == "web" { 100 } else { 101 };
            file(&names.map(|name| vip(name, "default", last(name))).each_ref().map(String::as_str))
        };
        let running = own(&together(["web", "mail"]));
        let known_together: Vec<_> =
            running.iter().map(|group| serde_json::to_value(group).expect("JSON")).collect();
        let mut swapped = together(["mail", "web"]);
        assert_ne!(own(&swapped), running);
        order(&mut swapped.groups, &known_together);
        assert_eq!(own(&swapped), running, "vips of one group");
        assert_eq!(unlike(&own(&swapped), &known_together), None);
        let mut other = file(&[&vip("new", "new", 103), &mail, &web]);
        order(&mut other.groups, &known);
        assert!(unlike(&own(&other), &known).is_some_and(|why| why.contains("can't come or go")));
    }

    #[test]
    fn upgrade_says_the_way_to_other_vips_that_a_reload_says() {
        let known: Vec<_> =
            groups(PAIR).iter().map(|group| serde_json::to_value(group).expect("JSON")).collect();
        let said = |file: &str| unlike(&groups(file), &known).unwrap_or_default();
        let changed = |from: &str, to: &str| said(&PAIR.replacen(from, to, 1));
        let restart = |why: &str| format!("{why}. That needs a restart: {}", service::restart());
        assert_eq!(said(PAIR), "");
        assert_eq!(
            changed("192.0.2.100", "192.0.2.101"),
            "what the file says of [cluster] and [vip] is not what runs; first: lbctl reload"
        );
        assert_eq!(
            changed("vrid = 51", "vrid = 52"),
            restart(
                "vrid of vip web can't change while it runs: the two nodes would own the address at the same time while \
                 their files differ"
            )
        );
        assert_eq!(
            changed("vrid = 51", "group = \"mail\"\nvrid = 51"),
            restart("groups of [vip.*] can't come or go while lbctl runs")
        );
        let more = "[vip.mail]\nvrid = 53\naddresses = [\"192.0.2.103\"]\n";
        assert_eq!(said(&format!("{PAIR}{more}")), restart("vip mail can't come while the group runs"));
    }
}
