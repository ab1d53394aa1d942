//! Timeouts that HAProxy derives from others, and those that it doesn't have.

use crate::{
    config::diagnostic::Span,
    import::{
        document::Value,
        haproxy::{
            keys::Keys,
            rule::Rule,
            values::{LONGEST, limit},
        },
        notes::Notes,
    },
};

/// Writes out what HAProxy does without a word. With a place, what is missing is told of, for a section with these sides.
pub(super) fn complete(keys: &mut Keys, told: Option<(Span, bool, bool)>, notes: &Notes<'_>) {
    let mut unset = Vec::new();
    let sides = told.map_or((true, true), |(_, frontend, backend)| (frontend, backend));
    for (key, word, is_frontend) in [
        ("timeout.client", "timeout client", true),
        ("timeout.connect", "timeout connect", false),
        ("timeout.server", "timeout server", false),
    ] {
        if keys.get(key).is_none() {
            keys.assume(key, limit(LONGEST), &format!("no `{word}`: HAProxy waits without an end"));
            if if is_frontend { sides.0 } else { sides.1 } {
                unset.push(format!("`{word}`"));
            }
        }
    }
    if let (Some((span, ..)), false) = (told, unset.is_empty()) {
        let message = format!(
            "no {}: HAProxy waits without an end, which is written as the longest time there is; choose one, as 5s to connect and 50s otherwise",
            unset.join(", no ")
        );
        notes.advise(span, message);
    }
    let given = keys.value("timeout.http_request").cloned();
    let client = keys.value("timeout.client").cloned().unwrap_or_else(|| Value::text("50s"));
    if given.is_none() {
        let note = "no `timeout http-request`: HAProxy goes by `timeout client` here; ours is 10s";
        keys.assume("timeout.http_request", client.clone(), note);
    }
    if keys.get("timeout.http_keep_alive").is_none() {
        let note = "no `timeout http-keep-alive`: HAProxy goes by the others here; ours is 15s";
        keys.assume("timeout.http_keep_alive", given.unwrap_or(client), note);
    }
}

/// Where a rule holds somebody, and nothing says how long. A `frontend` of HAProxy's knows no `timeout connect`.
pub(super) fn tarpit(rules: &[Rule], is_frontend: bool, keys: &mut Keys, notes: &Notes<'_>) {
    let holds = |rule: &&Rule| rule.does.iter().any(|(key, _)| key == "tarpit");
    let Some(rule) = rules.iter().find(holds).filter(|_| keys.get("timeout.tarpit").is_none()) else {
        return;
    };
    if is_frontend {
        let note = "no `timeout tarpit`: a frontend of HAProxy's answers at once";
        keys.assume("timeout.tarpit", Value::text("1ms"), note);
        let message = "no `timeout tarpit`: a `frontend` of HAProxy's holds nobody then and answers at once, and so it is here; write \
                       timeout.tarpit = \"10s\" to hold them";
        notes.advise(rule.span, message);
    } else if let Some(connect) = keys.value("timeout.connect").cloned() {
        keys.assume("timeout.tarpit", connect, "no `timeout tarpit`: HAProxy goes by `timeout connect`");
    }
}
