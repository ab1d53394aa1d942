//! What a node can say of its groups in one datagram.

use lb_vrrp::PeerKind;

use super::group;
use crate::{
    config::{
        diagnostic::Report,
        model::Cluster,
        raw::{self, Named},
    },
    daemon::hello_room,
};

/// A warning where the hello leaves groups out.
pub(super) fn check(vips: &[Named<raw::Vip>], cluster: &Cluster, report: &Report<'_>) {
    let nodes = || cluster.nodes.iter().filter(|node| node.kind == PeerKind::Lbctl);
    let mut groups: Vec<&str> = Vec::new();
    for vip in vips {
        let name = group::name(&vip.value);
        if !groups.contains(&name) {
            groups.push(name);
        }
    }
    let is_signed = cluster.secret.is_some();
    let room = |name: &str| hello_room(name, &groups, nodes().count().saturating_sub(1), is_signed);
    let Some(room) = nodes().map(|node| room(&node.name)).min() else { return };
    if nodes().count() < 2 || room >= groups.len() {
        return;
    }
    let without: Vec<_> = groups.iter().skip(room).map(|name| format!("`{name}`")).collect();
    let first = vips.iter().find(|vip| groups.get(room).is_some_and(|name| group::name(&vip.value) == *name));
    let Some(vip) = first else { return };
    let span = vip.value.group.as_ref().map_or(vip.name.span, |group| group.span);
    report.warning(
        span,
        format!(
            "a node's hello, one datagram, has room for {room} of the {} groups, whatever there is to say of them. Of {} it may say nothing: `lbctl status` shows only what this \
             node sees of them, and a switchover or a drain of their holder is refused without --force then. Give vips that may move together one group",
            groups.len(),
            without.join(", ")
        ),
    );
}
