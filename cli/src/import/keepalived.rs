//! keepalived.conf into our file: that of one node, those of several, or one with lines for each of them.
//!
//! ```text
//! files -> lines   -> statements -> nodes, with instances -> routers by what is on the wire -> tables
//! source   expand     tree          node, instance, script   nodes, groups                    vips, trackers
//! ```
//! Adding a word is one row of `words`, and where it is converted a line in the file of its block. The book prints the rows
//! ([`tables`]).

mod expand;
mod groups;
mod hooks;
mod instance;
mod node;
mod nodes;
mod script;
mod source;
mod trackers;
mod tree;
mod vips;
mod words;

use std::{collections::BTreeSet, net::Ipv4Addr, path::PathBuf};

use self::{
    node::Node,
    nodes::Member,
    source::{Place, Sources, Unreadable},
    vips::{Context, Made},
};
use super::{
    Refused, Vip,
    document::{Table, Value, key, pair},
    haproxy::Known,
};
use crate::config::{
    Diagnostics,
    diagnostic::{Report, Span},
};

/// What is wanted beside the files.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What can't be converted is an error.
    pub strict: bool,
    /// Names and own addresses of the nodes; where there are none, what the files say.
    pub nodes: Vec<(String, Ipv4Addr)>,
    /// The node that still runs Keepalived.
    pub foreign: Option<String>,
}

/// The file of one node.
#[derive(Clone, Debug)]
pub struct Input {
    /// How reports call it.
    pub name: String,
    /// What is in it.
    pub bytes: Vec<u8>,
    /// Where files are that it includes.
    pub folder: PathBuf,
}

/// What became of the files: the part of ours that is about the pair.
#[derive(Clone, Debug)]
pub struct Pair {
    pub(crate) tables: Vec<Table>,
    /// The addresses that move.
    pub vips: Vec<Vip>,
    /// The nodes, the preferred one first.
    pub nodes: Vec<(String, Ipv4Addr)>,
    /// What is to be known, by file.
    pub notes: Vec<Diagnostics>,
    /// How many of the notes are about something that is not in our file and would have to be.
    pub lost: usize,
    /// What has to be written into it before it serves.
    pub missing: Option<String>,
}

/// Is that a file of Keepalived's, and not of HAProxy's?
pub fn is_keepalived(bytes: &[u8]) -> bool {
    let top: Vec<&str> = words::names(words::TOP).collect();
    expand::is_keepalived(&String::from_utf8_lossy(bytes), &top)
}

/// Converts the files of a cluster's nodes.
pub fn read(inputs: &[Input], options: &Options) -> Result<Pair, Refused> {
    let mut sources = Sources::default();
    let mut files = Vec::new();
    for input in inputs {
        let file = sources.add(&input.name, &input.bytes, &input.folder).map_err(Refused::Source)?;
        files.push(file);
    }
    let nodes = read_nodes(&files, &sources).map_err(|unreadable| refused(unreadable, &sources))?;
    if nodes.iter().all(|node| node.instances.is_empty()) {
        let place = Place { file: files.first().copied().unwrap_or(0), span: Span { start: 0, end: 0 } };
        let message = "no `vrrp_instance` with an address is in this file, so there is no pair to make of it";
        return Err(refused(Unreadable { place, message: message.to_owned() }, &sources));
    }
    let (members, routers) = nodes::members(&nodes, options, &sources).map_err(Refused::Arguments)?;
    let foreign = match &options.foreign {
        None => None,
        Some(name) => Some(foreign(name, &members).map_err(Refused::Arguments)?),
    };
    say_what_is_missing(&members, foreign, &sources);
    let (groups, of) = groups::groups(&routers, &members, &sources);
    let context = Context { members: &members, groups: &groups, foreign, sources: &sources };
    let mut names = BTreeSet::new();
    let mut tables = vec![cluster(&routers, &context)];
    let mut vips = Vec::new();
    // Groups and trackers are those of vips that are there.
    let mut kept = Vec::new();
    let mut named = Vec::new();
    for (index, router) in routers.iter().enumerate() {
        let made = vips::made(router, &groups[of[index]], &mut names, &context);
        if made.is_empty() {
            continue;
        }
        kept.push(index);
        named.extend(made.first().and_then(|made| made.vips.first()).map(|vip| vip.table.clone()));
        for Made { table, vips: own } in made {
            tables.push(table);
            vips.extend(own);
        }
    }
    let of: Vec<usize> = kept.iter().map(|index| of[*index]).collect();
    let routers: Vec<_> = routers
        .into_iter()
        .enumerate()
        .filter(|(index, _)| kept.contains(index))
        .map(|(_, router)| router)
        .collect();
    tables.extend(trackers::tables(&routers, &of, &context));
    tables.extend(hooks::tables(&routers, &named, &context));
    let missing: Vec<_> = members.iter().filter(|member| member.is_placeholder).collect();
    let missing = missing.first().map(|first| {
        let all: Vec<_> =
            missing.iter().map(|member| format!("{} ({})", member.name, member.address)).collect();
        let _ = first;
        format!(
            "[cluster] has addresses that no machine has, for {}: write the nodes' own",
            all.join(" and ")
        )
    });
    let nodes = members.iter().map(|member| (member.name.clone(), member.address)).collect();
    let (notes, lost) = sources.finish(options.strict);
    Ok(Pair { tables, vips, nodes, notes, lost, missing })
}

