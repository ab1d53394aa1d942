//! Texts of a mail server and of those who have a mailbox there.

use lettre::message::Mailbox;

/// A name or an address, and a port if there is one.
pub(super) fn server(text: &str) -> Result<(String, Option<u16>), String> {
    let wrong = || "is no mail server, as in \"mail.example.com\" or \"mail.example.com:587\"".to_owned();
    let (host, port) = match (text.strip_prefix('['), text.rsplit_once(':')) {
        (Some(open), _) => {
            let (host, rest) = open.split_once(']').ok_or_else(wrong)?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or_else(wrong)?) })
        }
        (None, Some((host, port))) if !host.contains(':') => (host, Some(port)),
        (None, Some(_) | None) => (text, None),
    };
    let is_name =
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    if !is_name && host.parse::<std::net::IpAddr>().is_err() {
        return Err(wrong());
    }
    let port =
        port.map(|port| port.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(wrong)).transpose()?;
    Ok((host.to_owned(), port))
}

/// With a name before it or without.
pub(super) fn mailbox(text: &str) -> Result<String, String> {
    match text.parse::<Mailbox>() {
        Ok(_) if text.is_ascii() => Ok(text.to_owned()),
        Ok(_) | Err(_) => {
            Err("is no mail address, as in \"ops@example.com\" or \"Operations <ops@example.com>\""
                .to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_name_or_an_address_with_or_without_a_port() {
        for (text, host, port) in [
            ("mail.example.com", "mail.example.com", None),
            ("mail.example.com:587", "mail.example.com", Some(587)),
            ("192.0.2.25:25", "192.0.2.25", Some(25)),
            ("2001:db8::25", "2001:db8::25", None),
            ("[2001:db8::25]:465", "2001:db8::25", Some(465)),
            ("[2001:db8::25]", "2001:db8::25", None),
        ] {
            assert_eq!(server(text), Ok((host.to_owned(), port)));
        }
        for text in ["", "mail:", "mail:0", "mail:70000", "smtp://mail", "a b", "[2001:db8::25", ":25"] {
            assert!(server(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_mailbox_has_an_address_with_or_without_a_name() {
        for text in ["ops@example.com", "Operations <ops@example.com>", "root@localhost"] {
            assert_eq!(mailbox(text), Ok(text.to_owned()));
        }
        for text in
            ["", "ops", "ops@", "@example.com", "a@b c", "ops@example.com\r\nBcc: x@example.com", "a@b, c@d"]
        {
            assert!(mailbox(text).is_err(), "{text}");
        }
    }
}
