//! `bind`: where a frontend listens.

use std::net::SocketAddr;

use lb_proxy::config::{AcceptProxy, Inherited, UnixBind};

use super::{Tls, proxy_protocol};
use crate::config::{
    diagnostic::Span,
    reader::{At, Fields, Value},
    text,
};

/// One entry of `bind`.
#[derive(Debug)]
pub(crate) struct Bind {
    pub(crate) span: Span,
    pub(crate) address: BindAddress,
    /// Whose connections begin with a PROXY header.
    pub(crate) accept_proxy: Option<AcceptProxy>,
    /// How TLS is spoken there, if it is.
    pub(crate) tls: Option<Tls>,
    /// A client may begin with HTTP/2 there, without TLS.
    pub(crate) http2: Option<At<bool>>,
    /// A stream of HTTP/2 may be a WebSocket.
    pub(crate) http2_websocket: Option<At<bool>>,
}

#[derive(Debug)]
pub(crate) enum BindAddress {
    /// With the text of the file.
    Address { text: String, address: SocketAddr },
    /// Every address of a vip.
    Vip { vip: At<String>, port: u16 },
    /// A Unix-domain socket.
    Unix(UnixBind),
    /// A socket that whoever starts the process passes.
    Inherited(Inherited),
}

const EXPECTED: &str = "an address and a port, as in \"*:80\", or { vip = \"web\", port = 80 }";

impl Bind {
    pub(super) fn read_all(value: Value<'_>) -> Vec<Self> {
        if value.is_empty_list() {
            value.mismatch("at least one address, as in bind = \"*:80\"");
        }
        value.one_or_list().iter().filter_map(Self::read).collect()
    }

    fn read(value: &Value<'_>) -> Option<Self> {
        let span = value.span;
        if !value.is_table() {
            let address = read_text(value, EXPECTED)?;
            let (accept_proxy, tls, http2, http2_websocket) = (None, None, None, None);
            return Some(Self { span, address, accept_proxy, tls, http2, http2_websocket });
        }
        let fields = value.fields("`bind`".into(), EXPECTED)?;
        let has_address = ["unix", "fd", "socket"].iter().all(|key| fields.value(key).is_none());
        let accept_proxy = proxy_protocol::accept(&fields, has_address);
        let tls = fields.value("tls").and_then(|value| Tls::read(&value));
        let http2 = fields.boolean("http2");
        if let (Some(http2), Some(_)) = (&http2, &tls) {
            let message = "http2 is for listeners without TLS; with TLS it is offered anyway (tls.alpn)";
            fields.report.error(http2.span, message);
        }
        let http2_websocket = fields.boolean("http2_websocket");
        Some(Self { span, address: read_table(span, fields)?, accept_proxy, tls, http2, http2_websocket })
    }
}

fn read_text(value: &Value<'_>, expected: &str) -> Option<BindAddress> {
    let parse = |text: &str| match text::unix_address(text) {
        Some(address) => address.and_then(text::listening).map(BindAddress::Unix),
        None => {
            text::bind_address(text).map(|address| BindAddress::Address { text: text.to_owned(), address })
        }
    };
    value.parsed(expected, parse).map(|address| address.value)
}

fn read_table(span: Span, fields: Fields<'_>) -> Option<BindAddress> {
    if fields.value("unix").is_some() {
        return read_unix(fields).map(BindAddress::Unix);
    }
    let (descriptor, socket) = (fields.value("fd"), fields.value("socket"));
    if descriptor.is_some() || socket.is_some() {
        let fd = descriptor.and_then(|value| value.integer(3..=1_048_575));
        let fd = fd.and_then(|fd| i32::try_from(fd.value).ok());
        let name = socket
            .and_then(|value| value.parsed("the name of a passed socket, as in \"web\"", text::socket_name));
        if fd.is_some() && name.is_some() {
            fields.report.error(span, "`fd` and `socket` both name a passed socket; remove one");
        }
        fields
            .finish(|key| (key == "vip" || key == "port").then(|| "a passed socket has its address".into()));
        let name = name.map(|name| Inherited::Named(name.value));
        return name.or(fd.map(Inherited::Descriptor)).map(BindAddress::Inherited);
    }
    if let Some(value) = fields.value("address") {
        let address = read_text(&value, "an address and a port, as in \"*:80\"");
        fields.finish(|key| {
            (key == "vip" || key == "port").then(|| "the address has its port, and is no vip's".into())
        });
        return address;
    }
    fields.require("vip", "vip = \"web\", the name of a [vip.*]");
    fields.require("port", "port = 80");
    let vip = fields.string("vip", "the name of a [vip.*]");
    let port = fields.integer("port", 1..=65_535).and_then(|port| u16::try_from(port.value).ok());
    for key in ["mode", "user", "group"] {
        if let Some(value) = fields.value(key) {
            let example = "{ unix = \"/run/app.sock\", mode = \"0660\" }";
            fields.report.error(value.span, format!("{key} belongs to a socket with a file: {example}"));
        }
    }
    fields.finish(|_| None);
    Some(BindAddress::Vip { vip: vip?, port: port? })
}

fn read_unix(fields: Fields<'_>) -> Option<UnixBind> {
    let unix = fields.value("unix")?;
    let bind = unix.parsed("a path, as in \"/run/app.sock\", or \"@app\"", text::unix_bind);
    let mode = fields.value("mode").and_then(|value| {
        value.parsed("the rights of the socket in octal, in quotes: mode = \"0660\"", text::file_mode)
    });
    let user = fields.value("user").and_then(|value| super::super::owner::user(&value));
    let group = fields.value("group").and_then(|value| super::super::owner::group(&value));
    let is_abstract = bind.as_ref().is_some_and(|bind| bind.value.address.path().is_none());
    if is_abstract {
        let spans = [mode.as_ref().map(|at| at.span), user.as_ref().map(|at| at.span)];
        for span in spans.into_iter().chain([group.as_ref().map(|at| at.span)]).flatten() {
            let message = "a name that is no file has no rights: everybody on this machine may connect; give it a path, or leave this out";
            fields.report.error(span, message);
        }
    }
    fields.finish(|key| {
        matches!(key, "vip" | "port" | "fd" | "socket")
            .then(|| "a Unix socket is a listener of its own".into())
    });
    Some(UnixBind {
        mode: mode.map(|at| at.value),
        user: user.map(|at| at.value),
        group: group.map(|at| at.value),
        ..bind?.value
    })
}
