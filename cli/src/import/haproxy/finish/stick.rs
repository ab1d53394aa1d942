//! Stick tables: clients that stay by address.

use super::{World, backend::Part};
use crate::import::{
    document::Value,
    haproxy::{
        directive::{Fault, shown},
        file::Member,
        fits::Place,
        proxy::{RuleLine, StickTable, split_condition},
        sample::{Base, Inexact, Sample, Scene, Side},
        values::limit,
    },
};

/// `stick on src`, or `stick match src` and `stick store-request src`.
pub(super) fn finish(member: &Member, world: &World<'_>, part: &mut Part) {
    let lines: Vec<&RuleLine> =
        member.proxy.rules.iter().filter(|line| line.keyword.starts_with("stick ")).collect();
    let mut chosen = None;
    let (mut matches, mut stores) = (false, false);
    for line in &lines {
        match source(line, member, world) {
            Ok(prefix) => {
                matches |= line.keyword != "stick store-request";
                stores |= line.keyword != "stick match";
                chosen = Some((prefix, line.span));
            }
            Err(fault) => {
                world.notes.lost(fault.span.unwrap_or(line.span), fault.why);
                part.lost.push(line.span);
            }
        }
    }
    let Some((prefix, span)) = chosen else { return };
    if !(matches && stores) {
        world.notes.lost(span, "a client is remembered and found again here, both or neither");
        part.lost.push(span);
        return;
    }
    let Some(table) = &member.proxy.stick_table else { return };
    let mut entries = vec![("by".to_owned(), Value::text("source"))];
    if table.size > 0 {
        entries.push(("size".to_owned(), Value::Integer(table.size)));
    }
    entries.push(("expire".to_owned(), limit(table.expire.unwrap_or_default())));
    entries.push(("ipv6_prefix".to_owned(), Value::Integer(prefix)));
    let place = Place { is_http: member.proxy.is_http(), is_frontend: false, file: &world.options.output };
    let value = Value::Table(entries);
    match place.takes_key("stick", &value) {
        Ok(()) => part.keys.set("stick", value, span),
        Err(why) => {
            world.notes.lost(span, format!("our file does not take stick = {value}: {why}"));
            part.lost.push(span);
        }
    }
}

/// How many bits of an IPv6 address make one client.
fn source(line: &RuleLine, member: &Member, world: &World<'_>) -> Result<u64, Fault> {
    let (words, condition) = split_condition(&line.arguments);
    let (sample, rest) = words.split_first().ok_or("`stick` takes what clients are known by")?;
    if let Some(word) = condition.first() {
        return Err(Fault::at(word, "every client stays here, or none; conditions are not there"));
    }
    match rest {
        [] => {}
        [keyword, table] if keyword.text == "table" && table.text == member.written => {}
        [keyword, ..] => return Err(Fault::at(keyword, "a table is of its own section here")),
    }
    // What is no address of the client is refused below.
    let inexact = Inexact::default();
    let scene = Scene { maps: world.maps, side: Side::Request, inexact: &inexact };
    let of = Sample::parse(&sample.text, scene).map_err(|why| Fault::at(sample, why))?;
    let by_source = matches!(&of.base, Base::Placeholder(name) if name == "client.ip");
    let prefix = match of.functions.as_slice() {
        [] if by_source => 128,
        [mask] if by_source => {
            let bits = mask.strip_prefix("mask(32, ").and_then(|rest| rest.strip_suffix(')'));
            bits.and_then(|bits| bits.parse().ok()).filter(|bits| *bits > 0).ok_or_else(|| {
                Fault::at(sample, "clients are known by their whole IPv4 address here: ipmask(32, ..)")
            })?
        }
        _ => {
            return Err(Fault::at(
                sample,
                format!("`{}`: clients are known by their address here; write `cookie`", shown(&sample.text)),
            ));
        }
    };
    match &member.proxy.stick_table {
        Some(StickTable { kind, .. }) if kind == "ip" || kind == "ipv6" => Ok(prefix),
        Some(table) => Err(Fault {
            span: Some(table.span),
            why: "a table of addresses is what clients are remembered in".into(),
        }),
        None => Err("the section has no `stick-table`".into()),
    }
}
