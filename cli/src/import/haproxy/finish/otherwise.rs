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

/// Of every file with requests.
pub(super) const HOST: &str = "a request of HTTP/1.1 without Host, or with one that is no name and no address (`a b`, `a,b`, `a:x`), is answered with 400 here, \
     as RFC 9112 wants; HAProxy serves it, so let monitors send one. A line of a head may have 8 kB, and in HAProxy 16 kB, which piles of \
     cookies and tickets of Kerberos may need. So it is in all of this file";

pub(super) const MARKS: [Mark; 12] = [
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
    mark(
        &[],
        &["replace_value = "],
        "what stands around a value between commas stays as it is; HAProxy takes the blank before one that it replaces away",
    ),
    mark(&[], &["set_query = "], "where the query becomes empty, its `?` goes as well; in HAProxy it stays"),
    mark(
        &[],
        &["deny = 405", "tarpit = 405"],
        "an answer with 405 has `Allow`, which names all methods but that of the request, as RFC 9110 wants; HAProxy's has none",
    ),
    mark(
        &[],
        &["require_auth = "],
        "the challenge of a 401 has charset=\"UTF-8\" behind its realm, so that clients send names in that; HAProxy's has none",
    ),
    mark(&[], &["\"CONNECT\""], "CONNECT is answered with 405 before any rule; HAProxy passes it on"),
];
