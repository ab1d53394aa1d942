//! The URL of a webhook.

use hyper::Uri;

/// Taken apart.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Url {
    /// As it was written.
    pub(crate) text: String,
    pub(crate) is_tls: bool,
    /// Without the brackets of an IPv6 address.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// As a Host field has it.
    pub(crate) authority: String,
    /// With the query.
    pub(crate) path: String,
}

impl Url {
    /// The end of a sentence about it where it can't be used.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let begins = || "has to begin with https:// or http://".to_owned();
        let uri: Uri =
            text.parse().map_err(|_| "is no URL, as in \"https://hooks.example.com/lb\"".to_owned())?;
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(_) | None => return Err(begins()),
        };
        let authority = uri.authority().ok_or_else(begins)?;
        if authority.as_str().contains('@') {
            return Err(
                "has a name in it, and maybe a password: they belong into a file that only lbctl reads, \
                        headers_file = \"/etc/lbctl/headers\" with a line `Authorization: Basic ..`"
                    .to_owned(),
            );
        }
        if text.contains('#') {
            return Err(
                "has a # in it, and what follows is never sent; write %23 where it is meant".to_owned()
            );
        }
        // What http makes of a port that is none is no port at all.
        let port = match authority.as_str().get(authority.host().len()..).unwrap_or_default() {
            "" if is_tls => 443,
            "" => 80,
            given => match given.trim_start_matches(':').parse::<u16>() {
                Ok(port) if port > 0 => port,
                Ok(_) | Err(_) => return Err(format!("has no port from 1 to 65535: {given}")),
            },
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err("names no host".to_owned());
        }
        let path = uri.path_and_query().map_or("", |path| path.as_str());
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { text: text.to_owned(), is_tls, host, port, authority: authority.as_str().to_owned(), path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_leads_to_a_host_a_port_and_a_path() {
        for (text, is_tls, host, port, authority, path) in [
            (
                "https://hooks.example.com/a/b?c=d",
                true,
                "hooks.example.com",
                443,
                "hooks.example.com",
                "/a/b?c=d",
            ),
            ("http://192.0.2.7:8080", false, "192.0.2.7", 8080, "192.0.2.7:8080", "/"),
            ("https://[2001:db8::7]:8443/x", true, "2001:db8::7", 8443, "[2001:db8::7]:8443", "/x"),
            ("http://a.example?b", false, "a.example", 80, "a.example", "/?b"),
        ] {
            let expected = Url {
                text: text.to_owned(),
                is_tls,
                host: host.to_owned(),
                port,
                authority: authority.to_owned(),
                path: path.to_owned(),
            };
            assert_eq!(Url::read(text), Ok(expected));
        }
    }

    #[test]
    fn what_is_none_is_refused_with_what_is_wrong() {
        for (text, why) in [
            ("hooks.example.com/a", "is no URL"),
            ("/a", "has to begin with"),
            ("ftp://a.example/", "has to begin with"),
            ("https://", "is no URL"),
            ("https:///a", "is no URL"),
            ("https://a b/", "is no URL"),
            ("https://user:secret@a.example/", "Authorization: Basic"),
            ("https://a.example/#b", "has a # in it"),
            ("https://a.example:0/", "from 1 to 65535"),
            ("https://a.example:70000/", "from 1 to 65535"),
        ] {
            let outcome = Url::read(text);
            assert!(outcome.as_ref().is_err_and(|error| error.contains(why)), "{text}: {outcome:?}");
        }
    }
}
