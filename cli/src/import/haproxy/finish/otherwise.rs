//! What rules look at that is not quite what HAProxy looks at: said once for a file.

/// What is said of a rule that looks at something.
pub(super) struct Mark {
    /// Keys of its condition.
    pub(super) keys: &'static [&'static str],
    /// What stands in its texts.
    pub(super) texts: &'static [&'static str],
    pub(super) message: &'static str,
}

const fn mark(keys: &'static [&'static str], texts: &'static [&'static str], message: &'static str) -> Mark {
    Mark { keys, texts, message }
}

pub(super) const MARKS: [Mark; 8] = [
    mark(
        &["host"],
        &["{request.host"],
        "Host is compared without its port and a dot at its end, and without regard to case; a request that has none, \
         or an empty one, is for no host. HAProxy compares what was sent",
    ),
    mark(
        &["sni"],
        &["{client_hello.sni"],
        "the server that a TLS client names is compared, and written, in small letters, since a name has no case; HAProxy compares \
         what was sent, unless `-i` says otherwise",
    ),
    mark(
        &["query"],
        &["{request.query."],
        "a parameter of a query ends at `&`, and its name is decoded (in `query`, its value, too); in HAProxy it also ends at `;`, \
         and is what was sent",
    ),
    mark(
        &["cookie"],
        &["{request.cookie."],
        "a cookie ends at `;`, is compared decoded and without quotes around its value, and of several with one name a text has \
         the first; in HAProxy it also ends at a comma, is compared as it was sent, and a text has the last",
    ),
    mark(
        &["method"],
        &[],
        "a method counts in any case, so that `get` is no way around a rule, and a known one in small letters is answered \
         with 400; HAProxy passes it on as a method of its own",
    ),
    mark(
        &[],
        &["redirect = { scheme = "],
        "the port of Host is left out of where it leads, since a port for clear text speaks no TLS; HAProxy keeps it. `port = 8443` \
         in the rule names another one",
    ),
    mark(
        &[],
        &["{request.version}"],
        "a connection of HTTP/1.0 ends after its response here, also where its client asks to keep it; HAProxy keeps it then",
    ),
    mark(&[], &["\"CONNECT\""], "CONNECT is answered with 405 before any rule; HAProxy passes it on"),
];
