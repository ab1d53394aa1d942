//! `[track.NAME]`: interfaces and scripts that instances track, of all nodes together.

use std::{collections::BTreeSet, time::Duration};

use super::{
    instance::{Kind, Tracked},
    nodes::Router,
    script::{Look, Script, is_taken},
    vips::{Context, by_node},
};
use crate::{
    config::text::write_duration,
    import::{
        clean,
        document::{Entry, Table, Value, key, pair},
        unique,
    },
};

/// What is tracked, by whom.
struct Tracker<'t> {
    kind: Kind,
    name: &'t str,
    /// Each line that names it, the index of its node and that of the group of its vip.
    lines: Vec<(&'t Tracked, usize, usize)>,
    /// An instance of a sync group has it, and Keepalived forgets weights there.
    is_of_sync: bool,
}

/// The tables; `of` has the group of each router.
pub(super) fn tables(routers: &[Router<'_>], of: &[usize], context: &Context<'_>) -> Vec<Table> {
    let mut trackers: Vec<Tracker<'_>> = Vec::new();
    for (router, group) in routers.iter().zip(of) {
        for (node, instance) in router.instances.iter().enumerate() {
            let Some(instance) = instance else { continue };
            let own = instance.interface.as_ref().map(|(name, _)| name.as_str());
            for tracked in &instance.tracks {
                if tracked.kind == Kind::Interface && own == Some(tracked.name.as_str()) {
                    context
                        .sources
                        .advise(tracked.place, "it is left out: the interface of a vip counts always");
                    continue;
                }
                let groups = context.members[node].node.map_or(&[][..], |node| &node.groups);
                let is_of_sync = groups.iter().any(|group| group.members.contains(&instance.name));
                let line = (tracked, node, *group);
                match trackers.iter_mut().find(|one| one.kind == tracked.kind && one.name == tracked.name) {
                    Some(tracker) => {
                        tracker.lines.push(line);
                        tracker.is_of_sync |= is_of_sync;
                    }
                    None => trackers.push(Tracker {
                        kind: tracked.kind,
                        name: &tracked.name,
                        lines: vec![line],
                        is_of_sync,
                    }),
                }
            }
        }
    }
    let mut names = BTreeSet::new();
    trackers.iter().filter_map(|tracker| tracker.table(of, &mut names, context)).collect()
}

impl Tracker<'_> {
    fn table(&self, of: &[usize], names: &mut BTreeSet<String>, context: &Context<'_>) -> Option<Table> {
        let entries = match self.kind {
            Kind::Interface => self.interface(context)?,
            Kind::Script | Kind::Process => self.script(context)?,
        };
        let mut entries: Vec<Entry> = entries;
        if self.is_fault(context) {
            entries.push(pair("failure", Value::text("fault"), None));
        }
        let groups: BTreeSet<usize> = self.lines.iter().map(|(_, _, group)| *group).collect();
        let all: BTreeSet<usize> = of.iter().copied().collect();
        if groups != all {
            let names = groups.iter().filter_map(|at| context.groups[*at].name.as_ref());
            entries.push(pair("groups", Value::List(names.map(Value::text).collect()), None));
        }
        let name = unique(clean(self.name), |name| names.contains(name));
        names.insert(name.clone());
        Some(Table { heading: format!("track.{}", key(&name)), comments: Vec::new(), entries })
    }

    /// Without a weight a failure is a fault, with one a degradation.
    fn is_fault(&self, context: &Context<'_>) -> bool {
        let mut is_fault = self.is_of_sync;
        for (tracked, node, _) in &self.lines {
            let of_script =
                self.scripts(context).find(|(of, _)| of == node).map_or(0, |(_, script)| script.weight);
            match tracked.weight.unwrap_or(of_script) {
                0 => is_fault = true,
                weight if self.is_of_sync => {
                    let message = format!(
                        "weight {weight}: Keepalived forgets weights in a sync group, so a failure is a fault"
                    );
                    context.sources.advise(tracked.place, message);
                }
                weight => {
                    let message = format!(
                        "weight {weight}: there are no weights here, so that none can be too small to move anything; a node on which this \
                         fails is degraded, and one that is well takes the addresses"
                    );
                    context.sources.advise(tracked.place, message);
                }
            }
        }
        is_fault
    }

    /// The scripts of this name, by node.
    fn scripts<'s>(&'s self, context: &'s Context<'_>) -> impl Iterator<Item = (usize, &'s Script)> {
        let nodes = context.members.iter().enumerate();
        nodes.filter_map(|(index, member)| {
            let is_it = |script: &&Script| script.kind == self.kind && script.name == self.name;
            Some((index, member.node?.scripts.iter().find(is_it)?))
        })
    }

    fn interface(&self, context: &Context<'_>) -> Option<Vec<Entry>> {
        let (first, ..) = self.lines.first()?;
        if let Err(why) = crate::config::text::interface(self.name) {
            context.sources.lost(first.place, format!("it {why}"));
            return None;
        }
        let nodes: BTreeSet<usize> = self.lines.iter().map(|(_, node, _)| *node).collect();
        let known = context.members.iter().filter(|member| member.node.is_some()).count();
        if nodes.len() < known {
            let message = "the other node's file does not track it; here both nodes look at an interface of this name. Give it by node, \
                           interface = { .. }, where the names differ";
            context.sources.advise(first.place, message);
        }
        Some(vec![pair("interface", Value::text(self.name), None)])
    }

    fn script(&self, context: &Context<'_>) -> Option<Vec<Entry>> {
        let scripts: Vec<(usize, &Script)> = self.scripts(context).collect();
        let (_, first) = scripts.first()?;
        let mut is_lost = false;
        for (_, script) in &scripts {
            is_lost |= self.is_lost(script, context);
        }
        if is_lost {
            return None;
        }
        if let Some((_, other)) = scripts.iter().find(|(_, one)| kind(&one.look) != kind(&first.look)) {
            let message = "on the other node a script of this name looks at something else: give each a name of its own";
            context.sources.lost(other.place, message);
            return None;
        }
        let mut entries = Vec::new();
        match &first.look {
            Look::Address(_) => {
                let mut values = vec![None; context.members.len()];
                for (node, script) in &scripts {
                    if let Look::Address(address) = &script.look {
                        values[*node] = Some(address.clone());
                    }
                }
                entries.extend(by_node(&values, context.members).map(|value| pair("address", value, None)));
                pace(first, &mut entries);
            }
            Look::File { path, fails_while_present } => {
                entries.push(pair("file", Value::text(path), None));
                if !fails_while_present {
                    entries.push(pair("fails_while", Value::text("absent"), None));
                }
                entries.extend(interval(first));
            }
            Look::Command(command) => {
                if let Some((_, other)) = scripts.iter().find(|(_, script)| script.look != first.look) {
                    let message = "on the other node it is another command, and here it is the one of the preferred node: give each a name of its \
                                   own";
                    context.sources.differ(other.at, message);
                }
                let message = match self.kind {
                    Kind::Process => {
                        "Keepalived is told by the kernel when a process ends; here it is looked for once a second, by a command that runs as \
                         `command_user` of [global]"
                    }
                    Kind::Script | Kind::Interface => {
                        "it runs as `command_user` of [global], without a shell of its own; take it out if it looks whether a program runs that \
                         lbctl takes the place of"
                    }
                };
                context.sources.advise(first.at, message);
                entries.push(pair("command", Value::List(command.iter().map(Value::text).collect()), None));
                pace(first, &mut entries);
            }
            Look::Proxy => return None,
        }
        Some(entries)
    }

    /// Says what becomes of a script that makes no tracker.
    fn is_lost(&self, script: &Script, context: &Context<'_>) -> bool {
        let message = match &script.look {
            _ if script.is_reversed => {
                context.sources.lost(script.place, "what works is never a failure here; let the check say the opposite");
                return true;
            }
            Look::Proxy => {
                let message = format!(
                    "`{}` is left out: whether the proxy serves is known in the process, and a node that does not gives the addresses up",
                    script.name.escape_debug()
                );
                context.sources.advise(script.at, message);
                return true;
            }
            Look::Address(address) => {
                let mut own = context.members.iter().filter(|member| member.address.to_string() == *address);
                match own.next() {
                    Some(member) => format!("{address} is node {}'s own address, which answers always", member.name),
                    None => return false,
                }
            }
            Look::File { .. } => return false,
            Look::Command(command) if command.join(" ").to_lowercase().contains("haproxy") => {
                "it looks at HAProxy, by its name: where it asks whether the proxy works, nothing has to be in its place, since that is \
                 known in the process; for anything else write [track.*] with command = [..]"
                    .to_owned()
            }
            Look::Command(command) if is_taken(command).is_err() => {
                let why = is_taken(command).err().unwrap_or_default();
                format!("our file does not take its command: {why}")
            }
            Look::Command(_) => return false,
        };
        context.sources.lost(script.at, format!("`{}`: {message}", script.name.escape_debug()));
        true
    }
}

fn kind(look: &Look) -> std::mem::Discriminant<Look> {
    std::mem::discriminant(look)
}

/// What Keepalived has without a word is written out: one answer decides there.
fn pace(script: &Script, entries: &mut Vec<Entry>) {
    entries.extend(interval(script));
    let timeout = script.timeout.or(script.interval).filter(|timeout| !timeout.is_zero());
    let note = script.timeout.is_none().then_some("Keepalived's default, the interval");
    entries.extend(timeout.map(|timeout| pair("timeout", Value::Text(write_duration(timeout)), note)));
    for (name, given) in [("rise", script.rise), ("fall", script.fall)] {
        let note = given.is_none().then_some("Keepalived's default");
        entries.push(pair(name, Value::Integer(given.unwrap_or(1).min(100).into()), note));
    }
}

fn interval(script: &Script) -> Option<Entry> {
    const RANGE: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(3600)];
    let given = script.interval?.clamp(RANGE[0], RANGE[1]);
    Some(pair("interval", Value::Text(write_duration(given)), None))
}
