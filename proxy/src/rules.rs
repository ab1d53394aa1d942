//! Rules: what a request is refused, answered, changed or sent elsewhere for, before a server is looked for.
//!
//! ```text
//! [Rule] ── Program::new (once per configuration) ──> steps ── run (once per request, on its head) ──> Verdict
//!   when: Condition                                     │
//!   then: Actions, in order                             └ neighbours that are for some hosts alone: one lookup
//! ```
//! Rules are looked at in their order, and every one whose condition holds acts; what it changes is what the later ones
//! see. Deny, tarpit, redirect, respond and allow end the list. The first `backend` that is reached stands; it does not end the list. A
//! frontend's rules come first, then those of the backend that was chosen.
//!
//! Everything here runs in one go on the head of a message: nothing waits, and what is left is plain data.

mod action;
mod changes;
mod client_hello;
mod condition;
mod connection;
mod copies;
mod host;
mod named;
mod network;
mod parameters;
mod path;
mod pattern;
mod program;
mod rate_limit;
mod redirect;
mod require_auth;
mod respond;
mod source;
mod text;
mod used_fields;
mod value;

pub use self::{
    action::{Action, SetStatus},
    client_hello::looks_at_client_hello,
    condition::{Condition, Scheme},
    copies::looks_at_path,
    host::{Coverers, HostPattern, HostSet},
    named::NamedBackend,
    network::Network,
    path::{AmbiguousPath, normal_form},
    pattern::{Pattern, PatternError, Replacement},
    rate_limit::{LimitedBy, OverLimit, RateLimit},
    redirect::{Destination, Redirect},
    require_auth::RequireAuth,
    respond::{Content, Respond},
    source::SourceFrom,
    text::{Text, Value},
    value::{PathPattern, ValuePattern},
};
pub(crate) use self::{
    condition::Subject,
    connection::Judgement,
    parameters::has_parameters,
    path::normalize,
    program::{Instead, Programs, Run, Verdict},
    rate_limit::{number_rate_limits, rate_limits},
    redirect::put_redirect,
    respond::Answer,
    used_fields::UsedFields,
};

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// When it acts.
    pub when: Condition,
    /// What it does, in this order.
    pub then: Vec<Action>,
}
