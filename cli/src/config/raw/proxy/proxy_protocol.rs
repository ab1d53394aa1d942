//! `accept_proxy` of a listener and `send_proxy` of servers: who says in PROXY headers whose connection it is.

use lb_proxy::config::{AcceptProxy, ProxyExtension, ProxyVersion, SendProxy};

use crate::config::{
    reader::{At, Fields, Value},
    text,
};

const VERSIONS: [(&str, ProxyVersion); 2] = [("v1", ProxyVersion::V1), ("v2", ProxyVersion::V2)];

/// What a header of version 2 may say besides.
pub(crate) const EXTENSIONS: [(&str, ProxyExtension); 7] = [
    ("crc32c", ProxyExtension::Crc32c),
    ("alpn", ProxyExtension::Alpn),
    ("authority", ProxyExtension::Authority),
    ("ssl", ProxyExtension::Ssl),
    ("cert-cn", ProxyExtension::CertCn),
    ("ssl-cipher", ProxyExtension::SslCipher),
    ("unique-id", ProxyExtension::UniqueId),
];

const SENDERS: &str =
    "the networks of the proxies in front, as in [\"192.0.2.0/24\"], or true for whoever connects";

const SEND: &str = "\"v1\", \"v2\", false, or a table, as in { version = \"v2\", extensions = [\"crc32c\"] }";

/// `accept_proxy` of a listener; `has_address`: who connects there has one.
pub(super) fn accept(fields: &Fields<'_>, has_address: bool) -> Option<AcceptProxy> {
    let value = fields.value("accept_proxy")?;
    match value.as_bool() {
        Some(true) => return Some(AcceptProxy::Everybody),
        Some(false) => return None,
        None => {}
    }
    if value.is_empty_list() {
        value.mismatch(SENDERS);
        return None;
    }
    if !has_address {
        value.wrong("is about addresses, and who connects here need not have one; write accept_proxy = true");
        return None;
    }
    let networks = value.one_or_list();
    let networks: Vec<_> = networks.iter().map(|value| value.parsed(SENDERS, text::network)).collect();
    let networks: Option<Vec<_>> = networks.into_iter().map(|at| Some(at?.value)).collect();
    networks.map(AcceptProxy::From)
}

/// `send_proxy`; `None` inside is `false`.
pub(super) fn send(fields: &Fields<'_>) -> Option<At<Option<SendProxy>>> {
    let value = fields.value("send_proxy")?;
    let plain = |version| SendProxy { version, extensions: Vec::new() };
    let sent = match value.as_bool() {
        Some(false) => None,
        Some(true) => {
            value.mismatch(SEND);
            return None;
        }
        None if value.is_table() => Some(read_table(&value)?),
        None => {
            let version = VERSIONS.iter().find(|(name, _)| value.as_str() == Some(*name));
            let Some((_, version)) = version else {
                value.mismatch(SEND);
                return None;
            };
            Some(plain(*version))
        }
    };
    Some(At::new(sent, value.span))
}

fn read_table(value: &Value<'_>) -> Option<SendProxy> {
    let mut fields = value.fields("`send_proxy`".into(), SEND)?;
    fields.span = value.span;
    fields.require("version", "version = \"v2\"");
    let version = fields.choice("version", &VERSIONS);
    let extensions = fields.value("extensions").map(Value::one_or_list).unwrap_or_default();
    let mut chosen = Vec::new();
    for value in &extensions {
        if let Some(extension) = value.choice(&EXTENSIONS)
            && !chosen.contains(&extension.value)
        {
            chosen.push(extension.value);
        }
    }
    if let (Some(version), Some(first)) = (&version, extensions.first())
        && version.value == ProxyVersion::V1
    {
        fields.report.error(first.span, "a header of version 1 has no extensions; write version = \"v2\"");
    }
    fields.finish(|_| None);
    Some(SendProxy { version: version?.value, extensions: chosen })
}
