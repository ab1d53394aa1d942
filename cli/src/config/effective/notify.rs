//! `[notify.NAME]`.

use super::{line, list, quoted, section, time};
use crate::config::model::{Means, Notify, Wants};

pub(super) fn notify(out: &mut String, notify: &Notify) {
    section(out, "notify", Some(&notify.name));
    match &notify.means {
        Means::Command(command) => line(out, "command", list(command.iter().map(|word| quoted(word)))),
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
