//! `[notify.NAME]`.

use super::{line, list, quoted, section, time};
use crate::config::{
    model::{Mail, Means, Notify, Remote, Wants},
    raw::SECURITY,
};

pub(super) fn notify(out: &mut String, notify: &Notify) {
    section(out, "notify", Some(&notify.name));
    match &notify.means {
        Means::Command(command) => line(out, "command", list(command.iter().map(|word| quoted(word)))),
        Means::Webhook(webhook) => {
            match &webhook.url_file {
                Some(file) => line(out, "url_file", quoted(file)),
                None => line(out, "url", quoted(webhook.url.reveal())),
            }
            match &webhook.headers_file {
                Some(file) => line(out, "headers_file", quoted(file)),
                None => out.push_str("# headers_file: none\n"),
            }
            if webhook.remote.tls.is_some() {
                authorities(out, &webhook.remote);
            }
        }
        Means::Mail(mail) => write_mail(out, mail),
    }
    line(out, "timeout", time(notify.timeout));
    let Wants { events, to, names } = &notify.wants;
    let events: Vec<_> = events.iter().map(|kind| kind.word().to_owned()).collect();
    for (key, list_of, all) in
        [("events", &events, "all kinds"), ("to", to, "all states"), ("names", names, "all names")]
    {
        match list_of.as_slice() {
            [] => out.push_str(&format!("# {key}: {all}\n")),
            some => line(out, key, list(some.iter().map(|word| quoted(word)))),
        }
    }
}

fn write_mail(out: &mut String, mail: &Mail) {
    let Remote { host, port, .. } = &mail.remote;
    let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    line(out, "smtp", quoted(&format!("{host}:{port}")));
    let word = SECURITY.iter().find(|(_, security)| *security == mail.security).map_or("", |(word, _)| word);
    line(out, "security", quoted(word));
    line(out, "sender", quoted(&mail.sender));
    line(out, "recipients", list(mail.recipients.iter().map(|one| quoted(one))));
    match &mail.login {
        Some(login) => {
            line(out, "user", quoted(&login.user));
            line(out, "password_file", quoted(&login.file));
        }
        None => out.push_str("# user, password_file: none\n"),
    }
    line(out, "mail_interval", time(mail.interval));
    if mail.remote.tls.is_some() {
        authorities(out, &mail.remote);
    }
}

fn authorities(out: &mut String, remote: &Remote) {
    match remote.ca_files.as_slice() {
        [] => out.push_str("# ca_file: the authorities of this machine\n"),
        files => line(out, "ca_file", list(files.iter().map(|file| quoted(file)))),
    }
}
