//! `lbctl run` as a real process on loopback, without addresses to move: serving, its control interface, its verbs.
#![allow(clippy::disallowed_methods, reason = "what is looked at is text of our own")]

#[path = "daemon/answers.rs"]
mod answers;
#[path = "daemon/background.rs"]
mod background;
#[path = "daemon/certificates.rs"]
mod certificates;
#[path = "daemon/control_api.rs"]
mod control_api;
#[path = "daemon/errors.rs"]
mod errors;
#[path = "daemon/events.rs"]
mod events;
#[path = "daemon/exim.rs"]
mod exim;
#[path = "daemon/faults.rs"]
mod faults;
#[path = "daemon/harness.rs"]
mod harness;
#[path = "daemon/hook.rs"]
mod hook;
#[path = "daemon/keys.rs"]
mod keys;
#[path = "daemon/logs.rs"]
mod logs;
#[path = "daemon/mail.rs"]
mod mail;
#[path = "daemon/nagios.rs"]
mod nagios;
#[path = "daemon/names.rs"]
mod names;
#[path = "daemon/nameserver.rs"]
mod nameserver;
#[path = "daemon/notify.rs"]
mod notify;
#[path = "daemon/orders.rs"]
mod orders;
#[path = "daemon/reload.rs"]
mod reload;
#[path = "daemon/run.rs"]
mod run;
#[path = "daemon/secret.rs"]
mod secret;
#[path = "daemon/sockets.rs"]
mod sockets;
#[path = "daemon/source.rs"]
mod source;
#[path = "daemon/statistics.rs"]
mod statistics;
#[path = "daemon/streaming.rs"]
mod streaming;
#[path = "daemon/top.rs"]
mod top;
#[path = "daemon/trace.rs"]
mod trace;
#[path = "daemon/upgrade.rs"]
mod upgrade;
#[path = "daemon/verbs.rs"]
mod verbs;
#[path = "daemon/webhook.rs"]
mod webhook;
