//! Who says in PROXY headers whose connection it is.

use lb_proxy::config::{AcceptProxy, ProxyVersion, SendProxy, Server};

use super::{is_listed, list, quoted};
use crate::config::raw::PROXY_EXTENSIONS;

/// Behind the other keys of a listener.
pub(super) fn accept(accept: &Option<AcceptProxy>) -> String {
    match accept {
        None => String::new(),
        Some(AcceptProxy::Everybody) => ", accept_proxy = true".to_owned(),
        Some(AcceptProxy::From(networks)) => {
            let networks = networks.iter().map(|network| quoted(&network.to_string()));
            format!(", accept_proxy = {}", list(networks))
        }
    }
}

/// What servers without keys of their own have from their backend.
pub(super) fn common(servers: &[Server]) -> Option<&SendProxy> {
    servers.iter().find(|server| is_listed(server))?.send_proxy.as_ref()
}

/// Behind the address of a server.
pub(super) fn of_server(server: &Server, common: Option<&SendProxy>) -> String {
    let own = server.send_proxy.as_ref();
    let mut keys = String::new();
    if own != common {
        keys += &format!(", send_proxy = {}", send(own));
    }
    if own.is_some() || server.check_proxy.is_some() {
        keys += &format!(", check_send_proxy = {}", server.check_proxy.is_some());
    }
    keys
}

/// The value of `send_proxy`.
pub(super) fn send(send: Option<&SendProxy>) -> String {
    let Some(send) = send else { return "false".to_owned() };
    let version = quoted(match send.version {
        ProxyVersion::V1 => "v1",
        ProxyVersion::V2 => "v2",
    });
    if send.extensions.is_empty() {
        return version;
    }
    let is_on = |extension| send.extensions.contains(extension);
    let names = PROXY_EXTENSIONS.iter().filter(|(_, extension)| is_on(extension));
    format!("{{ version = {version}, extensions = {} }}", list(names.map(|(name, _)| quoted(name))))
}
