//! Tells servers in fields of a request who has sent it and what was asked for: `Forwarded` (RFC 7239) and its older brothers.

use super::message::{Mark, Message, TooLarge};
use crate::{
    Endpoint,
    config::{BackendForwarded, Forwarded, ForwardedHeader, ForwardedNode},
    http::headers::{Sink, put_address, put_number},
    sample::Facts,
};

/// What is known of a request before its rules have changed anything of it.
#[derive(Debug)]
pub(super) struct Begun<'p> {
    policy: &'p Forwarded,
    scheme: &'static str,
    /// What the client asked for, if that is told.
    host: Option<Vec<u8>>,
    local: Endpoint,
    /// Of which of [`ForwardedHeader::ALL`] a line was added.
    added: [bool; ForwardedHeader::ALL.len()],
}

/// A request before its rules.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'h> {
    /// What the client asked for, where a backend may have to know: nothing, perhaps, in HTTP/1.0.
    pub(super) host: Option<&'h [u8]>,
    /// What is written from here on is what rules say.
    pub(super) mark: Mark,
}

/// Those of which there is one. Where a rule has said it, that is what a server is told, and nothing else beside it.
const SINGLE: [ForwardedHeader; 3] = [ForwardedHeader::Proto, ForwardedHeader::Host, ForwardedHeader::Port];

/// Behind the rules: what the backend has to say, or else what has `begun` for the frontend.
///
/// # Errors
/// No room for it.
pub(super) fn tell(
    of_backend: &BackendForwarded,
    begun: Option<Begun<'_>>,
    facts: &Facts<'_>,
    seen: Seen<'_>,
    message: &mut Message<'_>,
    work: &mut Vec<u8>,
) -> Result<(), TooLarge> {
    if *of_backend == BackendForwarded::AsFrontend {
        return begun.map_or(Ok(()), |begun| begun.end(facts.client, seen.mark, message, work));
    }
    let added = begun.map_or([false; ForwardedHeader::ALL.len()], |begun| begun.added);
    for (header, _) in ForwardedHeader::ALL.iter().zip(added).filter(|(_, is_added)| *is_added) {
        message.remove_older(header.name().as_bytes(), seen.mark);
    }
    let Some(policy) = of_backend.own() else { return Ok(()) };
    let host = seen.host.map(<[u8]>::to_vec);
    begin_with(policy, facts, host, seen.mark, message, work)?.end(facts.client, seen.mark, message, work)
}

/// Before the rules: what nobody may believe is taken away, and what there is once is there for them to see.
///
/// # Errors
/// No room for it.
pub(super) fn begin<'p>(
    policy: &'p Forwarded,
    facts: &Facts<'_>,
    message: &mut Message<'_>,
    work: &mut Vec<u8>,
) -> Result<Begun<'p>, TooLarge> {
    let host = message.host().filter(|_| policy.tells_host()).map(<[u8]>::to_vec);
    let mark = message.mark();
    begin_with(policy, facts, host, mark, message, work)
}

fn begin_with<'p>(
    policy: &'p Forwarded,
    facts: &Facts<'_>,
    host: Option<Vec<u8>>,
    mark: Mark,
    message: &mut Message<'_>,
    work: &mut Vec<u8>,
) -> Result<Begun<'p>, TooLarge> {
    let is_trusted = policy.trusts(facts.peer.ip());
    let mut begun = Begun {
        policy,
        scheme: facts.scheme().name(),
        host,
        local: facts.local,
        added: [false; ForwardedHeader::ALL.len()],
    };
    for &header in &policy.headers {
        let name = header.name().as_bytes();
        if !is_trusted {
            message.remove_older(name, mark);
        }
        work.clear();
        let is_known = match header {
            ForwardedHeader::Forwarded | ForwardedHeader::For => false,
            ForwardedHeader::Proto => {
                work.put(begun.scheme.as_bytes());
                true
            }
            ForwardedHeader::Host => begun.host.as_ref().map(|host| work.put(host)).is_some(),
            ForwardedHeader::Port => facts.local.port().map(|port| put_number(port.into(), work)).is_some(),
        };
        // Whoever was asked first has said it.
        if is_known && message.first(name).is_none() {
            message.add(name, work)?;
            begun.added[header as usize] = true;
        }
    }
    Ok(begun)
}

