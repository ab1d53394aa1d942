//! Mail.

use std::time::Duration;

use super::means::{Context, is_here};
use crate::config::{
    model::{Hidden, Login, Mail, Security},
    raw,
    reader::At,
};

const INTERVAL: Duration = Duration::from_secs(60);

/// Where servers take mail of users, with STARTTLS or without (RFC 6409), over TLS (RFC 8314), and from each other.
fn port(security: Security) -> u16 {
    match security {
        Security::Starttls => 587,
        Security::Tls => 465,
        Security::None => 25,
    }
}

impl Context<'_> {
    pub(super) fn mail(&self, raw: &raw::Notify, smtp: &At<(String, Option<u16>)>) -> Option<Mail> {
        let security = raw.security.as_ref().map_or(Security::Starttls, |at| at.value);
        let (host, given) = &smtp.value;
        if let (Some(at), Security::None) = (raw.ca_files.first(), security) {
            self.report.error(at.span, "there is no certificate to look at with security = \"none\"");
        }
        let login = self.login(raw, security, host);
        let tls = match security {
            Security::None => None,
            Security::Starttls | Security::Tls => Some(self.tls(&raw.ca_files, smtp.span)?),
        };
        let needed = |key: &str, example: &str| {
            self.report.error(smtp.span, format!("mail needs `{key}`; write {key} = {example}"));
        };
        let Some(sender) = raw.sender.as_ref().map(|at| at.value.clone()) else {
            if !self.report.has_errors() {
                needed("sender", "\"lbctl@example.com\"");
            }
            return None;
        };
        let recipients: Vec<_> =
            raw.recipients.iter().flat_map(|at| &at.value).map(|at| at.value.clone()).collect();
        if recipients.is_empty() {
            if !self.report.has_errors() {
                needed("recipients", "[\"ops@example.com\"]");
            }
            return None;
        }
        Some(Mail {
            remote: self.remote((host, given.unwrap_or_else(|| port(security))), &raw.ca_files, tls),
            security,
            sender,
            recipients,
            login,
            interval: raw.mail_interval.as_ref().map_or(INTERVAL, |at| at.value),
        })
    }

    fn login(&self, raw: &raw::Notify, security: Security, host: &str) -> Option<Login> {
        let (user, file) = match (&raw.user, &raw.password_file) {
            (Some(user), Some(file)) => (user, file),
            (None, None) => return None,
            (Some(at), None) => {
                self.report
                    .error(at.span, "a login needs password_file = \"/etc/lbctl/mail-password\" as well");
                return None;
            }
            (None, Some(at)) => {
                self.report.error(at.span, "a login needs `user` as well, as in user = \"lbctl\"");
                return None;
            }
        };
        if security == Security::None && !is_here(host) {
            let message = "whoever is on the way could read the password: security = \"starttls\" or \"tls\"";
            self.report.error(file.span, message);
        }
        let password = Hidden::new(self.secret_line(file)?);
        Some(Login { user: user.value.clone(), file: file.value.clone(), password })
    }
}
