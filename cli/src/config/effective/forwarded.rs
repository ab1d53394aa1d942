//! `forwarded` of a frontend.

use lb_proxy::config::{Forwarded, ForwardedHeader, ForwardedNode, Frontend};

use super::{line, list, quoted};

pub(super) fn write(out: &mut String, frontend: &Frontend) {
    let Some(Forwarded { headers, trust, parameters }) = &frontend.forwarded else { return };
    line(out, "forwarded.headers", list(headers.iter().map(|header| quoted(header.name()))));
    line(out, "forwarded.trust", list(trust.iter().map(|network| quoted(&network.to_string()))));
    if !headers.contains(&ForwardedHeader::Forwarded) {
        return;
    }
    let node = |node: &Option<ForwardedNode>| match node {
        None => "false".to_owned(),
        Some(ForwardedNode::Address) => "true".to_owned(),
        Some(ForwardedNode::Name(name)) => quoted(name.as_str()),
    };
    line(out, "forwarded.proto", parameters.proto);
    line(out, "forwarded.host", parameters.host);
    line(out, "forwarded.by", node(&parameters.by));
    line(out, "forwarded.by_port", parameters.by_port);
    line(out, "forwarded.for", node(&parameters.client));
    line(out, "forwarded.for_port", parameters.client_port);
}