impl Begun<'_> {
    /// Behind the rules, which may have corrected who the client is: one more hop.
    ///
    /// # Errors
    /// No room for it.
    fn end(
        self,
        client: Endpoint,
        mark: Mark,
        message: &mut Message<'_>,
        work: &mut Vec<u8>,
    ) -> Result<(), TooLarge> {
        for header in &self.policy.headers {
            let name = header.name().as_bytes();
            work.clear();
            match (header, client.ip()) {
                (ForwardedHeader::Forwarded, _) => {
                    self.put_element(client, mark, message, work);
                    message.add(name, work)?;
                }
                (ForwardedHeader::For, Some(ip)) => {
                    put_address(ip, work);
                    message.add(name, work)?;
                }
                (single, _) if SINGLE.contains(single) && message.first_since(name, mark).is_some() => {
                    message.remove_older(name, mark);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A forwarded-element (RFC 7239 §4). What a rule has said in a field of its own is said here as well.
    fn put_element(&self, client: Endpoint, mark: Mark, message: &Message<'_>, out: &mut Vec<u8>) {
        let parameters = &self.policy.parameters;
        let by_rule = |header: ForwardedHeader| message.first_since(header.name().as_bytes(), mark);
        if parameters.proto {
            put_name("proto", out);
            put_value(by_rule(ForwardedHeader::Proto).unwrap_or(self.scheme.as_bytes()), out);
        }
        let host = by_rule(ForwardedHeader::Host).or(self.host.as_deref());
        if let Some(host) = host.filter(|_| parameters.host) {
            put_name("host", out);
            put_value(host, out);
        }
        put_end("by", parameters.by.as_ref(), parameters.by_port, self.local, out);
        put_end("for", parameters.client.as_ref(), parameters.client_port, client, out);
    }
}

fn put_name(name: &str, out: &mut Vec<u8>) {
    if !out.is_empty() {
        out.put(b";");
    }
    out.put(name.as_bytes());
    out.put(b"=");
}

fn put_end(name: &str, node: Option<&ForwardedNode>, has_port: bool, end: Endpoint, out: &mut Vec<u8>) {
    if let Some(node) = node {
        put_name(name, out);
        put_node(node, end, has_port, out);
    }
}

/// RFC 7239 §6. An address of IPv6 stands in brackets, and what has a colon or a bracket in quotes.
fn put_node(node: &ForwardedNode, end: Endpoint, has_port: bool, out: &mut Vec<u8>) {
    let port = end.port().filter(|_| has_port);
    let ip = end.ip().map(|ip| ip.to_canonical());
    let is_bracketed = *node == ForwardedNode::Address && ip.is_some_and(|ip| ip.is_ipv6());
    let is_quoted = is_bracketed || port.is_some();
    let put_if = |is_there: bool, byte: &[u8], out: &mut Vec<u8>| {
        if is_there {
            out.put(byte);
        }
    };
    put_if(is_quoted, b"\"", out);
    put_if(is_bracketed, b"[", out);
    match (node, ip) {
        (ForwardedNode::Name(name), _) => out.put(name.as_str().as_bytes()),
        (ForwardedNode::Address, Some(ip)) => put_address(ip, out),
        (ForwardedNode::Address, None) => out.put(b"unknown"),
    }
    put_if(is_bracketed, b"]", out);
    if let Some(port) = port {
        out.put(b":");
        put_number(port.into(), out);
    }
    put_if(is_quoted, b"\"", out);
}

/// A token as it is, anything else in quotes (RFC 9110 §5.6.4): what a client writes there ends neither the value nor the element.
fn put_value(value: &[u8], out: &mut Vec<u8>) {
    let is_of_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    if !value.is_empty() && value.iter().all(is_of_token) {
        return out.put(value);
    }
    out.put(b"\"");
    for byte in value {
        if matches!(byte, b'"' | b'\\') {
            out.put(b"\\");
        }
        out.put(&[*byte]);
    }
    out.put(b"\"");
}

#[cfg(test)]
mod tests;
