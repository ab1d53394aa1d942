//! The words of HAProxy's `log-format`, and what says the same here.

/// A row of the documented table.
#[derive(Clone, Copy, Debug)]
pub struct LogWord {
    /// With its `%`.
    pub word: &'static str,
    /// The text with placeholders that stands for it in `log_format`; `None` if nothing does.
    pub template: Option<&'static str>,
    /// What differs, or why there is nothing; empty if it is the same.
    pub note: &'static str,
}

const fn same(word: &'static str, template: &'static str) -> LogWord {
    like(word, template, "")
}

const fn like(word: &'static str, template: &'static str, note: &'static str) -> LogWord {
    LogWord { word, template: Some(template), note }
}

const fn none(word: &'static str, note: &'static str) -> LogWord {
    LogWord { word, template: None, note }
}

const OF_REQUEST: &str = "That of the request; there of the connection, also for its later requests.";
const IDLE: &str = "Times here begin with the first byte of a request; the wait before it is not measured.";
const HOST: &str = "Without the host, where a client sends one to a proxy.";
const NOTHING: &str = "Where nothing could be captured `-`; there nothing.";

/// All words of HAProxy 2.6, in the order of docs/templates.md.
pub const LOG_WORDS: &[LogWord] = &[
    same("%B", "{log.bytes.sent}"),
    same("%CC", "{log.cookie.request}"),
    same("%CS", "{log.cookie.response}"),
    same("%H", "{hostname}"),
    same("%HM", r#"{request.method|default("<BADREQ>")}"#),
    like("%HP", r#"{request.path|default("<BADREQ>")}"#, HOST),
    same("%HPO", r#"{request.path|default("<BADREQ>")}"#),
    like(
        "%HQ",
        r#"{request.target|default("?<BADREQ>")|regsub("^[^?]*", "")|regsub("^[?]<BADREQ>$", "<BADREQ>")|default("")}"#,
        "With its `?`, which `request.query` has not.",
    ),
    like("%HU", r#"{request.target|default("<BADREQ>")}"#, "As `%HP`."),
    same("%HV", r#"{request.version|regsub("^", "HTTP/")|default("<BADREQ>")}"#),
    same("%ID", "{request.id}"),
    like("%ST", "{log.status}", "Of a tcp connection -1; there 0."),
    like("%T", "{log.date.gmt}", OF_REQUEST),
    same("%TR", "{log.time.request}"),
    same("%Ta", "{log.time.total}"),
    same("%Tc", "{log.time.connect}"),
    same("%Td", "{log.time.data}"),
    none("%Th", "A connection has no handshake: 0 there."),
    none("%Ti", IDLE),
    like("%Tl", "{log.date.clf}", OF_REQUEST),
    none("%Tq", IDLE),
    same("%Tr", "{log.time.response}"),
    like("%Ts", "{log.date.unix_ms|bytes(0, 10)}", OF_REQUEST),
    like("%Tt", "{log.time.total}", "In mode http without the wait before the request."),
    same("%Tu", "{log.time.total}"),
    same("%Tw", "{log.time.queue}"),
    same("%U", "{log.bytes.received}"),
    same("%ac", "{log.connections.process}"),
    same("%b", "{backend.name}"),
    same("%bc", "{log.connections.backend}"),
    none("%bi", "The kernel would have to be asked for each line."),
    none("%bp", "Likewise."),
    same("%bq", "{log.queue.backend}"),
    same("%ci", "{client.ip}"),
    same("%cp", "{client.port}"),
    same("%f", "{frontend.name}"),
    same("%fc", "{log.connections.frontend}"),
    same("%fi", "{local.ip}"),
    same("%fp", "{local.port}"),
    same("%ft", "{log.frontend}"),
    none("%lc", "Lines are not counted; `{request.id}` tells them apart."),
    like("%hr", "{log.headers.request}", NOTHING),
    none("%hrl", "Each header has a placeholder: `\"{request.header.NAME|default(\"\")}\"`."),
    like("%hs", "{log.headers.response}", NOTHING),
    none("%hsl", "Likewise: `{response.header.NAME}`."),
    like("%ms", "{log.date.unix_ms|bytes(10)}", OF_REQUEST),
    same("%pid", "{pid}"),
    same("%r", "{log.request}"),
    same("%rc", "{log.retries}"),
    none("%rt", "Requests have no number; `{request.id}` tells them apart."),
    same("%s", "{server.name}"),
    same("%sc", "{log.connections.server}"),
    same("%si", "{log.server.ip}"),
    same("%sp", "{log.server.port}"),
    same("%sq", "{log.queue.server}"),
    same("%sslc", "{tls.cipher}"),
    same("%sslv", "{tls.version}"),
    like("%t", "{log.date}", OF_REQUEST),
    same("%tr", "{log.date}"),
    same("%trg", "{log.date.gmt}"),
    same("%trl", "{log.date.clf}"),
    same("%ts", "{log.termination|bytes(0, 2)}"),
    same("%tsc", "{log.termination}"),
];
