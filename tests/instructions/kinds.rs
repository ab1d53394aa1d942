//! What is sent through which configuration.

use std::{fmt::Write as _, net::SocketAddr};

use clap::ValueEnum;
use lb_tests::lockstep::Conversation;

/// A kind of request.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Kind {
    Answer,
    Exchange,
    Full,
    Tcp,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Answer, Self::Exchange, Self::Full, Self::Tcp];

    /// As the budget has it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::Exchange => "exchange",
            Self::Full => "full",
            Self::Tcp => "tcp",
        }
    }

    /// For those who have made it dearer.
    pub(crate) const fn what(self) -> &'static str {
        match self {
            Self::Answer => {
                "a head is parsed, goes through ten rules and fifty hosts, and an answer of the last rule is written"
            }
            Self::Exchange => {
                "a small GET to a server and back, over connections that are kept, and nothing is configured"
            }
            Self::Full => {
                "the same with ten rules, fifty hosts, a cookie for the server, X-Forwarded-For and httplog"
            }
            Self::Tcp => "64 bytes to a server and back in mode tcp",
        }
    }

    /// What is said on its connections.
    pub(crate) const fn conversation(self) -> Conversation {
        match self {
            Self::Answer => Conversation { response: None, ..Conversation::GET },
            Self::Exchange | Self::Full => Conversation::GET,
            Self::Tcp => Conversation::PING,
        }
    }

    /// For a proxy at `front` with one worker and one server.
    pub(crate) fn configuration(self, front: SocketAddr, server: SocketAddr, syslog: SocketAddr) -> String {
        let mode = if matches!(self, Self::Tcp) { "tcp" } else { "http" };
        let mut text = format!(
            "[global]\nthreads = 1\n\n[backend.app]\nmode = \"{mode}\"\ncheck = false\n\
             server.s1 = {{ address = \"{server}\", cookie = \"s1\" }}\n"
        );
        if matches!(self, Self::Full) {
            text.push_str(
                "cookie = { name = \"SRV\", mode = \"insert\", indirect = true, nocache = true }\n",
            );
        }
        write!(text, "\n[frontend.web]\nmode = \"{mode}\"\nbind = \"{front}\"\n")
            .expect("a String takes all");
        text.push_str("default_backend = \"app\"\n");
        if matches!(self, Self::Full) {
            writeln!(text, "forwardfor = true\nlog = {{ syslog = \"{syslog}\" }}")
                .expect("a String takes all");
        }
        if matches!(self, Self::Answer | Self::Full) {
            text.push_str("rules = [\n");
            for number in 1..=10 {
                let rule = format!("{{ path_prefix = \"/admin{number}\", method = \"POST\" }}, deny = 403");
                writeln!(text, "  {{ when = {rule} }},").expect("a String takes all");
            }
            for number in 1..=50 {
                writeln!(text, "  {{ when = {{ host = \"www{number}.example.com\" }}, backend = \"app\" }},")
                    .expect("a String takes all");
            }
            if matches!(self, Self::Answer) {
                text.push_str("  { respond = { body = \"ok\\n\" } },\n");
            }
            text.push_str("]\n");
        }
        text
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}
