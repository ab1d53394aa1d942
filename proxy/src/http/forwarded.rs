//! Tells servers in fields of a request who has sent it and what was asked for: `Forwarded` (RFC 7239) and its older brothers.

use super::message::{Message, TooLarge};
use crate::{
    Endpoint,
    config::{BackendForwarded, Forwarded, ForwardedHeader, ForwardedNode, ForwardedParameters},
    http::headers::{Sink, put_address, put_number},
    sample::Facts,
};

/// What is known of a request before its rules have changed anything of it.
#[derive(Debug)]
pub(super) struct Begun<'p> {
    policy: &'p Forwarded,
    /// An element of `Forwarded` up to its client.
    element: Vec<u8>,
    /// Of which of [`ForwardedHeader::ALL`] a line was added.
    added: [bool; ForwardedHeader::ALL.len()],
}

/// Behind the rules: what the backend has to say, or else what has `begun` for the frontend. `host` is what the client asked for, whatever
/// rules have made of it.
///
/// # Errors
/// No room for it.
pub(super) fn tell(
    of_backend: &BackendForwarded,
    begun: Option<Begun<'_>>,
    facts: &Facts<'_>,
    host: Option<&[u8]>,
    message: &mut Message<'_>,
    work: &mut Vec<u8>,
) -> Result<(), TooLarge> {
    if *of_backend == BackendForwarded::AsFrontend {
        return begun.map_or(Ok(()), |begun| begun.end(facts.client, message, work));
    }
    let added = begun.map_or([false; ForwardedHeader::ALL.len()], |begun| begun.added);
    for (header, _) in ForwardedHeader::ALL.iter().zip(added).filter(|(_, is_added)| *is_added) {
        message.remove(header.name().as_bytes());
    }
    let Some(policy) = of_backend.own() else { return Ok(()) };
    begin(policy, facts, host, message, work)?.end(facts.client, message, work)
}

/// Before the rules: what nobody may believe is taken away, and what there is once is there for them to see. `host` is what the client
/// asked for, if it is no longer there.
///
/// # Errors
/// No room for it.
pub(super) fn begin<'p>(
    policy: &'p Forwarded,
    facts: &Facts<'_>,
    host: Option<&[u8]>,
    message: &mut Message<'_>,
    work: &mut Vec<u8>,
) -> Result<Begun<'p>, TooLarge> {
    let is_trusted = policy.trusts(facts.peer.ip());
    let (mut element, mut added) = (Vec::new(), [false; ForwardedHeader::ALL.len()]);
    for &header in &policy.headers {
        let name = header.name().as_bytes();
        if !is_trusted {
            message.remove(name);
        }
        let is_said = message.first(name).is_some();
        work.clear();
        match header {
            ForwardedHeader::Forwarded => {
                put_element(&policy.parameters, facts, host.or(message.host()), &mut element);
                continue;
            }
            ForwardedHeader::For => continue,
            // Of these there is one: whoever was asked first has said it.
            ForwardedHeader::Proto | ForwardedHeader::Host | ForwardedHeader::Port if is_said => continue,
            ForwardedHeader::Proto => work.put(facts.scheme().name().as_bytes()),
            ForwardedHeader::Host => match host.or(message.host()) {
                Some(host) => work.put(host),
                None => continue,
            },
            ForwardedHeader::Port => match facts.local.port() {
                Some(port) => put_number(port.into(), work),
                None => continue,
            },
        }
        message.add(name, work)?;
        added[header as usize] = true;
    }
    Ok(Begun { policy, element, added })
}

impl Begun<'_> {
    /// Behind the rules, which may have corrected who the client is: one more hop.
    ///
    /// # Errors
    /// No room for it.
    pub(super) fn end(
        mut self,
        client: Endpoint,
        message: &mut Message<'_>,
        work: &mut Vec<u8>,
    ) -> Result<(), TooLarge> {
        for header in &self.policy.headers {
            let name = header.name().as_bytes();
            match (header, client.ip()) {
                (ForwardedHeader::Forwarded, _) => {
                    let parameters = &self.policy.parameters;
                    put_end(
                        "for",
                        parameters.client.as_ref(),
                        parameters.client_port,
                        client,
                        &mut self.element,
                    );
                    message.add(name, &self.element)?;
                }
                (ForwardedHeader::For, Some(ip)) => {
                    work.clear();
                    put_address(ip, work);
                    message.add(name, work)?;
                }
                (
                    ForwardedHeader::For
                    | ForwardedHeader::Proto
                    | ForwardedHeader::Host
                    | ForwardedHeader::Port,
                    _,
                ) => {}
            }
        }
        Ok(())
    }
}

/// A forwarded-element (RFC 7239 §4) without its client.
fn put_element(parameters: &ForwardedParameters, facts: &Facts<'_>, host: Option<&[u8]>, out: &mut Vec<u8>) {
    if parameters.proto {
        put_name("proto", out);
        out.put(facts.scheme().name().as_bytes());
    }
    if let Some(host) = host.filter(|_| parameters.host) {
        put_name("host", out);
        put_value(host, out);
    }
    put_end("by", parameters.by.as_ref(), parameters.by_port, facts.local, out);
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
