//! The top of the page: the node, its addresses, what is wrong.

use std::fmt::{self, Write};

use super::Escaped;
use crate::{
    control::{Group, GroupNode, Phase, Ready, Status, Timestamp},
    output::{
        age::{age, fine_age},
        text::thousands,
    },
};

pub(super) fn write(out: &mut String, status: &Status) -> fmt::Result {
    let up = age(status.at.saturating_since(status.started));
    write!(
        out,
        "<h1>{}</h1>\n<p>lbctl {}, up {up} · process {} · file {} {} · {} of {} connections",
        Escaped(&status.node),
        Escaped(&status.version),
        status.pid,
        Escaped(&status.file.path),
        Escaped(status.file.hash.get(..6).unwrap_or_default()),
        thousands(status.connections),
        thousands(status.maxconn),
    )?;
    match &status.phase {
        Phase::Running => {}
        Phase::Waiting { reason } => write!(out, " · <b class=\"bad\">waiting: {}</b>", Escaped(reason))?,
        Phase::Stopping { reason } => write!(out, " · <b class=\"bad\">stopping: {}</b>", Escaped(reason))?,
    }
    out.push_str("</p>\n");
    problems(out, status)?;
    status.groups.iter().try_for_each(|group| addresses(out, group, status.at))
}

fn problems(out: &mut String, status: &Status) -> fmt::Result {
    if status.problems.is_empty() && status.notes.is_empty() {
        return Ok(());
    }
    out.push_str("<ul class=\"problems\">\n");
    for problem in &status.problems {
        let since = problem.since.map(|since| format!(" for {}", age(status.at.saturating_since(since))));
        writeln!(
            out,
            "<li><b>{}</b>{}: {}</li>",
            Escaped(&problem.what),
            since.unwrap_or_default(),
            Escaped(&problem.look_at)
        )?;
    }
    for note in &status.notes {
        writeln!(out, "<li class=\"note\">{}</li>", Escaped(note))?;
    }
    out.push_str("</ul>\n");
    Ok(())
}

/// Who holds what, and why.
fn addresses(out: &mut String, group: &Group, at: Timestamp) -> fmt::Result {
    let vips: Vec<_> =
        group.vips.iter().map(|vip| format!("{} {}", vip.name, vip.addresses.join(", "))).collect();
    let holders = match group.holders.as_slice() {
        [] if group.is_holder_unknown() => "not known here".to_owned(),
        [] => "held by nobody".to_owned(),
        holders if group.is_held_in_part() => format!("held in part by {}", holders.join(" and ")),
        holders => format!("held by {}", holders.join(" and ")),
    };
    let since = group.since.map(|since| format!(" for {}", age(at.saturating_since(since))));
    writeln!(
        out,
        "<h2>{} <small>{}{}: {}</small></h2>",
        Escaped(vips.join("; ")),
        Escaped(holders),
        since.unwrap_or_default(),
        Escaped(&group.why)
    )?;
    out.push_str(
        "<table class=\"narrow\">\n<thead><tr><th>Node</th><th class=\"text\">State</th><th class=\"text\">Ready</th><th>Priority</th>\
         <th>Last heard</th></tr></thead>\n<tbody>\n",
    );
    group.nodes.iter().try_for_each(|node| self::node(out, node, at))?;
    out.push_str("</tbody>\n</table>\n");
    Ok(())
}

fn node(out: &mut String, node: &GroupNode, at: Timestamp) -> fmt::Result {
    let (class, ready) = match &node.ready {
        _ if node.silent => ("down", "silent".to_owned()),
        None => ("none", "unknown".to_owned()),
        Some(Ready::Yes) => ("up", "yes".to_owned()),
        Some(Ready::Degraded { reasons }) => ("unsure", format!("degraded: {}", reasons.join("; "))),
        Some(Ready::Starting { reason }) => ("unsure", format!("not yet: {reason}")),
        Some(Ready::Leaving { reason }) => ("away", format!("leaving: {reason}")),
        Some(Ready::Fault { reason }) => ("down", format!("no: {reason}")),
    };
    let priority = node.priority.map_or_else(|| "-".to_owned(), |priority| priority.to_string());
    let heard = match node.heard {
        Some(heard) => format!("{} ago", fine_age(at.saturating_since(heard))),
        None if node.local => "this node".to_owned(),
        None => "never".to_owned(),
    };
    writeln!(
        out,
        "<tr class=\"{class}\"><td>{}</td><td class=\"text\" data-l=\"State\"><span class=\"word\">{}</span></td>\
         <td class=\"text words\" data-l=\"Ready\">{}</td><td data-l=\"Priority\">{priority}</td><td data-l=\"Last heard\">{heard}</td></tr>",
        Escaped(&node.name),
        Escaped(node.state.as_deref().unwrap_or("unknown")),
        Escaped(ready)
    )
}
