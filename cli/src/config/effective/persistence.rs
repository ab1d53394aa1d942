//! How clients stay with their server, and what one of them may do.

use lb_proxy::config::{Backend, Frontend};

use super::{line, quoted, time};
use crate::config::rate;

pub(super) fn frontend(out: &mut String, frontend: &Frontend) {
    let Some(limits) = &frontend.per_source else { return };
    if let Some(connections) = limits.connections {
        line(out, "per_source.connections", connections);
    }
    if let Some(connection_rate) = limits.connection_rate {
        line(out, "per_source.connection_rate", quoted(&rate::write(connection_rate)));
    }
    line(out, "per_source.size", limits.size);
    line(out, "per_source.ipv6_prefix", limits.ipv6_prefix);
}

pub(super) fn backend(out: &mut String, backend: &Backend) {
    line(out, "persist", backend.persist);
    if let Some(stick) = &backend.stick {
        line(out, "stick.by", quoted("source"));
        line(out, "stick.size", stick.capacity.size);
        line(out, "stick.expire", time(stick.capacity.expire));
        line(out, "stick.ipv6_prefix", stick.ipv6_prefix);
    }
}
