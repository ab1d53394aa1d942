//! What servers are told of who has sent a request, as TOML.

use lb_proxy::config::{BackendForwarded, Forwarded, ForwardedHeader, ForwardedNode};

use super::{line, list, quoted};

pub(super) fn backend(out: &mut String, forwarded: &BackendForwarded) {
    match forwarded {
        BackendForwarded::AsFrontend => {}
        BackendForwarded::Off => line(out, "forwarded", false),
        BackendForwarded::Own(forwarded) => write(out, forwarded),
    }
}

pub(super) fn write(out: &mut String, forwarded: &Forwarded) {
    let Forwarded { headers, trust, parameters } = forwarded;
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
