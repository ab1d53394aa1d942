//! `[notify.NAME]`.

use super::{line, list, quoted, section, time};
use crate::config::model::{Means, Notify, Remote, Wants};

pub(super) fn notify(out: &mut String, notify: &Notify) {
    section(out, "notify", Some(&notify.name));
    match &notify.means {
        Means::Command(command) => line(out, "command", list(command.iter().map(|word| quoted(word)))),
        Means::Webhook(webhook) => {
            line(out, "url", quoted(&webhook.url));
            match &webhook.headers_file {
                Some(file) => line(out, "headers_file", quoted(file)),
                None => out.push_str("# headers_file: none\n"),
            }
            if webhook.remote.tls.is_some() {
                authorities(out, &webhook.remote);
            }
        }
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

fn authorities(out: &mut String, remote: &Remote) {
    match remote.ca_files.as_slice() {
        [] => out.push_str("# ca_file: the authorities of this machine\n"),
        files => line(out, "ca_file", list(files.iter().map(|file| quoted(file)))),
    }
}