/// One node for each file; of one file with lines for several, one for each of these.
fn read_nodes(files: &[usize], sources: &Sources) -> Result<Vec<Node>, Unreadable> {
    let mut nodes = Vec::new();
    for file in files {
        let place = Place { file: *file, span: Span { start: 0, end: 0 } };
        let ids = expand::conditions(sources, *file);
        let named: Vec<_> =
            ids.iter().filter(|(_, is_negated)| !is_negated).map(|(id, _)| id.as_str()).collect();
        let read = |id: Option<&str>| {
            let lines = expand::lines(sources, *file, id)?;
            Ok(Node::read(&tree::read(&lines)?, place, id, sources))
        };
        match (named.as_slice(), files.len()) {
            ([], 1) if !ids.is_empty() => {
                nodes.push(read(Some(ids[0].0.as_str()))?);
                nodes.push(read(None)?);
            }
            ([] | [_], _) => nodes.push(read(named.first().copied())?),
            (several, 1) => {
                for id in several {
                    nodes.push(read(Some(id))?);
                }
            }
            (several, _) => {
                let message = format!(
                    "this file has lines for {}, so it is that of all nodes: give it alone",
                    several.iter().map(|id| format!("@{id}")).collect::<Vec<_>>().join(" and ")
                );
                return Err(Unreadable { place, message });
            }
        }
    }
    Ok(nodes)
}

fn refused(unreadable: Unreadable, sources: &Sources) -> Refused {
    let file = sources.file(unreadable.place.file);
    let report = Report::new(&file.text);
    report.error(unreadable.place.span, unreadable.message);
    Refused::Source(report.finish(&file.name))
}

