//! `[notify.NAME]`: who is told of what happens.

use std::time::Duration;

use crate::control::{Event, EventKind};

/// One of them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Notify {
    /// Its name.
    pub name: String,
    /// How it is told.
    pub means: Means,
    /// How long it may take to be told of one event.
    pub timeout: Duration,
    /// What it is told of.
    pub wants: Wants,
}

/// How somebody is told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Means {
    /// A command reads the event: the program's whole path, and its arguments.
    Command(Vec<String>),
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
