//! `forwarded`: what servers are told of who has sent a request.

use lb_proxy::config::{Forwarded, ForwardedHeader, ForwardedName, ForwardedNode, ForwardedParameters};

use crate::config::{
    reader::{At, Fields, Value},
    text,
};

const EXPECTED: &str =
    "true, false or a table, as in forwarded = { headers = [\"Forwarded\"], trust = [\"192.0.2.0/24\"] }";

const NETWORKS: &str = "the networks of the proxies in front, as in [\"192.0.2.0/24\"]";

const NODE: &str = "true for the address, false, \"unknown\" or a name of your own, as in \"_lb1\"";

/// Only of `Forwarded`.
const PARAMETERS: [&str; 6] = ["proto", "host", "by", "by_port", "for", "for_port"];

/// `None` inside is `false`.
pub(super) fn read(value: &Value<'_>) -> Option<At<Option<Forwarded>>> {
    let forwarded = match value.as_bool() {
        Some(false) => None,
        Some(true) => Some(Forwarded {
            headers: vec![ForwardedHeader::Forwarded],
            trust: Vec::new(),
            parameters: ForwardedParameters::default(),
        }),
        None => Some(read_table(value)?),
    };
    Some(At::new(forwarded, value.span))
}

fn read_table(value: &Value<'_>) -> Option<Forwarded> {
    let fields = value.fields("`forwarded`".into(), EXPECTED)?;
    let named = ForwardedHeader::ALL.map(|header| (header.name(), header));
    let mut headers = Vec::new();
    if let Some(given) = fields.value("headers") {
        if given.is_empty_list() {
            given.wrong("tells nobody anything; write forwarded = false");
        }
        for value in given.one_or_list() {
            if let Some(header) = value.choice(&named)
                && !headers.contains(&header.value)
            {
                headers.push(header.value);
            }
        }
    } else {
        headers.push(ForwardedHeader::Forwarded);
    }
    let trust = fields.value("trust").map(Value::one_or_list).unwrap_or_default();
    let trust = trust.iter().filter_map(|value| Some(value.parsed(NETWORKS, text::network)?.value)).collect();
    let mut parameters = parameters(&fields);
    if !headers.is_empty() && !headers.contains(&ForwardedHeader::Forwarded) {
        parameters = ForwardedParameters::default();
        for key in PARAMETERS {
            if let Some(value) = fields.value(key) {
                let message = format!(
                    "{key} has no effect: it is a parameter of `Forwarded`, which is not among the headers"
                );
                fields.report.warning(value.span, message);
            }
        }
    }
    fields.finish(|key| match key {
        "trusted" | "from" => Some("write trust = [\"192.0.2.0/24\"]".into()),
        "header" => Some("write headers = [\"Forwarded\"]".into()),
        _ => None,
    });
    Some(Forwarded { headers, trust, parameters })
}

fn parameters(fields: &Fields<'_>) -> ForwardedParameters {
    let default = ForwardedParameters::default();
    let is_on = |key, default| fields.boolean(key).map_or(default, |at| at.value);
    let parameters = ForwardedParameters {
        proto: is_on("proto", default.proto),
        host: is_on("host", default.host),
        by: node(fields, "by", default.by),
        by_port: is_on("by_port", default.by_port),
        client: node(fields, "for", default.client),
        client_port: is_on("for_port", default.client_port),
    };
    let ForwardedParameters { proto, host, by, by_port, client, client_port } = &parameters;
    for (is_on, port, is_there, key) in
        [(by_port, "by_port", by.is_some(), "by"), (client_port, "for_port", client.is_some(), "for")]
    {
        if let Some(value) = fields.value(port).filter(|_| *is_on && !is_there) {
            value.wrong(&format!(
                "is about the port of `{key}`, which is not there; write {key} = true as well"
            ));
        }
    }
    let says_nothing = !proto && !host && by.is_none() && client.is_none();
    if let Some(value) = fields.value("for").filter(|_| says_nothing && !fields.report.has_errors()) {
        value.wrong("leaves `Forwarded` with nothing to say; write for = true or proto = true");
    }
    parameters
}

/// `None`: it is not said.
fn node(fields: &Fields<'_>, key: &'static str, default: Option<ForwardedNode>) -> Option<ForwardedNode> {
    let Some(value) = fields.value(key) else { return default };
    match value.as_bool() {
        Some(true) => Some(ForwardedNode::Address),
        Some(false) => None,
        None => {
            let name = |text: &str| {
                ForwardedName::new(text).ok_or_else(|| {
                    "is no name of RFC 7239: it begins with `_`, and letters, digits, `.`, `_` and `-` follow".to_owned()
                })
            };
            Some(ForwardedNode::Name(value.parsed(NODE, name)?.value))
        }
    }
}