fn foreign(name: &str, members: &[Member<'_>]) -> Result<usize, String> {
    members.iter().position(|member| member.name == name).ok_or_else(|| {
        let names: Vec<_> = members.iter().map(|member| member.name.as_str()).collect();
        format!("--foreign {name}: no node is called so; they are {}", names.join(" and "))
    })
}

/// With one file of two; and with which version they speak.
fn say_what_is_missing(members: &[Member<'_>], foreign: Option<usize>, sources: &Sources) {
    let known: Vec<_> = members.iter().filter_map(|member| member.node).collect();
    if let ([node], Some(other)) = (known.as_slice(), members.iter().find(|member| member.node.is_none())) {
        let place = node.instances.first().map_or(node.place, |one| one.place);
        let message = format!(
            "only the file of one node is here: the other one is called {} in ours, its interfaces are taken to have the same names, \
             and which node is preferred is what this file's `state` says. `lbctl import` takes both files: lb1.conf lb2.conf",
            other.name
        );
        sources.advise(place, message);
    }
    let speaks_2 = known.iter().flat_map(|node| &node.instances).find(|one| one.version != Some(3));
    if let (Some(instance), None) = (speaks_2.filter(|one| one.families()[0]), foreign) {
        let message = "Keepalived speaks VRRP version 2 here, and two nodes of lbctl speak version 3: change both nodes at once, or one after \
                       the other with the file that --foreign NODE makes";
        sources.advise(instance.place, message);
    }
}

fn cluster(routers: &[nodes::Router<'_>], context: &Context<'_>) -> Table {
    let mut entries = Vec::new();
    let priorities = context.foreign.map(|foreign| priorities(routers, foreign, context));
    for (index, member) in context.members.iter().enumerate() {
        let address = Value::Text(member.address.to_string());
        let value = match &priorities {
            None => address,
            Some(priorities) => {
                let mut entries = vec![
                    ("address".to_owned(), address),
                    ("priority".to_owned(), Value::Integer(priorities[index].into())),
                ];
                if context.foreign == Some(index) {
                    entries.push(("foreign".to_owned(), Value::text("keepalived")));
                }
                Value::Table(entries)
            }
        };
        let note = member.is_placeholder.then_some("A PLACEHOLDER: write this node's own address");
        entries.push(pair(&format!("node.{}", key(&member.name)), value, note));
    }
    Table {
        heading: "cluster".into(),
        comments: vec!["The same file, byte for byte, on every node. The first one is preferred.".into()],
        entries,
    }
}

/// Those of the files, as far as ours takes them: 18 to 254, and no two alike. What is not known goes beside what is.
fn priorities(routers: &[nodes::Router<'_>], foreign: usize, context: &Context<'_>) -> Vec<u8> {
    const APART: u8 = 50;
    const RANGE: [u8; 2] = [18, 254];
    let written = |index: usize| {
        let mut all = routers.iter().filter_map(|router| router.instances[index]);
        all.next().map(|instance| instance.priority)
    };
    let mut given: Vec<Option<u8>> = Vec::new();
    for index in 0..context.members.len() {
        let Some((priority, place)) = written(index) else {
            given.push(None);
            continue;
        };
        let mut used = priority.clamp(RANGE[0], RANGE[1]);
        if given.contains(&Some(used)) {
            used = if used > RANGE[0] { used - 1 } else { used + 1 };
        }
        if used != priority {
            let message = format!("a priority is 18 to 254, and no two nodes have the same: {used} here");
            context.sources.differ(place, message);
            if index == foreign {
                context.sources.lost(
                    place,
                    format!("write `priority {used}` there, too, before the other node runs lbctl"),
                );
            }
        }
        given.push(Some(used));
    }
    let mut all: Vec<u8> = Vec::new();
    for (index, one) in given.iter().enumerate() {
        let next = given[index..].iter().flatten().next().map(|next| next.saturating_add(APART));
        let last = all.last().map(|last| last.saturating_sub(APART));
        let mut free = one.or(last).or(next).unwrap_or(RANGE[1]).clamp(RANGE[0], RANGE[1]);
        while one.is_none() && (all.contains(&free) || given.contains(&Some(free))) {
            free = if free > RANGE[0] { free - 1 } else { RANGE[1] };
        }
        all.push(free);
    }
    all
}

/// Every word that is known, by block, for the book.
pub fn tables() -> Vec<(&'static str, Vec<Known>)> {
    let of = |rows: &'static [words::Row]| rows.iter().map(|row| row.known).collect();
    vec![
        ("`vrrp_instance`", of(words::INSTANCE)),
        ("`vrrp_script`", of(words::SCRIPT)),
        ("`vrrp_track_process`", of(words::PROCESS)),
        ("`vrrp_sync_group`", of(words::SYNC_GROUP)),
        ("`global_defs`", of(words::GLOBAL)),
        ("The rest of the file", of(words::TOP)),
    ]
}
