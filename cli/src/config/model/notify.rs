//! `[notify.NAME]`: who is told of what happens.

use std::{fmt, sync::Arc, time::Duration};

use lb_proxy::config::{ResolverConfig, ServerTls};

use crate::control::{Event, EventKind};

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Notify {
    /// Its name.
    pub name: String,
    /// How it is told.
    pub means: Means,
    /// How long one attempt to tell it may take.
    pub timeout: Duration,
    /// What it is told of.
    pub wants: Wants,
}

/// How somebody is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Means {
    /// A command reads the event: the program's whole path, and its arguments.
    Command(Vec<String>),
    /// A web server is sent the event.
    Webhook(Box<Webhook>),
    /// People are sent a mail.
    Mail(Box<Mail>),
}

/// A web server that is sent each event.
#[derive(Clone, Debug, PartialEq)]
pub struct Webhook {
    /// Where it is.
    pub remote: Remote,
    /// Its URL, as the file has it: its path is often a secret.
    pub url: Hidden,
    /// Where that stands, if not in the file itself.
    pub url_file: Option<String>,
    /// Host and, unless it is that of the scheme, port, as the URL has them.
    pub authority: String,
    /// Path and query of the URL.
    pub path: Hidden,
    /// Where its own headers are.
    pub headers_file: Option<String>,
    /// Names and values in this file.
    pub headers: Vec<(String, Hidden)>,
}

/// A mail with what has happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Mail {
    /// The server that takes it.
    pub remote: Remote,
    /// Who may read it on the way there.
    pub security: Security,
    /// An address, with a name before it or without.
    pub sender: String,
    /// The same; at least one.
    pub recipients: Vec<String>,
    /// Who says to be known to the server; `None` if nobody does.
    pub login: Option<Login>,
    /// From one mail to the next, at least; 1 s to 1 d.
    pub interval: Duration,
}

/// How a connection to a mail server is kept secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Security {
    /// RFC 3207; a server that does not offer it is sent nothing.
    Starttls,
    /// TLS from the first byte (RFC 8314).
    Tls,
    /// Not at all.
    None,
}

/// Of a user of a mail server.
#[derive(Clone, Debug, PartialEq)]
pub struct Login {
    /// His name.
    pub user: String,
    /// Where his password is.
    pub file: String,
    /// What stands there.
    pub password: Hidden,
}

/// Somebody on the network.
#[derive(Clone, Debug, PartialEq)]
pub struct Remote {
    /// A name or an address; one of IPv6 without its brackets.
    pub host: String,
    /// 1 to 65535
    pub port: u16,
    /// The authorities for its certificate; empty for those of this machine.
    pub ca_files: Vec<String>,
    /// How TLS is spoken to it; `None` if it is not.
    pub tls: Option<Arc<ServerTls>>,
    /// Who is asked for its addresses.
    pub resolver: ResolverConfig,
}

/// A secret. Not shown by `Debug`.
#[derive(Clone, Eq, PartialEq)]
pub struct Hidden(String);

impl Hidden {
    /// Of this.
    #[must_use]
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// What it is.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden")
    }
}

impl Means {
    /// In a word, and what it is: nothing of a URL but where it leads, since the rest of one is often a secret.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Command(command) => format!("command {}", command.first().map_or("", String::as_str)),
            Self::Webhook(webhook) => {
                let scheme = if webhook.remote.tls.is_some() { "https" } else { "http" };
                format!("webhook {scheme}://{}", webhook.authority)
            }
            Self::Mail(mail) => format!("mail by {}, port {}", mail.remote.host, mail.remote.port),
        }
    }
}

/// Of which events. An empty list is all.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Wants {
    /// Of these kinds.
    pub events: Vec<EventKind>,
    /// Of what is so from now on.
    pub to: Vec<String>,
    /// Of what is called so.
    pub names: Vec<String>,
}

impl Wants {
    /// Is this one of them?
    #[must_use]
    pub fn has(&self, event: &Event) -> bool {
        let is_in = |list: &[String], one: &str| list.is_empty() || list.iter().any(|known| known == one);
        (self.events.is_empty() || self.events.contains(&event.kind))
            && is_in(&self.to, &event.to)
            && is_in(&self.names, &event.name)
    }
}
